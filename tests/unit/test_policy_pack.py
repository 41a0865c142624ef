"""The policy pack: how it reads manifests, and what it answers when Pulumi starts it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from fractions import Fraction

import grpc
import pytest
from google.protobuf import (  # type: ignore[import-untyped]  # its stubs lie in a namespace package
    empty_pb2,
    struct_pb2,
)
from hypothesis import given
from hypothesis import strategies as st
from llm_policies.manifest import containers, gpus, kind, option, pod_spec, quantity
from llm_policies.pack import RULES
from llm_policies.shared_memory import needed_bytes
from on_mocks import Raw
from policy_cases import (
    DEPLOYMENT,
    JOB,
    POD,
    deployment,
    gpu_server,
    mutable,
    needs_spare_gpu,
    small_shm,
)
from pulumi.runtime.proto import analyzer_pb2, analyzer_pb2_grpc

from toolchain.paths import REPOSITORY

# --- reading manifests ---

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
    with pytest.raises(ValueError, match="is not a Kubernetes quantity"):
        quantity(text)


@given(st.integers(2, 1024))
def test_shared_memory_that_is_needed_grows_by_a_worker(workers: int) -> None:
    assert needed_bytes(workers) - needed_bytes(workers - 1) == 512 * 2**20


def test_pods_are_found_in_every_kind_that_makes_them() -> None:
    pod = {"containers": [{"name": "c"}]}
    for type_ in (DEPLOYMENT, JOB, "kubernetes:apps/v1:StatefulSet", "kubernetes:apps/v1:DaemonSet"):
        assert pod_spec(type_, deployment(pod)) == pod
    assert pod_spec(POD, {"spec": pod}) == pod
    assert pod_spec("kubernetes:core/v1:Service", {"spec": pod}) is None
    assert (kind(DEPLOYMENT), kind("aws:apps/v1:Deployment")) == ("Deployment", "")


def test_every_container_of_a_pod_is_found() -> None:
    pod = {key: [{"name": key}] for key in ("containers", "ephemeralContainers", "initContainers")}
    assert sorted(c["name"] for c in containers(pod)) == sorted(pod)


def test_gpus_of_a_pod_are_those_of_all_its_containers() -> None:
    limits: list[Raw] = [{"nvidia.com/gpu": 2.0}, {"nvidia.com/gpu": "1"}, {"amd.com/gpu": "1"}, {"memory": "1Gi"}, {}]
    assert gpus({"containers": [{"resources": {"limits": limit}} for limit in limits] + [{}]}) == 4


@pytest.mark.parametrize(
    ("words", "value"),
    [(["--x", "1"], "1"), (["--x=1"], "1"), (["-x=1", "--x=2"], "2"), (["--xx=1"], None), (["--x"], ""), ([], None)],
)
def test_an_option_is_read_as_the_engine_reads_it(words: list[str], value: str | None) -> None:
    assert option({"args": words}, "--x", "-x") == value


# --- the pack as Pulumi starts it ---


@pytest.fixture(scope="module")
def pack() -> Iterator[analyzer_pb2_grpc.AnalyzerStub]:
    """The running pack; the engine's own address leads nowhere, as nothing is logged."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PULUMI_")}
    process = subprocess.Popen(
        [sys.executable, "-u", "-m", "pulumi.policy", "127.0.0.1:1", "policies"],
        cwd=REPOSITORY,
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        port = process.stdout.readline().strip()
        assert port.isdecimal(), f"the pack printed {port!r} instead of a port"
        with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
            yield analyzer_pb2_grpc.AnalyzerStub(channel)
    finally:
        process.kill()
        process.communicate()


def test_the_pack_says_what_it_has(pack: analyzer_pb2_grpc.AnalyzerStub) -> None:
    info = pack.GetAnalyzerInfo(empty_pb2.Empty(), timeout=20)
    assert info.name == "llm-policies"
    levels = {"error": analyzer_pb2.MANDATORY, "warn": analyzer_pb2.ADVISORY}
    assert {p.name: p.enforcementLevel for p in info.policies} == {r.name: levels[r.severity] for r in RULES}
    for rule in RULES:
        [described] = [p.description for p in info.policies if p.name == rule.name]
        assert rule.remediation in described


def analyze(pack: analyzer_pb2_grpc.AnalyzerStub, properties: Raw) -> dict[str, str]:
    """Message by policy."""
    sent = struct_pb2.Struct()
    sent.update(properties)
    urn = f"urn:pulumi:test::llm-serving::{DEPLOYMENT}::chat"
    request = analyzer_pb2.AnalyzeRequest(type=DEPLOYMENT, properties=sent, urn=urn, name="chat")
    return {d.policyName: d.message for d in pack.Analyze(request, timeout=20).diagnostics}


def test_the_pack_finds_what_is_wrong(pack: analyzer_pb2_grpc.AnalyzerStub) -> None:
    bad = gpu_server(replicas=1)
    bad["spec"]["template"]["spec"]["containers"][0] |= {"image": "vllm", "args": ["m", "-tp=2"]}
    found = analyze(pack, bad)
    assert set(found) == {rule.name for rule in RULES}
    assert needs_spare_gpu() in found["gpu-rollout-deadlock"]
    assert mutable("vllm") in found["image-tag-mutable"]
    assert small_shm("64Mi", 2, "1536Mi") in found["shm-too-small"]


def test_the_pack_lets_pass_what_is_right(pack: analyzer_pb2_grpc.AnalyzerStub) -> None:
    good = gpu_server(replicas=1, strategy={"type": "Recreate"})
    good["spec"]["template"]["spec"]["containers"][0] |= {"image": "vllm:v1"}
    assert analyze(pack, good) == {}


def test_a_field_that_a_rule_cannot_read_is_a_finding_and_does_not_end_the_run(
    pack: analyzer_pb2_grpc.AnalyzerStub,
) -> None:
    bad = gpu_server(replicas=1, strategy={"type": "Recreate"})
    bad["spec"]["template"]["spec"]["containers"][0] |= {"image": "vllm:v1", "args": ["m", "-tp=2"]}
    bad["spec"]["template"]["spec"]["containers"][0]["resources"] = {
        "limits": {"nvidia.com/gpu": "two", "memory": "1Gi"}
    }
    found = analyze(pack, bad)
    assert "cannot be judged: 'two' is not a Kubernetes quantity. Correct the field." in found["gpu-rollout-deadlock"]
    assert "shm-too-small" in found
