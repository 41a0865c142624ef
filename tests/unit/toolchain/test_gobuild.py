"""Building Go programs: what names a build, and what a failed or a second build leaves."""

from __future__ import annotations

import fcntl
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from toolchain import catalogue, gobuild, paths
from toolchain.catalogue import PROGRAMS, Program
from toolchain.steps import StepFailed

_FAKE_GO = """#!/bin/sh
[ "$1" = env ] && { echo go1.99; exit 0; }
echo "building in $PWD: $*"
[ -e broken.go ] && { echo "broken.go:1: syntax error"; exit 1; }
while [ "$1" != -o ]; do shift; done
echo "CGO_ENABLED=$CGO_ENABLED" > "$2"
"""


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Program]:
    """A program `tool` with sources of its own, an empty cache folder, and a `go` that only pretends."""
    source = tmp_path / "repository/tool"
    source.mkdir(parents=True)
    (source / "go.mod").write_text("module tool\n")
    (source / "main.go").write_text("package main\n")
    go = tmp_path / "bin/go"
    go.parent.mkdir()
    go.write_text(_FAKE_GO)
    go.chmod(0o755)
    monkeypatch.setenv("PATH", f"{go.parent}:/usr/bin:/bin")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(catalogue, "REPOSITORY", tmp_path / "repository")
    tool = Program("tool", folder="tool")
    monkeypatch.setitem(PROGRAMS, "tool", tool)
    gobuild.go_version.cache_clear()
    yield tool
    gobuild.go_version.cache_clear()


def test_every_program_has_its_module() -> None:
    assert [name for name, item in PROGRAMS.items() if not (item.source / "go.mod").exists()] == []


@pytest.mark.usefixtures("program")
def test_built_once(capsys: pytest.CaptureFixture[str]) -> None:
    path = gobuild.build(["tool"])["tool"]
    assert path == gobuild.program_path("tool")
    assert path.read_text() == "CGO_ENABLED=0\n"
    assert "built tool" in capsys.readouterr().err
    gobuild.build(["tool"])
    assert capsys.readouterr().err == ""


def test_key_follows_all_that_makes_the_program(program: Program) -> None:
    keys = {gobuild.build_key(program, "go1")}
    for variant in (
        replace(program, tags=("netgo",)),
        replace(program, ldflags=""),
        replace(program, cgo=True),
        replace(program, package="example.org/tool"),
    ):
        keys.add(gobuild.build_key(variant, "go1"))
    keys.add(gobuild.build_key(program, "go2"))
    (program.source / "embedded.json").write_text("{}")
    keys.add(gobuild.build_key(program, "go1"))
    (program.source / "go.mod").write_text("module tool\n\ngo 1.26\n")
    keys.add(gobuild.build_key(program, "go1"))
    assert len(keys) == 8


def test_key_does_not_follow_tests(program: Program) -> None:
    before = gobuild.build_key(program, "go1")
    (program.source / "main_test.go").write_text("package main\n")
    assert gobuild.build_key(program, "go1") == before


def test_failure_names_the_log_and_shows_its_end(program: Program) -> None:
    (program.source / "broken.go").touch()
    with pytest.raises(
        StepFailed, match=r"(?s)Building tool failed.*exit code 1.*tool\.log:.*broken\.go:1: syntax error"
    ):
        gobuild.build(["tool"])
    assert not gobuild.program_path("tool").exists()


@pytest.mark.usefixtures("program")
def test_second_build_waits_for_the_first() -> None:
    lock = paths.cache_dir() / "programs/tool.lock"
    lock.parent.mkdir(parents=True)
    built: list[float] = []
    with lock.open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)

        def build() -> None:
            gobuild.build(["tool"])
            built.append(time.monotonic())

        thread = threading.Thread(target=build)
        thread.start()
        time.sleep(0.5)
        assert built == []
        released = time.monotonic()
    thread.join(timeout=10)
    assert built
    assert built[0] >= released


@pytest.mark.usefixtures("program")
def test_without_go_the_repair_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    gobuild.go_version.cache_clear()
    with pytest.raises(StepFailed, match=r"no `go` on PATH.*Install Go"):
        gobuild.build(["tool"])
