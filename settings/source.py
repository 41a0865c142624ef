"""What was written, and what it says: every mistake at once."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from pydantic import ValidationError

from settings.problems import SettingsError, nearest, problems_of
from settings.secret import DECRYPTED
from settings.stack import ENGINES, Settings


@dataclass(frozen=True, kw_only=True)
class Source:
    """What was written, by whom it was read, and where."""

    name: str
    """The file that a person must edit, for the messages."""

    raw: Mapping[str, Any]
    """Plain data by top-level key, as YAML or JSON has it."""

    decrypted: Collection[str] = ()
    """Top-level keys in which secrets are texts instead of `{secure: ...}`; no value of theirs is told."""

    lines: Mapping[str, int] = field(default_factory=dict)
    """Line in the file by path."""

    def settings(self) -> Settings:
        """What the source says.

        Raises:
            SettingsError: with every problem at once.
        """
        problems = self._problems(self.raw)
        if isinstance(problems, Settings):
            return problems
        guessed = _with_likely_engines(self.raw)
        more = self._problems(guessed) if guessed != self.raw else []
        both = [*problems, *(more if isinstance(more, list) else ())]
        raise SettingsError(self.name, list(dict.fromkeys(both)), self.lines)

    def without(self, models: Collection[str], *, ingress: bool) -> Source:
        """The same without some models, the routes to them and, if it is so said, the edge."""
        raw = {key: value for key, value in self.raw.items() if key != "ingress" or not ingress}
        raw["models"] = {name: value for name, value in raw["models"].items() if name not in models}
        if isinstance(edge := raw.get("ingress"), Mapping) and isinstance(routes := edge.get("routes"), Mapping):
            kept = {path: to for path, to in routes.items() if _model_of(to) not in models}
            raw["ingress"] = {**edge, "routes": kept}
            if not kept:
                del raw["ingress"]
        return replace(self, raw=raw)

    def _problems(self, raw: Mapping[str, Any]) -> Settings | list[str]:
        texts = frozenset(text for key in self.decrypted for text in _texts(raw[key]))
        try:
            # Through JSON: its strictness is that of the file, in which there are lists and no tuples.
            return Settings.model_validate_json(
                json.dumps(raw), by_alias=True, by_name=False, context={DECRYPTED: texts}
            )
        except ValidationError as error:
            return problems_of(error, Settings, hidden=self.decrypted)


def _with_likely_engines(raw: Mapping[str, Any]) -> Mapping[str, Any]:
    """`raw` with misspelt engines put right, so that a model's other mistakes show as well."""
    models = raw.get("models")
    if not isinstance(models, Mapping):
        return raw
    return {**raw, "models": {name: _with_likely_engine(model) for name, model in models.items()}}


def _with_likely_engine(model: Any) -> Any:
    if not isinstance(model, Mapping):
        return model
    near = nearest(str(model.get("engine")), ENGINES)
    return {**model, "engine": near} if near and model.get("engine") not in ENGINES else model


def _model_of(route: Any) -> Any:
    return route.get("model") if isinstance(route, Mapping) else route


def _texts(value: Any) -> Iterator[str]:
    """Every text in plain data, keys left out."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping | list):
        for item in value.values() if isinstance(value, Mapping) else value:
            yield from _texts(item)
