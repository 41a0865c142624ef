"""What the lab does to the machine itself: certificates, ports, packages, with errors that say the repair."""

from __future__ import annotations

import socket
import subprocess
from pathlib import Path

import pytest

from lab import forwards, packages, pki
from lab.network import choose
from lab.pki import Certificate
from toolchain.steps import StepFailed

_CA = Certificate("ca", "/CN=authority")
_SERVER = Certificate("server", "/CN=server", "serverAuth", "ca", ("DNS:server", "IP:127.0.0.1"))


def test_certificate_is_signed_by_its_issuer_and_names_its_hosts(tmp_path: Path) -> None:
    pki.issue(tmp_path, _CA)
    pki.issue(tmp_path, _SERVER)
    verify = ["openssl", "verify", "-CAfile", str(tmp_path / "ca.crt"), "-verify_ip", "127.0.0.1"]
    checked = subprocess.run([*verify, str(tmp_path / "server.crt")], capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stderr


def test_certificate_is_issued_again_only_when_it_changes(tmp_path: Path) -> None:
    assert pki.issue(tmp_path, _CA) is True
    assert pki.issue(tmp_path, _SERVER) is True
    assert pki.issue(tmp_path, _SERVER) is False
    assert pki.issue(tmp_path, Certificate("server", "/CN=server", "serverAuth", "ca", ("DNS:other",))) is True
    assert pki.issue(tmp_path, Certificate("ca", "/CN=new authority")) is True
    assert pki.issue(tmp_path, Certificate("server", "/CN=server", "serverAuth", "ca", ("DNS:other",))) is True


def test_private_key_is_the_owners_alone(tmp_path: Path) -> None:
    pki.issue(tmp_path, _CA)
    pki.issue_key_pair(tmp_path, "tokens")
    assert (tmp_path / "ca.key").stat().st_mode & 0o077 == 0
    assert (tmp_path / "tokens.key").stat().st_mode & 0o077 == 0


def test_taken_port_is_refused_with_its_holder() -> None:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        port = server.getsockname()[1]
        with pytest.raises(StepFailed) as raised:
            forwards.check_free((port,))
    assert f"Port {port} of 127.0.0.1 cannot be used" in str(raised.value)
    assert "--no-forward" in str(raised.value)
    forwards.check_free((port,))


def test_forwards_lead_to_the_node_and_end_with_the_supervisor() -> None:
    defined = forwards.definitions(choose("0", []))
    assert [item.name for item in defined] == ["forward-80", "forward-443"]
    for item in defined:
        assert item.argv[:3] == ("setpriv", "--pdeathsig", "KILL")
        assert f"TCP:{choose('0', []).node}:" in item.argv[-1]
        assert "bind=127.0.0.1" in item.argv[-2]


@pytest.mark.parametrize(
    ("platform", "user", "message"),
    [("darwin", 0, "this is darwin"), ("linux", 1000, "which only root may")],
)
def test_wrong_machine_is_refused_with_a_way_out(
    monkeypatch: pytest.MonkeyPatch, platform: str, user: int, message: str
) -> None:
    monkeypatch.setattr("sys.platform", platform)
    monkeypatch.setattr("os.geteuid", lambda: user)
    with pytest.raises(StepFailed, match=message) as raised:
        packages.ensure()
    assert "KUBECONFIG" in str(raised.value)


def test_without_apt_the_missing_packages_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 0)
    monkeypatch.setattr("shutil.which", lambda *_, **__: None)
    with pytest.raises(StepFailed, match=r"containerd.*etcd-server.*no apt-get"):
        packages.ensure()
