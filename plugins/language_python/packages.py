"""Which Pulumi plugins a program's installed packages need, and which packages there are."""

from __future__ import annotations

import json
import re
import subprocess
from typing import Any

from pulumi.runtime.proto import language_pb2, plugin_pb2

from plugins.language_python.environment import EnvironmentProblem, PythonEnvironment

_WITHOUT_PLUGIN = frozenset({"pulumi-policy", "pulumi-esc-sdk"})
"""Packages named `pulumi-...` that say nothing about a plugin and have none."""

# Runs in the program's environment, which may be another Python than ours: hence a script.
_LIST = """
import importlib.metadata as m, json, pathlib, re
found = {}
for d in m.distributions():
    name = re.sub(r"[-_.]+", "-", d.metadata["Name"] or "").lower()
    if not name or name in found:
        continue
    plugin = None
    if name.startswith("pulumi") or any(f.name == "pulumi-plugin.json" for f in d.files or ()):
        for f in d.files or ():
            if f.name == "pulumi-plugin.json" and len(f.parts) == 2:
                plugin = json.loads(pathlib.Path(d.locate_file(f)).read_text())
    needs = [re.match(r"[A-Za-z0-9._-]+", r)[0] for r in d.requires or () if "extra ==" not in r]
    found[name] = {"version": d.version, "plugin": plugin, "needs": needs}
print(json.dumps(found))
"""


def installed(environment: PythonEnvironment) -> dict[str, dict[str, Any]]:
    """Installed packages by normalized name: `version`, `plugin` (its pulumi-plugin.json or None), `needs` (names).

    Raises:
        EnvironmentProblem: the environment is not there or its Python cannot list them.
    """
    python = environment.python()
    done = subprocess.run([python, "-c", _LIST], capture_output=True, text=True, check=False)
    if done.returncode:
        raise EnvironmentProblem(f"{python} could not list its packages: {done.stderr.strip()}")
    found: dict[str, dict[str, Any]] = json.loads(done.stdout)
    return found


def required_packages(packages: dict[str, dict[str, Any]]) -> list[plugin_pb2.PackageDependency]:
    """The plugins of `packages`, as their pulumi-plugin.json say, or by their name and version where there is none."""
    result = []
    for name, package in sorted(packages.items()):
        plugin = package["plugin"]
        if plugin is None and (name in _WITHOUT_PLUGIN or not name.startswith("pulumi-")):
            continue
        said = plugin or {"resource": True}
        version = said.get("version") or plugin_version(package["version"])
        if not said.get("resource") or not version:
            continue
        dependency = plugin_pb2.PackageDependency(
            name=said.get("name") or name.removeprefix("pulumi-"),
            kind="resource",
            version=version if version.startswith("v") else f"v{version}",
            server=said.get("server", ""),
        )
        parameterization = said.get("parameterization")
        if parameterization:
            raise EnvironmentProblem(
                f"package {name} has a parameterized plugin: this language host, a stand-in for the official one, "
                "does not do that. Use the official Pulumi."
            )
        result.append(dependency)
    return result


def plugin_version(package_version: str) -> str | None:
    """The plugin's version for a package's: `4.2.0` for `4.2` and `4.2.0.post1`, None for a pre-release.

    A pre-release's plugin has a build number that the package's version does not tell.
    """
    match = re.fullmatch(r"(\d+)(?:\.(\d+))?(?:\.(\d+))?(?:\.post\d+)?", package_version)
    return ".".join(part or "0" for part in match.groups()) if match else None


def dependencies(packages: dict[str, dict[str, Any]], *, transitive: bool) -> list[language_pb2.DependencyInfo]:
    """The packages as `pulumi about` shows them; without `transitive`, only those that no other one needs."""
    needed = {re.sub(r"[-_.]+", "-", need).lower() for package in packages.values() for need in package["needs"]}
    return [
        language_pb2.DependencyInfo(name=name, version=package["version"])
        for name, package in sorted(packages.items())
        if transitive or name not in needed
    ]
