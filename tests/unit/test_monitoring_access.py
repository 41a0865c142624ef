"""What the programs of monitoring may do, whom they reach and who reaches them; and Grafana's password."""

from __future__ import annotations

import json
from typing import Any

import pulumi
from conftest import Deploy
from monitored_stacks import BARE, PLAIN, WHOLE, every_stack, ours, pods
from on_mocks import Raw, event_loop, settings_of
from pulumi.runtime.mocks import set_mocks
from test_secrets import Wire, plain

from planning.plan import plan
from stack import deploy


def peers(rule: Raw) -> set[tuple[str | None, str | None]]:
    """Who a rule of a network policy is about: (namespace, application); (None, None) where it is anybody."""
    found = set()
    for peer in rule.get("from") or rule.get("to") or [{}]:
        namespace = peer.get("namespaceSelector", {}).get("matchLabels", {}).get("kubernetes.io/metadata.name")
        found.add((namespace, peer.get("podSelector", {}).get("matchLabels", {}).get("app.kubernetes.io/name")))
    return found


# --- privileges ---


@every_stack
def test_no_pod_in_the_namespace_of_monitoring_has_a_privilege(deployed: Deploy, raw: Raw) -> None:
    found = deployed(raw)
    for namespace in found.of("Namespace"):
        assert namespace.inputs["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"
    for app, pod in pods(found).items():
        if app == "dcgm-exporter":
            continue
        assert pod["securityContext"]["runAsNonRoot"] is True, app
        assert pod["securityContext"]["runAsUser"] > 0, app
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}, app
        kinds = {key for volume in pod["volumes"] for key in volume if key != "name"}
        assert kinds <= {"emptyDir", "configMap", "secret", "persistentVolumeClaim"}, app


@every_stack
def test_no_container_has_a_capability_or_writes_to_its_image(deployed: Deploy, raw: Raw) -> None:
    for app, pod in pods(deployed(raw)).items():
        assert not {"hostNetwork", "hostPID", "hostIPC", "initContainers"} & set(pod), app
        for container in pod["containers"]:
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "capabilities": {"drop": ["ALL"]},
                "readOnlyRootFilesystem": True,
            }, app
            assert container["resources"]["limits"]["memory"], app


def test_the_exporter_sees_one_folder_of_the_host_and_cannot_write_to_it(deployed: Deploy) -> None:
    """For that folder its namespace must be one that Pod Security leaves alone, so it is not that of monitoring."""
    found = deployed(WHOLE)
    daemon_set = found.one("DaemonSet", "monitoring-dcgm-exporter")
    assert daemon_set.inputs["metadata"]["namespace"] == "kube-system"
    pod = pods(found)["dcgm-exporter"]
    [folder] = [volume for volume in pod["volumes"] if "hostPath" in volume]
    assert folder["hostPath"]["path"] == "/var/lib/kubelet/pod-resources"
    [container] = pod["containers"]
    [mount] = [mount for mount in container["volumeMounts"] if mount["name"] == folder["name"]]
    assert mount["readOnly"] is True


def test_the_exporter_runs_where_the_driver_is_and_not_on_wsl2(deployed: Deploy) -> None:
    found = deployed(WHOLE)
    pod = pods(found)["dcgm-exporter"]
    [runtime_class] = found.of("RuntimeClass")
    assert pod["runtimeClassName"] == runtime_class.inputs["metadata"]["name"]
    assert pod["nodeSelector"] == {"nvidia.com/gpu.present": "true"}
    terms = pod["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"]
    assert [term["matchExpressions"] for term in terms] == [
        [{"key": "kubernetes.io/hostname", "operator": "NotIn", "values": ["w"]}]
    ]
    assert "affinity" not in pods(deployed(PLAIN))["dcgm-exporter"]


@every_stack
def test_only_those_who_ask_the_api_server_get_a_token(deployed: Deploy, raw: Raw) -> None:
    found = deployed(raw)
    with_token = {app for app, pod in pods(found).items() if pod["automountServiceAccountToken"]}
    assert with_token == {"prometheus", "prometheus-adapter"} & set(pods(found))
    assert all(account.inputs["automountServiceAccountToken"] is False for account in found.of("ServiceAccount"))
    for app, pod in pods(found).items():
        assert pod["serviceAccountName"] == app
        assert pod["enableServiceLinks"] is False, app


@every_stack
def test_rights_are_to_see_pods_where_they_are_looked_for(deployed: Deploy, raw: Raw) -> None:
    found = deployed(raw)
    assert not found.of("ClusterRole")
    models = found.plan.namespace
    rights = {
        (role.inputs["metadata"]["name"], role.inputs["metadata"]["namespace"]): rule
        for role in found.of("Role")
        for rule in role.inputs["rules"]
    }
    expected: dict[tuple[str, str], list[str]] = {
        ("prometheus-pods", models): ["get", "list", "watch"],
        ("prometheus-pods", "kube-system"): ["get", "list", "watch"],
    }
    if raw is WHOLE:
        expected["prometheus-adapter-pods", models] = ["get", "list"]
    assert {key: rule["verbs"] for key, rule in rights.items()} == expected
    assert all(rule["resources"] == ["pods"] and rule["apiGroups"] == [""] for rule in rights.values())
    bound = {(b.inputs["roleRef"]["kind"], b.inputs["roleRef"]["name"]) for b in found.of("RoleBinding")}
    # Those that every extension API server needs, to know who asks it.
    bound |= {("ClusterRole", b.inputs["roleRef"]["name"]) for b in found.of("ClusterRoleBinding")}
    extension = {("Role", "extension-apiserver-authentication-reader"), ("ClusterRole", "system:auth-delegator")}
    assert bound - {("Role", name) for name, _ in rights} == (extension if raw is WHOLE else set())


