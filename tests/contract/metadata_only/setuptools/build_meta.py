"""A build backend that builds nothing: pip asks for metadata before it hands out a source distribution, and vLLM's own
setup.py wants PyTorch (900 MB) for that. The distribution brings its metadata along, as PKG-INFO.
"""

from __future__ import annotations

import shutil
from email.parser import HeaderParser
from pathlib import Path


def prepare_metadata_for_build_wheel(metadata_directory: str, config_settings: object = None) -> str:
    """PEP 517: write `<name>-<version>.dist-info` into `metadata_directory`, and return its name."""
    del config_settings
    said = HeaderParser().parsestr(Path("PKG-INFO").read_text())
    folder = Path(metadata_directory, f"{said['Name']}-{said['Version']}.dist-info")
    folder.mkdir()
    shutil.copy("PKG-INFO", folder / "METADATA")
    return folder.name
