"""What the program registers, for the committed stacks and for variants: identity, order, network, models."""

from __future__ import annotations

import copy
from collections import Counter

import pytest
from conftest import Deploy
from on_mocks import Deployed, Raw, seconds
from small_stacks import every_stack, node, vllm

from planning.llamacpp import LlamaCppPlan
from planning.ollama import OllamaPlan
from planning.tgi import TgiPlan
from planning.vllm import VllmPlan

BASES: dict[type, str] = {VllmPlan: "8000/v1", OllamaPlan: "11434", LlamaCppPlan: "8080/v1", TgiPlan: "8080/v1"}
"""Port and path of the URL that each engine's server has."""

CHANGES: dict[str, Raw] = {
    "vllm": {"shm": "6Gi"},
    "ollama": {"keepAliveSeconds": 7},
    "llamacpp": {"threads": 3},
    "tgi": {"shm": "6Gi"},
}
"""A change that restarts a server of each engine."""


@every_stack
def test_no_two_resources_have_the_same_name(deployed: Deploy, raw: Raw) -> None:
    resources = deployed(raw).resources
    pulumi_names = Counter((r.type, r.name) for r in resources)
    objects = Counter(
        (r.type, r.inputs["metadata"].get("namespace"), r.inputs["metadata"]["name"])
        for r in resources
        # A patch is of an object that others may patch too.
        if r.type.startswith("kubernetes:") and not r.type.endswith("Patch")
    )
    assert [key for count in (pulumi_names, objects) for key, times in count.items() if times > 1] == []


def namespaces(found: Deployed) -> set[str]:
    """The namespaces that are the stack's own."""
    monitoring = found.plan.monitoring
    return {found.plan.namespace} | ({monitoring.namespace} if monitoring else set())


@every_stack
def test_no_child_escapes_its_component(deployed: Deploy, raw: Raw) -> None:
    """Of Kubernetes' objects only the namespaces, which outlive every server, are the stack's own."""
    found = deployed(raw)
    components = {r.urn for r in found.resources if r.type.startswith("llm:index:")}
    outside = {r.urn for r in found.resources if r.type.startswith("kubernetes:") and r.parent not in components}
    assert outside == {r.urn for r in found.of("Namespace")}
    assert {n.inputs["metadata"]["name"] for n in found.of("Namespace")} == namespaces(found)


@every_stack
def test_every_object_is_made_by_the_stacks_own_provider(deployed: Deploy, raw: Raw) -> None:
    """The default provider would follow whatever cluster the person's kubectl points at."""
    for r in deployed(raw).resources:
        if r.type.startswith("kubernetes:"):
            assert "::cluster::" in r.provider, f"{r.urn} has provider {r.provider!r}"


@every_stack
def test_every_object_of_a_namespace_says_which(deployed: Deploy, raw: Raw) -> None:
    found = deployed(raw)
    cluster_wide = {"Namespace", "NodePatch", "RuntimeClass", "APIService", "ClusterRole", "ClusterRoleBinding"}
    for r in found.resources:
        if r.type.startswith("kubernetes:") and r.type.rpartition(":")[2] not in cluster_wide:
            assert r.inputs["metadata"]["namespace"] in {*namespaces(found), "kube-system"}


@every_stack
def test_names_and_labels_are_ones_that_kubernetes_takes(deployed: Deploy, raw: Raw) -> None:
    for r in deployed(raw).resources:
        metadata = r.inputs.get("metadata", {})
        for text in [metadata.get("name", ""), *metadata.get("labels", {}).values()]:
            assert len(text) <= 63, f"{r.urn}: {text!r}"


@every_stack
def test_outputs_name_every_server_and_every_route(deployed: Deploy, raw: Raw) -> None:
    found = deployed(raw)
    namespace = found.plan.namespace
    assert found.outputs["servers"] == {
        name: f"http://{name}.{namespace}.svc.cluster.local:{BASES[type(server)]}"
        for name, server in found.plan.servers.items()
    }
    if found.plan.ingress:
        base = {"localhost": "http://localhost", "llm.example.com": "https://llm.example.com"}[found.plan.ingress.host]
        assert found.outputs["urls"] == {r.path: f"{base}{r.path}" for r in found.plan.ingress.routes}


