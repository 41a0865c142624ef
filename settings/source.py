"""What was written, and what it says: every mistake at once."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from pydantic import ValidationError

from settings.misplaced import misplaced
from settings.problems import SettingsError, nearest
from settings.secret import DECRYPTED
from settings.stack import ENGINES, Settings
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
        """The same with misspelt engines put right, so that a model's other mistakes show as well."""
        models = self.raw.get("models")
        if not isinstance(models, Mapping):
            return self
        right = {name: _with_likely_engine(model) for name, model in models.items()}
        return self if right == models else replace(self, raw={**self.raw, "models": right})

    def without(self, models: Collection[str], keys: Collection[str]) -> Source:
        """The same without some models, the routes to them, and some top-level keys."""
        raw = {key: value for key, value in self.raw.items() if key not in keys}
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
