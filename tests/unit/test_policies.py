"""Policies: each rule over good and bad objects, and our own stacks held to every rule."""

from __future__ import annotations

import json
import re

import pytest
from conftest import Deploy
from llm_policies.pack import RULES
from llm_policies.rule import Rule
from on_mocks import Raw
from policy_cases import (
    CASES,
    CRON_JOB,
    DEPLOYMENT,
    JOB,
    POD,
    Case,
    deployment,
)
from pulumi_policy.proxy import UNKNOWN_STRING_VALUE, UnknownValueError, unknown_checking_proxy
from small_stacks import VARIANTS, every_stack

from cli.policies import policy_config
from toolchain.paths import REPOSITORY

every_rule = pytest.mark.parametrize("rule", RULES, ids=[rule.name for rule in RULES])


def told(rule: Rule, type_: str, properties: Raw, settings: Raw | None = None) -> list[str]:
    """What `rule` says of an object as the engine sends it: proxies instead of dict and list."""
    defaults = {
        name: float(setting.default) if isinstance(setting.default, int) else setting.default
        for name, setting in rule.settings.items()
    }
    return list(rule.check(type_, unknown_checking_proxy(properties), {**defaults, **(settings or {})}))


@pytest.mark.parametrize(
    ("rule", "case"),
    [pytest.param(rule, case, id=f"{rule.name}: {case.id}") for rule in RULES for case in CASES.get(rule.name, [])],
)
def test_what_a_rule_says(rule: Rule, case: Case) -> None:
    assert told(rule, case.type, case.properties, case.settings) == list(case.says)


@every_rule
def test_every_rule_has_a_good_and_a_bad_case(rule: Rule) -> None:
    cases = CASES[rule.name]
    assert any(case.says for case in cases)
    assert any(not case.says for case in cases)


def test_every_case_is_of_a_rule() -> None:
    assert set(CASES) == {rule.name for rule in RULES}
    assert len({rule.name for rule in RULES}) == len(RULES)


@every_rule
def test_a_rule_is_well_formed(rule: Rule) -> None:
    assert re.fullmatch(r"[a-z]+(-[a-z]+)+", rule.name)
    for text in (rule.title, rule.description, rule.remediation, *(s.description for s in rule.settings.values())):
        assert re.fullmatch(r"[A-Z/0-9].*[^.]\.", text), f"{text!r} is no sentence"
    assert rule.references
    assert all(rule.references)
    assert rule.severity in ("error", "warn")


@every_rule
def test_what_is_not_known_in_a_preview_is_left_to_pulumi(rule: Rule) -> None:
    """Pulumi skips a rule for a resource where it meets an unknown: the rule may not take it for an answer."""
    unknown: Raw = {"metadata": {"name": "x"}, "spec": UNKNOWN_STRING_VALUE}
    with pytest.raises(UnknownValueError):
        told(rule, DEPLOYMENT, unknown)


@every_rule
@pytest.mark.parametrize(
    "properties",
    [{}, {"spec": {}}, {"spec": {"template": {}}}, deployment({}), deployment({"containers": []})],
)
def test_a_half_empty_object_breaks_no_rule(rule: Rule, properties: Raw) -> None:
    for type_ in (DEPLOYMENT, POD, JOB, CRON_JOB):
        assert told(rule, type_, properties) == []


@every_stack
def test_our_own_stacks_violate_no_rule(deployed: Deploy, raw: Raw) -> None:
    found = deployed(raw)
    config = policy_config({}, found.plan)
    violations = [
        (rule.name, r.urn, message)
        for rule in RULES
        for r in found.resources
        for message in told(rule, r.type, r.inputs, config.get(rule.name))
    ]
    assert violations == []


def test_a_level_stays_what_the_environment_says(deployed: Deploy) -> None:
    planned = deployed(VARIANTS["spare-gpu"]).plan
    rule, spare = "gpu-rollout-deadlock", {"spareGpusByWorkload": {"llm/chat": 2, "llm/help": 2}}
    assert policy_config({}, planned)[rule] == spare
    assert policy_config({"all": "advisory"}, planned)[rule] == spare | {"enforcementLevel": "advisory"}
    assert policy_config({"all": "advisory", rule: "mandatory"}, planned)[rule] == spare | {
        "enforcementLevel": "mandatory"
    }
    assert policy_config({rule: {"enforcementLevel": "disabled", "spareGpus": 4}}, planned)[rule] == spare | {
        "enforcementLevel": "disabled",
        "spareGpus": 4,
    }
    assert policy_config({"all": "advisory", "shm-too-small": "mandatory"}, planned)["shm-too-small"] == "mandatory"


def test_levels_name_only_rules_that_there_are() -> None:
    files = sorted((REPOSITORY / "policies/levels").glob("*.json"))
    assert files
    for file in files:
        levels = json.loads(file.read_text())
        assert set(levels) <= {"all", *(rule.name for rule in RULES)}, file.name
        for level in levels.values():
            written = level if isinstance(level, str) else level["enforcementLevel"]
            assert written in {"advisory", "mandatory", "disabled", "remediate"}, file.name
