"""Objects that are there already, or are to stay: get, import, Patch resources, retainOnDelete."""

from __future__ import annotations

from api_server import ApiServer
from workspace import Workspace

IMPORTS = "import pulumi\nimport pulumi_kubernetes as k8s\n"
MAPS = "/api/v1/namespaces/default/configmaps"


def config_map(name: str, **data: str) -> dict[str, object]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data}


def test_what_is_read_patched_or_retained_outlives_the_program(workspace: Workspace, cluster: ApiServer) -> None:
    for name in ("read", "patched", "kept-patch"):
        cluster.post(MAPS, config_map(name, theirs="1"))
    kept = "opts=pulumi.ResourceOptions(retain_on_delete=True)"
    workspace.program(
        IMPORTS + 'got = k8s.core.v1.ConfigMap.get("got", "default/read")\n'
        'pulumi.export("theirs", got.data["theirs"])\n'
        'k8s.core.v1.ConfigMapPatch("patch", metadata={"name": "patched"}, data={"ours": "1"})\n'
        f'k8s.core.v1.ConfigMapPatch("kept-patch", metadata={{"name": "kept-patch"}}, data={{"ours": "1"}}, {kept})\n'
        f'k8s.core.v1.ConfigMap("kept", metadata={{"name": "kept"}}, data={{"ours": "1"}}, {kept})\n'
    ).up()
    assert workspace.stack.outputs()["theirs"].value == "1"
    state = workspace.state()
    assert state["kubernetes:core/v1:ConfigMap::got"]["external"] is True
    assert state["kubernetes:core/v1:ConfigMap::got"]["outputs"]["__inputs"]["data"] == {"theirs": "1"}
    assert state["kubernetes:core/v1:ConfigMapPatch::patch"]["id"] == "default/patched"
    assert cluster.get(f"{MAPS}/patched")["data"] == {"theirs": "1", "ours": "1"}

    # Of what was only read, a change outside is seen by the next run, without a refresh.
    cluster.merge(f"{MAPS}/read", {"data": {"theirs": "2"}})
    workspace.program(
        IMPORTS
        + 'got = k8s.core.v1.ConfigMap.get("got", "default/read")\npulumi.export("theirs", got.data["theirs"])\n'
    ).up()
    assert workspace.stack.outputs()["theirs"].value == "2"
    assert cluster.get(f"{MAPS}/patched")["data"] == {"theirs": "1"}
    assert cluster.get(f"{MAPS}/kept-patch")["data"] == {"theirs": "1", "ours": "1"}
    assert cluster.get(f"{MAPS}/kept")["data"] == {"ours": "1"}
    workspace.destroy()
    assert cluster.get(f"{MAPS}/read")


DEPLOYMENT = {
    "apiVersion": "apps/v1",
    "kind": "Deployment",
    "metadata": {"name": "made", "annotations": {"note": "theirs"}},
    "spec": {
        "replicas": 0,
        "selector": {"matchLabels": {"app": "w"}},
        "template": {
            "metadata": {"labels": {"app": "w"}},
            "spec": {"containers": [{"name": "c", "image": "i"}]},
        },
    },
}
IMPORTED = """\
import pulumi
import pulumi_kubernetes as k8s

replicas = pulumi.Config().require_int("replicas")
force = {{"pulumi.com/patchForce": "true"}} if pulumi.Config().get_bool("force") else {{}}
k8s.apps.v1.Deployment("d", metadata={{"name": "made", "annotations": {{"note": "theirs", **force}}}},
    spec={spec} | {{"replicas": replicas}}, opts=pulumi.ResourceOptions(import_="default/made"))
"""


def test_an_import_takes_over_what_is_there_and_its_first_change_has_to_win_its_fields(
    workspace: Workspace, cluster: ApiServer
) -> None:
    path = "/apis/apps/v1/namespaces/default/deployments"
    cluster.request("POST", f"{path}?fieldManager=someone", DEPLOYMENT)
    workspace.program(IMPORTED.format(spec=DEPLOYMENT["spec"])).configure(replicas=0)
    workspace.up()
    assert workspace.state()["kubernetes:apps/v1:Deployment::d"]["id"] == "default/made"
    assert cluster.get(f"{path}/made")["metadata"]["generation"] == 1
    assert workspace.preview().steps == {}

    said = workspace.configure(replicas=1).up_fails()
    assert 'Apply failed with 1 conflict: conflict with "someone"' in said
    assert ".spec.replicas" in said
    # The state holds that it was refused: the next run tries again.
    assert len(workspace.state()["kubernetes:apps/v1:Deployment::d"]["initErrors"]) == 1
    workspace.configure(force="true").up()
    assert cluster.get(f"{path}/made")["spec"]["replicas"] == 1
    assert "initErrors" not in workspace.state()["kubernetes:apps/v1:Deployment::d"]
