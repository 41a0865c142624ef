"""How the policy pack reads objects: never a guess where something is unknown, or of the wrong type."""

from __future__ import annotations

import re
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st
from llm_policies.engine_options import last_option
from llm_policies.objects import of_manifest, of_pulumi
from llm_policies.quantities import quantity
from llm_policies.shared_memory import needed_bytes
from llm_policies.values import Malformed, Undecided, Unsaid, Value, hidden
from on_mocks import Raw

UNKNOWN = "04da6b54-80e4-46f7-96ec-b56ff0331ba9"

_SUFFIXES = {"": 0, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18, "m": -3, "u": -6, "n": -9}


@given(st.integers(0, 10**9), st.integers(0, 999), st.sampled_from(sorted(_SUFFIXES)))
def test_a_decimal_quantity_is_exact(whole: int, thousandths: int, suffix: str) -> None:
    value = quantity(f"{whole}.{thousandths:03d}{suffix}")
    assert value == (whole + Fraction(thousandths, 1000)) * Fraction(10) ** _SUFFIXES[suffix]


@given(st.integers(-(10**9), 10**9), st.integers(1, 6))
def test_a_binary_quantity_is_exact(whole: int, power: int) -> None:
    assert quantity(f"{whole}{' KMGTPE'[power]}i") == whole * 1024**power


@given(st.integers(-(10**6), 10**6), st.integers(-9, 18), st.sampled_from("eE"))
def test_a_quantity_may_have_an_exponent(whole: int, exponent: int, letter: str) -> None:
    assert quantity(f"{whole}{letter}{exponent}") == whole * Fraction(10) ** exponent


@given(st.integers(0, 2**40))
def test_a_number_of_the_engine_is_its_own_quantity(number: int) -> None:
    assert quantity(float(number)) == quantity(number) == quantity(str(number)) == number


@pytest.mark.parametrize("text", ["", "4GB", "4K", "4 Gi", "Gi", "1e", "1ee3", "٣", "1Gi ", True, None, "0x10"])
def test_what_kubernetes_takes_for_no_quantity_is_none(text: object) -> None:
    with pytest.raises(ValueError, match="not a Kubernetes quantity"):
        quantity(text)


@pytest.mark.parametrize(("raw", "least"), [(0, 0), (1.0, 1), ("-1", None), (-1, None)])
def test_a_number_may_be_the_least(raw: object, least: int | None) -> None:
    assert Value(raw).quantity(least=least) == Fraction(str(raw))


def test_a_number_that_kubernetes_refuses_is_told() -> None:
    with pytest.raises(Malformed, match=r"a is -1, not 0 or more"):
        Value(-1.0, "a").integer(least=0)
    with pytest.raises(Malformed, match=r"a is '-4Gi', not 0 or more"):
        Value("-4Gi", "a").quantity(least=0)


@given(st.integers(2, 1024))
def test_shared_memory_that_is_needed_grows_by_a_worker(workers: int) -> None:
    assert needed_bytes(workers) - needed_bytes(workers - 1) == 512 * 2**20


POD_SPEC: Raw = {"containers": [{"name": "c"}]}


@pytest.mark.parametrize(
    ("kind", "properties", "count"),
    [
        ("Pod", {"spec": POD_SPEC}, 1),
        *[(kind, {"spec": {"template": {"spec": POD_SPEC}}}, 1) for kind in ("Deployment", "Job", "ReplicaSet")],
        ("CronJob", {"spec": {"jobTemplate": {"spec": {"template": {"spec": POD_SPEC}}}}}, 1),
        ("PodTemplate", {"template": {"spec": POD_SPEC}}, 1),
        (
            "LeaderWorkerSet",
            {"spec": {"leaderWorkerTemplate": {k: {"spec": POD_SPEC} for k in ("leaderTemplate", "workerTemplate")}}},
            2,
        ),
        ("Service", {"spec": POD_SPEC}, 0),
    ],
)
def test_pods_are_found_in_every_kind_that_makes_them(kind: str, properties: Raw, count: int) -> None:
    [item] = of_manifest({"kind": kind, **properties})
    assert [container.own_name for pod in item.pods for container in pod.containers] == ["c"] * count


@pytest.mark.parametrize(
    ("api_version", "kind", "known_as"),
    [
        ("v1", "Service", "Service"),
        ("apps/v1", "Deployment", "Deployment"),
        ("extensions/v1beta1", "Deployment", "Deployment"),
        ("serving.knative.dev/v1", "Service", "Service.serving.knative.dev"),
        ("batch.volcano.sh/v1alpha1", "Job", "Job.batch.volcano.sh"),
        ("keda.sh/v1alpha1", "ScaledObject", "ScaledObject"),
        ("v1", "Deployment", "Deployment"),  # of no group, it is none of another
    ],
)
def test_a_kind_of_another_group_is_another_kind(api_version: str, kind: str, known_as: str) -> None:
    """What a Service of Knative says is no Service's; nor is it passed for one without a word."""
    [item] = of_manifest({"apiVersion": api_version, "kind": kind})
    [listed] = of_manifest({"apiVersion": "v1", "kind": "List", "items": [{"apiVersion": api_version, "kind": kind}]})
    assert (item.kind, listed.kind) == (known_as, known_as)


