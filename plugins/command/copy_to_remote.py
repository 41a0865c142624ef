"""`command:remote:CopyToRemote`: a file, a text or a folder of this machine to a path on a host, over SFTP.

| source | the path is a folder | the path is not there | the path is a file |
| --- | --- | --- | --- |
| folder | into path/folder | into path/folder | error |
| folder/ | its content into path | its content into path | error |
| file | path/file | path, with its parents | overwritten |
| text | error | path, with its parents | overwritten |

A file that is an archive is copied as it is. Nothing is taken away on the host: not what has left a folder since, nor
anything when the resource is deleted. All this is as in the official plugin.
"""

from __future__ import annotations

import posixpath
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import asyncssh

from plugins._engine import Status
from plugins._provider import Failure
from plugins._values import ARCHIVE, ASSET, SIGNATURE, reveal
from plugins.command.connection import Connection, connected
from plugins.command.properties import Problem
from plugins.command.remote import finish

_ASSET = "asset must be a path-based file asset or a text asset"
_ARCHIVE = "archive must be a path to a file or directory"


def source_problems(source: Any) -> list[Problem]:
    """What is wrong with a `source`, in the words of the official plugin."""
    kind = source.get(SIGNATURE) if isinstance(source, dict) else None
    if kind == ASSET:
        return [] if "path" in source or "text" in source else [("asset", _ASSET)]
    if kind == ARCHIVE:
        return [] if "path" in source else [("archive", _ARCHIVE)]
    return [("asset", "either asset or archive must be set")]


def needed(inputs: Mapping[str, Any], before: Mapping[str, Any]) -> bool:
    """Whether an update copies: only if the content or the path is another one.

    As in the official plugin a new connection alone copies nothing; triggers do.
    """
    now, then = reveal(dict(inputs)), reveal(dict(before))
    return bool(now["source"].get("hash") != then["source"].get("hash") or now["remotePath"] != then["remotePath"])


def copy(inputs: Mapping[str, Any], *, status: Status, cancelled: threading.Event, seconds: float) -> None:
    """Copy `source` to `remotePath` where `connection` leads; `seconds` is how long connecting may take, 0 for no end.

    Raises:
        Failure: there is no connection to be had, or the copy failed.
    """
    plain = reveal(dict(inputs))
    source, target = plain["source"], plain["remotePath"]

    async def work() -> None:
        async with (
            connected(Connection.from_properties(plain["connection"]), status, seconds) as client,
            client.start_sftp_client() as sftp,
        ):
            if "text" in source:
                await _copy_text(sftp, source["text"], target)
            elif Path(source["path"]).is_dir():
                await _copy_folder(sftp, source["path"], target)
            else:
                await _copy_file(sftp, Path(source["path"]), target)

    try:
        finish(work(), cancelled)
    except (OSError, asyncssh.Error) as error:
        raise Failure(f"{error}: copying to {target}") from error


async def _copy_text(sftp: asyncssh.SFTPClient, text: str, target: str) -> None:
    if await sftp.isdir(target):
        raise Failure(f"remote path {target} is a directory; when using a text asset, remotePath must be a file path")
    await _make_parents(sftp, target)
    async with sftp.open(target, "wb") as file:
        await file.write(text.encode())


async def _copy_file(sftp: asyncssh.SFTPClient, source: Path, target: str) -> None:
    if await sftp.isdir(target):
        target = posixpath.join(target, source.name)
    else:
        await _make_parents(sftp, target)
    await sftp.put(str(source), target)


async def _copy_folder(sftp: asyncssh.SFTPClient, source: str, target: str) -> None:
    await _make_folder(sftp, target)
    if not source.endswith("/"):
        target = posixpath.join(target, Path(source).name)
        await _make_folder(sftp, target)
    await _copy_content(sftp, Path(source), target)


async def _copy_content(sftp: asyncssh.SFTPClient, source: Path, target: str) -> None:
    for entry in sorted(source.iterdir()):
        there = posixpath.join(target, entry.name)
        # A link to a folder is not followed, it could lead back: reading it as a file fails and says so.
        if entry.is_dir() and not entry.is_symlink():
            await _make_folder(sftp, there)
            await _copy_content(sftp, entry, there)
        else:
            await sftp.put(str(entry), there)


async def _make_parents(sftp: asyncssh.SFTPClient, path: str) -> None:
    parent = posixpath.dirname(path)
    if parent:
        await sftp.makedirs(parent, exist_ok=True)


async def _make_folder(sftp: asyncssh.SFTPClient, path: str) -> None:
    if await sftp.isdir(path):
        return
    if await sftp.exists(path):
        raise Failure(f"remote path {path} exists but is not a directory")
    await sftp.makedirs(path)
