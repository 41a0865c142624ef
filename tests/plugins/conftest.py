"""The real CLI with the stand-ins, and a real API server, both built if they are not in the cache."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from api_server import ApiServer, api_server
from kubelet import kubelet
from pulumi import automation
from workspace import Workspace

from plugins import installation
from toolchain import gobuild


@pytest.fixture(scope="session")
def cli(tmp_path_factory: pytest.TempPathFactory) -> Iterator[automation.PulumiCommand]:
    """The built CLI in a folder of its own, so that the user's state is left alone."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_STATE_HOME", str(tmp_path_factory.mktemp("state")))
        for name in [name for name in os.environ if name.startswith(("PULUMI_", "KUBE"))]:
            patch.delenv(name)
        yield automation.PulumiCommand(root=str(installation.install()))


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiServer]:
    """A real API server with controllers, and something that stands in for nodes."""
    kube = gobuild.build(["kube"])["kube"]
    with api_server(kube, tmp_path_factory.mktemp("cluster")) as server, kubelet(server):
        yield server


@pytest.fixture
def make(cli: automation.PulumiCommand, tmp_path: Path) -> Callable[..., Workspace]:
    """Makes a workspace; keyword arguments are environment variables."""

    def workspace(**environment: str) -> Workspace:
        return Workspace(tmp_path, cli, environment)

    return workspace


@pytest.fixture
def workspace(make: Callable[..., Workspace], cluster: ApiServer) -> Iterator[Workspace]:
    """A workspace on the cluster; what its program has made is taken away again."""
    kubeconfig = str(cluster.kubeconfig)
    found = make(KUBECONFIG=kubeconfig, TEST_KUBECONFIG=kubeconfig)
    yield found
    found.destroy()
