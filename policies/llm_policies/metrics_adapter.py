"""Which metrics prometheus-adapter serves, by the rules of its configuration.

Its regular expressions are Go's. What Python cannot evaluate alike, or not in a bounded time, is taken to match: a
finding must be certain.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import yaml

from llm_policies.objects import Stack
from llm_policies.values import Doubt, Value, hidden

try:
    from yaml import CBaseLoader as Loader
except ImportError:  # PyYAML was built without libyaml
    from yaml import BaseLoader as Loader  # type: ignore[assignment]  # the same, only slower

_EXPLICIT = re.compile(r"\s*([A-Za-z_:][A-Za-z0-9_:]*)\s*(?:\{.*)?", re.ASCII | re.DOTALL)
_MATCHER = re.compile(r"""__name__\s*(=~|!~|!=|=)\s*(?:"((?:[^"\\]|\\.)*)"|'((?:[^'\\]|\\.)*)')""")
_REFERENCE = re.compile(r"\$(?:\{(\w+)\}|(\w+))", re.ASCII)
# The text before a pattern's only group, and after it.
_ONE_GROUP = re.compile(r"\^?([A-Za-z0-9_:]*)\([^()]*\)([A-Za-z0-9_:]*)\$?", re.ASCII)
_LONGEST_CONFIG, _DEEPEST_CONFIG = 2**16, 50
_DEEP_LINE = re.compile(r"(?:[-?:][ \t]+){50}")
_LONGEST_PATTERN, _MOST_QUANTIFIERS, _LONGEST_NAME = 200, 2, 253


@dataclass(frozen=True)
class AdapterRule:
    """One rule of the adapter."""

    value: Value
    is_external: bool

    @property
    def is_of_pods(self) -> bool:
        """Whether its samples can be told apart by pod and namespace, which a metric of pods must."""
        resources = _get(self.value, "resources")
        if _get(resources, "template").text():
            return True
        named = {
            (entry.get("resource").text() or "").removesuffix("s") for _, entry in _get(resources, "overrides").pairs()
        }
        return {"pod", "namespace"} <= named

    def serves(self, metric: str) -> bool:
        """Whether some series that it finds comes to `metric`, as far as can be told from the rule."""
        return any(self._is_named(series, metric) for series in self._series(metric) if self._takes(series))

    def _series(self, metric: str) -> Iterator[str]:
        """Names of the series that it may find, of those that could come to `metric`."""
        query = self.value.get("seriesQuery").text() or ""
        if explicit := _EXPLICIT.fullmatch(query):
            yield explicit[1]
            return
        matchers = [(kind, double or single) for kind, double, single in _MATCHER.findall(query)]
        for kind, name in matchers:
            if kind == "=":
                yield name
                return
        for series in self._candidates(metric):
            if all(_selects(kind, pattern, series) for kind, pattern in matchers):
                yield series

    def _candidates(self, metric: str) -> set[str]:
        # vLLM's own series have a colon, so the name with an underscore is no series of it.
        names = {re.sub(r"^vllm_", "vllm:", metric)}
        pattern, template = self._pattern(), self._template()
        shape = _ONE_GROUP.fullmatch(pattern)
        if shape and (whole := re.fullmatch(r"([^$]*)\$(?:\{1\}|1(?!\w))([^$]*)", template)):
            before, after = whole.groups()
            if metric.startswith(before) and metric.endswith(after) and len(metric) >= len(before) + len(after):
                names.add(shape[1] + metric[len(before) : len(metric) - len(after)] + shape[2])
        return names | {f"{name}_total" for name in names}

    def _takes(self, series: str) -> bool:
        for entry in _get(self.value, "seriesFilters").items():
            wanted, unwanted = entry.get("is").text(), entry.get("isNot").text()
            if wanted and _found(wanted, series) is False:
                return False
            if unwanted and _found(unwanted, series):
                return False
        return True

    def _pattern(self) -> str:
        return _get(self.value, "name", "matches").text() or ".*"

    def _template(self) -> str:
        if template := _get(self.value, "name", "as").text():
            return template
        # As the adapter has it: the only group, or all of the name.
        return "$1" if "(" in self._pattern().replace("(?:", "") else "$0"

    def _is_named(self, series: str, metric: str) -> bool:
        """Whether a series is served by the name `metric`."""
        found = _found(self._pattern(), series)
        if not found:
            return found is None

        def group(reference: re.Match[str]) -> str:
            key = reference[1] or reference[2]
            try:
                return found[int(key) if key.isdecimal() else key] or ""
            except (IndexError, ValueError):
                return ""  # Go puts nothing there: `$1_per_second` names a group `1_per_second`

        return _REFERENCE.sub(group, self._template()) == metric


def _found(pattern: str, text: str) -> re.Match[str] | Literal[False] | None:
    """Where `pattern` is found in `text`: False for nowhere, None where it cannot be told."""
    quantifiers = len(re.findall(r"[*+?{]", pattern))
    if len(pattern) > _LONGEST_PATTERN or len(text) > _LONGEST_NAME or quantifiers > _MOST_QUANTIFIERS:
        return None
    if re.search(r"\)[*+?{]", pattern):
        return None  # a repeated group may take for ever
    try:
        return re.search(pattern, text) or False
    except (re.error, OverflowError, RecursionError):
        return None


def _selects(kind: str, pattern: str, series: str) -> bool:
    """Whether a matcher of PromQL lets a series through."""
    if kind in ("=", "!="):
        return (series == pattern) == (kind == "=")
    found = _found(f"^(?:{pattern})$", series)
    if found is None:
        return True
    return (found is not False) == (kind == "=~")


def adapter_rules(stack: Stack) -> tuple[list[AdapterRule], list[Doubt]]:
    """The rules of every configuration of the adapter in the stack, and what keeps one from being read."""
    rules: list[AdapterRule] = []
    doubts: list[Doubt] = []
    for config in stack.of("ConfigMap"):
        try:
            files = config.properties.get("data").pairs()
        except Doubt as doubt:
            doubts.append(doubt)
            continue
        for _, file in files:
            try:
                rules += _rules_of(file)
            except Doubt as doubt:
                doubts.append(doubt)
    return rules, doubts


def _rules_of(file: Value) -> Iterator[AdapterRule]:
    text = hidden(file).text() or ""
    if "seriesQuery" not in text:
        return
    if len(text) > _LONGEST_CONFIG or _depth(text) > _DEEPEST_CONFIG or _DEEP_LINE.search(text):
        raise hidden(file).malformed(f"a configuration of at most {_LONGEST_CONFIG} characters, not nested")
    try:
        config: Any = yaml.load(text, Loader=Loader)  # noqa: S506  # makes texts, lists and mappings only
    except (yaml.YAMLError, RecursionError):
        raise hidden(file).malformed("YAML") from None
    if isinstance(config, dict):
        read = file.replaced(config)
        for key in ("rules", "externalRules"):
            yield from (AdapterRule(rule, key == "externalRules") for rule in _get(read, key).items())


def _depth(text: str) -> int:
    """How deep brackets go: the parser is recursive, and ends the process where they go too deep."""
    depth = deepest = 0
    for bracket in re.findall(r"[][{}]", text):
        depth = depth + 1 if bracket in "[{" else max(0, depth - 1)
        deepest = max(deepest, depth)
    return deepest


def _get(value: Value, *keys: str) -> Value:
    """As `Value.get`; the loader reads nothing as an empty text."""
    for key in keys:
        value = value.get(key)
        if value.raw == "":
            value = value.replaced(None)
    return value
