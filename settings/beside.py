"""What stands beside `config:` in a stack file and is none of Pulumi's own, so that nobody reads it."""

from __future__ import annotations

from collections.abc import Iterator

import yaml

from settings.problems import did_you_mean
from settings.secret_texts import looks_like
from settings.shapes import fields, key_text
from settings.stack import Settings
from settings.unknown import places_of

# workspace.ProjectStack of Pulumi 3.255.0; it passes over all others without a word.
OF_PULUMI: dict[str, dict[str, str]] = {
    "secretsprovider": {"type": "string", "description": "What Pulumi encrypts secrets with."},
    "encryptionsalt": {"type": "string", "description": "Written by Pulumi, where a passphrase encrypts."},
    "encryptedkey": {"type": "string", "description": "Written by Pulumi, where a key service encrypts."},
    "environment": {"description": "Pulumi ESC environments."},
}
"""JSON Schemas of the keys that Pulumi reads beside `config`."""


def beside_config(root: yaml.MappingNode, project: str) -> Iterator[tuple[str, int, str]]:
    """Path, line and problem of every such section, and of every secret in the clear within it."""
    for key, value in root.value:
        written = str(key.value) if isinstance(key, yaml.ScalarNode) else "a key that is no text"
        if written in ("config", *OF_PULUMI):
            continue
        line = key.start_mark.line + 1
        path = repr(key_text(written))  # quoted: a section of that name may stand below `config:` too
        yield path, line, f"{path}: stands beside 'config:', so it is not read{_repair(written, project)}"
        for text, at in _texts(key, value):
            if kind := looks_like(text):
                where = f"{path} in line {at}"
                leaked = f"{where}: looks like {kind} and is in the file as plain text, so whoever reads that has it."
                yield where, at, f"{leaked} Take it out, and withdraw it where it was issued."


def _repair(written: str, project: str) -> str:
    name = written.removeprefix(f"{project}:")
    if name in fields(Settings) or ":" in name:
        return ": indent it by two."
    if places := places_of(name, Settings):
        return f". It is a setting of {' and '.join(places)}: indent it below that."
    if meant := did_you_mean(name, fields(Settings)):
        return f"{meant} Write it below 'config:'."
    return ". Pulumi has no such key, and this project no such setting: take it out."


def _texts(*nodes: yaml.Node) -> Iterator[tuple[str, int]]:
    """Every text within, keys too, with its line; each node once, whatever aliases there are."""
    seen: set[int] = set()
    open_ = list(nodes)
    while open_:
        node = open_.pop()
        if id(node) in seen:
            continue
        seen.add(id(node))
        if isinstance(node, yaml.ScalarNode):
            yield node.value, node.start_mark.line + 1
        elif isinstance(node, yaml.MappingNode):
            open_ += [part for pair in node.value for part in pair]
        elif isinstance(node, yaml.SequenceNode):
            open_ += node.value
