"""Policies: each rule over good and bad objects, and our own stacks held to every rule."""

from __future__ import annotations

import re
from fnmatch import fnmatchcase

import pytest
from conftest import Deploy
from google.protobuf import json_format  # type: ignore[import-untyped]  # its stubs lie in a namespace package
from judged import (
    BY_NAME,
    FOLDER,
    TODAY,
    Case,
    as_sent,
    cases_of,
    documents,
    findings,
    objects_of,
    resource_type,
    said,
)
from llm_policies.analyzer import Analyzer
from llm_policies.environment import PACK
from llm_policies.judging import judge, judge_stack
from llm_policies.objects import Stack, of_pulumi
from llm_policies.pack import RULES
from llm_policies.pools import read_pools
from llm_policies.remediation import apply
from llm_policies.rule import Rule
from llm_policies.values import UNKNOWNS
from on_mocks import Raw
from pulumi.runtime.proto import analyzer_pb2
from small_stacks import every_stack

from cli.levels import read_levels
from cli.policies import environment_of
from toolchain.paths import REPOSITORY

UNKNOWN = sorted(UNKNOWNS)[0]
every_rule = pytest.mark.parametrize("rule", RULES, ids=[rule.name for rule in RULES])
every_case = pytest.mark.parametrize(
    ("rule", "case"),
    [pytest.param(rule, case, id=f"{rule.name}: {case.id}") for rule in RULES for case in cases_of(rule.name)],
)


@every_case
@pytest.mark.parametrize("pulumi", [False, True], ids=["manifest", "pulumi"])
def test_what_a_rule_says(rule: Rule, case: Case, pulumi: bool) -> None:
    assert sorted(said(rule, case, pulumi=pulumi)) == sorted(case.says)


@every_rule
def test_the_examples_of_a_rules_page_are_what_they_say(rule: Rule) -> None:
    bad, good = (findings(rule, objects_of(documents(text), pulumi=False)) for text in (rule.bad, rule.good))
    assert [f.verdict for f in bad].count("violation") >= 1
    assert good == []


@pytest.mark.parametrize("rule", [r for r in RULES if r.remediate], ids=lambda rule: str(rule.name))
def test_a_remediation_leaves_nothing_to_say(rule: Rule) -> None:
    """What it mends is mended, once and for all: what is still to say then, a case says."""
    assert any(case.remediated for case in cases_of(rule.name)), "no case shows what the remediation does"
    for case in cases_of(rule.name):
        if case.remediated is None:
            continue
        [document] = case.objects
        [item] = objects_of([document], pulumi=False)
        context = rule.context(case.settings, None if case.pools is None else read_pools(case.pools))
        assert rule.remediate is not None
        # What may not be mended is remediated to itself. The document is changed in place.
        is_mended = document != case.remediated
        assert apply(document, rule.remediate(item, context)) == is_mended, case.id
        assert document == case.remediated, case.id
        left = findings(rule, objects_of([document], pulumi=False), case.settings, case.pools)
        assert [finding.message for finding in left] == list(case.then), case.id


@pytest.mark.parametrize("rule", [r for r in RULES if r.remediate], ids=lambda rule: str(rule.name))
def test_the_engine_is_told_of_a_remediation_where_there_is_a_violation(rule: Rule) -> None:
    """At the level `remediate`: also of what a rule finds over the stack, and of nothing else."""
    for case in cases_of(rule.name):
        if case.remediated is None:
            continue
        [document] = case.objects
        configured = analyzer_pb2.ConfigureAnalyzerRequest()
        configured.policyConfig[rule.name].enforcementLevel = analyzer_pb2.REMEDIATE
        configured.policyConfig[rule.name].properties.update(case.settings)
        configured.policyConfig[PACK].properties.update({"pools": case.pools} if case.pools else {})
        request = analyzer_pb2.AnalyzeRequest(type=resource_type(document))
        request.properties.update(document)
        analyzer = Analyzer("one", [rule], today=TODAY)
        analyzer.Configure(configured, None)  # type: ignore[arg-type]  # used for refusals only
        done = [json_format.MessageToDict(one.properties) for one in analyzer.Remediate(request, None).remediations]
        assert done == ([as_sent(case.remediated)] if document != case.remediated else []), case.id


@every_rule
def test_every_rule_has_good_and_bad_cases(rule: Rule) -> None:
    cases = cases_of(rule.name)
    assert any(case.says for case in cases)
    assert any(not case.says for case in cases)


def test_every_case_is_of_a_rule() -> None:
    assert {file.stem for file in FOLDER.glob("*.yaml")} == set(BY_NAME)
    assert len(BY_NAME) == len(RULES)


@every_rule
def test_a_rule_is_well_formed(rule: Rule) -> None:
    assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", rule.name)
    for text in (rule.title, rule.description, rule.remediation, *(s.description for s in rule.settings.values())):
        assert re.fullmatch(r"[A-Z/0-9'`].*[^.]\.", text, re.DOTALL), f"{text!r} is no sentence"
    assert rule.references
    assert all(rule.references)


@every_rule
def test_what_is_not_known_in_a_preview_is_told_and_never_passes(rule: Rule) -> None:
    """Where the whole specification is unknown, every rule that looks at it says so."""
    if not rule.judges_single or rule.name == PACK:
        return
    [document, *_] = documents(rule.bad)
    unknown: Raw = {**document, "spec": UNKNOWN}
    for key in ("data", "stringData", "subjects"):
        if key in document:
            unknown[key] = UNKNOWN
    found = findings(rule, objects_of([unknown], pulumi=True))
    assert [f.verdict for f in found] == ["undecided"] * len(found)
    assert found


# What reads the node's own sockets, in folders of the node that are root's: the reasons stand in the components.
EXCEPTED = {
    "DaemonSet/kube-system/nvidia-device-plugin-slices-*": {"hostpath", "run-as-non-root"},
    "DaemonSet/kube-system/dcgm-exporter": {"hostpath", "run-as-non-root"},
}
EXCEPTED_EVERYWHERE = "image-digest"
"""By the levels of our environments: images are named by their releases."""


@every_stack
def test_our_own_stacks_violate_no_rule(deployed: Deploy, raw: Raw) -> None:
    found = deployed(raw)
    environment = environment_of(read_levels(REPOSITORY / "policies/levels/prod.yaml"), found.plan)
    assert "disabled" not in environment.levels.values()
    assert not environment.namespaces
    objects = [item for r in found.resources for item in of_pulumi(r.type, r.inputs, urn=r.urn)]
    findings = [
        *judge(RULES, objects, environment, today=TODAY),
        *judge_stack(RULES, Stack(objects=objects), environment, today=TODAY),
    ]
    assert [(f.rule.name, f.item.id, f.message) for f in findings if f.verdict == "violation"] == []
    assert {(f.rule.name, f.item.id) for f in findings if f.verdict == "excepted"} == {
        (rule, item.id)
        for item in objects
        if item.pods
        for rule in {EXCEPTED_EVERYWHERE}.union(
            *(rules for pattern, rules in EXCEPTED.items() if fnmatchcase(item.id, pattern))
        )
    }
