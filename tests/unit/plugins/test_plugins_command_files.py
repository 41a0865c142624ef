"""Which files `assetPaths` and `archivePaths` name, and what becomes of them."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from plugins._values import ARCHIVE, ASSET, SIGNATURE
from plugins.command.found_files import BadPattern, archive, find, matcher


@pytest.mark.parametrize(
    ("pattern", "named", "others"),
    [
        ("*.txt", ["a.txt", ".txt"], ["sub/b.txt", "a.txtx", "xa.tx"]),
        ("**.txt", ["a.txt", "sub/deep/b.txt"], ["a.md"]),
        ("src/**.js", ["src/a.js", "src/deep/a.js"], ["src.js", "other/src/a.js"]),
        ("assets/**", ["assets/logos/logo.svg"], ["assets", "x/assets/y"]),
        ("?.txt", ["a.txt"], [".txt", "ab.txt", "/.txt"]),
        ("[a-c].txt", ["a.txt", "c.txt"], ["d.txt", "-.txt"]),
        ("[!a-c].txt", ["d.txt"], ["a.txt"]),
        ("[xy.].txt", ["x.txt", "..txt"], ["a.txt"]),
        ("{a,b*}.{txt,md}", ["a.txt", "bcd.md"], ["c.txt", "a,b.txt"]),
        ("{a,{b,c}}", ["a", "c"], ["d"]),
        ("a,b", ["a,b"], ["a"]),
        ("\\*.txt", ["*.txt"], ["a.txt"]),
        ("a+(b).txt", ["a+(b).txt"], ["aab.txt"]),
        ("a}", ["a}"], ["a"]),
    ],
)
def test_a_pattern_means_what_it_means_to_the_official_plugin(
    pattern: str, named: list[str], others: list[str]
) -> None:
    matches = matcher(pattern)
    assert [path for path in [*named, *others] if matches(path)] == named


@pytest.mark.parametrize("pattern", ["[", "[]", "[!]", "[z-a]", "[a-z0-9]", "[a\\]]", "{a,b"])
def test_a_pattern_without_a_meaning_is_said(pattern: str) -> None:
    with pytest.raises(BadPattern) as caught:
        matcher(pattern)
    assert str(caught.value).startswith(f"{pattern}: ")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The files of the official plugin's documentation, and a link to a folder."""
    for name in ("assets/logos/logo.svg", "src/index.js", "src/secret.js"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
    (tmp_path / "linked").symlink_to(tmp_path / "src")
    return tmp_path


def test_rules_are_applied_in_their_order(folder: Path) -> None:
    assert list(find(str(folder), ["assets/**", "src/**.js", "!**secret.*"])) == [
        "assets/logos/logo.svg",
        "src/index.js",
    ]
    assert list(find(str(folder), ["!**secret.*", "src/**.js"])) == ["src/index.js", "src/secret.js"]
    assert find(str(folder), []) == {}


def test_a_found_file_is_an_asset_with_its_path_and_hash(folder: Path) -> None:
    expected = {
        SIGNATURE: ASSET,
        "path": str(folder / "src/index.js"),
        "hash": hashlib.sha256(b"src/index.js").hexdigest(),
    }
    assert find(f"{folder}/.", ["src/i*"]) == {"src/index.js": expected}


def test_a_link_to_a_folder_is_taken_for_a_file_and_cannot_be_read(folder: Path) -> None:
    with pytest.raises(IsADirectoryError):
        find(str(folder), ["linked"])
    assert list(find(str(folder), ["linked/**"])) == []


def test_an_archives_hash_is_the_one_that_the_official_plugin_gives(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("hi\n")
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "b.txt").write_text("there\n")
    assets = find(str(tmp_path), ["**.txt"])
    # Written down from the official plugin, version 1.2.1.
    observed = "f0a15c0685d46b934ab4fd4a916a0c1bc2f9ea8728bbebe97b834bbf06b43b92"
    assert archive(assets) == {SIGNATURE: ARCHIVE, "assets": assets, "hash": observed}
