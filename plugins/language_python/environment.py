"""Which Python runs a program: the `runtime.options` of its Pulumi.yaml, and the virtual environment they name."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from pulumi.runtime.proto import language_pb2

TOOLCHAINS = ("pip", "uv")
KNOWN_OPTIONS = frozenset({"toolchain", "virtualenv", "typechecker"})


class EnvironmentProblem(Exception):
    """The program's Python environment cannot be used; the message says why and what to do."""


@dataclass(frozen=True)
class PythonEnvironment:
    """A program's Python: an environment of its own, or the ambient `python3` if `virtualenv` is None."""

    toolchain: str
    virtualenv: Path | None
    option: str
    """`virtualenv` as it is written in Pulumi.yaml; empty if it is not."""

    def python(self) -> str:
        """The interpreter to start.

        Raises:
            EnvironmentProblem: the environment is not there, or no Python is on PATH.
        """
        if self.virtualenv is None:
            wanted = os.environ.get("PULUMI_PYTHON_CMD")
            found = shutil.which(wanted) if wanted else shutil.which("python3") or shutil.which("python")
            if not found:
                raise EnvironmentProblem(f"No {wanted or 'python3'} on PATH, so the program cannot run: install it.")
            return found
        python = self.virtualenv / "bin" / "python"
        if not python.is_file():
            state = "doesn't appear to be a virtual environment" if self.virtualenv.exists() else "doesn't exist"
            raise EnvironmentProblem(
                f"The 'virtualenv' option in Pulumi.yaml is set to \"{self.option or self.virtualenv.name}\", but "
                f'"{self.virtualenv}" {state}; run the following commands to create the virtual environment and '
                f"install dependencies into it:\n\n    1. python3 -m venv {self.virtualenv}\n"
                f"    2. {python} -m pip install -r requirements.txt\n"
            )
        return str(python)

    def variables(self, given: Mapping[str, str]) -> dict[str, str]:
        """`given` as activating the environment would leave it."""
        result = dict(given)
        if self.virtualenv is not None:
            result.pop("PYTHONHOME", None)
            result["VIRTUAL_ENV"] = str(self.virtualenv)
            result["PATH"] = os.pathsep.join(part for part in (f"{self.virtualenv}/bin", result.get("PATH")) if part)
        return result

    def install(self, folder: Path) -> Iterator[bytes]:
        """Create the environment and install the program's dependencies; gives their output as it comes.

        Raises:
            EnvironmentProblem: a command failed.
        """
        if self.toolchain == "uv":
            yield from _run(["uv", "sync"], folder, {"UV_PROJECT_ENVIRONMENT": str(self.virtualenv)})
            return
        if self.virtualenv is not None and not (self.virtualenv / "bin" / "python").is_file():
            yield b"Creating virtual environment...\n"
            yield from _run([sys.executable, "-m", "venv", str(self.virtualenv)], folder, {})
        if (folder / "requirements.txt").is_file():
            yield b"Installing dependencies in virtual environment...\n"
            yield from _run([self.python(), "-m", "pip", "install", "-r", "requirements.txt"], folder, {})


def python_environment(info: language_pb2.ProgramInfo) -> PythonEnvironment:
    """The environment that the `runtime.options` of a program's project file ask for.

    Raises:
        EnvironmentProblem: an option that this language host does not do.
    """
    options = dict(info.options.items())
    unknown = sorted(options.keys() - KNOWN_OPTIONS)
    if unknown:
        raise EnvironmentProblem(
            f"runtime option {', '.join(unknown)}: this language host, a stand-in for the official one, knows "
            f"{', '.join(sorted(KNOWN_OPTIONS))}. Remove it, or use the official Pulumi."
        )
    if options.get("typechecker"):
        raise EnvironmentProblem(
            f"runtime option typechecker {options['typechecker']}: this language host, a stand-in for the official "
            "one, runs no type checker. Remove the option and run the checker beside Pulumi."
        )
    toolchain, option = options.get("toolchain", "pip"), options.get("virtualenv", "")
    if toolchain not in TOOLCHAINS:
        raise EnvironmentProblem(
            f"runtime option toolchain {toolchain}: this language host, a stand-in for the official one, does "
            f"{' and '.join(TOOLCHAINS)}."
        )
    if not isinstance(option, str):
        raise EnvironmentProblem("virtualenv option must be a string")
    root = Path(info.root_directory)
    if toolchain == "uv" and not option:
        return PythonEnvironment("uv", _project_folder(root) / ".venv", "")
    # normpath, not resolve(): resolving a link to the base interpreter would leave the virtual environment.
    return PythonEnvironment(toolchain, Path(os.path.normpath(root / option)) if option else None, option)


def _project_folder(folder: Path) -> Path:
    """The nearest folder upwards with a uv.lock or a pyproject.toml: there uv keeps its environment."""
    for candidate in (folder, *folder.parents):
        if (candidate / "uv.lock").is_file() or (candidate / "pyproject.toml").is_file():
            return candidate
    return folder


def _run(command: list[str], folder: Path, variables: Mapping[str, str]) -> Iterator[bytes]:
    """Output of `command`, line by line; raises EnvironmentProblem if it fails or is not there."""
    try:
        process = subprocess.Popen(
            command, cwd=folder, env={**os.environ, **variables}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
    except FileNotFoundError as error:
        raise EnvironmentProblem(f"{command[0]} is not on PATH, so nothing was installed: install it.") from error
    with process:
        yield from process.stdout or ()
    if process.returncode:
        raise EnvironmentProblem(f"{' '.join(command)} failed with exit code {process.returncode}; see its output.")
