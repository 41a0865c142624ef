"""What was written, and what it says: every mistake at once."""

from __future__ import annotations

import copy
import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from pydantic import ValidationError

from settings.misplaced import misplaced
from settings.problems import SettingsError, nearest
from settings.secret import DECRYPTED
from settings.stack import ENGINES, Settings
from settings.unknown import likely_engine
from settings.wording import problems_of


@dataclass(frozen=True, kw_only=True)
class Source:
    """What was written, by whom it was read, and where."""

    name: str
    """The file that a person must edit, for the messages."""

    raw: Mapping[str, Any]
    """Plain data by top-level key, as YAML or JSON has it."""

    decrypted: Collection[str] = ()
    """Top-level keys in which secrets are texts instead of `{secure: ...}`; no value of theirs is told."""

    unclear: Sequence[str] = ()
    """What was found wrong while it was read, such as keys that are written twice."""

    lines: Mapping[str, int] = field(default_factory=dict)
    """Line in the file by path."""

    def settings(self) -> Settings:
        """What the source says.

        Raises:
            SettingsError: with every problem at once.
        """
        found = self._validated()
        if isinstance(found, Settings):
            return found
        likely = self.likely()
        more = likely.problems() if likely != self else []
        raise SettingsError(self.name, list(dict.fromkeys([*found, *more])), self.lines)

    def problems(self) -> list[str]:
        """What is wrong with the source as it is; empty where it can be followed."""
        found = self._validated()
        return [] if isinstance(found, Settings) else found

    def likely(self) -> Source:
        """The same with engines put right and without unknown settings, so that other mistakes show too."""
        raw, models = dict(self.raw), self.raw.get("models")
        if isinstance(models, Mapping):
            raw["models"] = {name: _with_likely_engine(model) for name, model in models.items()}
        raw = _without_unknown(raw)
        return self if raw == self.raw else replace(self, raw=raw)

    def without(self, models: Collection[str], keys: Collection[str], *, of_nodes: Collection[str]) -> Source:
        """The same without some models, the routes to them, some top-level keys, and some keys of every node."""
        raw = {key: value for key, value in self.raw.items() if key not in keys}
        raw["nodes"] = {
            name: {key: value for key, value in node.items() if key not in of_nodes}
            for name, node in raw["nodes"].items()
        }
        raw["models"] = {name: value for name, value in raw["models"].items() if name not in models}
        if isinstance(edge := raw.get("ingress"), Mapping) and isinstance(routes := edge.get("routes"), Mapping):
            kept = {path: to for path, to in routes.items() if _model_of(to) not in models}
            raw["ingress"] = {**edge, "routes": kept}
            if not kept:
                del raw["ingress"]
        return replace(self, raw=raw)

    def _validated(self) -> Settings | list[str]:
        raw = self.raw
        own = [*self.unclear, *misplaced(raw)]
        places = tuple(f"{problem.partition(': ')[0]}." for problem in own)
        texts = frozenset(text for key in self.decrypted if key in raw for text in _texts(raw[key]))
        try:
            # Through JSON: its strictness is that of the file, in which there are lists and no tuples.
            found = Settings.model_validate_json(
                json.dumps(raw), by_alias=True, by_name=False, context={DECRYPTED: texts}
            )
        except ValidationError as error:
            wrong = problems_of(error, Settings, hidden=self.decrypted)
            return [*own, *(problem for problem in wrong if not f"{problem.partition(': ')[0]}.".startswith(places))]
        return own or found


def _with_likely_engine(model: Any) -> Any:
    """With the engine that was meant, where it is misspelt, alone in a list, or missing."""
    if not isinstance(model, Mapping):
        return model
    match model.get("engine"):
        case None:
            meant = likely_engine(model, Settings)
        case str(written) | [str(written)]:
            meant = nearest(written, ENGINES)
        case _:
            meant = None
    return {**model, "engine": meant} if meant else model


def _without_unknown(raw: dict[str, Any]) -> dict[str, Any]:
    """`raw` without the settings that there are none of."""
    try:
        Settings.model_validate_json(json.dumps(raw), by_alias=True, by_name=False)
    except ValidationError as error:
        raw = copy.deepcopy(raw)
        for found in error.errors(include_url=False, include_input=False):
            # A secret in the place of a mapping is no setting that is misspelt.
            if found["type"] == "extra_forbidden" and found["loc"][-1] != "secure":
                _remove(raw, found["loc"])
    return raw


def _remove(raw: dict[str, Any], loc: tuple[int | str, ...]) -> None:
    """Take away what pydantic calls `loc`, in which there are tags of unions too."""
    here: Any = raw
    *way, last = loc
    for part in way:
        if isinstance(here, dict):
            here = here.get(part, here)
        elif isinstance(here, list) and isinstance(part, int):
            here = here[part]
    if isinstance(here, dict):
        here.pop(last, None)


def _model_of(route: Any) -> Any:
    return route.get("model") if isinstance(route, Mapping) else route


def _texts(value: Any) -> Iterator[str]:
    """Every text in plain data, keys left out."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping | list):
        for item in value.values() if isinstance(value, Mapping) else value:
            yield from _texts(item)
