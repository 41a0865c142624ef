"""The provider's own configuration: which cluster, made by the run or gone, and what makes it another one."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from api_server import ApiServer
from workspace import Workspace

CONFIG_MAP = "kubernetes:core/v1:ConfigMap::cm"
PROVIDER = "pulumi:providers:kubernetes::p"

MADE_BY_THE_RUN = """\
import pulumi
import pulumi_command as command
import pulumi_kubernetes as k8s

config = pulumi.Config()
made = command.local.Command("made", create='sed s/127.0.0.1/%s/ "$TEST_KUBECONFIG"' % config.require("server"))
provider = k8s.Provider("p", kubeconfig=pulumi.Output.secret(made.stdout), cluster_identifier=config.require("id"))
opts = pulumi.ResourceOptions(provider=provider)
k8s.core.v1.ConfigMap("cm", metadata={"name": "made", "namespace": "default"}, data={"a": "1"}, opts=opts)
auto = k8s.core.v1.ConfigMap("auto", data={"a": "1"}, opts=opts)
pulumi.export("name", auto.metadata["name"])
"""


def test_a_cluster_that_the_run_makes_is_previewed_and_its_identifier_says_when_it_is_another(
    workspace: Workspace, cluster: ApiServer
) -> None:
    workspace.program(MADE_BY_THE_RUN).configure(server="127.0.0.1", id="lab")
    shown = workspace.preview()
    assert {step.operation for step in shown.steps.values()} == {"create"}
    assert not any(message.startswith(("warning", "error")) for message in shown.messages)
    workspace.up()
    assert cluster.get("/api/v1/namespaces/default/configmaps/made")["data"] == {"a": "1"}
    assert workspace.stack.outputs()["name"].value.startswith("auto-")

    # Another way to the same cluster, not known before the run: nothing in it is touched. The preview asks no provider
    # that is not known, so that every object of its looks like a change there.
    auto = "kubernetes:core/v1:ConfigMap::auto"
    version = cluster.get("/api/v1/namespaces/default/configmaps/made")["metadata"]["resourceVersion"]
    changed = {"command:local:Command::made": "update", PROVIDER: "update"}
    moved = workspace.configure(server="localhost").preview().steps
    assert {urn: step.operation for urn, step in moved.items()} == {**changed, auto: "update", CONFIG_MAP: "update"}
    assert {urn: step.operation for urn, step in workspace.up().steps.items()} == changed
    assert cluster.get("/api/v1/namespaces/default/configmaps/made")["metadata"]["resourceVersion"] == version

    # Another cluster.
    other = workspace.configure(id="prod").preview().steps
    replaced = dict.fromkeys((PROVIDER, CONFIG_MAP, auto), "replace")
    assert {urn: step.operation for urn, step in other.items()} == replaced


CHOSEN = """\
import os
import pulumi
import pulumi_kubernetes as k8s

provider = k8s.Provider("p", kubeconfig=os.environ["TWO"], context="second", cluster="first", namespace="kube-public")
k8s.core.v1.ConfigMap("cm", metadata={"name": "chosen"}, opts=pulumi.ResourceOptions(provider=provider))
"""


def test_a_kubeconfigs_path_a_context_a_cluster_and_a_namespace_choose_where_objects_go(
    make: Callable[..., Workspace], cluster: ApiServer, tmp_path: Path
) -> None:
    good = json.loads(cluster.kubeconfig.read_text())
    two = {
        "clusters": [
            {**good["clusters"][0], "name": "first"},
            {"name": "nowhere", "cluster": {"server": "https://127.0.0.1:1"}},
        ],
        "users": good["users"],
        "contexts": [
            {"name": "first", "context": {"cluster": "first"}},
            {"name": "second", "context": {"cluster": "nowhere", "user": good["users"][0]["name"]}},
        ],
        "current-context": "first",
    }
    path = tmp_path / "two-contexts"
    path.write_text(json.dumps(two))
    workspace = make(TWO=str(path)).program(CHOSEN)
    workspace.up()
    assert workspace.state()[CONFIG_MAP]["id"] == "kube-public/chosen"
    assert cluster.get("/api/v1/namespaces/kube-public/configmaps/chosen")
    workspace.destroy()
    assert cluster.get("/api/v1/namespaces/kube-public/configmaps/chosen") is None


GONE = """\
import os
import pulumi
import pulumi_kubernetes as k8s

config = pulumi.Config()
kubeconfig = open(os.environ["TEST_KUBECONFIG"]).read()
if config.get_bool("gone"):
    kubeconfig = kubeconfig.replace("https://127.0.0.1", "https://127.0.0.9")
provider = k8s.Provider("p", kubeconfig=kubeconfig, cluster_identifier="lab",
    skip_update_unreachable=config.get_bool("skip"), delete_unreachable=config.get_bool("delete"))
k8s.core.v1.ConfigMap("cm", metadata={"name": "left"}, data={"a": config.require("a")},
    opts=pulumi.ResourceOptions(provider=provider))
"""


def test_a_cluster_that_is_gone_fails_skips_or_forgets_as_told(workspace: Workspace, cluster: ApiServer) -> None:
    path = "/api/v1/namespaces/default/configmaps/left"
    workspace.program(GONE).configure(a=1).up()
    said = workspace.configure(a=2, gone="true").up_fails()
    assert "configured Kubernetes cluster is unreachable" in said

    shown = workspace.configure(skip="true").up()
    assert any(
        "Cluster is unreachable but skipUpdateUnreachable flag is set to true" in line for line in shown.messages
    )
    assert CONFIG_MAP not in shown.steps
    assert cluster.get(path)["data"] == {"a": "1"}
    assert workspace.state()[CONFIG_MAP]["inputs"]["data"] == {"a": "1"}

    workspace.configure(skip="false", delete="true", a=1).up()
    assert CONFIG_MAP in workspace.state()
    workspace.destroy()
    assert workspace.state() == {}
    assert cluster.get(path) is not None
    cluster.request("DELETE", path)
