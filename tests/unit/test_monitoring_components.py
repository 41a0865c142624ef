"""What MonitoringStack registers: what is asked for, configuration that pods follow, and autoscalers that are fed."""

from __future__ import annotations

from base64 import b64decode

import yaml
from conftest import Deploy
from monitored_stacks import PLAIN, STACKS, WHOLE, every_stack, ours, pods
from on_mocks import Raw
from small_stacks import node

from cli.lab_spec import lab_spec


@every_stack
def test_there_is_what_the_settings_ask_for(deployed: Deploy, raw: Raw) -> None:
    expected = {
        "whole": {"prometheus", "grafana", "prometheus-adapter", "dcgm-exporter"},
        "plain": {"prometheus", "grafana", "dcgm-exporter"},
        "bare": {"prometheus"},
    }
    [name] = [name for name, stack in STACKS.items() if stack is raw]
    assert set(pods(deployed(raw))) == expected[name]


def test_the_lab_answers_for_every_image(deployed: Deploy) -> None:
    """An image without an answer would be pulled for ever."""
    raw = {**WHOLE, "nodes": {"a": node(count=4)}}  # one node, as the smallest lab has
    found = deployed(raw)
    used = {container["image"] for pod in pods(found).values() for container in pod["containers"]}
    assert len(used) == 4
    assert used <= {reference for references in lab_spec(found.plan).images.values() for reference in references}


@every_stack
def test_everything_is_the_components_own_and_of_the_stacks_provider(deployed: Deploy, raw: Raw) -> None:
    found = deployed(raw)
    components = {r.urn for r in found.resources if r.type.startswith("llm:index:")}
    for r in found.resources:
        if r.type.startswith("kubernetes:"):
            assert "::cluster::" in r.provider, r.urn
            assert r.parent in components or r.type.endswith(":Namespace"), r.urn
    objects = [
        (r.type, r.inputs["metadata"].get("namespace"), r.inputs["metadata"]["name"])
        for r in ours(found)
        if r.type.startswith("kubernetes:")
    ]
    assert len(objects) == len(set(objects)) > 5


@every_stack
def test_it_comes_after_its_namespace_and_does_not_wait_for_the_models(deployed: Deploy, raw: Raw) -> None:
    """While a model loads is when an operator wants to look."""
    found = deployed(raw)
    [component] = found.of("MonitoringStack")
    assert {n.urn for n in found.of("Namespace")} <= component.depends_on
    servers = {r.urn for r in found.resources if "Server$" in r.urn or r.type.endswith("Server")}
    waiting = {r.type.rpartition(":")[2] for r in [component, *ours(found)] if r.depends_on & servers}
    assert waiting <= {"HorizontalPodAutoscaler"}


# --- configuration ---


@every_stack
def test_every_mounted_object_is_one_that_is_made(deployed: Deploy, raw: Raw) -> None:
    found = deployed(raw)
    made = {
        (kind, r.inputs["metadata"]["name"])
        for kind in ("ConfigMap", "Secret", "PersistentVolumeClaim")
        for r in found.of(kind)
    }
    for pod in pods(found).values():
        for volume in pod["volumes"]:
            wanted = {
                ("ConfigMap", volume.get("configMap", {}).get("name")),
                ("Secret", volume.get("secret", {}).get("secretName")),
                ("PersistentVolumeClaim", volume.get("persistentVolumeClaim", {}).get("claimName")),
            }
            assert {w for w in wanted if w[1]} <= made


def test_a_changed_configuration_starts_the_pod_anew(deployed: Deploy) -> None:
    """Nobody would notice a changed file."""
    again = {**WHOLE, "monitoring": {**WHOLE["monitoring"], "scrapeIntervalSeconds": 60}}
    before, after = pods(deployed(WHOLE)), pods(deployed(again))
    for app in before:
        volumes = [
            [volume["configMap"]["name"] for volume in which[app]["volumes"] if "configMap" in volume]
            for which in (before, after)
        ]
        # The interval of the exporter and of the adapter is not in a file.
        assert (volumes[0] != volumes[1]) == (app in ("prometheus", "grafana")), app
        assert before[app] != after[app], app


def test_prometheus_keeps_what_it_is_told_to_on_a_volume_of_its_own(deployed: Deploy) -> None:
    found = deployed(WHOLE)
    claim = found.one("PersistentVolumeClaim", "monitoring-prometheus").inputs["spec"]
    assert claim["resources"]["requests"]["storage"] == "5120Mi"
    # One process: where models are shared between nodes, its data still is not.
    assert (claim["accessModes"], claim["storageClassName"]) == (["ReadWriteOnce"], "fast-disk")
    [container] = pods(found)["prometheus"]["containers"]
    assert f"--storage.tsdb.retention.size={5 * 2**30 * 8 // 10}B" in container["args"]
    assert found.one("Deployment", "monitoring-prometheus").inputs["spec"]["strategy"] == {"type": "Recreate"}


# --- autoscaling ---


def test_the_api_server_checks_who_the_adapter_is(deployed: Deploy) -> None:
    found = deployed(WHOLE)
    [api] = found.of("APIService")
    spec = api.inputs["spec"]
    assert "insecureSkipTLSVerify" not in spec
    assert api.inputs["metadata"]["name"] == f"{spec['version']}.{spec['group']}" == "v1beta1.custom.metrics.k8s.io"
    secret = found.one("Secret", "monitoring-prometheus-adapter").inputs
    assert spec["caBundle"] == secret["data"]["value"]["tls.crt"]
    assert b64decode(spec["caBundle"]).startswith(b"-----BEGIN CERTIFICATE-----")
    service = found.one("Service", "monitoring-prometheus-adapter").inputs
    assert spec["service"] == {
        "name": service["metadata"]["name"],
        "namespace": "monitoring",
        "port": service["spec"]["ports"][0]["port"],
    }
    command = found.one("Command", "monitoring-prometheus-adapter-certificate").inputs["create"]
    assert "DNS:prometheus-adapter.monitoring.svc " in command


def test_each_autoscaled_server_has_one_autoscaler_and_no_other_has(deployed: Deploy) -> None:
    found = deployed(WHOLE)
    [hpa] = found.of("HorizontalPodAutoscaler")
    spec = hpa.inputs["spec"]
    server = found.one("Deployment", "fast").inputs
    assert hpa.inputs["metadata"]["namespace"] == server["metadata"]["namespace"]
    assert spec["scaleTargetRef"] == {"apiVersion": "apps/v1", "kind": "Deployment", "name": server["metadata"]["name"]}
    assert (spec["minReplicas"], spec["maxReplicas"]) == (1, 2)
    [metric] = spec["metrics"]
    assert metric["pods"]["target"] == {"type": "AverageValue", "averageValue": "9"}
    adapter = found.one("ConfigMap", "monitoring-prometheus-adapter").inputs["data"]["config.yaml"]
    assert [rule["name"]["as"] for rule in yaml.safe_load(adapter)["rules"]] == [metric["pods"]["metric"]["name"]]
    planned = found.plan.monitoring
    assert planned
    assert spec["behavior"] == {
        "scaleUp": {"stabilizationWindowSeconds": planned.autoscalers["fast"].scale_up_window_seconds},
        "scaleDown": {"stabilizationWindowSeconds": 120},
    }
    [api] = found.of("APIService")
    assert {api.urn, found.one("Service", "fast").urn} <= hpa.depends_on
    assert not deployed(PLAIN).of("HorizontalPodAutoscaler")
