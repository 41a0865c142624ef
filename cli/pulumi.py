"""Drives the Pulumi CLI for one stack of this project, and mends what a killed run left behind."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from settings.loader import PROJECT
from toolchain.paths import REPOSITORY, state_dir
from toolchain.steps import StepFailed

PREPARED = "a host that the stack prepares"
"""Stands for a kubeconfig that the program itself has made."""


class Pulumi:
    """The CLI for the project in `folder` and its stack `stack`."""

    def __init__(self, stack: str, *, environment: Mapping[str, str], folder: Path = REPOSITORY) -> None:
        self.stack = stack
        self.folder = folder
        self._environment = {**os.environ, **environment}

    def run(self, *arguments: str) -> None:
        """Run `pulumi` with its output, and its questions, on this terminal.

        Raises:
            StepFailed: it did not end with exit code 0; Pulumi itself has said why.
        """
        done = subprocess.run(self._command(arguments), cwd=self.folder, env=self._environment, check=False)
        if done.returncode != 0:
            raise StepFailed(f"`pulumi {arguments[0]}` ended with exit code {done.returncode}; its reason is above.")

    def output(self, *arguments: str) -> str:
        """Run `pulumi` and return its standard output.

        Raises:
            StepFailed: with what it said.
        """
        done = subprocess.run(
            self._command(arguments),
            cwd=self.folder,
            env=self._environment,
            check=False,
            capture_output=True,
            text=True,
        )
        if done.returncode != 0:
            said = f"{done.stdout.strip()}\n{done.stderr.strip()}".strip()
            raise StepFailed(f"`pulumi {' '.join(arguments)}` failed:\n{said}")
        return done.stdout

    def select_stack(self) -> None:
        """Select the stack, and make it where there is none yet."""
        self.output("stack", "select", "--create", self.stack)

    def outputs(self) -> dict[str, Any]:
        """The stack's outputs; secrets are not shown.

        Raises:
            StepFailed: there is no such stack.
        """
        if not self.exists():
            raise StepFailed(f"Stack {self.stack} is not deployed from here. Run `make up STACK={self.stack}` first.")
        outputs: dict[str, Any] = json.loads(self.output("stack", "output", "--json", "--stack", self.stack))
        return outputs

    def secret_output(self, name: str) -> Any:
        """One output of the stack with the secrets in it."""
        return json.loads(self.output("stack", "output", name, "--json", "--show-secrets", "--stack", self.stack))

    def exists(self) -> bool:
        """Whether there is a state of this stack."""
        found = json.loads(self.output("stack", "ls", "--json"))
        return any(stack["name"].rpartition("/")[2] == self.stack for stack in found)

    def cluster(self) -> str | None:
        """The kubeconfig by which the stack was deployed: its path, or PREPARED; None where it was not deployed."""
        if not self.exists():
            return None
        state = json.loads(self.output("stack", "export", "--stack", self.stack))
        for resource in (state.get("deployment") or {}).get("resources") or ():
            if resource["type"] == "pulumi:providers:kubernetes":
                found = (resource.get("inputs") or {}).get("kubeconfig")
                # A host's own is a secret, and so an object with a ciphertext.
                return found if isinstance(found, str) else PREPARED if found else None
        return None

    def break_stale_locks(self) -> list[str]:
        """Unlock the stack where the run that locked it is dead; returns who they were.

        Only locks of this machine in the built CLI's own backend are looked at: of another machine's process nothing
        is known here, and `pulumi cancel` is for a person to decide.
        """
        broken = []
        folder = state_dir() / "pulumi" / "backend" / ".pulumi" / "locks" / "organization" / PROJECT / self.stack
        for file in sorted(folder.glob("*.json")):
            lock = json.loads(file.read_text())
            if lock["hostname"] == socket.gethostname() and not _is_alive(lock["pid"]):
                file.unlink()
                broken.append(f"process {lock['pid']} of {lock['timestamp']}")
        return broken

    def adopt_pending(self) -> list[str]:
        """Take what an interrupted run was just creating into the state; returns the resources' names.

        The state knows only that they were begun. Those whose id follows from their own name are written down as made,
        and the refresh then finds them or forgets them. (`refresh --import-pending-creates` is meant for this, but
        Pulumi 3.255 drops them.)
        """
        state = json.loads(self.output("stack", "export", "--stack", self.stack))
        deployment = state.get("deployment") or {}
        operations = deployment.pop("pending_operations", None) or []
        begun = [operation["resource"] for operation in operations if operation["type"] == "creating"]
        if not operations:
            return []
        for resource in begun:
            if identifier := _identifier(resource):
                deployment["resources"].append({**resource, "id": identifier, "outputs": resource.get("inputs", {})})
        with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
            json.dump(state, file)
            file.flush()
            self.output("stack", "import", "--stack", self.stack, "--file", file.name)
        self.output("refresh", "--yes", "--skip-preview", "--stack", self.stack)
        return [str(resource["urn"]).rpartition("::")[2] for resource in begun]

    def _command(self, arguments: Sequence[str]) -> list[str]:
        return [str(REPOSITORY / "bin" / "pulumi"), *arguments]


def _is_alive(pid: int) -> bool:
    """Whether the process runs; one that is dead but not yet reaped by its parent does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def _identifier(resource: Mapping[str, Any]) -> str | None:
    """The id that the Kubernetes provider gives to an object: `namespace/name`, or `name`."""
    metadata = (resource.get("inputs") or {}).get("metadata") or {}
    if not str(resource.get("type", "")).startswith("kubernetes:") or "name" not in metadata:
        return None
    return f"{metadata['namespace']}/{metadata['name']}" if "namespace" in metadata else str(metadata["name"])
