"""The policy pack through the real CLI: what it refuses, tells, mends and leaves alone. No cluster is needed."""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from pulumi import automation
from workspace import Workspace

from toolchain.paths import REPOSITORY

PACK = str(REPOSITORY / "policies")
TOKEN = "t0p-s3cr3t-t0k3n"
PROGRAM = """
import pulumi
import pulumi_kubernetes as k8s
from pulumi_command import local

config = pulumi.Config()
provider = k8s.Provider("files", render_yaml_to_directory=config.require("folder"))
opts = pulumi.ResourceOptions(provider=provider)

def server(name, image, namespace="llm", **security):
    container = {"name": "vllm", "image": image, "security_context": security,
                 "env": [{"name": "HF_TOKEN", "value": pulumi.Output.secret("%s")}]}
    k8s.apps.v1.Deployment(name, metadata={"name": name, "namespace": namespace}, opts=opts, spec={
        "selector": {"match_labels": {"app": name}},
        "template": {"metadata": {"labels": {"app": name}}, "spec": {"containers": [container]}}})
""" % (TOKEN,)  # noqa: UP031  # the program has braces of its own
LATEST = 'server("chat", "vllm/vllm-openai:latest")\n'


@pytest.fixture
def workspace(make: Callable[..., Workspace], tmp_path: Path) -> Workspace:
    """A stack whose objects are rendered into a folder."""
    return make(KUBECONFIG="").configure(folder=tmp_path / "out")


def options(folder: Path, **rules: object) -> dict[str, Any]:
    """The pack with `rules` (`_` for `-`), and no others; the pack's own settings may be among them."""
    file = folder / "levels.json"
    file.write_text(json.dumps({"all": "disabled", **{name.replace("_", "-"): said for name, said in rules.items()}}))
    return {"policy_packs": [PACK], "policy_pack_configs": [str(file)]}


def refused(workspace: Workspace, operation: str = "preview", **given: Any) -> str:
    """What is shown by an operation that must fail."""
    with pytest.raises(automation.CommandError) as caught:
        getattr(workspace, operation)(**given)
    assert "Traceback" not in str(caught.value)
    return str(caught.value)


def deployed(folder: Path, name: str) -> Any:
    """The container of a Deployment that was rendered."""
    [file] = (folder / "out").glob(f"*/*deployment*-{name}.yaml")
    return yaml.safe_load(file.read_text())["spec"]["template"]["spec"]["containers"][0]


def test_what_is_mandatory_is_refused_and_what_is_advisory_is_told(workspace: Workspace, tmp_path: Path) -> None:
    workspace.program(PROGRAM + LATEST)
    said = refused(workspace, **options(tmp_path, image_tag_mutable="mandatory"))
    assert re.search(r"\[mandatory\].*image-tag-mutable", said)
    assert "vllm: image 'vllm/vllm-openai:latest' is mutable; pin a release tag or @sha256 digest." in said
    refused(workspace, "up", **options(tmp_path, image_tag_mutable="mandatory"))
    assert not list((tmp_path / "out").glob("*/*deployment*"))

    told = workspace.up(**options(tmp_path, image_tag_mutable="advisory")).output
    assert re.search(r"\[advisory\].*image-tag-mutable", told)
    assert deployed(tmp_path, "chat")["image"] == "vllm/vllm-openai:latest"


def test_what_a_preview_does_not_know_is_told_and_decided_in_the_update(workspace: Workspace, tmp_path: Path) -> None:
    """The rest of the object is decided at once: the first container's image is known."""
    workspace.program(
        PROGRAM
        + 'made = local.Command("tag", create="printf latest")\n'
        + 'server("chat", pulumi.Output.concat("vllm/vllm-openai:", made.stdout))\n'
    )
    given = options(tmp_path, image_tag_mutable="mandatory", secret_in_env="advisory")
    told = workspace.preview(**given).output
    path = "spec.template.spec.containers[0].image"
    assert re.search(r"\[advisory\].*image-tag-mutable", told)
    assert f"cannot be decided yet: {path} is known after the deployment only." in told
    assert re.search(r"\[advisory\].*secret-in-env", told)
    said = refused(workspace, "up", **given)
    assert "vllm: image 'vllm/vllm-openai:latest' is mutable" in said
    assert not list((tmp_path / "out").glob("*/*deployment*"))


