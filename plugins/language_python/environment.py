"""Which Python runs a program: the `runtime.options` of its Pulumi.yaml, and the virtual environment they name."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
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
    """`pip` or `uv`."""
    virtualenv: Path | None
    option: str
    """`virtualenv` as it is written in Pulumi.yaml; empty if it is not."""
    folder: Path
    """The program's."""

    def exists(self) -> bool:
        """Whether there is a Python to start."""
        return self.virtualenv is None or (self.virtualenv / "bin" / "python").is_file()

    def python(self) -> str:
        """The interpreter to start.

        Raises:
            EnvironmentProblem: the environment is not there, or no Python is on PATH.
        """
        if self.virtualenv is None:
            return ambient_python()
        python = self.virtualenv / "bin" / "python"
        if self.exists():
            return str(python)
        if self.toolchain == "uv":
            raise EnvironmentProblem(f"'{self.virtualenv}' is not a virtualenv: run `pulumi install` to make it.")
        state = "doesn't appear to be a virtual environment" if self.virtualenv.exists() else "doesn't exist"
        raise EnvironmentProblem(
            f"The 'virtualenv' option in Pulumi.yaml is set to \"{self.option}\", but "
            f'"{self.virtualenv}" {state}; run the following commands to create the virtual environment and '
            f"install dependencies into it:\n\n    1. python3 -m venv {self.virtualenv}\n"
            f"    2. {python} -m pip install -r requirements.txt\n"
        )

    def variables(self, given: Mapping[str, str] = os.environ) -> dict[str, str]:
        """`given` as activating the environment would leave it."""
        result = dict(given)
        if self.virtualenv is not None:
            result.pop("PYTHONHOME", None)
            result["VIRTUAL_ENV"] = str(self.virtualenv)
            result["PATH"] = os.pathsep.join(part for part in (f"{self.virtualenv}/bin", result.get("PATH")) if part)
        return result


def ambient_python() -> str:
    """The Python on PATH: `PULUMI_PYTHON_CMD`, else `python3`, else `python`; EnvironmentProblem if there is none."""
    wanted = os.environ.get("PULUMI_PYTHON_CMD")
    found = shutil.which(wanted) if wanted else shutil.which("python3") or shutil.which("python")
    if not found:
        raise EnvironmentProblem(f"No {wanted or 'python3'} on PATH, so the program cannot run: install it.")
    return found


def python_environment(info: language_pb2.ProgramInfo) -> PythonEnvironment:
    """The environment that the `runtime.options` of a program's project file ask for.

    Without a toolchain it is that of the lock file in the program's folder or above it, else pip.

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
    option = options.get("virtualenv", "")
    if not isinstance(option, str):
        raise EnvironmentProblem("virtualenv option must be a string")
    root, folder = Path(info.root_directory), Path(info.program_directory)
    toolchain = options.get("toolchain") or _detected_toolchain(folder)
    if toolchain not in TOOLCHAINS:
        raise EnvironmentProblem(
            f"runtime option toolchain {toolchain}: this language host, a stand-in for the official one, does "
            f"{' and '.join(TOOLCHAINS)}. Set one of them, or use the official Pulumi."
        )
    if toolchain == "uv" and not option:
        return PythonEnvironment("uv", _uv_virtualenv(folder), "", folder)
    # normpath, not resolve(): resolving a link to the base interpreter would leave the virtual environment.
    virtualenv = Path(os.path.normpath(root / option)) if option else None
    return PythonEnvironment(toolchain, virtualenv, option, folder)


def toolchain_name(info: language_pb2.ProgramInfo) -> str:
    """The toolchain as `pulumi about` shows it: `Auto` if Pulumi.yaml names none."""
    return str(dict(info.options.items()).get("toolchain") or "auto").capitalize()


def above(folder: Path, name: str) -> Path | None:
    """The nearest folder from `folder` upwards that holds a file `name`."""
    return next((candidate for candidate in (folder, *folder.parents) if (candidate / name).is_file()), None)


def _detected_toolchain(folder: Path) -> str:
    if above(folder, "uv.lock"):
        return "uv"
    return "poetry (found poetry.lock)" if above(folder, "poetry.lock") else "pip"


def _uv_virtualenv(folder: Path) -> Path:
    """Where uv keeps its environment: beside the lock file, else pyproject.toml, else in the program's folder."""
    project = above(folder, "uv.lock") or above(folder, "pyproject.toml") or folder
    return project / (os.environ.get("UV_PROJECT_ENVIRONMENT") or ".venv")
