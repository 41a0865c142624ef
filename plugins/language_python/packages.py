"""Which Pulumi plugins a program's installed packages need, and which packages there are."""

from __future__ import annotations

import base64
import json
import re
import subprocess
from typing import Any

from pulumi.runtime.proto import language_pb2, plugin_pb2

from plugins.language_python.environment import EnvironmentProblem, PythonEnvironment

_WITHOUT_PLUGIN = frozenset({"pulumi-policy", "pulumi-esc-sdk"})
"""Packages named `pulumi-...` that say nothing about a plugin and have none."""

# These run in the program's environment, which may be another Python than ours: hence scripts. The first entry of
# their module path is the folder that Pulumi was started in, whose files must not be taken for Python's own modules.

# Every preview waits for this one. Names and versions are those of the folders that installers leave: the metadata
# within them takes ten times as long to read, most of it for packages that have no plugin.
_LIST = """
import sys
if not getattr(sys.flags, "safe_path", False): del sys.path[0]
import importlib.util, json, os, re
found = {}
for folder in sys.path:
    for entry in os.listdir(folder) if os.path.isdir(folder) else ():
        named = re.fullmatch(r"(.+?)-([^-]+)(?:-py[0-9.]+)?[.](?:dist|egg)-info", entry)
        name = named and re.sub(r"[-_.]+", "-", named[1]).lower()
        if not name or name in found:
            continue
        try:
            module = importlib.util.find_spec(re.sub(r"[-.]", "_", named[1]))
        except (ImportError, ValueError):
            module = None
        places = list(module.submodule_search_locations or ()) if module else []
        files = [os.path.join(place, "pulumi-plugin.json") for place in places]
        plugin = next((json.load(open(file, encoding="utf-8")) for file in files if os.path.isfile(file)), None)
        found[name] = {"version": named[2], "plugin": plugin}
print(json.dumps(found))
"""

_NEEDS = """
import sys
if not getattr(sys.flags, "safe_path", False): del sys.path[0]
import importlib.metadata, json, re
needs = {re.match(r"[A-Za-z0-9._-]+", need)[0] for package in importlib.metadata.distributions()
         for need in package.requires or () if "extra ==" not in need}
print(json.dumps(sorted({re.sub(r"[-_.]+", "-", need).lower() for need in needs})))
"""


def installed(environment: PythonEnvironment) -> dict[str, dict[str, Any]]:
    """Installed packages by normalized name: `version` and `plugin` (its pulumi-plugin.json or None).

    Raises:
        EnvironmentProblem: the environment is not there or its Python cannot list them.
    """
    found: dict[str, dict[str, Any]] = _run(environment, _LIST)
    return found


def needed_by_others(environment: PythonEnvironment) -> frozenset[str]:
    """Normalized names of what the installed packages require.

    Raises:
        EnvironmentProblem: the environment is not there or its Python cannot list them.
    """
    return frozenset(_run(environment, _NEEDS))


def _run(environment: PythonEnvironment, script: str) -> Any:
    python = environment.python()
    done = subprocess.run(
        [python, "-c", script], capture_output=True, text=True, check=False, env=environment.variables()
    )
    if done.returncode:
        raise EnvironmentProblem(f"{python} could not list its packages: {done.stderr.strip()}")
    return json.loads(done.stdout)


def required_packages(packages: dict[str, dict[str, Any]]) -> list[plugin_pb2.PackageDependency]:
    """The plugins of `packages`, as their pulumi-plugin.json say, or by their name and version where there is none."""
    result = []
    for name, package in sorted(packages.items()):
        plugin = package["plugin"]
        if name in _WITHOUT_PLUGIN or (plugin is None and not name.startswith("pulumi-")):
            continue
        said = plugin or {"resource": True}
        version = said.get("version") or plugin_version(package["version"])
        if not said.get("resource") or not version:
            continue
        result.append(
            plugin_pb2.PackageDependency(
                name=said.get("name") or name.removeprefix("pulumi-"),
                kind="resource",
                version=version if version.startswith("v") else f"v{version}",
                server=said.get("server", ""),
                parameterization=_parameterization(said.get("parameterization")),
                extension=_parameterization(said.get("extensionParameterization")),
            )
        )
    return result


def _parameterization(said: dict[str, str] | None) -> plugin_pb2.PackageParameterization | None:
    if not said:
        return None
    value = base64.b64decode(said.get("value") or "")
    return plugin_pb2.PackageParameterization(name=said["name"], version=said["version"], value=value)


_PRE_RELEASES = {None: "", "a": "-alpha.", "b": "-beta.", "rc": "-rc."}
_PACKAGE_VERSION = re.compile(r"(\d+(?:\.\d+)*)(?:(a|b|rc)(\d*))?(?:\.post(\d*))?(?:\.dev(\d*))?")


def plugin_version(package_version: str) -> str | None:
    """The plugin's version for a package's (PEP 440), as the official language host translates it.

    `4.2` is `4.2.0`, `1.2.3a4` is `1.2.3-alpha.4`, `1.2.3.post4.dev5` is `1.2.3+post4dev5`; None for anything else,
    such as a version with an epoch.
    """
    match = _PACKAGE_VERSION.fullmatch(package_version)
    if match is None:
        return None
    numbers, kind, number, post, dev = match.groups()
    segments = numbers.split(".")
    release = ".".join(segments + ["0"] * (3 - len(segments)))
    build = ("" if post is None else f"post{post}") + ("" if dev is None else f"dev{dev}")
    return f"{release}{_PRE_RELEASES[kind]}{number or ''}" + (f"+{build}" if build else "")


def dependencies(
    packages: dict[str, dict[str, Any]], without: frozenset[str] = frozenset()
) -> list[language_pb2.DependencyInfo]:
    """The packages as `pulumi about` shows them, those of the names in `without` left out."""
    return [
        language_pb2.DependencyInfo(name=name, version=package["version"])
        for name, package in sorted(packages.items())
        if name not in without
    ]
