"""Graphs of Kubernetes objects and edits of them: plain data, no Pulumi."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

LABEL = "props"
"""Label of every object that comes from here."""
PLACES = ("default", "props")
"""Namespaces that are there."""
LABEL_PATH, DATA_PATH = "metadata.labels.v", "data.a"
"""What ignoreChanges may name."""
PLANTED = "planted"
"""What a secret's text begins with."""

PATHS = {
    "ConfigMap": "/api/v1/configmaps",
    "Secret": "/api/v1/secrets",
    "ServiceAccount": "/api/v1/serviceaccounts",
    "Service": "/api/v1/services",
    "Namespace": "/api/v1/namespaces",
    "Deployment": "/apis/apps/v1/deployments",
    "CustomResourceDefinition": "/apis/apiextensions.k8s.io/v1/customresourcedefinitions",
    "Widget": "/apis/props.test/v1/widgets",
}
KINDS = tuple(PATHS)
_CLUSTER_SCOPED = ("Namespace", "CustomResourceDefinition")

Verb = Literal[
    "change", "label", "freeze", "remove", "rename", "rename-alias", "move", "ignore", "before", "name", "refer"
]
HandVerb = Literal["hand-change", "hand-delete"]


@dataclass(frozen=True)
class Add:
    """A further object. The numbers choose among what is there, whatever that is."""

    kind: str
    fixed: bool
    place: int
    parent: int
    after: int
    refer: int
    secret: bool
    number: int


@dataclass(frozen=True)
class Edit:
    """A change of the object that `target` chooses."""

    verb: Verb | HandVerb
    target: int
    number: int


@dataclass
class Described:
    """One object of the program. Others are named by their keys."""

    key: str
    kind: str
    name: str
    fixed: str
    """Its own name; empty for one that Pulumi gives."""
    place: str
    """A namespace, or the key of the Namespace."""
    parent: str
    after: list[str]
    refer: str
    secret: bool
    number: int
    label: str = "0"
    frozen: int = 0
    aliases: list[str] = field(default_factory=list)
    ignored: set[str] = field(default_factory=set)
    before: bool = False
    new: bool = True
    """Whether Pulumi's state does not have it."""
    held: dict[str, Any] = field(default_factory=dict)
    """What the state has at the paths that may be ignored."""

    def needs(self) -> set[str]:
        """Keys of what it cannot be without."""
        return {self.place, self.parent}

    def said(self) -> dict[str, str]:
        """What the program says at the paths that may be ignored."""
        return {DATA_PATH: f"{PLANTED if self.secret else 'open'}-{self.number}", LABEL_PATH: self.label}

    def meant(self) -> dict[str, str]:
        """What the object must have there: where a change is ignored, what the state had before."""
        kept = {path: value for path, value in self.held.items() if path in self.ignored and not self.new}
        return self.said() | kept


@dataclass
class Program:
    """The objects in the order in which the program makes them."""

    objects: list[Described] = field(default_factory=list)
    made: int = 0
    """How many names were given: none is given twice."""

    def apply(self, edit: Add | Edit) -> None:
        """Edit the program; what cannot be done does nothing. Edits by hand are not the program's."""
        if isinstance(edit, Add):
            self._add(edit)
        elif self.objects:
            chosen = self.chosen(edit)
            match edit.verb:
                case "change":
                    chosen.number = edit.number
                case "label":
                    chosen.label = str(edit.number)
                case "freeze":
                    chosen.frozen = edit.number
                case "remove":
                    self._forget(self.dependents(chosen))
                case "rename" | "rename-alias":
                    self._rename(chosen, alias=edit.verb == "rename-alias")
                case "move":
                    if chosen.kind not in _CLUSTER_SCOPED:
                        chosen.place = self._place(chosen, edit.number)
                case "ignore":
                    chosen.ignored ^= {DATA_PATH if chosen.kind == "ConfigMap" and edit.number % 2 else LABEL_PATH}
                case "before":
                    chosen.before = not chosen.before
                case "name":
                    if chosen.kind != "CustomResourceDefinition":
                        chosen.fixed = "" if chosen.fixed else self._unique(chosen.kind)
                case "refer":
                    chosen.refer = self._earlier(chosen, edit.number)

    def chosen(self, edit: Edit) -> Described:
        """The object that an edit is about; there must be one."""
        return self.objects[edit.target % len(self.objects)]

    def dependents(self, chosen: Described) -> list[Described]:
        """The object, and what cannot be without it: children, what lies in a namespace, objects of a kind."""
        gone = {chosen.key}
        for item in self.objects:
            if item.needs() & gone:
                gone.add(item.key)
        return [item for item in self.objects if item.key in gone]

    def settled(self) -> None:
        """The state now has what the program says."""
        for item in self.objects:
            item.held = item.meant()
            item.new = False

    # --- edits ---

    def _add(self, add: Add) -> None:
        if add.kind == "CustomResourceDefinition" and any(item.kind == add.kind for item in self.objects):
            return
        if add.kind == "Widget":
            self._add(Add("CustomResourceDefinition", True, 0, 0, 0, 0, False, 0))
        name = self._unique(add.kind)
        item = Described(name, add.kind, name, "", "", "", [], "", add.secret, add.number)
        item.fixed = "widgets.props.test" if add.kind == "CustomResourceDefinition" else name if add.fixed else ""
        self.objects.append(item)
        item.place = "" if add.kind in _CLUSTER_SCOPED else self._place(item, add.place)
        item.parent = self._earlier(item, add.parent) if add.parent % 3 == 0 else ""
        item.refer = self._earlier(item, add.refer) if add.refer % 2 == 0 else ""
        after = self._earlier(item, add.after) if add.after % 2 == 0 else ""
        definitions = [other.key for other in self.objects if other.kind == "CustomResourceDefinition"]
        if add.kind == "Widget":
            item.after = definitions
        elif after:
            item.after = [after]

    def _unique(self, kind: str) -> str:
        self.made += 1
        return f"{kind.lower()}-{self.made}"

    def _earlier(self, item: Described, number: int) -> str:
        earlier = self.objects[: self.objects.index(item)]
        return earlier[number % len(earlier)].key if earlier else ""

    def _place(self, item: Described, number: int) -> str:
        earlier = self.objects[: self.objects.index(item)]
        places = [*PLACES, *(other.key for other in earlier if other.kind == "Namespace")]
        return places[number % len(places)]

    def _rename(self, item: Described, *, alias: bool) -> None:
        if alias:
            item.aliases = [*item.aliases, item.name]
        elif item.kind == "CustomResourceDefinition":
            return  # the new one cannot be made while the old one has its name
        else:
            item.aliases, item.new = [], True
            if item.fixed:
                item.fixed = self._unique(item.kind)
        item.name = self._unique(item.kind)

    def _forget(self, gone: list[Described]) -> None:
        keys = {item.key for item in gone}
        if any(item.kind == "CustomResourceDefinition" for item in gone):
            keys |= {item.key for item in self.objects if item.kind == "Widget"}
        self.objects = [item for item in self.objects if item.key not in keys]
        for item in self.objects:
            item.after = [key for key in item.after if key not in keys]
            item.refer = "" if item.refer in keys else item.refer
