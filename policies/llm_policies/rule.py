"""One rule is one frozen value: what is wrong, why it matters, what to do, and the pure function that finds it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from llm_policies.containers import Container
from llm_policies.objects import POD_BEARING, Object, Stack
from llm_policies.pods import CONTAINER_LISTS, Pod
from llm_policies.pools import Pool
from llm_policies.values import Doubt, Unsaid, each

Severity = Literal["error", "warn"]
Said = str | Doubt
"""A violation in words, or why something cannot be judged."""


@dataclass(frozen=True, kw_only=True)
class Context:
    """What an environment tells the rules."""

    settings: Mapping[str, Any] = field(default_factory=dict)
    """Of this rule, by name; every one is there."""

    pools: Mapping[str, Pool] | None = None
    """GPU nodes by name of the pool; None where nobody has declared any, which is read strictly."""


@dataclass(frozen=True, kw_only=True)
class Setting:
    """What an environment may tell a rule."""

    default: Any
    """A JSON value; its type is the setting's."""

    description: str

    items: str = "string"
    """Type of the items of a list."""

    def schema(self) -> dict[str, Any]:
        """Its JSON schema, by which the engine checks an environment's value."""
        found = {**_schema(self.default), "default": self.default, "description": self.description}
        return {**found, "items": {"type": self.items}} if isinstance(self.default, list) else found


def _schema(value: Any) -> dict[str, Any]:
    match value:
        case bool():
            return {"type": "boolean"}
        case int():
            return {"type": "integer"}
        case float():
            return {"type": "number"}
        case str():
            return {"type": "string"}
        case list():
            return {"type": "array"}
        case _:
            return {"type": "object"}


REMOVE: Any = object()
"""The value of an edit that takes something away."""


@dataclass(frozen=True)
class Edit:
    """One change of an object's properties by a remediation."""

    path: tuple[str | int, ...]
    """Keys and indices; what is missing on the way is made, as mappings."""

    value: Any
    """A JSON value, or REMOVE."""


OfContainer = Callable[[Container, Context], Iterable[Said]]
OfPod = Callable[[Pod, Context], Iterable[Said]]
OfObject = Callable[[Object, Context], Iterable[Said]]
OfStack = Callable[[Stack, Context], Iterable[tuple[Object, Said]]]
Remediation = Callable[[Object, Context], Iterable[Edit]]


@dataclass(frozen=True, kw_only=True)
class Rule:
    """A rule. Messages give fact, consequence and repair.

    Of the first three checks one is there, unless there is one over the stack: it says what a rule looks at.
    `of_container` and `of_pod` see those of every kind that makes pods. Both, where a part can only be told of all
    objects together.
    """

    name: str
    title: str
    """What holds where the rule is kept, as a sentence."""

    description: str
    """Why it matters, for its page."""

    remediation: str
    """How to mend it, for its page."""

    severity: Severity
    references: tuple[str, ...]
    """The same in other catalogues (`CKV_K8S_14`), and where its facts come from."""

    bad: str
    """A manifest that violates it, for its page and the tests."""

    good: str
    """The same manifest, mended."""

    of_container: OfContainer | None = None
    of_pod: OfPod | None = None
    of_object: OfObject | None = None
    of_stack: OfStack | None = None
    kinds: frozenset[str] | None = POD_BEARING
    """Kinds that it looks at, None for all; of a stack rule, those that its violations are of."""

    settings: Mapping[str, Setting] = field(default_factory=dict)
    remediate: Remediation | None = None
    """Edits that mend an object, where that takes nothing away that someone may want."""

    def __post_init__(self) -> None:
        """See that there is one check of single objects, or one of all, or one of each."""
        single = sum(check is not None for check in (self.of_container, self.of_pod, self.of_object))
        if single > 1 or (single == 0 and self.of_stack is None):
            raise TypeError(f"{self.name}: a rule has one check of single objects, or one of the stack, or both")
        if self.remediate is not None and not self.judges_single:
            raise TypeError(f"{self.name}: a rule over a stack alone cannot remediate")

    @property
    def judges_single(self) -> bool:
        """Whether it judges objects one by one, whatever it says of all of them."""
        return not (self.of_container is None and self.of_pod is None and self.of_object is None)

    def looks_at(self, kind: str) -> bool:
        """Whether it judges single objects of `kind`."""
        return self.judges_single and (self.kinds is None or kind in self.kinds)

    def context(self, settings: Mapping[str, Any] | None = None, pools: Mapping[str, Pool] | None = None) -> Context:
        """What the check is told: `settings` with the defaults of those that are not set."""
        given = settings or {}
        return Context(
            settings={name: given.get(name, setting.default) for name, setting in self.settings.items()}, pools=pools
        )

    def look(self, item: Object, context: Context) -> Iterator[Said]:
        """What the rule says of one object; nothing where it looks at others, or at a stack only."""
        if not self.looks_at(item.kind):
            return
        if self.of_object is not None:
            check = self.of_object
            yield from _unless_unsaid(each([item], lambda found: check(found, context)))
        elif self.of_pod is not None or self.of_container is not None:
            yield from _unless_unsaid(each([item], lambda found: self._of_pods(found, context)))

    def look_at_stack(self, stack: Stack, context: Context) -> Iterator[tuple[Object, Said]]:
        """What the rule says of objects together; nothing where it looks at single ones."""
        if self.of_stack is not None:
            for item, said in self.of_stack(stack, context):
                if not isinstance(said, Unsaid):
                    yield item, said

    def _of_pods(self, item: Object, context: Context) -> Iterator[Said]:
        if (of_pod := self.of_pod) is not None:
            yield from each(item.pods, lambda pod: of_pod(pod, context))
        elif (of_container := self.of_container) is not None:
            for pod in item.pods:
                for key in CONTAINER_LISTS:
                    try:
                        listed = pod.listed(key)
                    except Doubt as doubt:  # one list that is not known does not keep the others from being judged
                        yield doubt
                    else:
                        yield from each(listed, lambda container: of_container(container, context))


def _unless_unsaid(said: Iterable[Said]) -> Iterator[Said]:
    """Without what a patch leaves to others."""
    return (item for item in said if not isinstance(item, Unsaid))