def test_every_container_of_a_pod_is_found() -> None:
    pod = {key: [{"name": key}] for key in ("containers", "ephemeralContainers", "initContainers")}
    [item] = of_manifest({"apiVersion": "v1", "kind": "Pod", "spec": pod})
    assert sorted(c.name for c in item.pod.containers) == sorted(pod)


def test_gpus_of_a_pod_are_those_of_all_its_containers() -> None:
    limits: list[Raw] = [{"nvidia.com/gpu": 2.0}, {"nvidia.com/gpu": "1"}, {"amd.com/gpu": "1"}, {"memory": "1Gi"}, {}]
    spec = {"containers": [{"resources": {"limits": limit}} for limit in limits] + [{}]}
    [item] = of_manifest({"apiVersion": "v1", "kind": "Pod", "spec": spec})
    assert item.pod.gpus == 4


def test_a_list_is_its_items() -> None:
    items = [{"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name}} for name in "ab"]
    found = of_manifest({"apiVersion": "v1", "kind": "List", "items": items})
    assert [item.id for item in found] == ["Deployment/default/a", "Deployment/default/b"]
    found = of_pulumi("kubernetes:apps/v1:DeploymentList", {"items": [{"metadata": {"name": "c"}}]})
    assert [item.id for item in found] == ["Deployment/default/c"]


def test_what_kubectl_takes_for_a_list_is_its_items_also_within_another() -> None:
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a"}}
    named = {"metadata": {"name": "b"}}  # of a list of one kind
    nested = {
        "apiVersion": "v1",
        "kind": "List",
        "items": [{"apiVersion": "apps/v1", "kind": "DeploymentList", "items": [named]}],
    }
    found = of_manifest(
        {"apiVersion": "v1", "kind": "List", "items": [pod, nested, {"kind": "PodList", "items": [pod]}]}
    )
    assert [item.id for item in found] == ["Pod/default/a", "Deployment/default/b", "Pod/default/a"]
    assert [item.properties.path for item in found] == ["items[0]", "items[1].items[0].items[0]", "items[2].items[0]"]
    # A List by its items alone is one for kubectl, and an object for others.
    found = of_manifest({"apiVersion": "v1", "kind": "ConfigMap", "items": [pod]})
    assert [item.kind for item in found] == ["ConfigMap", "Pod"]


@pytest.mark.parametrize(
    ("words", "value"),
    [
        (["--x", "1"], "1"),
        (["--x=1"], "1"),
        (["-x=1", "--x=2"], "2"),
        (["--xx=1"], None),
        (["--x"], ""),
        (["--x", "--y"], ""),
        ([], None),
    ],
)
def test_an_option_is_read_as_the_engine_reads_it(words: list[str], value: str | None) -> None:
    assert last_option(tuple(words), "--x", "-x") == value


def test_an_unknown_is_never_read() -> None:
    value = Value({"spec": UNKNOWN})
    with pytest.raises(Undecided, match="spec is known after the deployment only"):
        value.get("spec", "replicas")
    for read in ("text", "boolean", "integer", "quantity", "items", "pairs"):
        with pytest.raises(Undecided):
            getattr(value.get("spec"), read)()


@given(
    st.recursive(
        st.none() | st.booleans() | st.floats() | st.text(), lambda s: st.lists(s) | st.dictionaries(st.text(), s)
    )
)
def test_a_value_is_read_as_what_it_is_or_refused(raw: object) -> None:
    kinds = {"text": str, "boolean": bool, "integer": int, "quantity": Fraction}
    for read, kind in kinds.items():
        try:
            found = getattr(Value(raw), read)()
        except Malformed:
            continue
        assert found is None or isinstance(found, kind)
        assert (found is None) == (raw is None)


def test_what_a_patch_leaves_out_is_not_said() -> None:
    [patch] = of_pulumi("kubernetes:apps/v1:DeploymentPatch", {"metadata": {"name": "a"}})
    assert patch.kind == "Deployment"
    with pytest.raises(Unsaid):
        patch.properties.get("spec").pairs()
    assert of_pulumi("kubernetes:helm.sh/v4:Chart", {}) != []
    assert of_pulumi("aws:s3/bucket:Bucket", {}) == []


@pytest.mark.parametrize(
    ("raw", "kind"), [(12345678, "a number"), (True, "a truth value"), ([1], "a list"), ({"a": 1}, "a mapping")]
)
def test_a_doubt_about_a_variable_or_an_argument_does_not_show_it(raw: object, kind: str) -> None:
    with pytest.raises(Malformed, match=re.escape(f"env[0].value is {kind}, not a text")):
        hidden(Value(raw, "env[0].value")).text()
