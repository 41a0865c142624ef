"""A real API server with its datastore and controllers, on free ports of this machine; no node, so that no pod runs."""

from __future__ import annotations

import contextlib
import functools
import json
import secrets
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from ssl import CERT_NONE, PROTOCOL_TLS_CLIENT, SSLContext, create_default_context
from typing import Any

from tests.fault_proxy import FaultProxy, fault_proxy

START_SECONDS = 90.0


@dataclass(frozen=True)
class ApiServer:
    """A running API server."""

    url: str
    token: str
    kubeconfig: Path
    stop: Callable[[], None]
    """Ends the API server's process; its data and its controllers stay."""
    start: Callable[[], None]
    """Starts it again on the same port, and waits until it answers."""

    def request(self, method: str, path: str, body: object = None, content_type: str = "application/json") -> Any:
        """What the server answers; raises urllib.error.HTTPError where it refuses."""
        request = urllib.request.Request(  # noqa: S310 # https on the loopback
            self.url + path,
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Authorization": f"Bearer {self.token}", "Content-Type": content_type},
        )
        with urllib.request.urlopen(request, context=_unverified(), timeout=30) as answer:  # noqa: S310 # as above
            return json.loads(answer.read() or b"{}")

    def get(self, path: str) -> Any:
        """The object at `path`, or None."""
        try:
            return self.request("GET", path)
        except urllib.error.HTTPError as error:
            if error.code == 404:
                return None
            raise

    def post(self, path: str, body: object) -> Any:
        """Create an object."""
        return self.request("POST", path, body)

    def proxied(self, kubeconfig: Path) -> AbstractContextManager[FaultProxy]:
        """A proxy before the server, which can hold and lose requests; `kubeconfig` is written to lead there."""
        context = create_default_context(cafile=str(self.kubeconfig.parent / "certificates" / "apiserver.crt"))
        return fault_proxy(self.url, kubeconfig, context=context, token=self.token)

    def merge(self, path: str, body: object) -> Any:
        """Change an object as someone else would, by a merge patch."""
        return self.request("PATCH", f"{path}?fieldManager=someone", body, "application/merge-patch+json")


@functools.cache
def _unverified() -> SSLContext:
    """Made once: to read the machine's certificates takes 25 ms, and the stand-in for nodes asks all the time."""
    context = SSLContext(PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = CERT_NONE
    return context


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextlib.contextmanager
def api_server(kube: Path, folder: Path) -> Iterator[ApiServer]:
    """Start etcd, the API server and the controllers of the multi-call binary `kube`; all end with the block.

    Raises:
        RuntimeError: one of them ended, or did not come up; the message has the end of its log.
    """
    etcd = shutil.which("etcd")
    if etcd is None:
        raise RuntimeError("no etcd on PATH: install Debian's etcd-server")
    etcd_port, peer_port, port = free_port(), free_port(), free_port()
    token = secrets.token_hex(16)
    (folder / "tokens.csv").write_text(f"{token},admin,admin,system:masters\n")
    key = folder / "service-account.key"
    subprocess.run(["openssl", "genrsa", "-out", key, "2048"], check=True, capture_output=True)
    processes: dict[str, subprocess.Popen[bytes]] = {}

    def start(name: str, *command: str | Path) -> None:
        with (folder / f"{name}.log").open("wb") as log:
            # setpriv: a test run that is killed must not leave a cluster behind.
            guarded = ["setpriv", "--pdeathsig", "TERM", "--", *command]
            processes[name] = subprocess.Popen(guarded, cwd=folder, stdout=log, stderr=subprocess.STDOUT)

    clients, peers = f"http://127.0.0.1:{etcd_port}", f"http://127.0.0.1:{peer_port}"

    def start_api() -> None:
        start(
            "kube-apiserver",
            *(kube, "kube-apiserver", f"--etcd-servers={clients}", "--bind-address=127.0.0.1", f"--secure-port={port}"),
            *(f"--cert-dir={folder / 'certificates'}", f"--token-auth-file={folder / 'tokens.csv'}"),
            *("--authorization-mode=RBAC", "--service-cluster-ip-range=10.43.0.0/16", "--profiling=false"),
            *("--service-account-issuer=https://kubernetes.default.svc", f"--service-account-key-file={key}"),
            *(
                f"--service-account-signing-key-file={key}",
                "--endpoint-reconciler-type=none",
                "--allow-privileged=true",
            ),
        )
        _wait_for("/api/v1/namespaces/default", server, processes, folder)

    def stop_api() -> None:
        processes["kube-apiserver"].kill()  # as a machine that loses power, not as one that says goodbye
        processes.pop("kube-apiserver").wait()

    server = ApiServer(f"https://127.0.0.1:{port}", token, folder / "kubeconfig", stop_api, start_api)
    server.kubeconfig.write_text(json.dumps(_kubeconfig(server)))
    try:
        start(
            "etcd",
            *(etcd, "--data-dir", folder / "etcd", "--unsafe-no-fsync"),
            *("--listen-client-urls", clients, "--advertise-client-urls", clients, "--listen-peer-urls", peers),
            *("--initial-advertise-peer-urls", peers, "--initial-cluster", f"default={peers}"),
        )
        start_api()
        start(
            "kube-controller-manager",
            *(kube, "kube-controller-manager", f"--kubeconfig={server.kubeconfig}", "--leader-elect=false"),
            *("--secure-port=0", f"--service-account-private-key-file={key}", "--use-service-account-credentials=true"),
        )
        # What its controllers make: while they start, they end where the API server does.
        _wait_for("/api/v1/namespaces/default/serviceaccounts/default", server, processes, folder)
        yield server
    finally:
        for process in reversed(processes.values()):
            process.terminate()
        for process in reversed(processes.values()):
            try:
                process.wait(15)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _wait_for(path: str, server: ApiServer, processes: dict[str, subprocess.Popen[bytes]], folder: Path) -> None:
    """Wait until the object at `path` is there."""
    deadline = time.monotonic() + START_SECONDS
    while True:
        for name, process in processes.items():
            if process.poll() is not None:
                log = (folder / f"{name}.log").read_text(errors="replace")
                raise RuntimeError(f"{name} ended with {process.returncode}:\n{log[-2000:]}")
        with contextlib.suppress(OSError):
            if server.get(path):
                return
        if time.monotonic() > deadline:
            log = (folder / "kube-apiserver.log").read_text(errors="replace")
            raise RuntimeError(f"the API server was not ready after {START_SECONDS:.0f} s:\n{log[-2000:]}")
        time.sleep(0.3)


def _kubeconfig(server: ApiServer) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "test", "cluster": {"server": server.url, "insecure-skip-tls-verify": True}}],
        "users": [{"name": "test", "user": {"token": server.token}}],
        "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test"}}],
        "current-context": "test",
    }
