"""Hostile input: whatever stands where in an object, the pack answers, soon, and lets nothing pass by accident."""

from __future__ import annotations

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
from judged import documents, findings, objects_of, resource_type
from llm_policies.analyzer import Analyzer
from llm_policies.pack import RULES
from llm_policies.rule import Rule
from llm_policies.values import SECRET, SIGNATURE, UNKNOWNS
from odd_objects import CANARY, CPU_SECONDS, UNKNOWN, WRONG, all_findings, at, corpus, places, put
from on_mocks import Raw
from pulumi.runtime.proto import analyzer_pb2

every_rule = pytest.mark.parametrize("rule", RULES, ids=[rule.name for rule in RULES])

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
