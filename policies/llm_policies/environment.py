"""What an environment tells the pack: levels, settings of rules, exceptions, GPU pools."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any, Literal, get_args

from llm_policies.exceptions import PolicyException, read_exceptions
from llm_policies.pools import Pool, PoolError, read_pools
from llm_policies.rule import Context, Rule
from llm_policies.values import Doubt, Value

Level = Literal["advisory", "mandatory", "remediate", "disabled"]
LEVELS: tuple[str, ...] = get_args(Level)

PACK = "policy-settings"
"""The rule that stands for the pack itself: its settings are those of the whole pack, and it judges them."""

_KEYS = ("levels", "rules", "namespaces", "exceptions", "pools")


class PackSettingsError(ValueError):
    """Settings of the pack that are wrong; the message has every mistake, one a line."""


@dataclass(frozen=True, kw_only=True)
class Environment:
    """How strict the pack is, and what it knows of the site. Without anything said it is strict."""

    levels: Mapping[str, Level] = field(default_factory=dict)
    """By rule, where it is not the severity's."""

    settings: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """By rule."""

    namespaces: Mapping[str, Mapping[str, Level]] = field(default_factory=dict)
    """By namespace, then by rule, or `all`."""

    exceptions: tuple[PolicyException, ...] = ()
    pools: Mapping[str, Pool] | None = None
    _contexts: dict[str, Context] = field(default_factory=dict, init=False, repr=False, compare=False)

    def context(self, rule: Rule) -> Context:
        """What the check of `rule` is told: made once, as it is asked for with every object."""
        if rule.name not in self._contexts:
            self._contexts[rule.name] = rule.context(self.settings.get(rule.name), self.pools)
        return self._contexts[rule.name]

    def level(self, rule: Rule, namespace: str) -> Level:
        """How a violation of `rule` counts in `namespace`: by the namespace, else by the rule, else by its severity."""
        there = self.namespaces.get(namespace, {})
        own: Level = "mandatory" if rule.severity == "error" else "advisory"
        return there.get(rule.name) or there.get("all") or self.levels.get(rule.name) or own


def read_environment(written: Mapping[str, Any], rules: Iterable[Rule]) -> Environment:
    """An environment as `policies/levels/<stack>.yaml` has it.

    Args:
        written: `levels` by severity (error, warn) or `all`; `rules`: a level, or {level, settings...}; `namespaces`;
            `exceptions`; `pools`. All may be left out.
        rules: those that there are.

    Raises:
        PackSettingsError: with every mistake.
    """
    mistakes = [
        f"{key}: there is no such setting; write one of {', '.join(_KEYS)}." for key in written if key not in _KEYS
    ]
    known = {rule.name: rule for rule in rules}
    by_severity = _mapping(written, "levels", mistakes)
    levels: dict[str, Level] = {}
    # What is said of a severity goes before what is said of all, whichever is written first.
    for severity, level in sorted(by_severity.items(), key=lambda said: said[0] != "all"):
        if severity not in ("all", "error", "warn"):
            mistakes.append(f"levels.{severity}: is neither error, warn nor all; a single rule's level is below rules.")
        elif (checked := _level(f"levels.{severity}", level, mistakes)) is not None:
            levels |= {name: checked for name, rule in known.items() if severity in ("all", rule.severity)}
    settings: dict[str, Mapping[str, Any]] = {}
    for name, said in _mapping(written, "rules", mistakes).items():
        if name not in known:
            mistakes.append(f"rules.{name}: {_no_such_rule(name, known)}")
            continue
        given = dict(said) if isinstance(said, Mapping) else {"level": said}
        if "level" in given and (checked := _level(f"rules.{name}.level", given.pop("level"), mistakes)) is not None:
            levels[name] = checked
        mistakes += [
            f"rules.{name}.{key}: there is no such setting." for key in given if key not in known[name].settings
        ]
        settings[name] = {key: value for key, value in given.items() if value is not None}
        mistakes += [
            f"{said}. Correct the setting."
            for key, value in settings[name].items()
            if (setting := known[name].settings.get(key)) is not None
            for said in _misread(Value(value, f"rules.{name}.{key}"), setting.schema())
        ]
    namespaces = {
        namespace: {
            rule: checked
            for rule, level in (said if isinstance(said, Mapping) else {"all": said}).items()
            if (checked := _level_of(f"namespaces.{namespace}.{rule}", rule, level, known, mistakes)) is not None
        }
        for namespace, said in _mapping(written, "namespaces", mistakes).items()
    }
    raw = written.get("exceptions") or []
    if not isinstance(raw, list | tuple):
        mistakes.append("exceptions: expected a list.")
        raw = []
    exceptions = read_exceptions(raw, mistakes)
    mistakes += [f"exceptions: {e.rule}: {_no_such_rule(e.rule, known)}" for e in exceptions if e.rule not in known]
    pools = None
    if "pools" in written:
        try:
            pools = read_pools(_mapping(written, "pools", mistakes))
        except PoolError as error:
            mistakes += str(error).splitlines()
    if mistakes:
        raise PackSettingsError("\n".join(mistakes))
    return Environment(
        levels=levels, settings=settings, namespaces=namespaces, exceptions=tuple(exceptions), pools=pools
    )


