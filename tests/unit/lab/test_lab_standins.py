"""The stand-ins that are Go programs have their own tests beside them; here they are run."""

from __future__ import annotations

import subprocess

import pytest

from toolchain.catalogue import PROGRAMS
from toolchain.gobuild import go_environment


@pytest.mark.parametrize("name", ["vllm", "tgi", "device-plugin", "dcgm-exporter", "grafana", "pause"])
def test_go_tests_pass(name: str) -> None:
    command = ["go", "test", "-mod=readonly", "./..."]
    source = PROGRAMS[name].source
    done = subprocess.run(command, cwd=source, env=go_environment(), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
