"""Wheels made by hand, so that environments are filled without an index."""

from __future__ import annotations

import json
import sysconfig
import zipfile
from pathlib import Path


def wheel(folder: Path, name: str, version: str, files: dict[str, str]) -> Path:
    """A wheel of plain files by their path in site-packages; `folder` is made if it is not there."""
    folder.mkdir(exist_ok=True)
    info = f"{name}-{version}.dist-info"
    files = files | {
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name.replace('_', '-')}\nVersion: {version}\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = "".join(f"{path},,\n" for path in [*files, f"{info}/RECORD"])
    path = folder / f"{name}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for inside, text in (files | {f"{info}/RECORD": record}).items():
            archive.writestr(inside, text)
    return path


def sdk(folder: Path) -> Path:
    """A wheel `sdk-of-the-tests`, with which an environment has the SDK (and all else) that the tests have."""
    return wheel(folder, "sdk_of_the_tests", "1.0", {"sdk_of_the_tests.pth": sysconfig.get_path("purelib") + "\n"})


def provider_sdk(folder: Path, name: str, version: str) -> Path:
    """A wheel `pulumi-<name>` whose pulumi-plugin.json asks for the plugin of its version."""
    plugin = json.dumps({"resource": True, "name": name, "version": version})
    module = f"pulumi_{name}"
    return wheel(folder, module, version, {f"{module}/__init__.py": "", f"{module}/pulumi-plugin.json": plugin})
