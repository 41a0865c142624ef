"""Kubernetes objects as rules see them, wherever they come from: Pulumi's engine or a manifest."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from llm_policies.containers import Container
from llm_policies.pods import CONTAINER_LISTS, Pod
from llm_policies.secret_texts import secret_texts
from llm_policies.values import Doubt, Unsaid, Value

_TEMPLATES: dict[str, tuple[tuple[str, ...], ...]] = {
    "Pod": ((),),
    "PodTemplate": (("template",),),
    "Deployment": (("spec", "template"),),
    "StatefulSet": (("spec", "template"),),
    "DaemonSet": (("spec", "template"),),
    "ReplicaSet": (("spec", "template"),),
    "ReplicationController": (("spec", "template"),),
    "Job": (("spec", "template"),),
    "CronJob": (("spec", "jobTemplate", "spec", "template"),),
    "LeaderWorkerSet": (
        ("spec", "leaderWorkerTemplate", "leaderTemplate"),
        ("spec", "leaderWorkerTemplate", "workerTemplate"),
    ),
}
"""Where the templates of pods are, by kind."""

POD_BEARING = frozenset(_TEMPLATES)
"""Kinds that are or make pods."""

_GROUPS: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(("Pod", "PodTemplate", "ReplicationController", "Service", "ConfigMap", "Secret"), ("",)),
    **dict.fromkeys(("Node", "Namespace", "PersistentVolume", "PersistentVolumeClaim", "ServiceAccount"), ("",)),
    **dict.fromkeys(("Deployment", "StatefulSet", "DaemonSet", "ReplicaSet"), ("apps", "extensions")),
    **dict.fromkeys(("Job", "CronJob"), ("batch",)),
    "LeaderWorkerSet": ("leaderworkerset.x-k8s.io",),
    "HorizontalPodAutoscaler": ("autoscaling",),
    "PodDisruptionBudget": ("policy",),
}
"""API groups of kinds whose names others have, too: a Service is also one of Knative, a Job one of Volcano."""

NO_KIND = "(unknown kind)"
"""Of what stands in a List, and does not say what it is."""

NOT_KNOWN = "(not known)"
"""In place of a namespace that is not known yet, or no text: neither `default` nor any other."""

_PATCH = "Patch"
CLUSTER_SCOPED = frozenset(
    {
        *("Namespace", "Node", "PersistentVolume", "StorageClass", "IngressClass", "RuntimeClass", "PriorityClass"),
        *("ClusterRole", "ClusterRoleBinding", "CustomResourceDefinition", "APIService", "GatewayClass"),
        *("ValidatingWebhookConfiguration", "MutatingWebhookConfiguration", "CSIDriver", "ClusterPolicy"),
    }
)


@dataclass(frozen=True, kw_only=True, eq=False)
class Object:
    """One Kubernetes object."""

    api_version: str
    kind: str
    """Without the ending `Patch` that Pulumi gives to patches; of another group than is meant, as kubectl has it:
    `Service.serving.knative.dev`."""

    properties: Value
    urn: str = ""
    """Where it is in a Pulumi program; empty in a manifest."""

    ignores_changes: tuple[str, ...] = ()
    """Paths that Pulumi leaves to others (`ignore_changes`)."""

    timeouts: Mapping[str, float] | None = None
    """Seconds that Pulumi waits at most, by operation (`custom_timeouts`); None where nobody has told."""

    where: str = ""
    """File and line in a manifest; empty from Pulumi."""

    home: str = "default"
    """The namespace of what names none."""

    @cached_property
    def name(self) -> str:
        """Its name, or `(unnamed)` while it has none, or one that is not known yet."""
        return plain_text(self.properties, "metadata", "name") or "(unnamed)"

    @cached_property
    def namespace(self) -> str:
        """Its namespace; `home` where it names none, empty where its kind has none, NOT_KNOWN where it is open."""
        if self.kind in CLUSTER_SCOPED:
            return ""
        try:
            return self.properties.get("metadata", "namespace").text() or self.home
        except Unsaid:
            return self.home
        except Doubt:
            return NOT_KNOWN

    @property
    def id(self) -> str:
        """`Deployment/llm/chat`, as exceptions name it."""
        return "/".join(part for part in (self.kind, self.namespace, self.name) if part)

    @property
    def group(self) -> str:
        """`apps` of `apps/v1`; empty for the core."""
        return self.api_version.rpartition("/")[0]

    @cached_property
    def secrets(self) -> frozenset[str]:
        """The texts in it that the program marks as secret."""
        return frozenset(secret_texts(self.properties.raw))

    @property
    def labels(self) -> Mapping[str, str]:
        """Its own labels."""
        return texts(self.properties.get("metadata", "labels"))

    @property
    def annotations(self) -> Mapping[str, str]:
        """Its own annotations."""
        return texts(self.properties.get("metadata", "annotations"))

    @cached_property
    def pods(self) -> tuple[Pod, ...]:
        """The pods that it is or makes, without their number; none for other kinds, and for a template left out."""
        templates = [self.properties.get(*path) for path in self.pod_paths]
        shared = _share_names([Pod(template) for template in templates])
        roles = [path[-1].removesuffix("Template") if shared else "" for path in self.pod_paths]
        return tuple(
            Pod(template, owner_kind=self.kind, role=role) for template, role in zip(templates, roles, strict=True)
        )

    @property
    def serving_pods(self) -> tuple[Pod, ...]:
        """Those of `pods` that requests come to: of a group with a leader, the leader alone."""
        return self.pods[:1] if self.kind == "LeaderWorkerSet" else self.pods

    @cached_property
    def pod_paths(self) -> tuple[tuple[str, ...], ...]:
        """Where the templates of `pods` are."""
        paths = _TEMPLATES.get(self.kind, ())
        return tuple(path for path in paths if not path or self.properties.get(*path).exists)

    def pods_with_paths(self) -> Iterator[tuple[tuple[str, ...], Pod]]:
        """Each of `pods` and where its template is in `properties`, for remediations."""
        return zip(self.pod_paths, self.pods, strict=True)

    def containers_with_paths(self) -> Iterator[tuple[tuple[str | int, ...], Container]]:
        """Each container and where it is in `properties`, for remediations."""
        for path, pod in self.pods_with_paths():
            for key, role in CONTAINER_LISTS.items():
                own = (container for container in pod.containers if container.role == role)
                for index, container in enumerate(own):
                    yield (*path, "spec", key, index), container

    @property
    def pod(self) -> Pod:
        """The only pod template of a Deployment or another kind with one.

        Raises:
            IndexError: it has none.
        """
        return self.pods[0]


def _share_names(pods: Sequence[Pod]) -> bool:
    """Whether containers of several pods have one name."""
    if len(pods) < 2:
        return False
    try:
        names = [{container.own_name for container in pod.containers} for pod in pods]
    except Doubt:
        return False  # told of that list of containers
    return not names[0].isdisjoint(*names[1:])


def texts(value: Value) -> dict[str, str]:
    """A mapping of texts, without what is not known yet."""
    return {key: text for key, item in value.pairs() if not item.is_unknown and (text := item.text()) is not None}


def plain_text(value: Value, *keys: str) -> str | None:
    """The text below `keys`, or None where none can be read: what names an object is judged elsewhere."""
    try:
        return value.get(*keys).text()
    except Doubt:
        return None


@dataclass(frozen=True, kw_only=True, eq=False)
class Stack:
    """All objects that are deployed together."""

    objects: Sequence[Object]
    _by_kind: dict[str, list[Object]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Sort by kind, since every rule asks for some."""
        for item in self.objects:
            self._by_kind.setdefault(item.kind, []).append(item)

    @cached_property
    def secrets(self) -> frozenset[str]:
        """The texts in its objects that the program marks as secret."""
        return frozenset(secret for item in self.objects for secret in item.secrets)

    def of(self, *kinds: str) -> list[Object]:
        """Objects of `kinds`, in the order of the stack."""
        if len(kinds) == 1:
            return self._by_kind.get(kinds[0], [])
        return [item for item in self.objects if item.kind in kinds]

    def workloads(self) -> list[Object]:
        """Objects that are or make pods."""
        return self._workloads

    @cached_property
    def _workloads(self) -> list[Object]:
        return [item for item in self.objects if item.kind in POD_BEARING]