# --- network ---


@every_stack
def test_the_namespace_is_closed_in_both_directions(deployed: Deploy, raw: Raw) -> None:
    found = deployed(raw)
    closed = found.one("NetworkPolicy", "monitoring").inputs
    assert closed["metadata"]["namespace"] == raw["monitoring"].get("namespace", "monitoring")
    assert closed["spec"] == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
    for app in pods(found):
        policy = found.one("NetworkPolicy", f"monitoring-{app}").inputs["spec"]
        assert policy["policyTypes"] == ["Ingress", "Egress"], app


def test_who_may_reach_whom(deployed: Deploy) -> None:
    found = deployed(WHOLE)

    def ways(app: str, direction: str) -> dict[tuple[str | None, str | None], set[int]]:
        rules = found.one("NetworkPolicy", f"monitoring-{app}").inputs["spec"][direction]
        ways: dict[tuple[str | None, str | None], set[int]] = {}
        for rule in rules:
            for peer in peers(rule):
                ways.setdefault(peer, set()).update(int(port["port"]) for port in rule["ports"])
        return ways

    anybody = (None, None)
    assert ways("prometheus", "ingress") == {(None, "grafana"): {9090}, (None, "prometheus-adapter"): {9090}}
    assert ways("prometheus", "egress") == {
        anybody: {443, 6443},
        ("models", "vllm"): {8000},
        ("models", "llamacpp"): {8080},
        ("models", "tgi"): {8080},
        ("kube-system", None): {9400, 9100},
    }
    assert ways("dcgm-exporter", "ingress") == {("monitoring", "prometheus"): {9400}}
    assert ways("dcgm-exporter", "egress") == {}
    assert ways("grafana", "ingress") == {("kube-system", "traefik"): {3000}}
    assert ways("grafana", "egress") == {(None, "prometheus"): {9090}, anybody: {53}}
    # The API server's own address is known to no label; whoever else comes has no certificate of it.
    assert ways("prometheus-adapter", "ingress") == {anybody: {6443}}
    assert ways("prometheus-adapter", "egress") == {anybody: {443, 6443, 53}, (None, "prometheus"): {9090}}


def test_nobody_may_ask_prometheus_or_grafana_who_has_no_business_there(deployed: Deploy) -> None:
    bare, plain_stack = deployed(BARE), deployed(PLAIN)
    assert bare.one("NetworkPolicy", "monitoring-prometheus").inputs["spec"]["ingress"] == []
    assert plain_stack.one("NetworkPolicy", "monitoring-grafana").inputs["spec"]["ingress"] == []
    assert [r for r in ours(plain_stack) if r.type.endswith(":Ingress")] == []


def test_prometheus_may_read_engines_that_have_metrics(deployed: Deploy) -> None:
    found = deployed(WHOLE)
    for name, allowed in {"fast": True, "chat": True, "help": False}.items():
        [rule] = found.one("NetworkPolicy", name).inputs["spec"]["ingress"]
        assert (("monitoring", "prometheus") in peers(rule)) == allowed, name
    other = deployed(PLAIN).one("NetworkPolicy", "chat").inputs["spec"]["ingress"][0]
    assert ("watch", "prometheus") in peers(other)


def test_grafanas_route_is_closed_to_plain_http(deployed: Deploy) -> None:
    ingress = deployed(WHOLE).one("Ingress", "monitoring-grafana").inputs
    assert ingress["metadata"]["annotations"]["traefik.ingress.kubernetes.io/router.entrypoints"] == "websecure"
    assert ingress["spec"]["tls"] == [{"hosts": ["grafana.example.com"], "secretName": "grafana-tls"}]


# --- the password ---


def test_grafanas_password_is_a_secret_wherever_it_is() -> None:
    planned = plan(settings_of(PLAIN))
    monitor = Wire({name: node.allocatable_gpus for name, node in planned.nodes.items()})
    secrecy: list[bool] = []

    def program() -> pulumi.Output[Any]:
        return pulumi.Output.from_input(deploy(planned)["grafanaPassword"].is_secret()).apply(secrecy.append)

    with event_loop():
        set_mocks(monitor.mocks, project="llm-serving", stack="test", preview=False, monitor=monitor)
        pulumi.runtime.test(program)()  # type: ignore[no-untyped-call]  # Pulumi's mocks have no types
    assert secrecy == [True]
    [secret] = [m for m in monitor.sent if m.get("name") == "monitoring-grafana" and m["type"].endswith(":Secret")]
    assert plain(secret["object"]["data"]) == "[secret]"
    printed = "monitoring-grafana-password\\n-----BEGIN"  # what the stand-in for the command prints
    assert printed not in json.dumps([plain(m.get("object", m)) for m in monitor.sent])


def test_a_new_password_starts_grafana_anew(deployed: Deploy) -> None:
    annotations = deployed(PLAIN).one("Deployment", "monitoring-grafana").inputs["spec"]["template"]["metadata"]
    assert len(annotations["annotations"]["llm-serving/password-sha256"]) == 64
