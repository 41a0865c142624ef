"""pulumi.com/waitFor, PULUMI_K8S_AWAIT_ALL, skipAwait, and deletions that something holds up."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from api_server import ApiServer
from pulumi import automation
from workspace import Workspace

IMPORTS = "import pulumi\nimport pulumi_kubernetes as k8s\n"
WIDGETS = "/apis/wait.test/v1/namespaces/default/widgets"
DEFINITION = """
schema = {"type": "object", "x_kubernetes_preserve_unknown_fields": True}
definition = k8s.apiextensions.v1.CustomResourceDefinition("crd", metadata={"name": "widgets.wait.test"}, spec={
    "group": "wait.test", "scope": "Namespaced", "names": {"kind": "Widget", "plural": "widgets"},
    "versions": [{"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}],
})
"""


def widget(name: str, **annotations: str) -> str:
    """A program's line for a custom resource that is made after its definition.

    It is deleted without the garbage collector, which hears of a new kind up to half a minute late.
    """
    given = {f"pulumi.com/{key}": value for key, value in annotations.items()}
    given["pulumi.com/deletionPropagationPolicy"] = "background"
    metadata = {"name": name, "annotations": given}
    return (
        f'k8s.apiextensions.CustomResource("{name}", api_version="wait.test/v1", kind="Widget", '
        f"metadata={metadata!r}, opts=pulumi.ResourceOptions(depends_on=definition))\n"
    )


URN = "kubernetes:wait.test/v1:Widget::"


def test_an_object_is_ready_when_all_that_wait_for_names_is_so_and_the_next_up_goes_on(
    workspace: Workspace, cluster: ApiServer
) -> None:
    wanted = json.dumps(["jsonpath={.status.phase}=Up", 'jsonpath={.status.list[?(@.a=="1")].b}', "condition=Ready"])
    program = IMPORTS + DEFINITION + widget("w", waitFor=wanted, timeoutSeconds="4") + widget("free")
    said = workspace.program(program).up_fails()
    assert "timed out waiting for the condition" in said
    state = workspace.state()
    assert state[f"{URN}w"]["initErrors"] == [
        "timed out waiting for the condition",
        "{.status.phase} selected nothing",
    ]
    assert "initErrors" not in state[f"{URN}free"]
    status = {
        "phase": "Up",
        "list": [{"a": "1", "b": 2}],
        "conditions": [{"type": "Ready", "status": "False"}],
    }
    cluster.merge(f"{WIDGETS}/w", {"status": status})
    workspace.up_fails()
    assert workspace.state()[f"{URN}w"]["initErrors"][1] == "Resource has condition Ready=False (want True)"
    cluster.merge(f"{WIDGETS}/w", {"status": {"conditions": [{"type": "Ready", "status": "True"}]}})
    workspace.up()
    assert "initErrors" not in workspace.state()[f"{URN}w"]


def test_a_wait_for_that_says_nothing_is_refused_before_anything_is_made(
    workspace: Workspace, cluster: ApiServer
) -> None:
    program = IMPORTS + (
        'k8s.core.v1.ConfigMap("cm", metadata={"name": "waits", "annotations": {"pulumi.com/waitFor": "phase=Up"}})\n'
    )
    with pytest.raises(automation.CommandError, match='expected a "jsonpath=" or "condition=" prefix, got "phase=Up"'):
        workspace.program(program).preview()
    assert cluster.get("/api/v1/namespaces/default/configmaps/waits") is None


def test_every_kind_is_waited_for_by_its_conditions_where_the_environment_says_so(
    make: Callable[..., Workspace], cluster: ApiServer
) -> None:
    kubeconfig = str(cluster.kubeconfig)
    workspace = make(KUBECONFIG=kubeconfig, PULUMI_K8S_AWAIT_ALL="true")
    unready = {"conditions": [{"type": "Ready", "status": "False", "message": "no device yet"}]}
    status = {"type": "object", "x_kubernetes_preserve_unknown_fields": True, "default": unready}
    program = (
        IMPORTS
        + DEFINITION.replace("\ndefinition", f"\nschema['properties'] = {{'status': {status!r}}}\ndefinition")
        + widget("skipped", skipAwait="true")
        + 'k8s.core.v1.ConfigMap("plain", metadata={"name": "plain"}, data={"a": "1"})\n'
        + widget("w", timeoutSeconds="3")
    )
    try:
        workspace.program(program).up_fails()
        state = workspace.state()
        assert state[f"{URN}w"]["initErrors"] == ["timed out waiting for the condition", "no device yet"]
        definition = state["kubernetes:apiextensions.k8s.io/v1:CustomResourceDefinition::crd"]["outputs"]
        assert {"Established", "NamesAccepted"} <= {item["type"] for item in definition["status"]["conditions"]}
        assert {"kubernetes:core/v1:ConfigMap::plain", f"{URN}skipped"} <= set(state)
        assert "initErrors" not in state[f"{URN}skipped"]
    finally:
        workspace.destroy()


def test_a_deletion_that_a_finalizer_holds_up_is_said_kept_and_ends_with_the_finalizer(
    workspace: Workspace, cluster: ApiServer
) -> None:
    held = (
        'k8s.core.v1.ConfigMap("held", metadata={"name": "held", "finalizers": ["wait.test/hold"]},'
        ' opts=pulumi.ResourceOptions(custom_timeouts=pulumi.CustomTimeouts(delete="2s")))\n'
    )
    pods = {"metadata": {"labels": {"app": "s"}}, "spec": {"containers": [{"name": "c", "image": "lingers"}]}}
    spec = {"selector": {"matchLabels": {"app": "s"}}, "template": pods}
    skipped = (
        'k8s.apps.v1.Deployment("skipped", metadata={"name": "skipped",'
        f' "annotations": {{"pulumi.com/skipAwait": "true"}}}}, spec={spec!r})\n'
    )
    workspace.program(IMPORTS + held + skipped).up()
    said = workspace.program(IMPORTS).up_fails()
    assert "finalizers might be preventing deletion (wait.test/hold)" in said
    kept = workspace.state()
    # skipAwait holds for the deletion of a workload too: its pod is still ending.
    assert "kubernetes:apps/v1:Deployment::skipped" not in kept
    assert kept["kubernetes:core/v1:ConfigMap::held"]["id"] == "default/held"
    path = "/api/v1/namespaces/default/configmaps/held"
    assert cluster.get(path)["metadata"]["deletionTimestamp"]
    cluster.merge(path, {"metadata": {"finalizers": None}})
    workspace.up()
    assert set(workspace.state()) <= {"pulumi:pulumi:Stack::test-dev", "pulumi:providers:kubernetes::default_4_34_2"}
    assert cluster.get(path) is None
