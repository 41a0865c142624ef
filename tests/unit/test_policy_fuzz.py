"""Hostile input: whatever stands where in an object, the pack answers, soon, and lets nothing pass by accident."""

from __future__ import annotations

import copy
import datetime
import functools
import json
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
from cpu_time import cpu_seconds
from google.protobuf import json_format  # type: ignore[import-untyped]  # its stubs lie in a namespace package
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from judged import TODAY, cases_of, documents, findings, objects_of, resource_type
from llm_policies.analyzer import Analyzer
from llm_policies.environment import Environment
from llm_policies.judging import Finding, judge, judge_stack
from llm_policies.objects import Stack
from llm_policies.pack import RULES
from llm_policies.pools import Pool
from llm_policies.rule import Rule
from llm_policies.values import SECRET, SIGNATURE, UNKNOWNS
from on_mocks import Raw
from pulumi.runtime.proto import analyzer_pb2

Path = tuple[str | int, ...]

UNKNOWN = sorted(UNKNOWNS)[0]
CANARY = "c4n4ry-0f-4-s3cr3t"
CPU_SECONDS = 3.0
"""For all rules over one object; they take about a thousandth of it."""

every_rule = pytest.mark.parametrize("rule", RULES, ids=[rule.name for rule in RULES])

ENVIRONMENTS = (Environment(), Environment(pools={"a": Pool(nodes=2, gpus=4, memory_mib=81920), "b": Pool(gpus=0)}))


def deep(levels: int) -> Any:
    """A list in a list in a list."""
    found: Any = []
    for _ in range(levels):
        found = [found]
    return found


WRONG: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 3.5, 1e308, float("nan"), float("inf"), 10**4000, -(10**40)),
    *("", " ", "x" * 100_000, "1e999", "-1", "0x10", "\0", "\ud800", "99999999999999999999999Gi", "%", "100%%"),
    *([], {}, [None], [[]], [{}], {"": None}, {"name": None}, [UNKNOWN], {UNKNOWN: UNKNOWN}, UNKNOWN),
    *({SIGNATURE: SECRET}, {SIGNATURE: SECRET, "value": CANARY}, {SIGNATURE: "another", "value": 1}),
    *({SIGNATURE: SECRET, "value": {SIGNATURE: SECRET, "value": UNKNOWN}}, deep(300)),
)
"""What nobody means, at any place."""

scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(10**30), 10**30),
    st.floats(),
    st.text(max_size=20),
    st.sampled_from(sorted(UNKNOWNS)),
)
anything = st.one_of(
    st.sampled_from(WRONG),
    st.recursive(
        scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
)


@functools.cache
def corpus() -> tuple[tuple[Raw, ...], ...]:
    """Objects that belong together: of every page and of every case."""
    pages = [documents(text) for rule in RULES for text in (rule.bad, rule.good)]
    return tuple(tuple(found) for found in [*pages, *(case.objects for rule in RULES for case in cases_of(rule.name))])


def places(value: Any, path: Path = ()) -> Iterator[Path]:
    """Where something is in a document."""
    if path:
        yield path
    pairs = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in pairs:
        yield from places(item, (*path, key))


def at(document: Any, path: Path) -> Any:
    """What is there."""
    for key in path:
        document = document[key]
    return document


def put(document: Raw, path: Path, value: Any) -> Raw:
    """A copy with `value` at `path`."""
    changed = copy.deepcopy(document)
    at(changed, path[:-1])[path[-1]] = copy.deepcopy(value)
    return changed


@st.composite
def hostile(draw: st.DrawFn) -> list[Raw]:
    """Objects of a page or a case, some of them twice, with something odd at one to three places of one."""
    found = list(draw(st.sampled_from(corpus())))
    index = draw(st.integers(0, len(found) - 1))
    for _ in range(draw(st.integers(1, 3))):
        if not (where := list(places(found[index]))):
            break
        found[index] = put(found[index], draw(st.sampled_from(where)), draw(anything))
    return [*found, *(found if draw(st.booleans()) else [])]


def all_findings(documents: list[Raw], *, pulumi: bool) -> list[Finding]:
    """What the pack says in each environment, with a limit of time."""
    found: list[Finding] = []
    with cpu_seconds(CPU_SECONDS):
        objects = objects_of(documents, pulumi=pulumi)
        for environment in ENVIRONMENTS:
            found += judge(RULES, objects, environment, today=TODAY)
            found += judge_stack(RULES, Stack(objects=objects), environment, today=TODAY)
    return found


def _numbers(value: Any) -> Iterator[Any]:
    items = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    for item in items:
        yield item
        yield from _numbers(item)


@given(hostile(), st.booleans())
@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
def test_whatever_an_object_is_the_pack_answers(documents: list[Raw], pulumi: bool) -> None:
    pulumi = pulumi and 10**4000 not in _numbers(documents)  # the engine's numbers are floats
    for finding in all_findings(documents, pulumi=pulumi):
        assert finding.message
        assert CANARY not in finding.message


@every_rule
@pytest.mark.parametrize("pulumi", [False, True], ids=["manifest", "pulumi"])
def test_any_field_of_a_rules_examples_may_be_anything(rule: Rule, pulumi: bool) -> None:
    for text in (rule.bad, rule.good):
        found = documents(text)
        for index, document in enumerate(found):
            for path in places(document):
                for value in WRONG:
                    if pulumi and value == 10**4000:
                        continue  # the engine's numbers are floats
                    changed = [*found[:index], put(document, path, value), *found[index + 1 :]]
                    with cpu_seconds(CPU_SECONDS):
                        findings(rule, objects_of(changed, pulumi=pulumi))


# Which objects there are, and which belong together, is said by these: another name is another object, and of another
# kind is none that the rule looks at.
IDENTITY = {"apiVersion", "kind", "metadata"}
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
def test_a_secret_is_judged_and_never_shown(rule: Rule) -> None:
    """What a program marks as secret is not in a message, wherever it is."""
    found = documents(rule.bad)
    for index, document in enumerate(found):
        for path in places(document):
            old = at(document, path)
            if not isinstance(old, str) or len(old) < 6 or path[0] in IDENTITY:
                continue
            for secret in (old, f"{old}{CANARY}", CANARY):
                changed = put(document, path, {SIGNATURE: SECRET, "value": secret})
                with_secret = all_findings([*found[:index], changed, *found[index + 1 :]], pulumi=True)
                assert [f.message for f in with_secret if secret in f.message] == [], path


def test_one_secret_variable_hides_itself_and_no_name() -> None:
    """The provider marks the whole list that it is in."""
    variable = {"name": "HF_TOKEN", "value": CANARY}
    container = {"name": "vllm", "image": f"vllm/vllm-openai:{CANARY}", "env": [variable, {"name": CANARY}]}
    marked = {SIGNATURE: SECRET, "value": [container, {"name": "other", "image": "other:latest"}]}
    found = all_findings([{"apiVersion": "v1", "kind": "Pod", "spec": {"containers": marked}}], pulumi=True)
    assert [f.message for f in found if CANARY in f.message] == []
    assert any("other: image 'other:latest' is mutable" in f.message for f in found)


def secrets_and_unknowns(value: Any) -> Counter[str]:
    """What a remediation may not touch, with its keys: of a list the others may move up."""
    closed: Counter[str] = Counter()
    for path in places(value):
        item = at(value, path)
        if (isinstance(item, dict) and SIGNATURE in item) or (isinstance(item, str) and item in UNKNOWNS):
            keys = [key if isinstance(key, str) else "*" for key in path]
            # Of a list or mapping that is secret as a whole the mark must stay, and each secret in it.
            whole = isinstance(item, dict) and isinstance(item.get("value"), dict | list)
            closed[json.dumps([*keys, None if whole else item], sort_keys=True)] += 1
    return closed


def remediated(analyzer: Analyzer, document: Raw) -> tuple[list[str], Any]:
    """The remediations, and what the object is after the last."""
    request = analyzer_pb2.AnalyzeRequest(type=resource_type(document))
    request.properties.update(document)
    sent = json_format.MessageToDict(request.properties)
    with cpu_seconds(CPU_SECONDS):
        done = analyzer.Remediate(request, None).remediations
    return [one.policyName for one in done], json_format.MessageToDict(done[-1].properties) if done else sent


@functools.cache
def mending() -> Analyzer:
    """The pack with every rule at the level `remediate`."""
    analyzer = Analyzer("fuzzed", RULES, today=datetime.date(2026, 11, 21))
    request = analyzer_pb2.ConfigureAnalyzerRequest()
    for rule in RULES:
        request.policyConfig[rule.name].enforcementLevel = analyzer_pb2.REMEDIATE
    analyzer.Configure(request, None)  # type: ignore[arg-type]  # used for refusals only
    return analyzer


def mends_well(document: Raw) -> None:
    """A remediation ends, leaves secrets and unknowns as they are, and has nothing more to do."""
    analyzer = mending()
    request = analyzer_pb2.AnalyzeRequest()
    request.properties.update(document)
    before = secrets_and_unknowns(json_format.MessageToDict(request.properties))
    _, once = remediated(analyzer, document)
    assert secrets_and_unknowns(once) == before
    again, twice = remediated(analyzer, once)
    assert (again, twice) == ([], once)


@given(hostile())
@settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck))
@example([{"apiVersion": "v1", "kind": "Pod", "spec": {"containers": [{"name": "a", "image": UNKNOWN}]}}])
def test_a_remediation_of_anything_keeps_secrets_and_is_done_at_once(documents: list[Raw]) -> None:
    for document in documents:
        if _is_sendable(document):
            mends_well(document)


@pytest.mark.parametrize("rule", [rule for rule in RULES if rule.remediate], ids=lambda rule: str(rule.name))
@pytest.mark.parametrize("closed", [UNKNOWN, None], ids=["unknown", "secret"])
def test_a_remediation_touches_no_place_that_is_closed(rule: Rule, closed: str | None) -> None:
    for document in documents(rule.bad):
        for path in places(document):
            if path[0] not in ("apiVersion", "kind"):
                value = closed or {SIGNATURE: SECRET, "value": at(document, path)}
                mends_well(put(document, path, value))


def _is_sendable(document: Any) -> bool:
    """Whether the engine could send it: JSON, of no more than a hundred levels."""
    if not isinstance(document, dict):
        return False
    try:
        request = analyzer_pb2.AnalyzeRequest()
        request.properties.update(document)
        analyzer_pb2.AnalyzeRequest.FromString(request.SerializeToString())
        json_format.MessageToDict(request.properties)
    except (ValueError, TypeError, RecursionError, OverflowError, UnicodeError, json_format.Error):
        return False
    except Exception as error:
        if type(error).__name__ in ("DecodeError", "SerializeToJsonError"):
            return False
        raise
    return True
