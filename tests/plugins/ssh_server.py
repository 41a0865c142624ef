"""A real OpenSSH server on the loopback interface, with users, keys and a configuration of its own.

It runs in a mount namespace in which /etc/passwd and /etc/shadow are the test's, so that a password can be tried
without a change of the machine's users.
"""

from __future__ import annotations

import os
import shlex
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from toolchain.paths import cache_dir

PASSWORD = "planted-password"
USER = "operator"
"""One who is not root; may log in by the same key and password."""

_PACKAGES = ("openssh-server", "libwrap0")
_USER_ID = 54321
_START_SECONDS = 10.0


def sshd() -> list[str]:
    """The start of a command line that runs sshd: the machine's, else Debian's out of its package."""
    installed = shutil.which("sshd", path="/usr/sbin:/usr/local/sbin")
    if installed:
        return [installed]
    folder = cache_dir() / "openssh-server"
    program = folder / "usr/sbin/sshd"
    if not program.exists():
        folder.mkdir(parents=True, exist_ok=True)
        packages = folder / "packages"
        packages.mkdir(exist_ok=True)
        for update in (False, True):
            if update:
                _do("apt-get", "update", "-q")
            done = subprocess.run(
                ["apt-get", "download", "-q", *_PACKAGES], cwd=packages, capture_output=True, text=True, check=False
            )
            if done.returncode == 0:
                break
        assert done.returncode == 0, f"apt-get download failed:\n{done.stderr}"
        for package in sorted(packages.glob("*.deb"), reverse=True):  # sshd last: it tells that all is there
            _do("dpkg-deb", "--extract", str(package), str(folder))
    libraries = ":".join(str(path) for path in sorted(folder.glob("usr/lib/*-linux-gnu")))
    return ["env", f"LD_LIBRARY_PATH={libraries}", str(program)]


@dataclass(frozen=True)
class SshServer:
    """One server, and the key that it lets in."""

    folder: Path
    port: int
    host_key: str
    private_key: str

    @property
    def home(self) -> Path:
        """Where those who log in are."""
        return self.folder / "home"

    @property
    def connection(self) -> dict[str, object]:
        """`connection` of a resource: root, by key."""
        return {"host": "127.0.0.1", "port": self.port, "privateKey": self.private_key}

    def log(self) -> str:
        """What the server has written."""
        return (self.folder / "log").read_text()


@contextmanager
def public_folder() -> Iterator[Path]:
    """A folder that all users may enter, which those of pytest are not: sshd reads keys as the one who logs in."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        yield Path(name)


@contextmanager
def ssh_server(folder: Path, *, port: int | None = None, settings: str = "") -> Iterator[SshServer]:
    """Run a server that keeps its files in `folder`.

    Args:
        folder: made if it is not there; a server that was there before keeps its keys.
        port: where it listens; a free one if None.
        settings: further lines of sshd_config, which go before the usual ones.
    """
    server = prepare(folder, port or free_port())
    home = server.home
    (folder / "sshd_config").write_text(
        f"{settings}\nPort {server.port}\nListenAddress 127.0.0.1\nHostKey {folder / 'host_key'}\nPidFile none\n"
        f"AuthorizedKeysFile {folder / 'authorized_keys'}\nStrictModes no\nUsePAM no\nPermitRootLogin yes\n"
        "Subsystem sftp internal-sftp\nLogLevel VERBOSE\nMaxStartups 100\n"
    )
    hashed = subprocess.run(
        ["openssl", "passwd", "-6", "-stdin"], input=PASSWORD, capture_output=True, text=True, check=True
    ).stdout.strip()
    (folder / "passwd").write_text(
        f"root:x:0:0::{home}:/bin/sh\nsshd:x:54320:65534::/run:/usr/sbin/nologin\n"
        f"{USER}:x:{_USER_ID}:65534::{home}:/bin/sh\n"
    )
    (folder / "shadow").write_text(f"root:{hashed}:1::::::\nsshd:*:1::::::\n{USER}:{hashed}:1::::::\n")
    # /run is a new one, since sshd wants a folder of root's there.
    start = (
        f"mount --bind {shlex.quote(str(folder / 'passwd'))} /etc/passwd && "
        f"mount --bind {shlex.quote(str(folder / 'shadow'))} /etc/shadow && "
        "mount -t tmpfs tmpfs /run && mkdir -m 755 /run/sshd && "
        f"exec {shlex.join(sshd())} -D -e -f {shlex.quote(str(folder / 'sshd_config'))}"
    )
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(["unshare", "--mount", "/bin/sh", "-c", start], stdout=log, stderr=log)
    try:
        _wait_until_it_listens(process, server)
        yield server
    finally:
        process.terminate()
        process.wait(10)


def prepare(folder: Path, port: int) -> SshServer:
    """The keys of a server that is to run in `folder`; those that are there are kept."""
    home = folder / "home"
    if not home.exists():
        home.mkdir(parents=True)
        home.chmod(0o777)  # root's and the user's at the same time
        for name in ("host_key", "client_key"):
            _do("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", str(folder / name))
        shutil.copy(folder / "client_key.pub", folder / "authorized_keys")
    host_key, private_key = (folder / "host_key.pub").read_text().strip(), (folder / "client_key").read_text()
    return SshServer(folder, port, host_key, private_key)


def free_port() -> int:
    """A port of the loopback interface that nobody listens on."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def _wait_until_it_listens(process: subprocess.Popen[bytes], server: SshServer) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while True:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", server.port)) == 0:
                return
        assert process.poll() is None, f"sshd ended: {server.log()}"
        assert time.monotonic() < deadline, f"sshd does not listen: {server.log()}"
        time.sleep(0.05)


def _do(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False, env={**os.environ, "LC_ALL": "C"})
    assert done.returncode == 0, f"{command[0]} failed:\n{done.stdout}{done.stderr}"
