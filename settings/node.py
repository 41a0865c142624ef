"""Nodes with GPUs: what they are, how their GPUs are shared, and how a bare host becomes one."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from settings.base import Size, StrictModel
from settings.labels import LabelValue, OwnLabelKey, TaintText
from settings.secret import PrivateKey, SecretText

_HOST = re.compile(r"[A-Za-z0-9]([A-Za-z0-9.:-]*[A-Za-z0-9])?")
# Not ssh-rsa: Pulumi would offer that algorithm alone, which OpenSSH has not had since 8.8.
_HOST_KEY = re.compile(r"(ssh-ed25519|ecdsa-sha2-nistp(256|384|521)) [A-Za-z0-9+/]+={0,2}")
_SOURCE = re.compile(r"(https?://|file:///)[^\s'\"]+[^\s'\"/]")
_K3S_RELEASES = "https://github.com/k3s-io/k3s/releases"
_NVIDIA_REPOSITORY = "https://nvidia.github.io/libnvidia-container"
# As published at gpgkey below NVIDIA's repository since 2017.
_NVIDIA_KEY = "C95B321B61E88C1809C4F759DDCAE044F796ECB0"


def _ssh_host(host: str) -> str:
    if not _HOST.fullmatch(host):
        raise ValueError(f"{host!r} is neither a host name nor an address; write the user and the port apart.")
    return host


def _host_key(key: object) -> object:
    if isinstance(key, str):
        if not _HOST_KEY.fullmatch(key):
            shown = "a private key" if "PRIVATE KEY" in key else repr(key)
            raise ValueError(
                f"{shown} is not a public host key, so any host could answer in its place. Write what `ssh-keyscan -t "
                "ed25519 HOST` shows behind the name, once it was compared with the host's own: 'ssh-ed25519 AAAA...'."
            )
        return {"key": key, "unchecked": None}
    # As the file has it there is no mapping with `key`.
    return {"key": None, **key} if isinstance(key, dict) and "key" not in key else key


def _host(host: object) -> object:
    if isinstance(host, str):
        if host != "local":
            raise ValueError(f"{host!r} is neither 'local' nor a mapping; write {{ssh: {{host: {host}, ...}}}}.")
        return {"ssh": None}
    if isinstance(host, dict) and host.get("ssh", host) is None:
        raise ValueError("ssh says nothing, so there is no host to reach. Write ssh: {host: ..., ...}, or host: local.")
    return host


def _source(url: str) -> str:
    if not _SOURCE.fullmatch(url):
        raise ValueError(f"{url!r} is not an https://, http:// or file:/// URL without a '/' at its end.")
    return url


Source = Annotated[str, AfterValidator(_source)]
"""Where something is fetched from; `file:///...` is a folder of the host."""


class GpuSettings(StrictModel):
    """The GPUs of one node; all of one model."""

    model: str = Field(min_length=1, description="GPU model as the catalogue names it, e.g. 'rtx-4090'.")
    count: Annotated[int, Field(ge=1, le=16)] = Field(default=1, description="GPUs in the node.")
    time_slices: Annotated[int, Field(ge=1, le=32)] = Field(
        default=1,
        description="Pods that may share one GPU by time-slicing; there is no memory isolation between them.",
    )


class HostKeySettings(StrictModel):
    """How the host is known from others; its public key alone is enough."""

    key: str | None = Field(description="The host's public key, e.g. 'ssh-ed25519 AAAA...'.")
    unchecked: Annotated[str, Field(min_length=10)] | None = Field(
        description="The reason why nobody else can answer there, so that anybody is believed."
    )


HostKey = Annotated[
    HostKeySettings, BeforeValidator(_host_key, json_schema_input_type=str | dict[Literal["unchecked"], str])
]


class SshSettings(StrictModel):
    """How a host is reached by SSH."""

    host: Annotated[str, AfterValidator(_ssh_host)] = Field(description="Host name or address.")
    port: Annotated[int, Field(ge=1, le=65535)] = Field(default=22, description="Port of its SSH server.")
    user: Annotated[str, Field(pattern=r"^[a-z_][a-z0-9_.-]*$")] = Field(
        description="User who is root or may use sudo without a password."
    )
    private_key: PrivateKey = Field(
        description="Keys of the SSH 'agent', or a key set with `pulumi config set --secret --path`."
    )
    host_key: HostKey = Field(
        description="The host's public key, e.g. 'ssh-ed25519 AAAA...', or {unchecked: a reason} to believe anybody."
    )


class HostSettings(StrictModel):
    """A host that is made a node, from bare Linux on; 'local' stands for the machine that deploys."""

    ssh: SshSettings | None = Field(description="How the host is reached.")


Host = Annotated[HostSettings, BeforeValidator(_host, json_schema_input_type=Literal["local"] | HostSettings)]


class ContainerToolkitSettings(StrictModel):
    """NVIDIA's container toolkit on a host that is prepared."""

    version: Annotated[str, Field(pattern=r"^1\.\d+\.\d+$")] = Field(
        default="1.20.1", description="Version of all its packages."
    )
    repository: Source = Field(
        default=_NVIDIA_REPOSITORY, description="The apt repository, with gpgkey and stable/deb below it, or a mirror."
    )
    key_fingerprint: Annotated[str, Field(pattern=r"^[0-9A-F]{40}$")] = Field(
        default=_NVIDIA_KEY, description="Fingerprint of the only key that may sign the repository."
    )