_READERS: dict[str, Callable[[Value], object]] = {
    "array": Value.items,
    "boolean": Value.boolean,
    "integer": Value.integer,
    "object": Value.pairs,
    "string": Value.text,
}
"""By the type of a setting's schema."""


def _misread(value: Value, schema: Mapping[str, Any]) -> Iterator[str | Doubt]:
    """What of a setting is not as its schema has it; a mapping's values are left to the rule that reads them."""
    if value.raw is None:
        yield f"{value.path} is nothing"
        return
    try:
        _READERS[schema["type"]](value)
    except Doubt as doubt:
        yield doubt
    else:
        for item in value.items() if schema["type"] == "array" else ():
            yield from _misread(item, schema["items"])


def _mapping(written: Mapping[str, Any], key: str, mistakes: list[str]) -> Mapping[str, Any]:
    value = written.get(key)
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        mistakes.append(f"{key}: expected a mapping.")
        return {}
    return {str(name): said for name, said in value.items()}


def _no_such_rule(name: str, known: Collection[str]) -> str:
    near = get_close_matches(name, known, n=1)
    return f"there is no such rule{f'; {near[0]} is meant?' if near else '.'}"


def _level_of(path: str, rule: str, level: Any, known: Mapping[str, Rule], mistakes: list[str]) -> Level | None:
    if rule != "all" and rule not in known:
        mistakes.append(f"{path}: {_no_such_rule(rule, known)}")
        return None
    return _level(path, level, mistakes)


def _level(path: str, value: Any, mistakes: list[str]) -> Level | None:
    for level in get_args(Level):
        if value == level:
            return level  # type: ignore[no-any-return]  # get_args has no types
    mistakes.append(f"{path}: {value!r} is not one of {', '.join(LEVELS)}.")
    return None


def engine_config(environment: Environment, rules: Iterable[Rule]) -> dict[str, Any]:
    """What `pulumi --policy-pack-config` takes: a level and settings for each rule, and those of the whole pack."""
    config: dict[str, Any] = {
        rule.name: {"enforcementLevel": environment.level(rule, ""), **environment.settings.get(rule.name, {})}
        for rule in rules
    }
    config[PACK] |= {
        "exceptions": [
            {"rule": e.rule, "object": e.object, "reason": e.reason, "owner": e.owner, "until": e.until.isoformat()}
            for e in environment.exceptions
        ],
        "namespaces": {name: dict(levels) for name, levels in environment.namespaces.items()},
    }
    if environment.pools is not None:
        config[PACK]["pools"] = {name: pool.written() for name, pool in environment.pools.items()}
    return config
