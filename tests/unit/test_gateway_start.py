"""What a gateway's pod does before its nginx starts, run by the shell of such images (busybox) on loopback."""

from __future__ import annotations

import shutil
import subprocess
import threading
import time
from collections.abc import Sequence
from http.server import HTTPServer, SimpleHTTPRequestHandler
from pathlib import Path

import pytest
from conftest import Deploy
from on_mocks import Raw
from real_nginx import free_port
from small_stacks import VARIANTS

from lab import packages


@pytest.fixture(scope="session", autouse=True)
def _busybox() -> None:
    if shutil.which("busybox") is None:
        packages.ensure()


@pytest.fixture
def pod(deployed: Deploy) -> Raw:
    found: Raw = deployed(VARIANTS["spare-gpu"]).one("Deployment", "edge-gateway").inputs["spec"]["template"]["spec"]
    return found


def reach(pod: Raw, urls: Sequence[str], *, clock: str = "date +%s") -> str:
    """What is said of `urls` in place of the engines'."""
    [init] = pod["initContainers"]
    shell, option, script, name, *_ = init["command"]
    command = ["busybox", shell, option, script.replace("date +%s", clock), name, *urls]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout


def test_every_engine_is_asked(pod: Raw) -> None:
    [init] = pod["initContainers"]
    asked = {word for word in init["command"] if word.startswith("http://")}
    assert asked == {"http://chat.llm.svc:8000/health", "http://help.llm.svc:11434/api/version"}
    assert init["image"] == pod["containers"][0]["image"]


def test_an_engine_that_does_not_let_it_in_yet_is_waited_for(pod: Raw) -> None:
    server = HTTPServer(("127.0.0.1", free_port()), SimpleHTTPRequestHandler, bind_and_activate=False)
    begun = time.monotonic()

    def open_late() -> None:
        server.server_bind()
        server.server_activate()
        server.serve_forever()

    opening = threading.Timer(1, open_late)
    opening.start()
    url = f"http://127.0.0.1:{server.server_address[1]}/"
    assert reach(pod, [url, url]) == ""
    assert time.monotonic() - begun > 1
    server.shutdown()
    server.server_close()


def test_an_engine_that_is_down_does_not_keep_the_gateway_of_the_others(pod: Raw, tmp_path: Path) -> None:
    """With a clock that goes on by ten seconds whenever it is looked at."""
    clock, now = tmp_path / "clock", tmp_path / "now"
    now.write_text("0\n")
    clock.write_text(f"read now < {now}; echo $((now + 10)) > {now}; echo $now\n")
    url = f"http://127.0.0.1:{free_port()}/health"
    assert reach(pod, [url], clock=f"busybox sh {clock}") == f"{url} does not answer\n"
