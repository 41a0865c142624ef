"""The options among the words that an engine is given."""

from __future__ import annotations

from functools import lru_cache

_SHORTEST_FLAG = len("--rev")
WHOLE_FLAGS = frozenset({"--api-key", "--data-parallel-size", "--device", "--model"})
"""Options of vLLM, of today or before, that others begin with: they are not those, cut short."""


@lru_cache(maxsize=2048)  # several rules ask for the same
def last_option(words: tuple[str, ...], *names: str, shortened: bool = False) -> str | None:
    """As `Container.option`, of any words.

    Args:
        words: of a command, as a shell has split them.
        names: of the option; the last that is given counts.
        shortened: whether the end of a long name may be left out, as Python's argparse allows.
    """
    options = _options(words)
    found = [said for name in names if (said := options.get(name)) is not None]
    if shortened:
        found += [
            said
            for flag, said in options.items()
            if len(flag) >= _SHORTEST_FLAG and flag not in WHOLE_FLAGS
            if any(name.startswith(flag) and name != flag for name in names)
        ]
    return max(found)[1] if found else None


@lru_cache(maxsize=256)  # each rule asks for others of the same words
def _options(words: tuple[str, ...]) -> dict[str, tuple[int, str]]:
    """Every word as if it were an option: its last place, and what it is given."""
    found: dict[str, tuple[int, str]] = {}
    for place, (word, after) in enumerate(zip(words, (*words[1:], ""), strict=False)):
        flag, equals, rest = word.partition("=")
        found[flag.replace("_", "-")] = place, rest if equals else ("" if after.startswith("--") else after)
    return found
