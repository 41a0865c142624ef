"""The folder from which the built Pulumi CLI runs with the stand-in plugins, one for each checkout.

    <state>/pulumi/<checkout>/bin/pulumi     starts the CLI with its environment (plugins/launch.py)
    <state>/pulumi/<checkout>/lib/           the CLI, and beside it the language host, where the CLI expects it
    <state>/pulumi/<checkout>/home/plugins/  the resource plugins, as in any PULUMI_HOME

The CLI itself is a hard link into the cache that all checkouts share. It warns about a language host that does not
lie beside it and about a resource plugin found on PATH; this layout gives no reason for either.
"""

from __future__ import annotations

import importlib.metadata
import os
import shlex
import shutil
import sys
import tempfile
from pathlib import Path

from plugins._folder import root
from toolchain import gobuild
from toolchain.paths import REPOSITORY


def kubernetes_version() -> str:
    """Version that the stand-in for `kubernetes` answers with: that of the SDK in this environment."""
    return importlib.metadata.version("pulumi-kubernetes")


def command_version() -> str:
    """Version that the stand-in for `command` answers with: that of the SDK, if this environment has it."""
    try:
        return importlib.metadata.version("pulumi-command")
    except importlib.metadata.PackageNotFoundError:
        return "1.2.1"  # the official one that it was written after


def install() -> Path:
    """Make `root()` what this checkout needs and return it; changes nothing that is right already.

    Raises:
        StepFailed: the CLI is not in the cache and cannot be built.
    """
    cli = gobuild.build(["pulumi"])["pulumi"]
    folder = root()
    _link(cli, folder / "lib" / "pulumi")
    _write(folder / "lib" / "pulumi-language-python", _launcher("plugins.language_python"))
    for name, version in (("kubernetes", kubernetes_version()), ("command", command_version())):
        plugin = folder / "home" / "plugins" / f"resource-{name}-v{version}" / f"pulumi-resource-{name}"
        _write(plugin, _launcher(f"plugins.{name}"))
    _write(folder / "bin" / "pulumi", _launcher("plugins.launch"))
    return folder


def _launcher(module: str) -> str:
    """A script that runs `module` of this checkout in this environment.

    -P keeps the caller's folder out of the module path: a program's own `plugins` must not be taken for ours.
    """
    code = (
        f"import runpy, sys; sys.path.insert(0, {str(REPOSITORY)!r}); "
        f"runpy.run_module({module!r}, run_name='__main__', alter_sys=True)"
    )
    return f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -P -c {shlex.quote(code)} "$@"\n'


def _write(path: Path, text: str) -> None:
    """Make `path` an executable with `text`, in one step, so that a plugin being started never sees half of it."""
    if path.is_file() and path.read_text() == text:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, temporary = tempfile.mkstemp(dir=path.parent)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
    Path(temporary).chmod(0o755)
    Path(temporary).replace(path)


def _link(source: Path, target: Path) -> None:
    """Hard-link `target` to `source`, or copy where they lie on different file systems."""
    if target.is_file():
        there, wanted = target.stat(), source.stat()
        if (there.st_ino == wanted.st_ino and there.st_dev == wanted.st_dev) or (
            there.st_size == wanted.st_size and there.st_mtime == wanted.st_mtime
        ):
            return
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(dir=target.parent)) / "pulumi"
    try:
        temporary.hardlink_to(source)
    except OSError:  # another file system, or one without hard links
        shutil.copy2(source, temporary)
    temporary.replace(target)
    temporary.parent.rmdir()
