"""What changes in a resource: property by property, as a person would name them."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from report.masking import SECRET, Hidden
from report.preview import Step

Leaf = Any
"""Text, number, truth, `Hidden`, `Unknown`, or an empty mapping or list."""

_STEP = re.compile(r'\["([^"]*)"\]|\[(\d+)\]|([^.\[\]]+)')
"""One step of a path as providers write it."""


@dataclass(frozen=True, kw_only=True)
class Change:
    """One property; None where there was or will be none."""

    path: str
    old: str | None
    new: str | None


def changes(step: Step) -> list[Change]:
    """What differs between the inputs before and after.

    Not by the provider's paths: a list's position says nothing to a reader and shifts when an item is put in. They are
    taken where the inputs are the same, as for what somebody changed in the cluster by hand.
    """
    old, new = leaves(step.old), leaves(step.new)
    missing = object()
    paths = [path for path in {**old, **new} if old.get(path, missing) != new.get(path, missing)]
    found = [Change(path=path, old=_text(old, path), new=_text(new, path)) for path in paths]
    # Pulumi itself writes the same for every secret, so only the provider can tell that one has changed.
    told = [path for path in step.differing if path not in paths and _is_pulumis_secret(step, path)]
    found += [Change(path=path, old=SECRET, new=SECRET) for path in told]
    if found or step.operation not in ("update", "replace"):
        return found
    return [Change(path=path, old="(changed outside of Pulumi)", new=None) for path in step.differing]


def _is_pulumis_secret(step: Step, path: str) -> bool:
    """Whether the provider's `path`, e.g. `data.key` or `metadata.annotations["a/b"]`, leads to what Pulumi hid."""
    if step.kind == "Secret" and path.partition(".")[0] in ("data", "stringData"):
        return True
    here: Any = step.new
    for quoted, position, key in _STEP.findall(path):
        if isinstance(here, list) and position:
            here = here[int(position)] if int(position) < len(here) else None
        else:
            here = here.get(quoted or key) if isinstance(here, Mapping) else None
    return isinstance(here, Hidden) and here.text == SECRET


def leaves(properties: Mapping[str, Any], *below: str) -> dict[str, Leaf]:
    """Every value by its path, of `properties` or of a part of it, e.g. of `"spec", "template"`.

    Items of a list go by their name (`containers[vllm]`), words of a command line by their option
    (`args[--max-model-len]`), others by their position.
    """
    here: Any = properties
    for key in below:
        here = here.get(key) if isinstance(here, Mapping) else None
    return dict(_leaves(".".join(below), here))


def _leaves(path: str, value: Any) -> Iterator[tuple[str, Leaf]]:
    if isinstance(value, Mapping) and value:
        for key, item in value.items():
            yield from _leaves(_join(path, key), item)
    elif isinstance(value, list) and value:
        for key, item in _items(path, value):
            yield from _leaves(f"{path}[{key}]", item)
    elif value is not None:
        yield path, value


def _join(path: str, key: str) -> str:
    if "." in key or "/" in key:
        return f'{path}["{key}"]'
    return f"{path}.{key}" if path else key


def _items(path: str, items: list[Any]) -> Iterator[tuple[str, Any]]:
    if all(isinstance(item, Mapping) and isinstance(item.get("name"), str) for item in items):
        keyed = [(item["name"], {key: value for key, value in item.items() if key != "name"} or item) for item in items]
    elif path.endswith("args"):
        keyed = _options(items)
    else:
        keyed = [(str(position), item) for position, item in enumerate(items)]
    times = Counter(key for key, _ in keyed)
    seen: Counter[str] = Counter()
    for key, item in keyed:
        seen[key] += 1
        yield (key if times[key] == 1 else f"{key}#{seen[key]}"), item


def _options(words: list[Any]) -> list[tuple[str, Any]]:
    """`--option=value` by its option; an option alone is set; other words go by their position."""
    found: list[tuple[str, Any]] = []
    for position, word in enumerate(words):
        if isinstance(word, Hidden) and word.option.startswith("-"):
            found.append((word.option.removesuffix("="), Hidden(word.text)))
        elif isinstance(word, str) and word.startswith("-"):
            option, equals, value = word.partition("=")
            found.append((option, value if equals else "set"))
        else:
            found.append((str(position), word))
    return found


def _text(of: Mapping[str, Leaf], path: str) -> str | None:
    if path not in of:
        return None
    value = of[path]
    if isinstance(value, bool):
        return str(value).lower()
    if value in ({}, []):
        return "(empty)"
    return str(value)
