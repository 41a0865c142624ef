"""What the tests do with a stack in the lab, and what they see of it."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import yaml

from lab.lab import Lab


def eventually(condition: Callable[[], bool], seconds: float, what: str) -> None:
    """Wait until `condition` holds, at most for so many seconds."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"after {seconds} s still not: {what}"
        time.sleep(0.5)  # before the cluster is asked again


@dataclass(frozen=True)
class Stack:
    """A stack in the lab: what tests do with it and see of it."""

    lab: Lab
    folder: Path
    name: str = "dev"

    @property
    def file(self) -> Path:
        """The stack file, in a copy of the project that is the tests' own."""
        return self.folder / f"Pulumi.{self.name}.yaml"

    def make(self, target: str, **environment: str) -> str:
        """Run a target of the Makefile as a person would and return what it prints."""
        done = subprocess.run(
            ["make", target],
            cwd=self.folder,
            env={**os.environ, "STACK": self.name, **environment},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout
        return done.stdout

    def pulumi(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run the real CLI for the stack."""
        return subprocess.run(
            [str(self.folder / "bin" / "pulumi"), *arguments, "--stack", self.name],
            cwd=self.folder,
            env={**os.environ, "KUBECONFIG": str(self.lab.kubeconfig)},
            capture_output=True,
            text=True,
            check=check,
        )

    def policies(self, levels: str, folder: Path) -> tuple[str, ...]:
        """Arguments for the CLI: the pack with the levels of an environment, compiled into `folder`."""
        command = [str(self.folder / "bin" / "llmctl"), "policy-config", "--stack", self.name]
        file = self.folder / "policies" / "levels" / f"{levels}.yaml"
        environment = {**os.environ, "KUBECONFIG": str(self.lab.kubeconfig)}
        done = subprocess.run(
            [*command, "--levels", str(file)], env=environment, capture_output=True, text=True, check=True
        )
        (folder / "policies.json").write_text(done.stdout)
        return "--policy-pack", str(self.folder / "policies"), "--policy-pack-config", str(folder / "policies.json")

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
        document = yaml.safe_load(self.file.read_text())
        settings = document["config"]["llm-serving:models"][model]
        settings |= changes
        for key in [key for key, value in changes.items() if value is None]:
            del settings[key]
        self.file.write_text(yaml.safe_dump(document))

    def post(self, path: str, body: Mapping[str, Any]) -> httpx.Response:
        """A request through the edge, as a client at http://localhost sends it."""
        url = f"http://{self.lab.network.node}{path}"
        return httpx.post(url, json=body, headers={"Host": "localhost"}, timeout=60)
