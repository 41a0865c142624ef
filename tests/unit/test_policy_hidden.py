"""Nothing passes by being odd, unknown or inside of something, and no message shows a secret."""

from __future__ import annotations

from typing import Any

import pytest
from judged import TODAY, cases_of, documents, findings, objects_of
from llm_policies.environment import Environment
from llm_policies.judging import Finding, judge, judge_stack
from llm_policies.objects import Stack
from llm_policies.pack import RULES
from llm_policies.rule import Rule
from llm_policies.values import SECRET, SIGNATURE
from odd_objects import CANARY, UNKNOWN, Path, all_findings, at, places, put
from on_mocks import Raw

every_rule = pytest.mark.parametrize("rule", RULES, ids=[rule.name for rule in RULES])

NUMBER = 40417265
"""That may be a password."""

# An object of another kind is none that the rule looks at.
IDENTITY = {"apiVersion", "kind"}
UNFIT: dict[type, Any] = {
    str: {"odd": 1},
    bool: {"odd": 1},
    int: {"odd": 1},
    float: {"odd": 1},
    dict: "odd",
    list: "odd",
    type(None): "odd",
}
"""A value that Kubernetes takes in no place where one of the type is."""


def names_it(found: list[Finding], path: Path) -> bool:
    """Whether a finding says that what is at `path` cannot be judged."""
    text = "".join(f"[{key}]" if isinstance(key, int) else f".{key}" for key in path).removeprefix(".")
    return any(f"{text} is " in finding.message for finding in found)


@every_rule
@pytest.mark.parametrize("odd", ["wrong type", "unknown"])
def test_no_field_makes_a_bad_object_pass_by_being_odd(rule: Rule, odd: str) -> None:
    """Either the rule still says something, or the pack says that this very field cannot be judged.

    A rule about vLLM does not look at a pod whose image is a mapping, say; another rule names that image.
    """
    passed = []
    found = documents(rule.bad)
    for index, document in enumerate(found):
        for path in places(document):
            value = UNKNOWN if odd == "unknown" else UNFIT[type(at(document, path))]
            changed = [*found[:index], put(document, path, value), *found[index + 1 :]]
            # A Node is a cluster's own report, and no rule's subject: one that cannot be read is as none.
            if (
                path[0] in IDENTITY
                or document.get("kind") == "Node"
                or findings(rule, objects_of(changed, pulumi=False))
            ):
                continue
            if not names_it(all_findings(changed, pulumi=False), path):
                passed.append(f"{document.get('kind')}: {'.'.join(map(str, path))}")
    assert passed == []


@every_rule
@pytest.mark.parametrize("example", ["bad", "good"])
def test_a_secret_is_judged_and_never_shown(rule: Rule, example: str) -> None:
    """What a program marks as secret is not in a message, wherever it is."""
    found = documents(getattr(rule, example))
    for index, document in enumerate(found):
        for path in places(document):
            old = at(document, path)
            if not isinstance(old, str) or path[0] in IDENTITY:
                continue
            # A text of a letter or two is in any message; messages cut a long one.
            for secret in (*([old] if len(old) >= 6 else []), f"{old}{CANARY}", CANARY, f"{CANARY}{'.' * 60}"):
                changed = put(document, path, {SIGNATURE: SECRET, "value": secret})
                with_secret = all_findings([*found[:index], changed, *found[index + 1 :]], pulumi=True)
                shown = [f.message for f in with_secret if secret in f.message or CANARY in f.message]
                assert shown == [], path


def test_one_secret_variable_hides_itself_and_no_name() -> None:
    """The provider marks the whole list that it is in."""
    variable = {"name": "HF_TOKEN", "value": CANARY}
    container = {"name": "vllm", "image": f"vllm/vllm-openai:{CANARY}", "env": [variable, {"name": CANARY}]}
    marked = {SIGNATURE: SECRET, "value": [container, {"name": "other", "image": "other:latest"}]}
    found = all_findings([{"apiVersion": "v1", "kind": "Pod", "spec": {"containers": marked}}], pulumi=True)
    assert [f.message for f in found if CANARY in f.message] == []
    assert any("other: image 'other:latest' is mutable" in f.message for f in found)


# What stands below these may be a secret, in clear.
FREE = {"env", "args", "command", "data", "stringData", "httpHeaders"}


@every_rule
def test_a_text_or_a_number_of_the_wrong_type_is_not_shown_where_it_may_be_a_secret(rule: Rule) -> None:
    """A whole command line, or all variables, may stand in a text by mistake, with a key in it."""
    found = documents(rule.bad)
    for index, document in enumerate(found):
        for path in places(document):
            is_one = not isinstance(at(document, path), dict | list)
            if is_one and (FREE.isdisjoint(path) or path[-1] == "name"):
                continue
            for literal in (NUMBER,) if is_one else (f"--api-key={CANARY}", NUMBER):
                changed = [*found[:index], put(document, path, literal), *found[index + 1 :]]
                told = [f.message for f in all_findings(changed, pulumi=True)]
                assert [said for said in told if CANARY in said or str(NUMBER) in said] == [], path


@pytest.mark.parametrize("rule", ["secret-in-env", "secret-in-args"])
def test_no_rule_shows_a_literal_secret(rule: str) -> None:
    for case in cases_of(rule):
        told = [f.message for f in all_findings(list(case.objects), pulumi=False)]
        assert [said for said in told if "not-a-real" in said or "0000000000" in said] == [], case.id


@every_rule
def test_what_is_in_a_list_of_lists_is_judged_as_by_itself(rule: Rule) -> None:
    def listed(items: list[Raw]) -> Raw:
        return {"apiVersion": "v1", "kind": "List", "items": items}

    found = documents(rule.bad)
    alone = findings(rule, objects_of(found, pulumi=False))
    within = findings(rule, objects_of([listed([listed(found[:1]), *found[1:]])], pulumi=False))
    assert [(f.item.id, f.verdict) for f in within] == [(f.item.id, f.verdict) for f in alone]


def _of_namespace(document: Raw, namespace: str) -> Raw:
    return {**document, "metadata": {**document.get("metadata", {}), "namespace": namespace}}


@every_rule
def test_an_object_whose_namespace_is_not_known_hides_nothing_beside_others(rule: Rule) -> None:
    found = [_of_namespace(document, "llm") for document in documents(rule.bad)]
    for index, document in enumerate(found):
        changed = [*found[:index], _of_namespace(document, UNKNOWN), *found[index + 1 :]]
        # In a namespace with no pods that are known a Service may mean anybody's.
        is_nobodys = (rule.name, document["kind"]) == ("dangling-selector", "Deployment")
        assert is_nobodys or findings(rule, objects_of(changed, pulumi=True)), index


@every_rule
def test_what_an_environment_says_of_a_namespace_is_of_none_that_is_not_known(rule: Rule) -> None:
    objects = objects_of([_of_namespace(document, UNKNOWN) for document in documents(rule.bad)], pulumi=True)
    lenient = Environment(namespaces={"default": {"all": "disabled"}, UNKNOWN: {"all": "disabled"}})
    strict, there = (
        [
            *judge([rule], objects, environment, today=TODAY),
            *judge_stack([rule], Stack(objects=objects), environment, today=TODAY),
        ]
        for environment in (Environment(), lenient)
    )
    assert [(f.verdict, f.level) for f in there] == [(f.verdict, f.level) for f in strict]
    assert strict
