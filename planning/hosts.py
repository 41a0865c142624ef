"""How a host is made a node: the steps as data, in their order. The steps themselves are the scripts in hosts/."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from dataclasses import dataclass

from pydantic import SecretStr

from planning.catalogue import gpu_models
from settings.node import ContainerToolkitSettings, HostSettings, K3sSettings, NodeSettings
from settings.secret import SSH_AGENT

TOKEN_FILE = "/etc/rancher/k3s/llm-serving-token"  # noqa: S105  # a path, not the token

# vLLM's image is about 10 GB and three times that unpacked; k3s' own and logs come on top. Models are volumes.
_DISK_GIB = 40
_INSTALLER = "https://raw.githubusercontent.com/k3s-io/k3s/{version}/install.sh"


@dataclass(frozen=True, kw_only=True)
class SshPlan:
    """How a host is reached."""

    host: str
    port: int
    user: str
    private_key: SecretStr | None
    """None for the keys of the SSH agent."""

    host_key: str | None
    """None where anybody is believed who answers."""


@dataclass(frozen=True, kw_only=True)
class HostStep:
    """One script, which changes nothing where all is as it should be."""

    name: str
    script: str
    """File in hosts/. Its text is the standard input of `command`."""

    command: str
    undo: str | None = None
    """What is run when the step is taken away; None leaves the host as it is."""

    secret: SecretStr | None = None
    """Put before the script's text as the variable SECRET, so that it is in no argument and in no environment."""

    shows: bool = True
    """Whether what it prints may be seen."""


@dataclass(frozen=True, kw_only=True)
class HostPlan:
    """How one host becomes a node of the cluster."""

    ssh: SshPlan | None
    """None for the machine that deploys."""

    steps: tuple[HostStep, ...]
    joins: bool
    """Whether it joins a cluster rather than holds it."""

    kubeconfig: HostStep | None
    """Prints the administrator's kubeconfig; None for a host that joins."""

    kubectl: str
    """kubectl with an administrator's rights, run there; only where the host holds the cluster."""


def plan_host(name: str, node: NodeSettings) -> HostPlan | None:
    """The plan of the node's host; None where the node is in the cluster already, or its GPU is unknown."""
    model = gpu_models().get(node.gpus.model)
    if node.host is None or model is None:
        return None
    toolkit, k3s = node.container_toolkit or ContainerToolkitSettings(), node.k3s or K3sSettings()
    sudo = _sudo(node.host)

    def step(what: str, *, undone: bool = False, **variables: str) -> HostStep:
        command = _command(sudo, {"NODE": name, **variables})
        undo = f"{command} undo" if undone and k3s.uninstall_on_destroy else None
        return HostStep(name=what, script=f"{what}.sh", command=command, undo=undo)

    facts = step(
        "facts",
        PLATFORM=node.platform,
        GPU_MODEL=node.gpus.model,
        GPU_WORDS=gpu_words(node.gpus.model),
        GPU_MEMORY_MIB=str(model.memory_mib),
        GPU_COUNT=str(node.gpus.count),
        DISK_GIB=str(_DISK_GIB),
    )
    installed = step(
        "toolkit",
        undone=True,
        TOOLKIT_VERSION=toolkit.version,
        TOOLKIT_REPOSITORY=toolkit.repository,
        TOOLKIT_FINGERPRINT=toolkit.key_fingerprint,
    )
    cluster = step(
        "k3s",
        undone=True,
        VERSION=k3s.version,
        ROLE=k3s.role,
        CONFIG=json.dumps(_k3s_config(name, node.host, k3s)),
        MIRROR=k3s.mirror,
        INSTALLER=_installer(k3s),
    )
    token = [] if k3s.token is None else [_token(sudo, name, k3s.token)]
    address = node.host.ssh.host if node.host.ssh else "127.0.0.1"
    kubeconfig = HostStep(
        name="kubeconfig",
        script="kubeconfig.sh",
        command=_command(sudo, {"NODE": name, "ADDRESS": f"[{address}]" if ":" in address else address}),
        shows=False,
    )
    return HostPlan(
        ssh=_ssh(node.host),
        steps=(facts, installed, *token, cluster),
        joins=k3s.role == "agent",
        kubeconfig=kubeconfig if k3s.role == "server" else None,
        kubectl=f"{sudo}/usr/local/bin/k3s kubectl",
    )


def gpu_words(model: str) -> str:
    """Words of the driver's name for the catalogue's `model`: `rtx 4060 ti` for `rtx-4060-ti-16gb`.

    The driver names the memory of some models and not of others, so it is compared as a number.
    """
    return " ".join(word for word in model.split("-") if not (word.endswith("gb") and word[:-2].isdigit()))


def _token(sudo: str, name: str, token: SecretStr) -> HostStep:
    return HostStep(name="token", script="token.sh", command=_command(sudo, {"NODE": name}), secret=token, shows=False)


def _sudo(host: HostSettings) -> str:
    if host.ssh is None:
        return '$(test "$(id -u)" -eq 0 || echo sudo -n) '  # who deploys is not known before
    return "" if host.ssh.user == "root" else "sudo -n "


def _command(sudo: str, variables: Mapping[str, str]) -> str:
    words = " ".join(f"{name}={shlex.quote(value)}" for name, value in variables.items())
    return f"{sudo}env {words} bash -s"


def _ssh(host: HostSettings) -> SshPlan | None:
    if host.ssh is None:
        return None
    return SshPlan(
        host=host.ssh.host,
        port=host.ssh.port,
        user=host.ssh.user,
        private_key=None if host.ssh.private_key == SSH_AGENT else host.ssh.private_key,
        host_key=host.ssh.host_key.key,
    )


def _k3s_config(name: str, host: HostSettings, k3s: K3sSettings) -> dict[str, object]:
    """Our own file in k3s' configuration folder. JSON is YAML too, and one line of it shows in a preview.

    Lists have a '+': without it they would take the place of those in the person's own file.
    """
    config: dict[str, object] = {"node-name": name}
    if k3s.token is not None:
        config["token-file"] = TOKEN_FILE
    if k3s.role == "agent":
        return {**config, "server": k3s.server}
    if k3s.disable:
        config["disable+"] = k3s.disable
    if host.ssh:
        config["tls-san+"] = [host.ssh.host]
    return config


def _installer(k3s: K3sSettings) -> str:
    if k3s.is_mirrored:
        return f"{k3s.mirror}/download/{k3s.version}/install.sh"
    return _INSTALLER.format(version=k3s.version)
