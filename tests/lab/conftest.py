"""One lab and one copy of the project for the whole suite; a person's own lab and stacks are left alone."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from cli.deployment import Deployment
from cli.lab_spec import lab_spec
from lab.lab import Lab
from planning.plan import plan
from settings.loader import read
from toolchain import gobuild
from toolchain.paths import REPOSITORY

_PROGRAM = ("Pulumi.yaml", "Pulumi.dev.yaml", "__main__.py", "stack.py", "settings", "planning", "components")


@pytest.fixture(scope="session", autouse=True)
def state_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """State of its own for the suite: lab, Pulumi stacks, passphrase. The cache of programs is everybody's."""
    folder = tmp_path_factory.mktemp("state")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_STATE_HOME", str(folder))
        for variable in ("KUBECONFIG", "PULUMI_BACKEND_URL"):
            patch.delenv(variable, raising=False)
        yield folder


@pytest.fixture(scope="session")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The committed program and stack files in a folder of their own, since Pulumi writes to the stack file."""
    folder = tmp_path_factory.mktemp("project")
    for name in _PROGRAM:
        copy = shutil.copytree if (REPOSITORY / name).is_dir() else shutil.copy2
        copy(REPOSITORY / name, folder / name)
    (folder / ".venv").symlink_to(REPOSITORY / ".venv")
    return folder


@pytest.fixture(scope="session")
def lab(state_home: Path, project: Path) -> Iterator[Lab]:
    """A running lab that the committed dev stack fits; taken down at the end."""
    gobuild.build()
    lab = Lab(state_home / "llm-serving" / "lab", forward=False)
    lab.up(lab_spec(plan(read(project / "Pulumi.dev.yaml"))))
    yield lab
    lab.down()


@dataclass(frozen=True)
class Stack:
    """The dev stack in the lab: what tests do with it and see of it."""

    deployment: Deployment
    lab: Lab
    folder: Path

    def pulumi(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run the real CLI for the stack."""
        return subprocess.run(
            [str(REPOSITORY / "bin" / "pulumi"), *arguments, "--stack", "dev"],
            cwd=self.folder,
            env={**os.environ, "KUBECONFIG": str(self.lab.kubeconfig)},
            capture_output=True,
            text=True,
            check=check,
        )

    def steps(self) -> list[tuple[str, str]]:
        """What a preview would do: (operation, type::name) of everything that is not `same`."""
        preview = json.loads(self.pulumi("preview", "--json").stdout)
        return [
            (step["op"], step["urn"].rpartition("$")[2].rpartition("::llm-serving::")[2] or step["urn"])
            for step in preview["steps"]
            if step["op"] != "same"
        ]

    def get(self, kind: str, name: str, namespace: str = "llm") -> dict[str, Any]:
        """An object of the cluster."""
        found: dict[str, Any] = json.loads(self.lab.kubectl("get", kind, name, "-n", namespace, "-o", "json"))
        return found

    def edit(self, model: str, changes: Mapping[str, Any]) -> None:
        """Change settings of one model in the stack file; None takes a setting out."""
        file = self.folder / "Pulumi.dev.yaml"
        document = yaml.safe_load(file.read_text())
        settings = document["config"]["llm-serving:models"][model]
        settings |= changes
        for key in [key for key, value in changes.items() if value is None]:
            del settings[key]
        file.write_text(yaml.safe_dump(document))

    def post(self, path: str, body: Mapping[str, Any]) -> httpx.Response:
        """A request through the edge, as a client at http://localhost sends it."""
        url = f"http://{self.lab.network.node}{path}"
        return httpx.post(url, json=body, headers={"Host": "localhost"}, timeout=60)


@pytest.fixture(scope="session")
def stack(lab: Lab, project: Path) -> Stack:
    """The dev stack, not yet brought up."""
    return Stack(Deployment(stack="dev", assume_yes=True, folder=project, lab=lab), lab, project)
