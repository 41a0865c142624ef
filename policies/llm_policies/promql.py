"""Whether a query of PromQL has a value for each pod, as far as its words tell.

What cannot be read, and what depends on the series that there are, is taken to come to one value: a finding must be
certain.
"""

from __future__ import annotations

import re

_TOKEN = re.compile(r"\{\}|[A-Za-z_:][A-Za-z0-9_:]*|[0-9.][A-Za-z0-9_.]*|[=!]~|[=!<>]=|\S")
_TEXT = re.compile(r"""("(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'|`[^`]*`)|#[^\n]*""", re.DOTALL)
_BRACES = re.compile(r"\{[^{}]*\}")
_BRACKETS = re.compile(r"\[[^\[\]]*\]")
_LONGEST, _DEEPEST = 2**12, 50

_AGGREGATES = frozenset({"sum", "avg", "min", "max", "count", "group", "stddev", "stdvar", "quantile"})
_SELECTING = frozenset({"topk", "bottomk", "limitk"})
"""Aggregates that give so many values as they are told."""

_SINGLE = frozenset({"scalar", "absent", "absent_over_time", "vector"})
"""Functions that give one value at most, whatever they are given."""

_MATCHING = frozenset({"on", "ignoring", "group_left", "group_right"})
_OF_ONE_POD = frozenset({"pod", "pod_name", "kubernetes_pod_name", "exported_pod", "instance"})
"""Labels that each pod has another value of."""

_OPERATORS = frozenset(
    {*("+", "-", "*", "/", "%", "^", "==", "!=", ">", "<", ">=", "<="), *("and", "or", "unless", "atan2")}
)
_ENDS = frozenset({"", ")", ","})
_RECORDED_COLONS = 2
"""In the name of what a recording rule has made (level:metric:operations), which may be a sum already."""


class _Unreadable(Exception):
    """It is not of the forms that are read here."""


def is_of_each_pod(query: str) -> bool:
    """Whether it surely has a value for each of several pods."""
    if len(query) > _LONGEST:
        return False
    plain = _BRACES.sub("{}", _TEXT.sub(lambda found: " 0 " if found[1] else " ", query))
    reader = _Reader(_TOKEN.findall(_BRACKETS.sub(" ", plain)))
    try:
        return reader.expression() and reader.next == ""
    except _Unreadable:
        return False


class _Reader:
    """Reads tokens from the left: texts are zeros, ranges are gone, of matchers only the braces are left."""

    def __init__(self, tokens: list[str]) -> None:
        self._tokens = [*tokens, ""]
        self._at = 0
        self._depth = 0

    @property
    def next(self) -> str:
        return self._tokens[self._at]

    def _take(self) -> str:
        word = self.next
        if word == "":
            raise _Unreadable
        self._at += 1
        return word

    def _expect(self, word: str) -> None:
        if self._take() != word:
            raise _Unreadable

    def expression(self) -> bool:
        """Operands up to a bracket, a comma or the end: whether one of them has a value for each pod."""
        self._depth += 1
        if self._depth > _DEEPEST:
            raise _Unreadable
        is_many, adds = False, True
        while True:
            is_many |= self._operand() and adds
            if self.next in _ENDS:
                self._depth -= 1
                return is_many
            operator = self._take().lower()
            if operator not in _OPERATORS:
                raise _Unreadable
            # What follows these two only takes values away; `or` binds less than they do.
            adds = operator == "or" or (adds and operator not in ("and", "unless"))
            self._matching()

    def _matching(self) -> None:
        """Pass over how the two sides of an operator are matched."""
        while self.next.lower() in _MATCHING or self.next.lower() == "bool":
            if self._take().lower() in _MATCHING and self.next == "(":
                self._labels()

    def _labels(self) -> frozenset[str]:
        self._expect("(")
        found = set()
        while (word := self._take()) != ")":
            found.add(word)
        return frozenset(found)

    def _operand(self) -> bool:
        while self.next in ("+", "-"):
            self._take()
        word = self._take()
        if word == "(":
            found = self.expression()
            self._expect(")")
        elif word == "{}":
            found = True
        elif word[0].isdecimal() or word[0] == "." or word.lower() in ("inf", "nan"):
            found = False
        elif not (word[0].isalpha() or word[0] in "_:"):
            raise _Unreadable
        elif word.lower() in _AGGREGATES | _SELECTING:
            found = self._aggregate(word.lower())
        elif self.next == "(":
            found = any(self._arguments()) and word not in _SINGLE
        else:
            found = word.count(":") < _RECORDED_COLONS
            if self.next == "{}":
                self._take()
        self._modifiers()
        return found

    def _modifiers(self) -> None:
        """Pass over `offset -5m` and `@ end()`."""
        while self.next.lower() in ("offset", "@"):
            self._take()
            while self.next in ("+", "-"):
                self._take()
            self._take()
            if self.next == "(":
                self._labels()

    def _arguments(self) -> list[bool]:
        self._expect("(")
        found = []
        while self.next != ")":
            found.append(self.expression())
            if self.next == ",":
                self._take()
        self._take()
        return found

    def _aggregate(self, name: str) -> bool:
        before = self._keeps_pods_apart()
        first = self._tokens[self._at + 1 : self._at + 3]
        is_many = any(self._arguments())
        after = self._keeps_pods_apart()
        takes_one = name not in _SELECTING or first == ["1", ","]
        return is_many and (before or after or not takes_one)

    def _keeps_pods_apart(self) -> bool:
        """Whether it is grouped by a label that each pod has another value of."""
        kind = self.next.lower()
        if kind not in ("by", "without"):
            return False
        self._take()
        labels = self._labels()
        if kind == "by":
            return not labels.isdisjoint(_OF_ONE_POD)
        return not {"pod", "instance"} <= labels