def of_pulumi(
    resource_type: str,
    properties: Mapping[str, Any],
    *,
    urn: str = "",
    ignores_changes: Sequence[str] = (),
    timeouts: Mapping[str, float] | None = None,
) -> list[Object]:
    """The objects of a Pulumi resource: several for a List, none for what is no object of Kubernetes.

    Args:
        resource_type: e.g. `kubernetes:apps/v1:Deployment`.
        properties: as the engine sends them.
        urn: of the resource.
        ignores_changes: its `ignore_changes`.
        timeouts: its `custom_timeouts` in seconds.
    """
    package, _, rest = resource_type.partition(":")
    api_version, _, kind = rest.rpartition(":")
    if package != "kubernetes" or not kind or "/" not in api_version:
        return []  # helm and yaml components: what they make comes by itself
    if api_version.startswith("core/"):
        api_version = api_version.removeprefix("core/")
    partial = kind.endswith(_PATCH) and kind != _PATCH
    ignored = tuple(ignores_changes)
    whole = Value(properties, partial=partial)
    kind = kind.removesuffix(_PATCH) if partial else kind
    return list(
        _listed(api_version, kind, whole, lambda: {"urn": urn, "ignores_changes": ignored, "timeouts": timeouts})
    )


def of_manifest(document: Mapping[str, Any], *, where: str = "", namespace: str = "default") -> list[Object]:
    """The objects of one document of a manifest: several for a List; in `namespace` where they name none."""
    api_version, kind = str(document.get("apiVersion") or ""), str(document.get("kind") or "")
    return list(_listed(api_version, kind, Value(document), lambda: {"where": where, "home": namespace}))


def _made(api_version: str, kind: str, properties: Value, rest: Mapping[str, Any]) -> Object:
    group = api_version.rpartition("/")[0]
    # Without a group it is taken for what its kind says: what is no kind of the core the cluster refuses.
    if group and group not in _GROUPS.get(kind, (group,)):
        kind = f"{kind}.{group}"
    return Object(api_version=api_version, kind=kind, properties=properties, **rest)


def _listed(api_version: str, kind: str, whole: Value, rest: Callable[[], Mapping[str, Any]]) -> Iterator[Object]:
    """An object, and what it lists, Lists within it too: kubectl takes whatever has `items` for a list."""
    try:
        listed = whole.get("items")
        items, is_list = listed.items(), listed.exists and kind.endswith("List")
    except Doubt:  # policy-settings tells it
        items, is_list = [], False
    if not is_list:
        yield _made(api_version, kind, whole, rest())
    for item in items:
        yield from _listed(*_type_of(item, api_version, kind), item, rest)


def _type_of(item: Value, api_version: str, kind: str) -> tuple[str, str]:
    """Version and kind of an item; one of a PodList need not say them."""
    if kind == "List":
        api_version = kind = ""
    try:
        own = item.get("kind").text() or kind.removesuffix("List") or NO_KIND
        return item.get("apiVersion").text() or api_version, own
    except Doubt:
        return "", NO_KIND
