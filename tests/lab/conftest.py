"""One lab and one copy of the project for the whole suite; a person's own lab and stacks are left alone."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from lab_stack import Stack

from lab.lab import Lab
from toolchain.paths import REPOSITORY


@pytest.fixture(scope="session", autouse=True)
def state_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """State of its own for the suite: lab, Pulumi stacks, passphrase. The cache of programs is everybody's."""
    folder = tmp_path_factory.mktemp("state")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_STATE_HOME", str(folder))
        # Ports 80 and 443 of the machine may be somebody's.
        patch.setenv("FORWARD", "0")
        for variable in ("KUBECONFIG", "PULUMI_BACKEND_URL", "STACK", "YES"):
            patch.delenv(variable, raising=False)
        yield folder


@pytest.fixture(scope="session")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the checkout, since Pulumi writes to the stack file and the tests do too.

    What it has written to that of the checkout, the salt of another passphrase, stays there.
    """
    folder = tmp_path_factory.mktemp("checkout")
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    for name in filter(None, listed.stdout.split("\0")):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(REPOSITORY / name, folder / name)
    for stack_file in folder.glob("Pulumi.*.yaml"):
        lines = stack_file.read_text().splitlines(keepends=True)
        stack_file.write_text("".join(line for line in lines if not line.startswith("encryptionsalt:")))
    (folder / ".venv").symlink_to(REPOSITORY / ".venv")
    return folder


@pytest.fixture(scope="session")
def lab(state_home: Path) -> Iterator[Lab]:
    """The lab that the stacks are brought up on, one after the other; nothing of it stays."""
    made = Lab(state_home / "llm-serving" / "lab", forward=False)
    yield made
    made.down()


@pytest.fixture(scope="session")
def stack(lab: Lab, project: Path) -> Stack:
    """The dev stack, not yet brought up."""
    return Stack(lab, project)
