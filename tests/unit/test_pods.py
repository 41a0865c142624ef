"""Pods as the program registers them: GPUs, strategy, shared memory, budgets, privileges, selectors."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

from conftest import Deploy
from on_mocks import Deployed, Raw, Registration, seconds
from small_stacks import every_stack

from planning.plan import ServerPlan
from planning.startup import PROBE_PERIOD_SECONDS
from planning.vllm import VllmPlan
from settings.base import quantity_bytes

GPU = "nvidia.com/gpu"


def gpu_pods(found: Deployed) -> list[tuple[Registration, Raw]]:
    """Every pod that takes a GPU."""
    return [(r, pod) for r, pod in found.pods() if any(GPU in c["resources"]["limits"] for c in pod["containers"])]


def servers(found: Deployed) -> Iterator[tuple[ServerPlan, Registration, Raw]]:
    """Every model server: its plan, its Deployment and its only container."""
    for name, server in found.plan.servers.items():
        deployment = found.one("Deployment", name)
        [container] = deployment.inputs["spec"]["template"]["spec"]["containers"]
        yield server, deployment, container


def texts(value: Any) -> Iterator[str]:
    """Every text in plain data."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for item in value.values():
            yield from texts(item)
    elif isinstance(value, list):
        for item in value:
            yield from texts(item)


@every_stack
def test_every_gpu_pod_can_see_its_gpus(deployed: Deploy, raw: Raw) -> None:
    found = deployed(raw)
    [runtime_class] = found.of("RuntimeClass")
    assert runtime_class.inputs["handler"] == "nvidia"
    pods = gpu_pods(found)
    assert len(pods) == len(found.plan.servers)
    for _, pod in pods:
        assert pod["runtimeClassName"] == runtime_class.inputs["metadata"]["name"]


@every_stack
def test_gpus_are_requested_as_they_are_limited(deployed: Deploy, raw: Raw) -> None:
    for server, _, container in servers(deployed(raw)):
        assert container["resources"]["requests"][GPU] == container["resources"]["limits"][GPU] == str(server.gpus)


@every_stack
def test_gpu_pods_go_only_where_the_gpu_is_that_was_counted_with(deployed: Deploy, raw: Raw) -> None:
    found = deployed(raw)
    labels = {name: found.one("NodePatch", name).inputs["metadata"]["labels"] for name in found.plan.nodes}
    for server, deployment, _ in servers(found):
        affinity = deployment.inputs["spec"]["template"]["spec"]["affinity"]["nodeAffinity"]
        [term] = affinity["requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"]
        wanted = {e["key"]: e["values"] for e in term["matchExpressions"]}
        fitting = {name for name, has in labels.items() if all(has.get(key) in wanted[key] for key in wanted)}
        assert set(server.nodes) <= fitting
        for name in fitting:
            slices = found.plan.nodes[name].time_slices
            assert (found.plan.nodes[name].gpu_model, slices) == (server.gpu_model, server.time_slices)


@every_stack
def test_a_rollout_never_waits_for_a_gpu_that_nobody_has(deployed: Deploy, raw: Raw) -> None:
    found = deployed(raw)
    taken = Counter[str]()
    for server in found.plan.servers.values():
        for where in server.nodes:
            taken[where] += server.gpus
    for server, deployment, _ in servers(found):
        strategy = deployment.inputs["spec"]["strategy"]
        spare = all(found.plan.nodes[n].allocatable_gpus - taken[n] >= server.gpus for n in server.nodes)
        if strategy["type"] == "RollingUpdate" and strategy["rollingUpdate"]["maxSurge"] > 0:
            assert spare
        elif server.replicas == 1 and not (isinstance(server, VllmPlan) and server.autoscale):
            assert strategy == {"type": "Recreate"}
        else:
            assert strategy["rollingUpdate"] == {"maxSurge": 0, "maxUnavailable": 1}


@every_stack
def test_vllm_has_shared_memory_with_a_limit(deployed: Deploy, raw: Raw) -> None:
    for server, deployment, container in servers(deployed(raw)):
        if not isinstance(server, VllmPlan):
            continue
        [mount] = [m for m in container["volumeMounts"] if m["mountPath"] == "/dev/shm"]
        volumes = deployment.inputs["spec"]["template"]["spec"]["volumes"]
        [volume] = [v for v in volumes if v["name"] == mount["name"]]
        assert volume["emptyDir"]["medium"] == "Memory"
        limit = quantity_bytes(volume["emptyDir"]["sizeLimit"])
        assert server.shm_bytes <= limit < quantity_bytes(container["resources"]["limits"]["memory"])


@every_stack
def test_a_pod_is_killed_only_after_it_drained(deployed: Deploy, raw: Raw) -> None:
    for server, deployment, container in servers(deployed(raw)):
        grace = deployment.inputs["spec"]["template"]["spec"]["terminationGracePeriodSeconds"]
        assert server.shutdown.pre_stop_seconds > 0
        assert server.shutdown.pre_stop_seconds + server.shutdown.drain_seconds < grace
        [(way, waits)] = container["lifecycle"]["preStop"].items()
        if way == "sleep":
            assert waits == {"seconds": server.shutdown.pre_stop_seconds}
        else:  # an engine that does not drain by itself
            assert f"sleep {server.shutdown.pre_stop_seconds}" in waits["command"][-1]


