"""The line of what a finding names, in the manifest that it is of."""

from __future__ import annotations

import re
from functools import cache

from llm_policies.judging import Finding
from llm_policies.objects import Object
from llm_policies.values import Doubt

from cli.manifests import Manifest, Part

_DOUBTED = re.compile(r"cannot be judged: (.+?) is ")
_NAMED = re.compile(r"'([^']+)'|(--[a-z][a-z-]+)|\b(?:env|key) ([^\s:;,']+)|\b([A-Z][A-Z0-9_]*)\b")
_OPTION = re.compile(r"--[a-z][a-z-]+")
_FIELD = re.compile(r"\b(?:[a-z]+(?:[A-Z][a-zA-Z]*)+|privileged)\b")
"""A field's name within a message: other words, such as `requests`, are English as well."""
_CONTAINER = re.compile(r"([^\s:]+)[: ]")


class Lines:
    """Those of one document; what stands there is sorted once, however many findings there are."""

    def __init__(self, manifest: Manifest) -> None:
        """Nothing is read before there is a finding."""
        self.manifest = manifest
        self._names = cache(self._names_within)
        self._containers = cache(_containers)

    def of_object(self, item: Object) -> int:
        """Where an object begins."""
        if not item.properties.path:
            return self.manifest.line
        parts = self.manifest.parts
        return parts.get(item.properties.path, parts[""]).line

    def of(self, finding: Finding) -> int:
        """The line of what the message names: a field, a value, a container; else of the object."""
        if doubted := _DOUBTED.match(finding.message):
            return self._nearest(doubted[1])
        first = _CONTAINER.match(finding.message)
        own = finding.item.properties.path
        within = self._containers(finding.item).get(first[1], own) if first is not None else own
        named = self._names(within).line_of(finding.message)
        return self._nearest(within) if named is None else named

    def _names_within(self, path: str) -> _Names:
        found = _Names()
        if (part := self.manifest.parts.get(path)) is not None:
            found.add(part, 0)
        return found

    def _nearest(self, path: str) -> int:
        """The line of `path`, or of what it would be in."""
        parts = self.manifest.parts
        while path not in parts and path:
            path = path[: max(path.rfind("."), path.rfind("["), 0)]
        return parts[path].line


class _Names:
    """Lines of what stands within a part, by what a message may call it; of several, the first."""

    def __init__(self) -> None:
        self._texts: dict[str, int] = {}
        self._options: dict[str, int] = {}
        self._variables: dict[str, int] = {}
        self._keys: dict[str, tuple[int, int]] = {}
        """With the depth: the one that is nearest counts."""

    def add(self, part: Part, depth: int) -> None:
        """Note all that is below `part`."""
        for key, below in part.below.items():
            if key not in self._keys or depth < self._keys[key][0]:
                self._keys[key] = depth, below.line
            if below.text is not None:
                self._texts.setdefault(below.text, below.line)
                if option := _OPTION.match(below.text):
                    self._options.setdefault(option[0], below.line)
            if key == "env":
                for entry in below.below.values():
                    if (name := entry.below.get("name")) is not None and name.text is not None:
                        self._variables.setdefault(name.text, name.line)
            self.add(below, depth + 1)

    def line_of(self, message: str) -> int | None:
        """The line of the first thing that `message` names, if it names any."""
        for quoted, option, stated, capitals in _NAMED.findall(message):
            line = self._options.get(option) if option else self._variables.get(stated or capitals)
            if line is None and stated in self._keys:
                line = self._keys[stated][1]
            # Without an underscore it may be any word, as GPU.
            if line is None and (quoted or "_" in (text := stated or capitals)):
                line = self._texts.get(quoted or text)
            if line is not None:
                return line
        return next((self._keys[field][1] for field in _FIELD.findall(message) if field in self._keys), None)


def _containers(item: Object) -> dict[str, str]:
    """Where the containers of an object are, by name."""
    found: dict[str, str] = {}
    try:
        for pod in item.pods:
            for container in pod.containers:
                found.setdefault(container.name, container.value.path)
    except Doubt:
        pass  # the finding is of that very field
    return found
