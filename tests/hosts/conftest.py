"""One mirror and one base layer for the whole suite, and a fresh host for each test."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import machine
import mirror
import pytest

TOOLKIT = "1.20.1"
K3S = "v1.34.4+k3s1"

MakeHost = Callable[..., machine.Machine]


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> mirror.Mirror:
    """A mirror with an older and the wanted release of each."""
    folder = tmp_path_factory.mktemp("mirror")
    return mirror.make(folder, toolkits=("1.19.0", TOOLKIT), k3s=("v1.33.1+k3s1", K3S))


@pytest.fixture(scope="session")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What all hosts have over this machine's files."""
    return machine.base(tmp_path_factory.mktemp("base"))


@pytest.fixture
def make_host(base: Path, site: mirror.Mirror, tmp_path: Path) -> Iterator[MakeHost]:
    """Starts hosts; keyword arguments are those of `Machine`."""
    hosts: list[machine.Machine] = []

    def make(**options: Any) -> machine.Machine:
        host = machine.Machine(tmp_path / f"host{len(hosts)}", base, site.folder, **options)
        hosts.append(host)
        host.start()
        return host

    yield make
    for host in hosts:
        host.stop()


@pytest.fixture
def host(make_host: MakeHost) -> machine.Machine:
    """A bare host: Debian, sshd and one RTX 4090 with its driver."""
    return make_host()
