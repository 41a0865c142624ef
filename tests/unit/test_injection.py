"""A text of a stack file means nothing to whatever it is written into: it is refused, or arrives as it was written."""

from __future__ import annotations

import copy
import json
import re
import shlex
from collections.abc import Iterator
from typing import Any

import pytest
from mutations import places
from on_mocks import Deployed, Raw, Registration, run
from small_stacks import STACKS, node, vllm

from planning.problems import PlanError
from settings.loader import parse
from settings.problems import SettingsError
from settings.stack import Settings

MARK = "injected"
HOSTILE = (
    f"{MARK} $(touch /tmp/x) `id` ${{HOME}} {{{{ $value }}}} %s '\"; return 200; }} # \\n & | < > * ~ --flag\nFROM evil"
)
"""What a shell, nginx, Prometheus, Kubernetes, YAML, printf or a Modelfile would act on."""

_ENGINE = vllm(
    chatTemplate="x",
    toolCallParser="hermes",
    hfOverrides={"rope_scaling": {"x": "y"}},
    extraEnvironment={"A_NAME": "x"},
)
_MODELFILE = {"from": "qwen3:4b", "system": "x", "template": "x", "messages": [{"role": "user", "content": "x"}]}
RICH: dict[str, Raw] = STACKS | {
    "texts of engines": {
        "nodes": {"a": node(count=3, labels={"site": "x"})},
        "models": {
            "chat": _ENGINE,
            "help": {"engine": "ollama", "pull": ["qwen3:4b"], "modelfiles": {"jini": _MODELFILE}},
            "small": {"engine": "llamacpp", "model": "Qwen/Qwen3-8B-GGUF:Q4_K_M", "chatTemplate": "x"},
        },
        "monitoring": {},
        "storage": {"className": "fast"},
    },
}

FREE = {
    r"models\.\w+\.chatTemplate": "an argument of the engine, which no shell sees",
    r"models\.\w+\.hfOverrides\..*": "JSON in one argument of vLLM",
    r"models\.\w+\.extraEnvironment\.\w+": "a variable of the container",
    r"models\.\w+\.modelfiles\.\w+\.(system|template|messages\.\d+\.content)": "a quoted text of a Modelfile",
    r"models\.\w+\.modelfiles\.\w+\.parameters\.stop": "a quoted text of a Modelfile",
}
"""Texts that may be anything, and what each arrives in."""


def texts(raw: Raw) -> Iterator[tuple[str, Raw]]:
    """`raw` with the hostile text in the place of each of its texts, and of each key."""
    for place in places(raw)[1:]:
        *way, last = place
        changed = copy.deepcopy(raw)
        holder: Any = changed
        for key in way:
            holder = holder[key]
        path = ".".join(map(str, place))
        if isinstance(holder[last], str):
            holder[last] = HOSTILE
            yield path, changed
        if isinstance(holder, dict):
            again = copy.deepcopy(raw)
            other: Any = again
            for key in way:
                other = other[key]
            other[HOSTILE] = other.pop(last)
            yield f"{path} (its key)", again


def accepted(raw: Raw) -> Deployed | None:
    """What is registered for `raw`, or None where it is refused."""
    try:
        settings: Settings = parse(raw, source="F")
        return run(settings)
    except (SettingsError, PlanError) as error:
        told = error.problems
    assert [problem for problem in told if "\n" in problem] == [], "a key or a value breaks the lines of a message"
    return None


@pytest.mark.parametrize("raw", RICH.values(), ids=RICH.keys())
def test_a_text_is_refused_unless_it_may_be_anything(raw: Raw) -> None:
    for path, changed in texts(raw):
        free = any(re.fullmatch(pattern, path) for pattern in FREE)
        assert free or accepted(changed) is None, f"{path} takes {HOSTILE!r}"


def strings(value: Any, path: str = "") -> Iterator[tuple[str, str]]:
    """Every text in the inputs of a resource with its path."""
    if isinstance(value, str):
        yield path, value
    elif isinstance(value, dict | list):
        for key, item in value.items() if isinstance(value, dict) else enumerate(value):
            yield from strings(item, f"{path}.{key}")


def shells(value: Any) -> Iterator[str]:
    """Every script that a container runs with `sh -c`."""
    if isinstance(value, dict | list):
        items = list(value.values() if isinstance(value, dict) else value)
        if isinstance(value, list) and "-c" in value:
            yield from (item for item in value if isinstance(item, str) and item != "-c")
        for item in items:
            yield from shells(item)


def as_the_container_sees_it(text: str) -> str:
    """What Kubernetes makes of an argument or a variable (third_party/forked/golang/expansion): `$$` is `$`."""

    def expanded(match: re.Match[str]) -> str:
        assert match[0] == "$$", f"Kubernetes would look for the variable {match[0]!r} of {text!r}"
        return "$"

    return re.sub(r"\$\$|\$\([^)]*\)", expanded, text)


def arrives(where: str, text: str) -> bool:
    """Whether the hostile text is in `text` as what it is."""
    if re.search(r"\.(args|command)\.\d+$|\.env\.\d+\.value$", where):
        text = as_the_container_sees_it(text)
    if HOSTILE in text:
        return True
    if json.dumps(HOSTILE)[1:-1] in text or json.dumps(json.dumps(HOSTILE)[1:-1])[1:-1] in text:
        return True  # in JSON, or in JSON within JSON
    return shlex.quote(HOSTILE) in text


def _found(resource: Registration) -> list[tuple[str, str]]:
    return [(where, text) for where, text in strings(resource.inputs) if MARK in text]


def test_what_may_be_anything_arrives_as_it_was_written() -> None:
    seen: set[str] = set()
    for path, changed in texts(RICH["texts of engines"]):
        pattern = next((p for p in FREE if re.fullmatch(p, path)), None)
        if pattern is None or (deployed := accepted(changed)) is None:
            continue
        found = [(r, where, text) for r in deployed.resources for where, text in _found(r)]
        assert found, f"{path} arrives nowhere"
        for resource, where, text in found:
            assert arrives(where, text), f"{path} arrives in {resource.type}{where} as {text!r}"
            assert not any(MARK in script for script in shells(resource.inputs)), (
                f"{path} is in a script of {resource.name}"
            )
        seen.add(pattern)
    assert len(seen) >= 4, f"only {seen} were looked at"


def test_what_only_hides_is_refused_in_every_text() -> None:
    """NUL, escape sequences of terminals, and characters that turn the direction of what a reviewer reads."""
    for character in ("\x00", "\x1b", "\x7f", "\u202e", "\u2066"):
        for path, changed in texts(RICH["texts of engines"]):
            text = json.dumps(changed).replace(json.dumps(HOSTILE)[1:-1], f"in{json.dumps(character)[1:-1]}jected")
            with pytest.raises(SettingsError) as caught:
                parse(json.loads(text), source="F")
            assert character not in str(caught.value), path