def test_a_namespace_and_an_exception_change_what_counts(workspace: Workspace, tmp_path: Path) -> None:
    workspace.program(PROGRAM + LATEST + 'server("trial", "vllm/vllm-openai:latest", namespace="play")\n')
    exception = {
        **{"rule": "image-tag-mutable", "object": "Deployment/llm/chat", "owner": "ops"},
        **{"reason": "the vendor has no other tag", "until": "2999-12-31"},
    }
    settings = {"namespaces": {"play": "advisory"}, "exceptions": [exception]}
    given = options(
        tmp_path, image_tag_mutable="mandatory", policy_settings={"enforcementLevel": "mandatory", **settings}
    )
    told = workspace.preview(**given).output
    assert len(re.findall(r"\[advisory\].*image-tag-mutable", told)) == 2
    assert "Excepted until 2999-12-31, owner ops: the vendor has no other tag" in told

    exception["until"] = "2020-12-31"
    given = options(
        tmp_path, image_tag_mutable="mandatory", policy_settings={"enforcementLevel": "mandatory", **settings}
    )
    said = refused(workspace, **given)
    assert "Its exception has expired (until 2020-12-31, owner ops: the vendor has no other tag)." in said
    assert len(re.findall(r"\[mandatory\].*image-tag-mutable", said)) == 1
    assert len(re.findall(r"\[advisory\].*image-tag-mutable", said)) == 1


def test_wrong_settings_are_refused_with_every_mistake(workspace: Workspace, tmp_path: Path) -> None:
    settings = {"exceptions": [{"rule": "privileged"}], "pools": {"a": {"gpu": 1}}, "namespaces": {"x": {"y": "no"}}}
    workspace.program(PROGRAM)
    said = refused(workspace, **options(tmp_path, policy_settings={"enforcementLevel": "mandatory", **settings}))
    assert "exceptions[0]: says no object, owner, reason, until" in said
    assert "pools.a.gpu: there is no such setting." in said
    assert "namespaces.x.y: there is no such rule." in said


def test_a_remediation_shows_in_the_preview_and_is_deployed_and_a_secret_stays_one(
    workspace: Workspace, tmp_path: Path
) -> None:
    workspace.program(PROGRAM + 'server("chat", "vllm/vllm-openai:v0.33.0", privileged=True)\n')
    given = options(tmp_path, privileged="remediate", secret_in_env="advisory")
    shown = workspace.preview(**given)
    assert re.search(r"\[remediate\].*privileged", shown.output)
    made = workspace.up(**given)
    assert re.search(r"\[remediate\].*privileged", made.output)
    container = deployed(tmp_path, "chat")
    assert container["securityContext"] == {"privileged": False}
    assert container["env"] == [{"name": "HF_TOKEN", "value": TOKEN}]
    state = workspace.state()["kubernetes:apps/v1:Deployment::chat"]
    # For one secret in it, the provider marks the whole list; an export shows it.
    containers = state["inputs"]["spec"]["template"]["spec"]["containers"]
    assert json.loads(containers["plaintext"])[0]["securityContext"] == {"privileged": False}
    stored = "".join(file.read_text() for file in (tmp_path / "backend").rglob("*.json"))
    assert "ciphertext" in stored
    for text in (shown.output, made.output, stored):
        assert TOKEN not in text
    assert re.search(r"\[advisory\].*secret-in-env", made.output)


def test_rules_over_the_whole_stack_hold_at_preview(workspace: Workspace, tmp_path: Path) -> None:
    workspace.program(
        PROGRAM
        + 'server("chat", "vllm/vllm-openai:v0.33.0")\n'
        + 'k8s.core.v1.Service("other", metadata={"name": "other", "namespace": "llm"}, opts=opts,\n'
        + '    spec={"selector": {"app": "others"}, "ports": [{"port": 80}]})\n'
    )
    said = refused(workspace, **options(tmp_path, dangling_selector="mandatory"))
    assert "Service/other selects nothing, so it refuses every connection." in said


def test_a_state_is_judged_without_a_program(
    workspace: Workspace, tmp_path: Path, cli: automation.PulumiCommand
) -> None:
    workspace.program(PROGRAM + LATEST).up()
    state = tmp_path / "state.json"
    state.write_text(json.dumps({"version": 3, "deployment": workspace.stack.export_stack().deployment}))
    [config] = options(tmp_path, image_tag_mutable="mandatory")["policy_pack_configs"]
    command = [cli.command, "policy", "analyze", "--policy-pack", PACK, "--policy-pack-config", config]
    done = subprocess.run(
        [*command, "--file", str(state), "--non-interactive"],
        cwd=tmp_path,
        env={**os.environ, **workspace.stack.workspace.env_vars},
        capture_output=True,
        text=True,
        check=False,
    )
    assert "vllm: image 'vllm/vllm-openai:latest' is mutable" in done.stdout + done.stderr
    assert done.returncode != 0
