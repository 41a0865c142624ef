"""renderYamlToDirectory through the real CLI, with no cluster at all."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml
from workspace import Workspace

PROGRAM = """\
import pulumi
import pulumi_kubernetes as k8s

config = pulumi.Config()
step = config.require_int("step")
provider = k8s.Provider("files", render_yaml_to_directory=config.require("folder"), namespace="apps",
    always_render=config.get_bool("always"))
opts = pulumi.ResourceOptions(provider=provider)
k8s.core.v1.Namespace("ns", metadata={"name": "apps"}, opts=opts)
crd = k8s.apiextensions.v1.CustomResourceDefinition("crd", metadata={"name": "fleets.example.test"}, opts=opts, spec={
    "group": "example.test", "scope": "Cluster", "names": {"kind": "Fleet", "plural": "fleets"},
    "versions": [{"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": {
        "type": "object", "x_kubernetes_preserve_unknown_fields": True}}}]})
k8s.apiextensions.CustomResource("fleet", api_version="example.test/v1", kind="Fleet", metadata={"name": "f"},
    opts=pulumi.ResourceOptions(provider=provider, depends_on=[crd]))
if step < 3:
    k8s.core.v1.ConfigMap("gone", metadata={"name": "gone"}, data={"a": "1"}, opts=opts)
auto = k8s.core.v1.ConfigMap("auto", data={"a": str(step)}, opts=opts)
k8s.core.v1.Secret("sec", metadata={"name": "sec"}, string_data={"key": pulumi.Output.secret("planted")}, opts=opts)
service = k8s.core.v1.Service("svc", metadata={"name": "svc"}, opts=opts,
    spec={"ports": [{"port": 80 + step}], "selector": {"app": "w"}})
pulumi.export("name", auto.metadata["name"])
"""
MANIFESTS = [
    "example.test_v1-fleet-default-f",
    "v1-configmap-apps-auto-*",
    "v1-configmap-apps-gone",
    "v1-namespace-default-apps",
]
MANIFESTS += ["v1-secret-apps-sec", "v1-service-apps-svc"]


def rendered(folder: Path) -> dict[str, Any]:
    """The objects below `folder` by their file's name, what is random in it as `*`."""
    found = {path.stem: yaml.safe_load(path.read_text()) for path in sorted(folder.glob("*/*.yaml"))}
    return {"v1-configmap-apps-auto-*" if "-auto-" in name else name: obj for name, obj in found.items()}


def test_every_object_becomes_a_file_that_follows_the_program_and_no_cluster_is_needed(
    make: Callable[..., Workspace], tmp_path: Path
) -> None:
    folder, other = tmp_path / "out", tmp_path / "other"
    workspace = make(KUBECONFIG="").program(PROGRAM).configure(step=1, folder=folder)
    shown = workspace.preview()
    assert {step.operation for step in shown.steps.values()} == {"create"}
    assert any("rendered YAML will contain a secret value in plaintext" in message for message in shown.messages)
    assert not any("unreachable" in message for message in shown.messages)
    assert not folder.exists()

    messages = workspace.up().messages
    secret = folder / "1-manifest" / "v1-secret-apps-sec.yaml"
    assert any(f"rendered file {secret} contains a secret value in plaintext" in message for message in messages)
    crd = "apiextensions.k8s.io_v1-customresourcedefinition-default-fleets.example.test"
    files = rendered(folder)
    assert sorted(files) == sorted([crd, *MANIFESTS])
    assert (folder / "0-crd" / f"{crd}.yaml").is_file()
    assert files["v1-secret-apps-sec"]["data"] == {"key": "cGxhbnRlZA=="}
    assert files["example.test_v1-fleet-default-f"]["metadata"] == {"name": "f"}  # its definition says so
    assert "x-kubernetes-preserve-unknown-fields" in (folder / "0-crd" / f"{crd}.yaml").read_text()
    state = workspace.state()["kubernetes:core/v1:Service::svc"]
    assert state["id"] == "apps/svc"
    assert state["outputs"]["__fieldManager"].startswith("pulumi-kubernetes-")
    assert {name: state["outputs"][name] for name in ("apiVersion", "kind", "metadata", "spec")} == files[
        "v1-service-apps-svc"
    ]
    name = workspace.stack.outputs()["name"].value
    assert files["v1-configmap-apps-auto-*"]["metadata"]["name"] == name

    steps = workspace.configure(step=3).up().steps
    assert {urn: step.operation for urn, step in steps.items()} == {
        "kubernetes:core/v1:ConfigMap::auto": "replace",
        "kubernetes:core/v1:ConfigMap::gone": "delete",
        "kubernetes:core/v1:Service::svc": "update",
    }
    files = rendered(folder)
    assert sorted(files) == sorted({crd, *MANIFESTS} - {"v1-configmap-apps-gone"})
    assert files["v1-service-apps-svc"]["spec"]["ports"] == [{"port": 83}]
    assert files["v1-configmap-apps-auto-*"]["metadata"]["name"] != name

    # Another folder is another place altogether.
    steps = workspace.configure(folder=other).up().steps
    assert {step.operation for urn, step in steps.items() if urn.startswith("kubernetes:")} == {"replace"}
    assert rendered(folder) == {}
    assert sorted(rendered(other)) == sorted(files)

    # Only what changed is written, unless everything is asked for.
    lost = other / "1-manifest" / "v1-service-apps-svc.yaml"
    lost.unlink()
    assert workspace.preview().steps == {}
    workspace.configure(always="true").up()
    assert lost.is_file()
