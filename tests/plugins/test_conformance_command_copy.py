"""`command:remote:CopyToRemote` through the real CLI and its official SDK, against a real OpenSSH server."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from pulumi import automation
from remote_command import PROGRAM, connect
from ssh_server import SshServer, public_folder, ssh_server
from workspace import Workspace

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="the server's users are in a mount namespace: root's to make")


@pytest.fixture(scope="module")
def server() -> Iterator[SshServer]:
    """A server with SFTP."""
    with public_folder() as folder, ssh_server(folder) as found:
        yield found


@pytest.fixture
def target(server: SshServer) -> Path:
    """Where a test copies to; not there yet."""
    return Path(tempfile.mkdtemp(dir=server.home)) / "target"


@pytest.fixture
def workspace(make: Callable[..., Workspace], server: SshServer) -> Workspace:
    """A workspace whose programs find the server in `connection`."""
    return connect(make(SSH_AUTH_SOCK=""), server.connection)


def copies(**copied: tuple[str, object]) -> str:
    """A program with a copy for each name: its source as Python, and the path on the host."""
    return PROGRAM + "".join(
        f'remote.CopyToRemote("{name}", connection=connection, source=pulumi.{source}, remote_path={str(path)!r})\n'
        for name, (source, path) in copied.items()
    )


def tree(folder: Path) -> dict[str, str]:
    """The text of each file below `folder` by its path."""
    return {str(path.relative_to(folder)): path.read_text() for path in folder.rglob("*") if path.is_file()}


def step(name: str) -> str:
    return f"command:remote:CopyToRemote::{name}"


def test_files_texts_and_folders_arrive_where_the_official_plugin_puts_them(workspace: Workspace, target: Path) -> None:
    source = workspace.folder / "source"
    (source / "sub").mkdir(parents=True)
    (source / "one").write_text("1")
    (source / "sub" / "two").write_text("2")
    (workspace.folder / "archive.tgz").write_bytes(b"not unpacked")
    for name in ("existing", "overwritten"):
        (target / name).mkdir(parents=True)
    (target / "overwritten" / "file").write_text("something longer than what comes")
    workspace.program(
        copies(
            file=('FileAsset("source/one")', target / "new/parents/file"),
            into=('FileAsset("source/one")', target / "existing"),
            over=('FileAsset("source/one")', target / "overwritten/file"),
            text=('StringAsset("text ü\\n")', target / "texts/text"),
            folder=('FileArchive("source")', target / "folder"),
            content=('FileArchive("source/")', target / "content"),
            packed=('FileArchive("archive.tgz")', target / "packed.tgz"),
        )
    )
    workspace.preview()
    assert not (target / "new").exists()
    workspace.up()
    assert tree(target) == {
        "new/parents/file": "1",
        "existing/one": "1",
        "overwritten/file": "1",
        "texts/text": "text ü\n",
        "folder/source/one": "1",
        "folder/source/sub/two": "2",
        "content/one": "1",
        "content/sub/two": "2",
        "packed.tgz": "not unpacked",
    }


def test_a_copy_is_made_again_only_when_the_content_or_the_path_changes_and_stays_when_it_is_destroyed(
    workspace: Workspace, server: SshServer, target: Path
) -> None:
    source = workspace.folder / "source"
    source.mkdir()
    (source / "one").write_text("1")
    workspace.program(copies(c=('FileArchive("source/")', target))).up()
    assert workspace.preview().steps == {}
    (target / "one").unlink()
    workspace.up()
    assert tree(target) == {}, "it was copied though nothing had changed"
    (source / "two").write_text("2")
    assert workspace.preview().steps[step("c")].operation == "update"
    workspace.up()
    assert tree(target) == {"one": "1", "two": "2"}
    workspace.program(copies(c=('FileArchive("source/")', f"{target}-2"))).up()
    assert tree(Path(f"{target}-2")) == {"one": "1", "two": "2"}
    # Another way to the host is a change of the state, not of the host.
    (target / "one").unlink()
    (Path(f"{target}-2") / "one").unlink()
    (workspace.folder / "connection.json").write_text(json.dumps({**server.connection, "perDialTimeout": 14}))
    assert workspace.up().steps[step("c")].operation == "update"
    assert tree(Path(f"{target}-2")) == {"two": "2"}
    workspace.destroy()
    assert tree(target) == {"two": "2"}


def test_triggers_copy_again(workspace: Workspace, target: Path) -> None:
    text = copies(c=('StringAsset("text")', target)).replace("source=", "triggers=[%d], source=")
    workspace.program(text % 1).up()
    target.unlink()
    workspace.program(text % 2)
    assert workspace.preview().steps[step("c")].diff == {"triggers[0]": ("update-replace", False)}
    workspace.up()
    assert target.read_text() == "text"


def test_a_secret_text_arrives_and_is_nowhere_in_the_open(workspace: Workspace, target: Path) -> None:
    secret = 'Output.secret("plan" + "ted").apply(pulumi.StringAsset)'
    shown = workspace.program(copies(c=(secret, target))).preview().output + workspace.up().output
    assert target.read_text() == "planted"
    stored = "".join(path.read_text() for path in (workspace.folder / "backend").rglob("*.json*"))
    assert "command:remote:CopyToRemote" in stored
    assert "planted" not in shown
    assert "planted" not in stored


@pytest.mark.parametrize(
    ("there", "source", "said"),
    [
        ("folder", 'StringAsset("text")', "is a directory; when using a text asset, remotePath must be a file path"),
        ("file", 'FileArchive("source")', "exists but is not a directory"),
    ],
)
def test_what_does_not_fit_what_is_there_fails_and_is_not_in_the_state(
    workspace: Workspace, target: Path, there: str, source: str, said: str
) -> None:
    (workspace.folder / "source").mkdir()
    target.mkdir() if there == "folder" else target.write_text("was here")
    assert said in workspace.program(copies(c=(source, target))).up_fails()
    assert step("c") not in workspace.state()
    assert target.is_dir() or target.read_text() == "was here"


def test_a_path_that_the_host_does_not_allow_is_said(workspace: Workspace) -> None:
    said = workspace.program(copies(c=('StringAsset("text")', "/proc/no/such"))).up_fails()
    assert "copying to /proc/no/such" in said


@pytest.mark.parametrize(
    ("source", "said"),
    [
        (
            'AssetArchive({"a": pulumi.StringAsset("text")})',
            "archive must be a path to a file or directory",
        ),
        ('RemoteAsset("file:///etc/hostname")', "asset must be a path-based file asset or a text asset"),
    ],
)
def test_sources_that_the_official_plugin_does_not_take_are_refused_as_it_refuses_them(
    workspace: Workspace, source: str, said: str
) -> None:
    with pytest.raises(automation.CommandError) as caught:
        workspace.program(copies(c=(source, "/tmp/never"))).preview()
    assert said in str(caught.value)


def test_copy_file_is_refused_by_name(workspace: Workspace) -> None:
    program = f'{PROGRAM}remote.CopyFile("c", connection=connection, local_path="a", remote_path="b")\n'
    with pytest.raises(automation.CommandError) as caught:
        workspace.program(program).preview()
    assert "command:remote:CopyFile: not done by this plugin" in str(caught.value)
