"""Builds Go programs once into the cache folder and says where they are.

A program's folder there is named by a key over all that makes the result: its go.mod, go.sum and sources, the
flags and the Go version. So a program is built again only when one of these changes, and checkouts with
different versions share the cache. Not here: which programs there are (catalogue.py).
"""

from __future__ import annotations

import fcntl
import functools
import hashlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from toolchain.catalogue import PROGRAMS, Program
from toolchain.paths import cache_dir
from toolchain.steps import StepFailed, duration

AT_ONCE = 2
"""Builds side by side: one Go build already uses every core, but waits for the network and the linker."""

PROGRESS_SECONDS = 15.0
_LOG_TAIL_LINES = 15


def go_environment(*, cgo: bool = False) -> dict[str, str]:
    """The environment for a `go` command that uses this project's module and build caches."""
    go = cache_dir() / "go"
    return {
        **os.environ,
        "GOMODCACHE": str(go / "mod"),
        "GOCACHE": str(go / "build"),
        # Folders of the module cache are read-only by default, and `rm -r` of the cache folder would fail.
        "GOFLAGS": "-modcacherw",
        "CGO_ENABLED": "1" if cgo else "0",
    }


def program_path(name: str) -> Path:
    """Where program `name` of the catalogue is, or will be once built; does not build.

    Raises:
        KeyError: the catalogue has no such program.
        StepFailed: no Go on PATH.
    """
    program = PROGRAMS[name]
    return cache_dir() / "programs" / f"{name}-{build_key(program, go_version())}" / name


def build_key(program: Program, version: str) -> str:
    """16 hex digits over everything that decides what the build with Go `version` gives."""
    digest = hashlib.sha256()
    digest.update(repr((program.package, program.tags, program.ldflags, program.cgo, version)).encode())
    for path in sorted(program.source.rglob("*")):
        if path.is_file() and not path.name.endswith("_test.go"):
            digest.update(f"\n{path.relative_to(program.source)}\n".encode())
            digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


@functools.cache
def go_version() -> str:
    """Version of the `go` command on PATH, e.g. `go1.26.8`.

    Raises:
        StepFailed: there is none.
    """
    try:
        # Asked outside of any module, where `go` does not switch to the version that a go.mod names.
        answer = subprocess.run(
            ["go", "env", "GOVERSION"], cwd="/", env=go_environment(), capture_output=True, text=True, check=True
        )
    except FileNotFoundError:
        raise StepFailed(
            "There is no `go` on PATH, so programs cannot be built. Install Go 1.26 or newer and try again."
        ) from None
    except subprocess.CalledProcessError as error:
        raise StepFailed(f"`go env GOVERSION` failed: {error.stderr.strip()}. Repair the Go installation.") from error
    return answer.stdout.strip()


def module_folder(name: str, module: str) -> Path:
    """Folder of the module cache with the sources of `module`, in the version that program `name` is built with.

    Raises:
        StepFailed: the module is not among the program's dependencies, or cannot be fetched.
    """
    command = ["go", "mod", "download", "-json", module]
    source = PROGRAMS[name].source
    fetched = subprocess.run(command, cwd=source, env=go_environment(), capture_output=True, text=True, check=False)
    if fetched.returncode:
        raise StepFailed(
            f"The sources of {module} are not to be had: {(fetched.stderr or fetched.stdout).strip()}. "
            "Check that Go's module proxy can be reached and try again."
        )
    listed = ["go", "list", "-m", "-f", "{{.Dir}}", module]
    found = subprocess.run(listed, cwd=source, env=go_environment(), capture_output=True, text=True, check=True)
    return Path(found.stdout.strip())


def build(names: Iterable[str] = ()) -> dict[str, Path]:
    """Build what is not in the cache yet; progress goes to standard error.

    Args:
        names: programs of the catalogue; none means all that are built by default.

    Returns:
        Each program's executable by name.

    Raises:
        KeyError: the catalogue has no such program.
        StepFailed: a build failed; the message has the end of its log. Builds that run are waited for first,
            so that their work is not lost.
    """
    wanted = list(names) or [program.name for program in PROGRAMS.values() if program.default]
    paths = {name: program_path(name) for name in wanted}
    waiting = [_Build(PROGRAMS[name], path) for name, path in paths.items() if not path.exists()]
    running: list[_Build] = []
    failed: list[_Build] = []
    try:
        said = time.monotonic()
        while waiting or running:
            while waiting and not failed and len(running) < AT_ONCE:
                running.append(waiting.pop(0))
            for item in list(running):
                if item.step():
                    running.remove(item)
                    if item.failure:
                        failed.append(item)
            if failed and not running:
                break
            if time.monotonic() - said > PROGRESS_SECONDS:
                said = time.monotonic()
                _say("    still " + "; ".join(item.progress() for item in running))
            time.sleep(0.1)
    finally:
        for item in running:
            item.abort()
    if failed:
        raise StepFailed("\n".join(item.failure for item in failed))
    return paths


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


@dataclass
class _Build:
    """One build: waits for its lock, runs `go build` into a temporary name, then renames."""

    program: Program
    target: Path
    failure: str = ""
    _lock: IO[str] | None = None
    _process: subprocess.Popen[bytes] | None = None
    _since: float = 0.0

    @property
    def _log(self) -> Path:
        return cache_dir() / "programs" / f"{self.program.name}.log"

    @property
    def _partial(self) -> Path:
        return self.target.with_name(f".{self.target.name}.partial")

    def progress(self) -> str:
        """What it does at the moment and for how long."""
        took = duration(time.monotonic() - self._since)
        return f"building {self.program.name} {took}" if self._process else f"waiting for {self.program.name} {took}"

    def step(self) -> bool:
        """Go on as far as possible without waiting; true when done, well or badly."""
        if not self._since:
            self._since = time.monotonic()
        if self._process is None:
            if not self._locked():
                return False
            if self.target.exists():  # another command built it while this one waited
                self._unlock()
                return True
            self._start()
            return False
        code = self._process.poll()
        if code is None:
            return False
        took = duration(time.monotonic() - self._since)
        if code == 0:
            self._partial.rename(self.target)
            _say(f"    built {self.program.name} in {took}")
        else:
            tail = "\n".join(self._log.read_text(errors="replace").splitlines()[-_LOG_TAIL_LINES:])
            self.failure = (
                f"Building {self.program.name} failed after {took} (exit code {code}). The end of {self._log}:\n{tail}"
            )
        self._unlock()
        return True

    def abort(self) -> None:
        """Stop the build, with the compilers that it started."""
        if self._process and self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGTERM)
            self._process.wait()
        self._unlock()

    def _locked(self) -> bool:
        if self._lock is None:
            self.target.parent.mkdir(parents=True, exist_ok=True)
            self._lock = (cache_dir() / "programs" / f"{self.program.name}.lock").open("w")
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def _unlock(self) -> None:
        if self._lock:
            self._lock.close()
            self._lock = None

    def _start(self) -> None:
        program = self.program
        command = ["go", "build", "-mod=readonly", "-trimpath", "-ldflags", program.ldflags, "-o", str(self._partial)]
        if program.tags:
            command += ["-tags", ",".join(program.tags)]
        _say(f"    building {program.name} (log: {self._log})")
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [*command, program.package],
                cwd=program.source,
                env=go_environment(cgo=program.cgo),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # a group of its own, so that abort() reaches the compilers too
            )
