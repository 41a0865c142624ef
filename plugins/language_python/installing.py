"""Makes a program's Python environment: what `pulumi install` does, and what a preview does where there is none."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path

from plugins.language_python.environment import EnvironmentProblem, PythonEnvironment, above, ambient_python


def ensure(environment: PythonEnvironment) -> Iterator[str]:
    """Make the environment with the program's dependencies if there is none; gives the output of what had to be done.

    With pip, an environment that is there is left as it is.

    Raises:
        EnvironmentProblem: a command failed.
    """
    there = environment.virtualenv
    if environment.toolchain == "uv":
        yield from sync(environment)
    elif there is not None and not environment.exists():
        if there.exists() and not there.is_dir():
            raise EnvironmentProblem(f"the 'virtualenv' option in Pulumi.yaml is set to \"{there}\", which is a file")
        if not there.exists() or not any(there.iterdir()):
            yield from install(environment)


def sync(environment: PythonEnvironment) -> Iterator[str]:
    """Bring uv's environment up to date with the lock file; packages on top of it stay. Nothing to do with pip.

    Raises:
        EnvironmentProblem: a command failed.
    """
    if environment.toolchain != "uv":
        return
    if above(environment.folder, "pyproject.toml"):
        # Shown only where it fails: uv says something at each run.
        for _line in _uv(environment, environment.folder, "sync", "--inexact"):
            pass
    elif not environment.exists():
        yield from _uv(environment, environment.folder, "venv", "--quiet", str(environment.virtualenv))


def install(environment: PythonEnvironment) -> Iterator[str]:
    """Create the environment and install the program's dependencies; gives their output as it comes.

    pip itself is left as it is, while the official language host brings it up to date first: that changes nothing for
    the program, and needs an index, which a closed site has not.

    Raises:
        EnvironmentProblem: a command failed.
    """
    if environment.toolchain == "uv":
        yield from prepare(environment)
        yield from _uv(environment, environment.folder, "sync")
        return
    if not environment.exists():
        yield "Creating virtual environment...\n"
        yield from _run([ambient_python(), "-m", "venv", str(environment.virtualenv)], environment.folder, os.environ)
        yield "Finished creating virtual environment\n"
    if (environment.folder / "requirements.txt").is_file():
        yield "Installing dependencies in virtual environment...\n"
        command = [environment.python(), "-m", "pip", "install", "-r", "requirements.txt"]
        yield from _run(command, environment.folder, environment.variables())
        yield "Finished installing dependencies\n"


def prepare(environment: PythonEnvironment) -> Iterator[str]:
    """With uv, give a program that has none a pyproject.toml, with what its requirements.txt names, which goes.

    Raises:
        EnvironmentProblem: a command failed, or pyproject.toml lacks what uv needs.
    """
    if environment.toolchain != "uv":
        return
    # Here, because they would cost every start of the language host a twentieth of a second.
    import tomllib

    import yaml

    folder = environment.folder
    if above(folder, "uv.lock"):
        return
    existing = above(folder, "pyproject.toml")
    if existing:
        if "project" not in tomllib.loads((existing / "pyproject.toml").read_text()):
            raise EnvironmentProblem(
                f"{existing / 'pyproject.toml'} has no [project] section, which uv needs to install dependencies: "
                "add one with a name, a version and the dependencies."
            )
        return
    requirements = above(folder, "requirements.txt")
    home = requirements or folder
    project = above(folder, "Pulumi.yaml")
    name = yaml.safe_load((project / "Pulumi.yaml").read_text()).get("name") if project else None
    named = ["--name", str(name)] if name else []
    yield from _uv(environment, home, "init", "--bare", "--no-package", "--no-pin-python", *named)
    if requirements:
        yield from _uv(environment, home, "add", "--no-sync", "--no-workspace", "-r", "requirements.txt")
        (requirements / "requirements.txt").unlink()
        yield "Deleted requirements.txt, dependencies for this project are tracked in pyproject.toml\n"


def _uv(environment: PythonEnvironment, folder: Path, *arguments: str) -> Iterator[str]:
    if not shutil.which("uv"):
        raise EnvironmentProblem("Could not find `uv` executable.\nInstall uv and make sure it is in your PATH.")
    variables = {**os.environ, "UV_PROJECT_ENVIRONMENT": str(environment.virtualenv)}
    # An activated environment is not the program's; uv would warn that it does not match.
    variables.pop("VIRTUAL_ENV", None)
    return _run(["uv", *arguments], folder, variables)


def _run(command: list[str], folder: Path, variables: Mapping[str, str]) -> Iterator[str]:
    """Output of `command`, line by line; raises EnvironmentProblem with it if the command fails."""
    process = subprocess.Popen(
        command,
        cwd=folder,
        env=variables,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        errors="replace",
    )
    said = []
    with process:
        for line in process.stdout or ():
            said.append(line)
            yield line
    if process.returncode:
        raise EnvironmentProblem(
            f"`{' '.join(command)}` failed with exit code {process.returncode}:\n{''.join(said).strip()}"
        )
