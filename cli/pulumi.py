"""Drives the Pulumi CLI for one stack of this project, and mends what a killed run left behind."""

from __future__ import annotations

import hashlib
import json
import os
import socket
import subprocess
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from cli.recovery import Begun, State, begun, needed, provisional, settled, unseen
from settings.loader import PROJECT
from toolchain.paths import REPOSITORY, state_dir
from toolchain.steps import StepFailed

_CLOCK_SECONDS = 60.0
"""By how much the start of a process, which is told from the time of the boot, may seem later: that time moves when the
clock is set, as on a machine that has slept."""

PREPARED = "a host that the stack prepares"
"""Stands for a kubeconfig that the program itself has made."""


@dataclass(frozen=True)
class Adopted:
    """What came of a run that died."""

    looked_up: list[str]
    """Names of the resources that it had begun to create."""

    left: list[str]
    """Ids of objects with the name of one of them that were not made by it, or of which that cannot be told."""


class Pulumi:
    """The CLI for the project in `folder` and its stack `stack`."""

    def __init__(self, stack: str, *, environment: Mapping[str, str], folder: Path = REPOSITORY) -> None:
        self.stack = stack
        self.folder = folder
        # Debug commands: `--event-log` is one of them.
        self._environment = {**os.environ, "PULUMI_DEBUG_COMMANDS": "true", **environment}

    def run(self, *arguments: str) -> None:
        """Run `pulumi` with its output, and its questions, on this terminal.

        Raises:
            StepFailed: it did not end with exit code 0; Pulumi itself has said why.
        """
        done = subprocess.run(self._command(arguments), cwd=self.folder, env=self._environment, check=False)
        if done.returncode < 0:
            raise StepFailed(
                f"`pulumi {arguments[0]}` was killed by signal {-done.returncode}. The same command goes on from here."
            )
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
        state = self._export()
        for resource in (state.get("deployment") or {}).get("resources") or ():
            if resource["type"] == "pulumi:providers:kubernetes":
                found = (resource.get("inputs") or {}).get("kubeconfig")
                # A host's own is a secret, and so an object with a ciphertext.
                return found if isinstance(found, str) else PREPARED if found else None
        return None

    def unlock(self) -> list[str]:
        """Unlock the stack where the run that locked it is dead; returns who they were.

        Only locks in a folder of this machine are looked at: any other backend knows better who is at work.

        Raises:
            StepFailed: another run holds the stack, or one of another machine, of whose processes nothing is known
                here. It says how to unlock the stack, which is for a person to decide.
        """
        broken, held = [], []
        for file in sorted(self._locks().glob("*.json")):
            try:
                lock = json.loads(file.read_text())
                who = f"process {lock['pid']} of {lock['timestamp']}"
                since = datetime.fromisoformat(lock["timestamp"]).timestamp()
                if lock["hostname"] != socket.gethostname():
                    held.append(f"{who} by {lock['username']} on {lock['hostname']}")
                elif _is_alive(int(lock["pid"]), since=since):
                    held.append(f"{who} by {lock['username']} on this machine, which is still at work")
                else:
                    file.unlink(missing_ok=True)
                    broken.append(who)
            except FileNotFoundError:  # its run has just ended
                continue
            except (ValueError, KeyError, TypeError):  # half of it: just being written, or left so by a power cut
                held.append(f"somebody whose lock cannot be read, {file}")
        if held:
            raise StepFailed(
                f"Stack {self.stack} is locked: {'; '.join(held)}. Two runs at once would undo each other's work, so "
                "nothing was done. Wait until that run has ended. If you are sure that it is dead, unlock the stack "
                f"with `bin/pulumi cancel {self.stack}`; the same command then goes on from where it was."
            )
        return broken

    def up(self, *arguments: str) -> None:
        """Run `pulumi up` on this terminal, and write down what it does, for the next run if this one fails.

        Raises:
            StepFailed: it did not end with exit code 0.
        """
        self._begin_events()
        try:
            self.run("up", "--stack", self.stack, "--event-log", str(self._events), *arguments)
            self.forget()
        finally:
            if self._events.exists():
                self._shorten_events()

    def adopt(self) -> Adopted:
        """Take what an earlier run had begun to create, and not ended, into the state.

        Those whose id follows from their own name are written down as made; a refresh then finds them or forgets
        them. All others are begun again. (`refresh --import-pending-creates` is meant for this, but Pulumi 3.255 drops
        them, and it does not know of creations that have failed.)

        Raises:
            StepFailed: a command of Pulumi's has failed; the next call goes on from there.
        """
        if self._events.exists():
            self._shorten_events()  # again, as llmctl itself may have been killed before it came to that
        state = self._export()
        found = begun(state, self._lines())
        prepared = provisional(state, found)
        if prepared != state:
            self._import(prepared)
        left: list[str] = []
        if targets := unseen(prepared):
            named = [word for urn in targets for word in ("--target", urn)]
            try:
                self.output("refresh", "--yes", "--skip-preview", "--stack", self.stack, *named)
            finally:  # one that fails may have found some of them
                left = self._settle(found)
        self.forget()
        names = [item.name for item in found] + [urn.rpartition("::")[2] for urn in targets]
        return Adopted(list(dict.fromkeys(names)), left)

    def forget(self) -> None:
        """Take away what was written down for the next run."""
        self._events.unlink(missing_ok=True)

    def _settle(self, found: Iterable[Begun]) -> list[str]:
        """Take out of the state what a refresh has found that is not ours; returns its ids."""
        refreshed = self._export()
        done, left = settled(refreshed, found)
        if done != refreshed:
            self._import(done)
        return left

    @property
    def _events(self) -> Path:
        """The event log of the last `up` that has not ended well; stacks of the same name elsewhere have their own."""
        place = hashlib.sha256(f"{self._backend()}\n{self.folder.resolve()}".encode()).hexdigest()[:12]
        return state_dir() / "pulumi" / "events" / f"{self.stack}-{place}.jsonl"

    def _begin_events(self) -> None:
        """Make the event log before Pulumi does, which lets everybody read it: the stack's outputs are in it."""
        folder = self._events.parent
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder.chmod(0o700)
        self.forget()
        os.close(os.open(self._events, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))

    def _lines(self) -> list[str]:
        """The event log; a run that was killed may have left half a line, and half a character."""
        if not self._events.exists():
            return []
        # Not splitlines(): it also cuts at U+0085 and the like, which stand in JSON as they are.
        return self._events.read_text(errors="replace").split("\n")

    def _shorten_events(self) -> None:
        """Leave in the event log only what the next run needs."""
        lines = needed(self._lines())
        with tempfile.NamedTemporaryFile("w", dir=self._events.parent, delete=False) as file:  # its owner's alone
            file.write("\n".join(lines))
        Path(file.name).replace(self._events)

    def _backend(self) -> str:
        return self._environment.get("PULUMI_BACKEND_URL") or f"file://{state_dir() / 'pulumi' / 'backend'}"

    def _locks(self) -> Path:
        """The folder with the stack's locks; one that is not there for a backend that is no folder of this machine."""
        scheme, _, folder = self._backend().partition("://")
        root = Path(folder.partition("?")[0]).expanduser() if scheme == "file" else Path(os.devnull)
        return root / ".pulumi" / "locks" / "organization" / PROJECT / self.stack

    def _export(self) -> State:
        state: State = json.loads(self.output("stack", "export", "--stack", self.stack))
        return state

    def _import(self, state: State) -> None:
        with tempfile.NamedTemporaryFile("w", suffix=".json") as file:  # its owner's alone
            json.dump(state, file)
            file.flush()
            self.output("stack", "import", "--stack", self.stack, "--file", file.name)

    def _command(self, arguments: Sequence[str]) -> list[str]:
        return [str(REPOSITORY / "bin" / "pulumi"), *arguments]


def _is_alive(pid: int, *, since: float) -> bool:
    """Whether the process that had this id at `since` (seconds since 1970) still runs.

    One that is dead but not yet reaped by its parent does not; one that started later has only got its id. A Pulumi
    counts as that process whatever the clock says: to break the lock of one at work costs more than to ask.
    """
    try:
        name, _, rest = Path(f"/proc/{pid}/stat").read_text().partition("(")[2].rpartition(")")
        boot = next(line for line in Path("/proc/stat").read_text().splitlines() if line.startswith("btime "))
    except (FileNotFoundError, ProcessLookupError):
        return False
    fields = rest.split()
    started = int(boot.split()[1]) + int(fields[19]) / os.sysconf("SC_CLK_TCK")
    return fields[0] != "Z" and (name == "pulumi" or started < since + _CLOCK_SECONDS)
