"""GpuNode on a real cluster: labels, the taint beside those of others, and GPUs counted before anything uses them."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from lab_stack import Stack

from cli.lab_spec import lab_spec
from lab.lab import Lab
from planning.plan import plan
from settings.loader import read
from toolchain import gobuild, paths

_OTHERS = {"key": "example.com/others", "value": "theirs", "effect": "PreferNoSchedule"}
_OURS = {"key": "nvidia.com/gpu", "value": "present", "effect": "NoSchedule"}


@pytest.fixture(scope="module")
def site(lab: Lab, project: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A lab of one node with one card, and a stack of one model for it."""
    stack = Stack(lab, project, name="gpu-node")
    document = yaml.safe_load((paths.REPOSITORY / "Pulumi.dev.yaml").read_text())
    document["config"]["llm-serving:models"] = {"assistant": document["config"]["llm-serving:models"]["assistant"]}
    document["config"]["llm-serving:ingress"]["routes"] = {"/ollama": "assistant"}
    stack.file.write_text(yaml.safe_dump(document))
    lab.up(lab_spec(plan(read(stack.file))))
    programs = tmp_path_factory.mktemp("bin")
    (programs / "kubectl").symlink_to(gobuild.program_path("kube"))  # on PATH, as where people deploy from
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", f"{programs}{os.pathsep}{os.environ['PATH']}")
        stack.pulumi("stack", "select", "--create")
        yield stack
        stack.pulumi("destroy", "--yes")
        stack.pulumi("stack", "rm", "--yes")


def set_node(stack: Stack, **settings: Any) -> None:
    document = yaml.safe_load(stack.file.read_text())
    document["config"]["llm-serving:nodes"]["workstation"] |= settings
    stack.file.write_text(yaml.safe_dump(document))


def taints(stack: Stack) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = stack.get("node", "workstation")["spec"].get("taints", [])
    return found


def test_fewer_gpus_than_planned_stop_the_deployment_before_a_model(site: Stack) -> None:
    set_node(site, platform="native", gpus={"model": "rtx-4090", "count": 2, "timeSlices": 2})
    refused = site.pulumi("up", "--yes", check=False)
    said = refused.stdout + refused.stderr
    assert refused.returncode != 0
    assert (
        "nodes.workstation: 4 nvidia.com/gpu are planned (2 of rtx-4090 in 2 slices each), and the node advertises 2"
        in said
    )
    assert "Correct nodes.workstation.gpus.count" in said
    assert "Traceback" not in said
    assert site.lab.kubectl("get", "deployments,jobs", "-n", "llm", "-o", "name") == ""


def test_the_right_number_passes_and_the_stack_comes_up(site: Stack) -> None:
    set_node(site, gpus={"model": "rtx-4090", "count": 1, "timeSlices": 2})
    site.pulumi("up", "--yes")
    node = site.get("node", "workstation")
    assert node["status"]["allocatable"]["nvidia.com/gpu"] == "2"
    assert node["metadata"]["labels"]["llm-serving/gpu-time-slices"] == "2"
    assert taints(site) == []


def test_reading_the_node_is_no_change(site: Stack) -> None:
    assert site.steps() == []
    site.pulumi("up", "--yes", "--expect-no-changes")
    site.pulumi("refresh", "--yes", "--expect-no-changes")


def test_another_way_of_sharing_is_waited_for(site: Stack) -> None:
    """The old number is advertised until the other device plugin has registered."""
    set_node(site, gpus={"model": "rtx-4090", "count": 1, "timeSlices": 3})
    saved = str(site.folder / "gpu-node.json")
    site.pulumi("preview", "--save-plan", saved)
    site.pulumi("up", "--yes", "--skip-preview", "--plan", saved)
    assert site.get("node", "workstation")["status"]["allocatable"]["nvidia.com/gpu"] == "3"


def test_the_taint_is_put_beside_those_of_others_and_taken_off_alone(site: Stack) -> None:
    site.lab.kubectl("taint", "nodes", "workstation", "example.com/others=theirs:PreferNoSchedule")
    set_node(site, taint=True)
    assert site.steps() == [("create", "command:local:Command::workstation-taint")]
    site.pulumi("up", "--yes")
    assert sorted(taints(site), key=lambda taint: str(taint["key"])) == [_OTHERS, _OURS]
    site.pulumi("refresh", "--yes", "--expect-no-changes")
    # Taken off by hand: what is gone already does not hold up what is taken away.
    site.lab.kubectl("taint", "nodes", "workstation", "nvidia.com/gpu=present:NoSchedule-")
    set_node(site, taint=False)
    site.pulumi("up", "--yes")
    assert taints(site) == [_OTHERS]
    site.lab.kubectl("taint", "nodes", "workstation", "example.com/others-")


def test_a_gpu_that_has_gone_is_told_after_a_refresh(site: Stack) -> None:
    ours = ("-n", "kube-system", "-l", "app.kubernetes.io/name=nvidia-device-plugin")
    site.lab.kubectl("delete", "daemonsets", *ours)
    deadline = time.monotonic() + 60
    while site.get("node", "workstation")["status"]["allocatable"].get("nvidia.com/gpu") != "0":
        assert time.monotonic() < deadline, "the kubelet still counts GPUs without their plugin"
        time.sleep(1)  # before the node is looked at again
    refused = site.pulumi("up", "--yes", "--refresh", check=False)
    said = refused.stdout + refused.stderr
    assert "3 nvidia.com/gpu are planned (1 of rtx-4090 in 3 slices each), and the node advertises 0" in said
    # The plugin was made again by that run; what it advertises is counted by the next.
    site.pulumi("up", "--yes", "--refresh")
    assert site.get("node", "workstation")["status"]["allocatable"]["nvidia.com/gpu"] == "3"


def test_destroy_leaves_the_node_as_it_was(site: Stack) -> None:
    site.pulumi("destroy", "--yes")
    metadata = site.get("node", "workstation")["metadata"]
    assert not [key for key in {**metadata["labels"], **metadata["annotations"]} if key.startswith("llm-serving/")]