@every_stack
def test_changing_one_server_leaves_the_others_alone(deployed: Deploy, raw: Raw) -> None:
    """A change that restarts one model must not show up at its neighbours in the preview."""
    for changed, server in raw["models"].items():
        again = copy.deepcopy(raw)
        again["models"][changed] |= CHANGES[server["engine"]]
        before, after = deployed(raw).resources, deployed(again).resources
        own = f"Server::{changed}"
        assert {r.urn: r for r in before if r.parent.endswith(own)} != {
            r.urn: r for r in after if r.parent.endswith(own)
        }
        assert {r.urn: r for r in before if not r.parent.endswith(own)} == {
            r.urn: r for r in after if not r.parent.endswith(own)
        }


@every_stack
def test_taking_one_server_away_renames_nothing_of_the_others(deployed: Deploy, raw: Raw) -> None:
    for gone in raw["models"] if len(raw["models"]) > 1 else ():
        rest = copy.deepcopy(raw)
        del rest["models"][gone]
        if "ingress" in rest:
            routes = {
                path: to
                for path, to in rest["ingress"]["routes"].items()
                if gone != (to["model"] if isinstance(to, dict) else to)
            }
            rest = rest | {"ingress": rest["ingress"] | {"routes": routes}} if routes else rest | {"ingress": None}
        before = {r.urn for r in deployed(raw).resources if not r.parent.endswith(f"Server::{gone}")}
        after = {r.urn for r in deployed(rest).resources}
        assert after <= before
        # The edge goes with the last route, and what autoscales with the last server that is autoscaled.
        others = {r.urn for r in deployed(raw).resources if "LlmIngress" in r.urn or "prometheus-adapter" in r.urn}
        assert {urn for urn in before - after if not urn.endswith((f"::{gone}", f"-{gone}"))} <= others


@every_stack
def test_models_are_on_disk_before_ollama_is_touched(deployed: Deploy, raw: Raw) -> None:
    found = deployed(raw)
    for name, server in found.plan.servers.items():
        if not isinstance(server, OllamaPlan):
            continue
        job, deployment = found.one("Job", f"{name}-pull"), found.one("Deployment", name)
        assert job.urn in deployment.depends_on
        assert found.one("PersistentVolumeClaim", f"{name}-models").urn in job.depends_on
        deadline = job.inputs["spec"]["activeDeadlineSeconds"]
        assert server.download_budget_seconds <= deadline <= seconds(job.create_timeout)
        [container] = job.inputs["spec"]["template"]["spec"]["containers"]
        assert {"name": "PULL", "value": " ".join(server.pull)} in container["env"]
        assert found.one("ConfigMap", f"{name}-modelfiles").inputs["data"] == {
            f"-{made}": text for made, text in server.modelfiles.items()
        }


@every_stack
def test_a_url_is_known_only_when_the_model_answers(deployed: Deploy, raw: Raw) -> None:
    """A Service waits for its Deployment, the gateway for the models' Services, the way in for the gateway's."""
    found = deployed(raw)
    services = {name: found.one("Service", name) for name in found.plan.servers}
    for name, service in services.items():
        assert found.one("Deployment", name).urn in service.depends_on
    for ingress in found.of("Ingress"):
        [rule] = ingress.inputs["spec"]["rules"]
        [path] = rule["http"]["paths"]
        [gateway] = [
            s for s in found.of("Service") if s.inputs["metadata"]["name"] == path["backend"]["service"]["name"]
        ]
        assert gateway.urn in ingress.depends_on
        assert gateway.inputs["spec"]["ports"][0]["port"] == path["backend"]["service"]["port"]["number"]
        deployment = found.one("Deployment", gateway.name)
        assert deployment.urn in gateway.depends_on
        assert {service.urn for service in services.values()} <= deployment.depends_on


@every_stack
def test_servers_come_after_the_gpus_and_the_namespace(deployed: Deploy, raw: Raw) -> None:
    found = deployed(raw)
    plugins = {r.urn for r in found.of("DaemonSet") if "GpuRuntime" in r.urn}
    assert plugins
    first = {found.one("Namespace", "namespace").urn, *plugins}
    for r in found.resources:
        if r.type in {"llm:index:VllmServer", "llm:index:OllamaServer", "llm:index:LlmIngress"}:
            assert first <= r.depends_on, r.urn


