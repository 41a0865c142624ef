"""Whether a query of PromQL has a value for each pod, as far as its words tell.

What cannot be read, and what depends on the series that there are, is taken to come to one value: a finding must be
certain. Of metrics those of the engines have a value for each pod, unless one pod is selected; of others, such as the
length of a queue, that is not to be seen.
"""

from __future__ import annotations

import re

_TOKEN = re.compile(r"\{1?\}|[A-Za-z_:][A-Za-z0-9_:]*|[0-9.][A-Za-z0-9_.]*|[=!]~|[=!<>]=|\S")
_TEXT = re.compile(r"""("(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'|`[^`]*`)|#[^\n]*""", re.DOTALL)
_BRACES = re.compile(r"\{[^{}]*\}")
_MATCHER = re.compile(r"(\w+)\s*(=~?)\s*([0-9]+)")
"""A label, how it is matched, and which text it is matched with."""

_ONE_NAME = re.compile(r"[\w.:-]+")
_ALL_PODS, _ONE_POD = "{}", "{1}"
"""What is left of matchers."""

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

_OF_ENGINES = ("vllm:", "sglang:", "llamacpp:", "tgi_")
"""How the names of metrics begin that each pod of an engine has."""

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
    texts: list[str] = []

    def numbered(found: re.Match[str]) -> str:
        if found[1] is None:
            return " "  # a comment
        texts.append(found[1][1:-1])
        return f" {len(texts) - 1} "

    plain = _BRACES.sub(lambda found: _selector(found[0], texts), _TEXT.sub(numbered, query))
    reader = _Reader(_TOKEN.findall(_BRACKETS.sub(" ", plain)))
    try:
        return reader.expression() and reader.next == ""
    except _Unreadable:
        return False


def _selector(braces: str, texts: list[str]) -> str:
    """What is left of matchers: whether they select one pod, and the metric's name where it is among them."""
    name, pods = "", _ALL_PODS
    for label, how, number in _MATCHER.findall(braces):
        text = texts[int(number)] if int(number) < len(texts) else ""
        if label == "__name__" and how == "=":
            name = text
        elif label in _OF_ONE_POD and (how == "=" or _ONE_NAME.fullmatch(text)):
            pods = _ONE_POD
    return f"{name}{pods}"


class _Reader:
    """Reads tokens from the left: texts are numbers, ranges are gone, of matchers `_selector` has left little."""

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
        elif word in (_ALL_PODS, _ONE_POD):
            found = False  # of whatever metrics
        elif word[0].isdecimal() or word[0] == "." or word.lower() in ("inf", "nan"):
            found = False
        elif not (word[0].isalpha() or word[0] in "_:"):
            raise _Unreadable
        elif word.lower() in _AGGREGATES | _SELECTING:
            found = self._aggregate(word.lower())
        elif self.next == "(":
            found = any(self._arguments()) and word not in _SINGLE
        else:
            found = word.startswith(_OF_ENGINES) and word.count(":") < _RECORDED_COLONS
            if self.next in (_ALL_PODS, _ONE_POD):
                found &= self._take() == _ALL_PODS
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
