"""Objects as YAML files: their names and places, what other parsers read from them, who may read them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from plugins._provider import Failure
from plugins.kubernetes import rendering

CONFIG_MAP = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a", "namespace": "apps"}}
DEFINITION = {
    "apiVersion": "apiextensions.k8s.io/v1",
    "kind": "CustomResourceDefinition",
    "metadata": {"name": "gadgets.example.test"},
}


@pytest.mark.parametrize(
    ("obj", "path"),
    [
        (CONFIG_MAP, "1-manifest/v1-configmap-apps-a.yaml"),
        (DEFINITION, "0-crd/apiextensions.k8s.io_v1-customresourcedefinition-default-gadgets.example.test.yaml"),
        (
            {"apiVersion": "example.test/v1", "kind": "CustomResourceDefinition", "metadata": {"name": "a"}},
            "1-manifest/example.test_v1-customresourcedefinition-default-a.yaml",
        ),
    ],
)
def test_a_file_is_called_and_lies_as_the_official_plugin_has_it(obj: dict[str, Any], path: str) -> None:
    assert rendering.path_of(obj, "/out") == Path("/out") / path


def test_files_and_folders_are_for_their_owner_alone(tmp_path: Path) -> None:
    folder = tmp_path / "deep" / "out"
    path = rendering.write(CONFIG_MAP, str(folder))
    path.chmod(0o644)  # as left by something else: what is there already is closed too
    (folder / "1-manifest").chmod(0o755)
    rendering.write(CONFIG_MAP, str(folder))
    assert path.stat().st_mode & 0o777 == 0o600
    assert {below.name: below.stat().st_mode & 0o777 for below in folder.iterdir()} == {
        "0-crd": 0o700,
        "1-manifest": 0o700,
    }


@pytest.mark.parametrize(
    "text", ["1e3", "y", "N", "0x10", "1:20", "on", "null", "~", "1_000", ".5", "-1", "+1", "2026-01-01"]
)
def test_texts_that_some_parser_takes_for_something_else_are_quoted(tmp_path: Path, text: str) -> None:
    written = rendering.write({**CONFIG_MAP, "data": {"a": text}}, str(tmp_path)).read_text()
    assert f'"{text}"' in written or f"'{text}'" in written


def test_texts_of_several_lines_stay_readable(tmp_path: Path) -> None:
    written = rendering.write({**CONFIG_MAP, "data": {"a": "one\ntwo\n"}}, str(tmp_path)).read_text()
    assert "  a: |\n    one\n    two\n" in written


@given(st.dictionaries(st.text(min_size=1), st.one_of(st.text(), st.integers(), st.booleans(), st.lists(st.text()))))
def test_what_is_read_from_a_file_is_what_was_written(
    tmp_path_factory: pytest.TempPathFactory, data: dict[str, Any]
) -> None:
    obj = {**CONFIG_MAP, "data": data, "same": data}
    written = rendering.write(obj, str(tmp_path_factory.mktemp("out"))).read_text()
    assert yaml.safe_load(written) == obj


def test_a_file_that_is_gone_already_is_no_failure_and_a_folder_in_its_place_is(tmp_path: Path) -> None:
    path = rendering.write(CONFIG_MAP, str(tmp_path))
    assert rendering.remove(CONFIG_MAP, str(tmp_path)) == path
    assert not path.exists()
    rendering.remove(CONFIG_MAP, str(tmp_path))
    path.mkdir()
    with pytest.raises(Failure, match="failed to delete YAML file"):
        rendering.remove(CONFIG_MAP, str(tmp_path))
    with pytest.raises(Failure, match="failed to write YAML file"):
        rendering.write(CONFIG_MAP, str(tmp_path))
