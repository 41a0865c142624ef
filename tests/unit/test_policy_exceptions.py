"""Exceptions and levels: what they cover, and what they do not, whatever is not known of an object."""

from __future__ import annotations

import pytest
from judged import BY_NAME, TODAY
from llm_policies.environment import PackSettingsError, read_environment
from llm_policies.judging import judge
from llm_policies.objects import NOT_KNOWN, Object, of_manifest, of_pulumi
from llm_policies.pack import RULES
from llm_policies.values import SECRET, SIGNATURE, UNKNOWNS
from on_mocks import Raw

UNKNOWN = sorted(UNKNOWNS)[0]
RULE = BY_NAME["privileged"]
SPEC = {"containers": [{"name": "a", "image": "a:v1", "securityContext": {"privileged": True}}]}
HOLDS = "until 2027-06-30, owner ops: reads the devices of the node"


def pod(**metadata: object) -> Object:
    [item] = of_manifest({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "chat"} | metadata, "spec": SPEC})
    return item


def verdicts(item: Object, written: Raw | None = None) -> list[tuple[str, str]]:
    """Verdict and level of every finding of the rule."""
    environment = read_environment(written or {}, RULES)
    return [(f.verdict, f.level) for f in judge([RULE], [item], environment, today=TODAY)]


def excepting(pattern: str) -> Raw:
    said = {"rule": "privileged", "object": pattern, "reason": "reads the devices", "owner": "ops"}
    return {"exceptions": [said | {"until": "2027-06-30"}]}


VIOLATED, EXCEPTED = [("violation", "mandatory")], [("excepted", "advisory")]


@pytest.mark.parametrize("pattern", ["*", "Pod/llm/chat", "Pod/llm/*", "Pod/*/chat", "*/*/*", "Pod/l*m/ch?t"])
def test_an_exception_covers_what_has_its_form(pattern: str) -> None:
    assert verdicts(pod(namespace="llm"), excepting(pattern)) == EXCEPTED


@pytest.mark.parametrize("pattern", ["Pod/llm/other", "Pod/other/*", "*/*", "Deployment/*/*", "Pod/ll/*"])
def test_an_exception_covers_nothing_else(pattern: str) -> None:
    assert verdicts(pod(namespace="llm"), excepting(pattern)) == VIOLATED


def test_a_form_of_one_namespace_is_none_of_another_that_begins_so() -> None:
    [job] = of_manifest({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "llm-prod"}})
    environment = read_environment(excepting("*/llm*"), RULES)
    assert environment.exceptions[0].covers("privileged", job)
    assert not environment.exceptions[0].covers("privileged", pod(namespace="llm-prod"))


@pytest.mark.parametrize("pattern", ["Pod/llm*", "Pod", "**", "Pod/llm/chat/a", "Namespace/llm/llm", "*/a/b/c"])
def test_a_form_that_no_object_has_is_a_mistake(pattern: str) -> None:
    with pytest.raises(PackSettingsError) as error:
        read_environment(excepting(pattern), RULES)
    assert str(error.value) == (
        f"exceptions[0].object: '{pattern}' is no object's, so it excepts nothing. Write Kind/namespace/name, "
        "Kind/name of a kind without namespace, or * for all; within a part * is any text."
    )


@pytest.mark.parametrize("namespace", [UNKNOWN, {"odd": 1}], ids=["unknown", "no text"])
def test_a_namespace_that_is_not_known_is_none_of_an_environments(namespace: object) -> None:
    item = pod(namespace=namespace)
    assert (item.namespace, item.id) == (NOT_KNOWN, f"Pod/{NOT_KNOWN}/chat")
    assert verdicts(item, {"namespaces": {"default": "disabled"}}) == VIOLATED
    assert verdicts(item, excepting("Pod/default/chat")) == VIOLATED
    assert verdicts(item, excepting("Pod/*/chat")) == EXCEPTED
    assert verdicts(pod(), {"namespaces": {"default": "disabled"}}) == []


@pytest.mark.parametrize("name", [UNKNOWN, {"odd": 1}], ids=["unknown", "no text"])
def test_a_name_that_is_not_known_is_none_of_an_exceptions(name: object) -> None:
    assert verdicts(pod(name=name), excepting("Pod/default/chat")) == VIOLATED
    assert verdicts(pod(name=name), excepting("Pod/default/*")) == EXCEPTED


def test_a_patch_without_a_namespace_is_of_the_default_one() -> None:
    [patch] = of_pulumi("kubernetes:core/v1:PodPatch", {"metadata": {"name": "chat"}, "spec": SPEC})
    assert patch.namespace == "default"


def test_an_annotation_holds_beside_one_that_is_malformed() -> None:
    malformed: Raw = {"prometheus.io/port": 8080, "checksum/config": UNKNOWN, "llm-policies/hostpath": UNKNOWN}
    item = pod(annotations=malformed | {"llm-policies/privileged": HOLDS})
    assert verdicts(item) == EXCEPTED
    told = judge([BY_NAME["policy-settings"]], [item], read_environment({}, RULES), today=TODAY)
    assert [(f.verdict, f.message) for f in told] == [
        (
            "violation",
            "cannot be judged: metadata.annotations.prometheus.io/port is 8080, not a text. Correct the field.",
        ),
        (
            "undecided",
            "cannot be decided yet: metadata.annotations.llm-policies/hostpath is known after the deployment only.",
        ),
    ]


@pytest.mark.parametrize("annotations", [UNKNOWN, "odd"], ids=["unknown", "no mapping"])
def test_annotations_that_cannot_be_read_except_nothing(annotations: object) -> None:
    assert verdicts(pod(annotations=annotations)) == VIOLATED


def test_a_secret_annotation_excepts_nothing_and_is_not_shown() -> None:
    item = pod(annotations={"llm-policies/privileged": {SIGNATURE: SECRET, "value": HOLDS}})
    assert verdicts(item) == VIOLATED
    # What stands among secrets is none by that.
    assert verdicts(pod(annotations={SIGNATURE: SECRET, "value": {"llm-policies/privileged": HOLDS}})) == EXCEPTED


def test_what_is_said_of_a_severity_goes_before_what_is_said_of_all() -> None:
    for levels in ({"error": "mandatory", "all": "advisory"}, {"all": "advisory", "error": "mandatory"}):
        assert read_environment({"levels": levels}, RULES).level(RULE, "llm") == "mandatory"