@every_stack
def test_every_server_is_closed_to_all_but_the_gateway_and_prometheus(deployed: Deploy, raw: Raw) -> None:
    found = deployed(raw)
    for name in found.plan.servers:
        policy = found.one("NetworkPolicy", name).inputs["spec"]
        deployment = found.one("Deployment", name).inputs["spec"]
        assert policy["podSelector"]["matchLabels"] == deployment["selector"]["matchLabels"]
        assert policy["policyTypes"] == ["Ingress"]
        [rule] = policy["ingress"]
        [container] = deployment["template"]["spec"]["containers"]
        assert [p["port"] for p in rule["ports"]] == [p["containerPort"] for p in container["ports"]]
        assert {peer["podSelector"]["matchLabels"]["app.kubernetes.io/name"] for peer in rule["from"]} <= {
            "llm-gateway",
            "prometheus",
        }


@every_stack
def test_every_server_can_be_drained_one_pod_at_a_time(deployed: Deploy, raw: Raw) -> None:
    found = deployed(raw)
    for name in found.plan.servers:
        budget = found.one("PodDisruptionBudget", name).inputs["spec"]
        assert budget["selector"] == found.one("Deployment", name).inputs["spec"]["selector"]
        assert (budget["maxUnavailable"], budget["unhealthyPodEvictionPolicy"]) == (1, "AlwaysAllow")


def test_an_autoscaled_server_leaves_its_replicas_to_the_autoscaler(deployed: Deploy) -> None:
    raw: Raw = {"nodes": {"a": node(count=2)}, "models": {"x": vllm(autoscale={"max": 2, "runningRequests": 9})}}
    raw["monitoring"] = {"grafana": None}
    autoscaled = deployed(raw).one("Deployment", "x")
    assert "replicas" not in autoscaled.inputs["spec"]
    assert autoscaled.ignore_changes == {"spec.replicas"}
    del raw["models"]["x"]["autoscale"]
    fixed = deployed(raw).one("Deployment", "x")
    assert fixed.ignore_changes == frozenset()
    assert fixed.inputs["metadata"]["annotations"] == {"pulumi.com/patchForce": "true"}
    assert "annotations" not in fixed.inputs["spec"]["template"]["metadata"], "pods would restart"


@every_stack
def test_every_way_of_sharing_a_gpu_has_its_device_plugin(deployed: Deploy, raw: Raw) -> None:
    found = deployed(raw)
    plugins = [d for d in found.of("DaemonSet") if "GpuRuntime" in d.urn]
    selectors = [d.inputs["spec"]["template"]["spec"]["nodeSelector"] for d in plugins]
    for name in found.plan.nodes:
        labels = found.one("NodePatch", name).inputs["metadata"]["labels"]
        assert sum(selector.items() <= labels.items() for selector in selectors) == 1, name


def test_a_change_of_the_models_makes_another_job(deployed: Deploy, dev: Raw) -> None:
    """A Job's pods are immutable; under the same name the new one would not run."""
    again = copy.deepcopy(dev)
    again["models"]["assistant"]["pull"].append("llama3.1")
    before, after = (deployed(raw).one("Job", "assistant-pull").inputs["metadata"]["name"] for raw in (dev, again))
    assert before != after


def test_another_model_does_not_resize_the_volume_that_is_there(deployed: Deploy, dev: Raw) -> None:
    """k3s' class lets none grow, and no class lets one shrink: the API server would refuse the whole change."""
    written = copy.deepcopy(dev)
    written["models"]["chat"]["cache"] = "80Gi"
    ours, theirs = (deployed(raw).one("PersistentVolumeClaim", "chat-cache").ignore_changes for raw in (dev, written))
    assert ours == {"spec.resources.requests.storage"}
    assert theirs == frozenset()


def test_a_rollout_of_several_pods_is_waited_for_as_long_as_all_may_take(deployed: Deploy) -> None:
    def waited(replicas: int) -> int:
        raw = {"nodes": {"a": node(count=4)}, "models": {"x": vllm(replicas=replicas)}}
        return seconds(deployed(raw).one("Deployment", "x").update_timeout)

    one = waited(1) - 60
    assert waited(4) == 4 * one + 60


@pytest.mark.parametrize(("name", "mode"), [(None, "ReadWriteOnce"), ("nfs", "ReadWriteMany")])
def test_volumes_have_the_class_that_is_asked_for(deployed: Deploy, dev: Raw, name: str | None, mode: str) -> None:
    storage = {"accessMode": mode} | ({"className": name} if name else {})
    volumes = deployed(dev | {"storage": storage}).of("PersistentVolumeClaim")
    assert {v.name for v in volumes} == {"assistant-models", "chat-cache"}
    assert {v.inputs["spec"].get("storageClassName") for v in volumes} == {name}
    assert all(v.inputs["spec"]["accessModes"] == [mode] for v in volumes)
