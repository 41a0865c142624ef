"""What a site's rules open or move: registries, logins, clients past the edge, Pod Security; and our namespaces."""

from __future__ import annotations

import re
from typing import Any

import pytest
from conftest import Deploy
from hypothesis import given
from hypothesis import strategies as st
from on_mocks import Raw, settings_of
from small_stacks import VARIANTS, every_stack, node, ollama, planned, problems, vllm

from planning.images import mirrored
from settings.problems import SettingsError

MIRROR = "registry.lan:5000/mirror"
SITE: Raw = {
    **VARIANTS["spare-gpu"],
    "monitoring": {},
}


def told(security: Raw) -> list[str]:
    with pytest.raises(SettingsError) as caught:
        settings_of({"nodes": {"a": node()}, "models": {"x": ollama()}, "security": security})
    return list(caught.value.problems)


def images(value: Any) -> set[str]:
    """Every image in plain data."""
    if isinstance(value, dict):
        own = {value["image"]} if isinstance(value.get("image"), str) else set()
        return own.union(*(images(item) for item in value.values()))
    return set().union(*(images(item) for item in value)) if isinstance(value, list) else set()


@pytest.mark.parametrize(
    ("image", "moved"),
    [
        ("docker.io/vllm/vllm-openai:v0.33.0", f"{MIRROR}/vllm/vllm-openai:v0.33.0"),
        ("nvcr.io/nvidia/k8s-device-plugin:v0.20.0", f"{MIRROR}/nvidia/k8s-device-plugin:v0.20.0"),
        ("localhost/x@sha256:0", f"{MIRROR}/x@sha256:0"),
        ("host:5000/a/b:1", f"{MIRROR}/a/b:1"),
        ("vllm/vllm-openai:v1", f"{MIRROR}/vllm/vllm-openai:v1"),
        ("nginx:1", f"{MIRROR}/library/nginx:1"),
    ],
)
def test_an_image_keeps_its_path_at_a_mirror(image: str, moved: str) -> None:
    assert mirrored(image, MIRROR) == moved
    assert mirrored(image, None) == image


@given(st.from_regex(r"(docker\.io/|ghcr\.io/|h:1/)[a-z]+(/[a-z]+)?(:[a-z0-9]+)?", fullmatch=True))
def test_nothing_but_the_registry_changes_at_a_mirror(image: str) -> None:
    assert mirrored(image, MIRROR).removeprefix(f"{MIRROR}/") == image.partition("/")[2]


def test_every_image_of_a_stack_comes_from_the_mirror(deployed: Deploy) -> None:
    """One that still came from elsewhere would be the one that an air gap stops at."""
    before = set().union(*(images(r.inputs) for r in deployed(SITE).resources))
    after = set().union(
        *(images(r.inputs) for r in deployed({**SITE, "security": {"registryMirror": MIRROR}}).resources)
    )
    assert len(before) >= 6
    assert after == {mirrored(image, MIRROR) for image in before}


def test_every_pod_in_the_models_namespace_logs_in_where_logins_are_named(deployed: Deploy) -> None:
    found = deployed({**SITE, "security": {"imagePullSecrets": ["registry-login", "second"]}})
    named = [{"name": "registry-login"}, {"name": "second"}]
    pods = [(r, pod) for r, pod in found.pods() if r.inputs["metadata"]["namespace"] == found.plan.namespace]
    assert {r.name for r, _ in pods} >= {"chat", "help", "help-pull", "edge-gateway"}
    for r, pod in pods:
        assert pod["imagePullSecrets"] == named, r.name


def test_clients_are_let_in_past_the_edge_by_namespace_alone(deployed: Deploy) -> None:
    found = deployed({**SITE, "security": {"clientNamespaces": ["apps"]}})
    closed = deployed(SITE)
    for name in found.plan.servers:
        policy, before = (one.one("NetworkPolicy", name).inputs["spec"] for one in (found, closed))
        [rule], [other] = policy["ingress"], before["ingress"]
        added = [peer for peer in rule["from"] if peer not in other["from"]]
        assert added == [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "apps"}}}]
        assert rule["ports"] == other["ports"]


def test_pod_security_is_lowered_for_the_models_alone_and_with_a_reason(deployed: Deploy) -> None:
    lowered = {"level": "baseline", "reason": "a debugging sidecar of the platform team"}
    found = deployed({**SITE, "security": {"podSecurity": lowered}})
    levels = {
        n.inputs["metadata"]["name"]: n.inputs["metadata"]["labels"]["pod-security.kubernetes.io/enforce"]
        for n in found.of("Namespace")
    }
    assert levels == {"llm": "baseline", "monitoring": "restricted"}


@every_stack
def test_a_stack_that_says_nothing_opens_nothing(deployed: Deploy, raw: Raw) -> None:
    found = deployed(raw)
    for n in found.of("Namespace"):
        assert n.inputs["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"
    for _, pod in found.pods():
        assert "imagePullSecrets" not in pod
    for name in found.plan.servers:
        [rule] = found.one("NetworkPolicy", name).inputs["spec"]["ingress"]
        assert all("podSelector" in peer for peer in rule["from"])


@pytest.mark.parametrize(
    ("security", "problem"),
    [
        (
            {"podSecurity": "baseline"},
            "security.podSecurity: 'baseline' without a reason lets pods have privileges that none of ours needs. "
            "Write {level: baseline, reason: who else runs there and needs it}, or leave it out.",
        ),
        (
            {"podSecurity": "strict"},
            "security.podSecurity: 'strict' is not a level of Pod Security; write restricted, or leave it out.",
        ),
        (
            {"registryMirror": "https://registry.lan"},
            "security.registryMirror: 'https://registry.lan' is not a registry's host with a path, if it has one; "
            "write e.g. 'registry.lan:5000/mirror', without scheme and without '/' at its end.",
        ),
        (
            {"registryMirror": "registry"},
            "security.registryMirror: 'registry' is not a registry's host with a path, if it has one; write e.g. "
            "'registry.lan:5000/mirror', without scheme and without '/' at its end.",
        ),
    ],
)
def test_what_would_open_more_than_was_meant_is_told(security: Raw, problem: str) -> None:
    assert told(security) == [problem]


@pytest.mark.parametrize(
    "mirror", ["registry.lan", "registry.lan/a/b_c", "registry:5000", "localhost:5000", "10.0.0.1:5000/m"]
)
def test_hosts_of_registries_are_taken(mirror: str) -> None:
    found = planned({"a": node()}, {"x": ollama()}, security={"registryMirror": mirror})
    assert found.servers["x"].image.startswith(f"{mirror}/ollama/ollama:")


@pytest.mark.parametrize("namespace", ["kube-system", "kube-public", "kube-node-lease", "default"])
def test_a_namespace_of_the_clusters_own_is_refused(namespace: str) -> None:
    """A stack creates its namespaces, and takes them away with all that is in them."""
    told = problems({"a": node()}, {"x": vllm()}, namespace=namespace)
    assert [re.sub(r", since .*", "", line) for line in told] == [f"namespace: {namespace!r} cannot be the stack's"]
    told = problems({"a": node()}, {"x": vllm()}, monitoring={"namespace": namespace})
    assert f"monitoring.namespace: {namespace!r} cannot be the stack's" in {re.sub(r", since .*", "", t) for t in told}


def test_the_stacks_own_namespace_is_no_clients() -> None:
    assert problems({"a": node()}, {"x": vllm()}, security={"clientNamespaces": ["llm"]}) == [
        "security.clientNamespaces: 'llm' is the stack's own, whose pods reach the engines by the edge alone, with a "
        "key. Leave it out."
    ]