class K3sSettings(StrictModel):
    """k3s on a host that is prepared."""

    version: Annotated[str, Field(pattern=r"^v1\.\d+\.\d+\+k3s\d+$")] = Field(
        default="v1.34.4+k3s1", description="Release of k3s; an older one than is installed is refused."
    )
    role: Literal["server", "agent"] = Field(
        default="server", description="A server holds the cluster, an agent joins one."
    )
    server: Annotated[str, Field(pattern=r"^https://[^\s/]+:\d+$")] | None = Field(
        default=None, description="The server that is joined, e.g. 'https://gpu-a.lan:6443'."
    )
    token: SecretText | None = Field(
        default=None, description="Secret by which nodes join; a server without one makes its own."
    )
    disable: list[Literal["coredns", "local-storage", "metrics-server", "servicelb", "traefik"]] = Field(
        default_factory=list, description="Packaged parts that a server leaves out."
    )
    mirror: Source = Field(
        default=_K3S_RELEASES,
        description=(
            "Where releases are. A mirror has below download/<version>/ what GitHub has there, and k3s' install.sh; "
            "with file:/// nothing else is needed of the internet."
        ),
    )
    uninstall_on_destroy: bool = Field(
        default=False,
        description="Whether k3s and the container toolkit, with the cluster's data on the host, go with the stack.",
    )

    @property
    def is_mirrored(self) -> bool:
        """Whether releases come from elsewhere than GitHub."""
        return self.mirror != _K3S_RELEASES

    @model_validator(mode="after")
    def _agent_knows_its_server(self) -> K3sSettings:
        if self.role == "agent":
            lacking = [name for name, value in (("server", self.server), ("token", self.token)) if value is None]
            if lacking:
                raise ValueError(
                    f"role agent without {' and '.join(lacking)}, so it could join no cluster. Write server: "
                    "https://HOST:6443 and set the token of that server's stack file."
                )
            if self.disable:
                raise ValueError(
                    f"disable {self.disable} on an agent: only servers deploy these. Write it at the server."
                )
        elif self.server is not None:
            raise ValueError(
                f"server {self.server!r} for role server: several servers need an etcd of their own, which is not done "
                "here. Write role: agent, or leave server out."
            )
        return self


class NodeSettings(StrictModel):
    """One node of the cluster, keyed by its Kubernetes name."""

    platform: Literal["native", "wsl2"] = Field(
        default="native", description="How the node sees its GPUs: through Linux's own driver, or WSL2's."
    )
    gpus: GpuSettings = Field(description="The node's GPUs.")
    memory: Size | None = Field(
        default=None,
        description="Memory that it has for pods (Allocatable of `kubectl describe node`); unknown by default.",
    )
    cpus: Annotated[float, Field(gt=0, le=4096)] | None = Field(
        default=None, description="CPU cores that it has for pods; unknown by default."
    )
    read_megabytes_per_second: Annotated[int, Field(ge=1)] | None = Field(
        default=None,
        description="Speed at which weights are read from its disk, in MB/s; that of storage by default.",
    )
    labels: dict[OwnLabelKey, LabelValue] = Field(
        default_factory=dict, description="Labels that the node gets besides those that the program needs."
    )
    taints: list[TaintText] = Field(
        default_factory=list,
        description="Taints that others have put on it, as kubectl writes them, e.g. 'dedicated=llm:NoSchedule'; only "
        "servers that tolerate them are placed on it.",
    )
    # False: a site's GPU servers are often all that it has, and CoreDNS, the edge and Prometheus must run somewhere.
    taint: bool = Field(
        default=False,
        description="Whether pods without a GPU are kept away, by the taint nvidia.com/gpu=present:NoSchedule.",
    )
    host: Host | None = Field(
        default=None,
        description="The host to prepare: 'local' or {ssh: ...}; by default the node is in the cluster already.",
    )
    container_toolkit: ContainerToolkitSettings | None = Field(
        default=None, description="NVIDIA's container toolkit on the host, where it is prepared."
    )
    # The alias that is made of the name would be k3S.
    k3s: K3sSettings | None = Field(
        default=None, alias="k3s", description="Settings of k3s on the host, where it is prepared."
    )

    @model_validator(mode="after")
    def _host_to_prepare(self) -> NodeSettings:
        written = [
            name
            for name, value in (("k3s", self.k3s), ("containerToolkit", self.container_toolkit))
            if value is not None
        ]
        if self.host is None and written:
            raise ValueError(
                f"{' and '.join(written)} without host, so nothing would be installed. Write host: local or "
                "{ssh: ...}, or leave that out for a node that is in the cluster already."
            )
        return self
