"""A plugin starts with what it needs, and what it therefore says again itself is what the SDK says."""

from __future__ import annotations

import subprocess
import sys

import pytest
from pulumi.runtime import rpc

from plugins import _values
from toolchain.paths import REPOSITORY


def test_the_marks_of_secrets_assets_and_unknowns_are_those_of_the_sdk() -> None:
    assert rpc._special_sig_key == _values.SIGNATURE
    assert rpc._special_asset_sig == _values.ASSET
    assert rpc._special_archive_sig == _values.ARCHIVE
    assert rpc._special_secret_sig == _values.SECRET
    assert rpc._special_resource_sig == _values.RESOURCE
    assert rpc._special_output_value_sig == _values.OUTPUT
    assert rpc.UNKNOWN == _values.UNKNOWN_TEXT


@pytest.mark.parametrize("plugin", ["kubernetes", "command"])
def test_a_resource_plugin_starts_without_the_sdk(plugin: str) -> None:
    # In place of serving it says what it has loaded.
    program = f"""
import sys
from plugins import _serving
def loaded(*_, **__):
    print(sorted(name for name in sys.modules if name.startswith("pulumi.") and "proto" not in name))
_serving.serve = loaded
from plugins.{plugin}.__main__ import main
main()
"""
    done = subprocess.run([sys.executable, "-c", program], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    assert done.stdout == "['pulumi.runtime']\n"