@every_stack
def test_nobody_gives_up_before_a_start_has_had_its_budget(deployed: Deploy, raw: Raw) -> None:
    for server, deployment, container in servers(deployed(raw)):
        probe = container["startupProbe"]
        assert probe["periodSeconds"] == PROBE_PERIOD_SECONDS
        assert probe["failureThreshold"] * probe["periodSeconds"] >= server.startup.budget_seconds
        old_and_new = server.shutdown.grace_period_seconds + server.startup.budget_seconds
        deadline = deployment.inputs["spec"]["progressDeadlineSeconds"]
        assert old_and_new <= deadline <= seconds(deployment.create_timeout)
        assert deployment.create_timeout == deployment.update_timeout


@every_stack
def test_probes_ask_for_no_inference(deployed: Deploy, raw: Raw) -> None:
    """/v1 asks for the key, and an answer of it takes a place in the batch."""
    probes = [
        container[kind]
        for _, _, container in servers(deployed(raw))
        for kind in ("startupProbe", "readinessProbe", "livenessProbe")
    ]
    assert len(probes) == 3 * len(deployed(raw).plan.servers)
    for probe in probes:
        assert not any("/v1" in text for text in texts(probe))


@every_stack
def test_every_pod_of_ours_meets_pod_security_restricted(deployed: Deploy, raw: Raw) -> None:
    found = deployed(raw)
    namespaces = {n.inputs["metadata"]["name"]: n.inputs["metadata"]["labels"] for n in found.of("Namespace")}
    assert found.plan.namespace in namespaces
    for name, labels in namespaces.items():
        assert labels["pod-security.kubernetes.io/enforce"] == "restricted", name
    ours = [(r, pod) for r, pod in found.pods() if r.inputs["metadata"]["namespace"] in namespaces]
    assert len(ours) >= len(found.plan.servers)
    for r, pod in ours:
        assert pod["securityContext"]["runAsNonRoot"] is True, r.urn
        assert pod["securityContext"]["runAsUser"] > 0, r.urn
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}, r.urn
        assert not {"hostNetwork", "hostPID", "hostIPC"} & set(pod), r.urn
        kinds = {key for volume in pod["volumes"] for key in volume if key != "name"}
        assert kinds <= {"emptyDir", "configMap", "secret", "persistentVolumeClaim"}, r.urn


@every_stack
def test_no_container_has_a_privilege(deployed: Deploy, raw: Raw) -> None:
    for r, pod in deployed(raw).pods():
        for container in [*pod.get("initContainers", ()), *pod["containers"]]:
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "capabilities": {"drop": ["ALL"]},
                "readOnlyRootFilesystem": True,
            }, r.urn


@every_stack
def test_no_pod_gets_a_token_or_the_addresses_of_services(deployed: Deploy, raw: Raw) -> None:
    found = deployed(raw)
    unmonitored = [(r, pod) for r, pod in found.pods() if "MonitoringStack" not in r.urn]
    for r, pod in unmonitored:
        assert pod["automountServiceAccountToken"] is False, r.urn
    for _, deployment, _ in servers(found):
        assert deployment.inputs["spec"]["template"]["spec"]["enableServiceLinks"] is False
    accounts = [account for account in found.of("ServiceAccount") if "MonitoringStack" not in account.urn]
    assert {a.name for a in accounts} - {"edge-gateway"} == set(found.plan.servers)
    assert all(account.inputs["automountServiceAccountToken"] is False for account in accounts)
    names = {a.inputs["metadata"]["name"] for a in accounts}
    assert {pod["serviceAccountName"] for _, pod in unmonitored if "serviceAccountName" in pod} == names


@every_stack
def test_selectors_are_two_labels_for_ever(deployed: Deploy, raw: Raw) -> None:
    """A selector is immutable: a third key would replace every Deployment."""
    keys = {"app.kubernetes.io/name", "app.kubernetes.io/instance"}
    found = deployed(raw)
    for r in [*found.of("Deployment"), *found.of("DaemonSet")]:
        selector = r.inputs["spec"]["selector"]["matchLabels"]
        assert set(selector) == keys, r.urn
        assert selector.items() <= r.inputs["spec"]["template"]["metadata"]["labels"].items(), r.urn
    for service in found.of("Service"):
        deployment = found.one("Deployment", service.name)
        assert service.inputs["spec"]["selector"] == deployment.inputs["spec"]["selector"]["matchLabels"]


@every_stack
def test_a_selector_selects_one_workload(deployed: Deploy, raw: Raw) -> None:
    found = deployed(raw)
    pods = [(r.urn, r.inputs["spec"]["template"]["metadata"]["labels"]) for r, _ in found.pods()]
    for service in found.of("Service"):
        selector = service.inputs["spec"]["selector"]
        assert [urn for urn, labels in pods if selector.items() <= labels.items()] == [
            found.one("Deployment", service.name).urn
        ]
