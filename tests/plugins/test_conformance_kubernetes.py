"""The Kubernetes stand-in through the real CLI, on a real API server."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from api_server import ApiServer
from pulumi import automation
from workspace import Workspace

IMPORTS = "import pulumi\nimport pulumi_kubernetes as k8s\n"

CONFIG_MAP = IMPORTS + 'k8s.core.v1.ConfigMap("cm", metadata={{"name": "{name}"}}, data={{"a": "{value}"}})\n'


def test_what_is_deleted_or_changed_outside_is_put_back(workspace: Workspace, cluster: ApiServer) -> None:
    path = "/api/v1/namespaces/default/configmaps/drift"
    workspace.program(CONFIG_MAP.format(name="drift", value="1")).up()
    cluster.merge(path, {"data": {"a": "hand"}})
    assert workspace.refresh().steps["kubernetes:core/v1:ConfigMap::cm"].operation == "refresh"
    assert workspace.preview().steps["kubernetes:core/v1:ConfigMap::cm"].operation == "replace"
    workspace.up()
    assert cluster.get(path)["data"] == {"a": "1"}
    cluster.request("DELETE", path)
    workspace.refresh()
    assert workspace.preview().steps["kubernetes:core/v1:ConfigMap::cm"].operation == "create"
    workspace.up()
    assert cluster.get(path)["data"] == {"a": "1"}


def test_a_field_taken_out_of_the_program_goes_from_the_object_and_others_fields_stay(
    workspace: Workspace, cluster: ApiServer
) -> None:
    text = (
        IMPORTS
        + 'k8s.core.v1.Service("svc", metadata={"name": "owned", "labels": %s}, spec={"ports": [{"port": 80}]})\n'
    )
    workspace.program(text % '{"a": "1", "b": "1"}').up()
    path = "/api/v1/namespaces/default/services/owned"
    cluster.merge(path, {"metadata": {"labels": {"theirs": "x"}}})
    workspace.program(text % '{"a": "2"}').up()
    assert cluster.get(path)["metadata"]["labels"] == {"a": "2", "theirs": "x"}
    managers = {(entry["manager"], entry["operation"]) for entry in cluster.get(path)["metadata"]["managedFields"]}
    assert {operation for name, operation in managers if name.startswith("pulumi-kubernetes-")} == {"Apply"}
    assert ("pulumi-kubernetes", "Update") not in managers


def test_a_field_that_others_hold_is_a_conflict_in_the_preview_and_can_be_forced(
    workspace: Workspace, cluster: ApiServer
) -> None:
    text = (
        IMPORTS
        + 'k8s.core.v1.Service("svc", metadata={"name": "held", "annotations": %s},'
        + ' spec={"ports": [{"port": 80, "targetPort": %d}]})\n'
    )
    workspace.program(text % ("{}", 1)).up()
    # An update of ours turns the creation's fields into an apply's.
    workspace.program(text % ("{}", 2)).up()
    path = "/api/v1/namespaces/default/services/held"
    cluster.merge(path, {"spec": {"ports": [{"port": 80, "protocol": "TCP", "targetPort": 99}]}})
    workspace.program(text % ("{}", 3))
    with pytest.raises(automation.CommandError) as caught:
        workspace.preview()
    manager = workspace.state()["kubernetes:core/v1:Service::svc"]["outputs"]["__fieldManager"]
    said = str(caught.value)
    assert (
        f'The resource managed by field manager "{manager}" had an apply conflict: Apply failed with 1 conflict' in said
    )
    assert '.spec.ports[port=80,protocol="TCP"].targetPort' in said
    workspace.program(text % ('{"pulumi.com/patchForce": "true"}', 3)).up()
    assert cluster.get(path)["spec"]["ports"][0]["targetPort"] == 3


def test_an_object_that_exists_is_refused_with_ways_out_and_can_be_taken_over(
    workspace: Workspace, cluster: ApiServer
) -> None:
    collection = "/api/v1/namespaces/default/configmaps"
    made = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "made-by-hand"}, "data": {"a": "1"}}
    cluster.post(collection, made)
    said = workspace.program(CONFIG_MAP.format(name="made-by-hand", value="1")).up_fails()
    assert 'configmaps "made-by-hand" already exists' in said
    for way in ("use an alias", "use a Patch resource", "use `pulumi import`", "set upsertExistingObjects"):
        assert way in said
    upsert = (
        'provider = k8s.Provider("p", upsert_existing_objects=True, enable_patch_force=True)\n'
        'k8s.core.v1.ConfigMap("cm", metadata={"name": "made-by-hand"}, data={"a": "2"},'
        " opts=pulumi.ResourceOptions(provider=provider))\n"
    )
    workspace.program(IMPORTS + upsert).up()
    assert cluster.get(f"{collection}/made-by-hand")["data"] == {"a": "2"}


def test_an_object_is_imported_by_its_id_without_a_change(workspace: Workspace, cluster: ApiServer) -> None:
    made = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "foreign"}, "data": {"a": "1"}}
    cluster.post("/api/v1/namespaces/default/configmaps", made)
    text = CONFIG_MAP.format(name="foreign", value="1").replace(
        "})\n", '}, opts=pulumi.ResourceOptions(import_="default/foreign"))\n'
    )
    assert workspace.program(text).preview().steps["kubernetes:core/v1:ConfigMap::cm"].operation == "import"
    workspace.up()
    assert workspace.program(CONFIG_MAP.format(name="foreign", value="1")).preview().steps == {}


def test_the_api_server_refuses_in_the_preview_already_and_unknown_fields_are_warned_of(workspace: Workspace) -> None:
    bad = IMPORTS + 'k8s.core.v1.Service("bad", metadata={"name": "Invalid_Name"}, spec={"ports": [{"port": 80}]})\n'
    with pytest.raises(
        automation.CommandError, match="was not successfully created by the Kubernetes API server"
    ) as caught:
        workspace.program(bad).preview()
    assert 'Service "Invalid_Name" is invalid' in str(caught.value)
    odd = IMPORTS + 'k8s.core.v1.Service("odd", metadata={"name": "odd"}, spec={"ports": [{"port": 80}], "bogus": 1})\n'
    messages = workspace.program(odd).preview().messages
    assert any('unknown field "spec.bogus"' in message for message in messages)


def test_a_deployment_that_does_not_become_ready_is_kept_with_its_reasons_and_mended(
    workspace: Workspace, cluster: ApiServer
) -> None:
    text = IMPORTS + (
        'k8s.apps.v1.Deployment("never", metadata={"name": "never", "annotations": {"pulumi.com/timeoutSeconds": "8"}},'
        ' spec={"selector": {"matchLabels": {"app": "n"}}, "template": {"metadata": {"labels": {"app": "n"}},'
        ' "spec": {"containers": [{"name": "c", "image": "%s"}]}}})\n'
    )
    workspace.program(text % "never").up_fails()
    kept = workspace.state()["kubernetes:apps/v1:Deployment::never"]
    assert kept["id"] == "default/never"
    reasons = kept["initErrors"]
    assert reasons[0] == "'never' timed out waiting to be Ready"
    assert "[MinimumReplicasUnavailable] Deployment does not have minimum availability." in reasons
    assert "Minimum number of live Pods was not attained" in reasons
    assert any(
        'containers with unready status: [c][ImagePullBackOff] Back-off pulling image "never"' in reason
        for reason in reasons
    )
    workspace.program(text % "good").up()
    assert "initErrors" not in workspace.state()["kubernetes:apps/v1:Deployment::never"]
    assert cluster.get("/apis/apps/v1/namespaces/default/deployments/never")["status"]["readyReplicas"] == 1


def test_a_failed_job_fails_at_once_with_its_exit_code_and_the_rest_goes_on(workspace: Workspace) -> None:
    job = (
        'k8s.batch.v1.Job("job", metadata={"name": "job"}, spec={"backoffLimit": 0, "template": {"spec":'
        ' {"restartPolicy": "Never", "containers": [{"name": "j", "image": "fail"}]}}})\n'
    )
    said = workspace.program(CONFIG_MAP.format(name="beside", value="1") + job).up_fails()
    assert 'container "j" completed with exit code 3' in said
    assert "[BackoffLimitExceeded]" in said
    assert "kubernetes:core/v1:ConfigMap::cm" in workspace.state()


def test_a_namespace_and_a_kind_that_are_only_about_to_be_made_do_not_fail_the_preview(workspace: Workspace) -> None:
    text = IMPORTS + (
        'k8s.core.v1.ConfigMap("cm", metadata={"name": "a", "namespace": "not-there"}, data={"a": "1"})\n'
        'k8s.apiextensions.CustomResource("cr", api_version="example.test/v1", kind="Widget", metadata={"name": "a"})\n'
    )
    assert len(workspace.program(text).preview().steps) >= 2


def test_a_patch_of_an_object_that_is_not_there_is_refused(workspace: Workspace, cluster: ApiServer) -> None:
    text = IMPORTS + 'k8s.core.v1.NodePatch("node", metadata={"name": "absent", "labels": {"a": "b"}})\n'
    assert 'nodes "absent" not found' in workspace.program(text).up_fails()
    assert cluster.get("/api/v1/nodes/absent") is None


def test_without_a_cluster_a_preview_warns_once_and_an_update_fails(make: Callable[..., Workspace]) -> None:
    kubeconfig = {
        "clusters": [{"name": "a", "cluster": {"server": "https://127.0.0.1:1"}}],
        "contexts": [{"name": "a", "context": {"cluster": "a"}}],
        "current-context": "a",
    }
    workspace = make(NO_CLUSTER=json.dumps(kubeconfig))
    workspace.program(
        IMPORTS + "import os\n"
        'provider = k8s.Provider("p", kubeconfig=os.environ["NO_CLUSTER"])\n'
        'for name in ("a", "b"):\n'
        '    k8s.core.v1.ConfigMap(name, metadata={"name": name}, opts=pulumi.ResourceOptions(provider=provider))\n'
    )
    shown = workspace.preview()
    assert sum("configured Kubernetes cluster is unreachable" in message for message in shown.messages) == 1
    assert {"kubernetes:core/v1:ConfigMap::a", "kubernetes:core/v1:ConfigMap::b"} <= set(shown.steps)
    assert "https://127.0.0.1:1 cannot be reached" in workspace.up_fails()


@pytest.mark.parametrize(
    ("program", "said"),
    [
        ('k8s.Provider("p", kube_client_settings={"qps": 1})', "kubeClientSettings"),
        ('k8s.Provider("p", enable_server_side_apply=False)', "client-side apply is not done"),
        ('k8s.helm.v3.Release("r", chart="x")', "kubernetes:helm.sh/v3:Release: not done by this plugin"),
        ('k8s.yaml.v2.ConfigGroup("g", objs=[])', "kubernetes:yaml/v2:ConfigGroup: not done by this plugin"),
        ('k8s.yaml.ConfigGroup("g", yaml=["a: b"])', "kubernetes:yaml:decode: not done by this plugin"),
    ],
)
def test_what_is_not_done_is_refused_by_name(workspace: Workspace, program: str, said: str) -> None:
    with pytest.raises(automation.CommandError) as caught:
        workspace.program(f"{IMPORTS}{program}\n").preview()
    assert said in str(caught.value)


def test_a_secret_in_any_object_is_stored_encrypted_and_shown_nowhere(workspace: Workspace, cluster: ApiServer) -> None:
    text = IMPORTS + (
        'value = pulumi.Output.secret("plan" + "ted-%d")\n'
        'k8s.apiextensions.CustomResource("quota", api_version="v1", kind="LimitRange", metadata={"name": "s",'
        ' "annotations": {"a": value}}, spec={"limits": []})\n'
        'cm = k8s.core.v1.ConfigMap("cm", metadata={"name": "s"}, data={"a": value, "b": "open"})\n'
        'pulumi.export("data", cm.data)\n'
    )
    shown = workspace.program(text % 1).up().output
    shown += workspace.program(text % 2).preview(diff=True).output
    shown += workspace.up(diff=True).output + workspace.refresh().output
    assert cluster.get("/api/v1/namespaces/default/configmaps/s")["data"] == {"a": "planted-2", "b": "open"}
    assert "[secret]" in shown
    stored = "".join(path.read_text() for path in workspace.folder.joinpath("backend").rglob("*.json"))
    assert "LimitRange" in stored
    assert "planted" not in stored + shown


def test_a_saved_plan_is_kept_to(workspace: Workspace, tmp_path: Path) -> None:
    plan = str(tmp_path / "plan.json")
    autonamed = IMPORTS + 'k8s.core.v1.ConfigMap("cm", data={"a": "%s"})\n'
    workspace.program(autonamed % "1").preview(plan=plan)
    workspace.program(autonamed % "2")
    with pytest.raises(automation.CommandError, match="violates plan"):
        workspace.up(plan=plan)
    workspace.program(autonamed % "1").up(plan=plan)
