"""The cluster behind a configured provider: reached or not, and what can be told of objects in either case."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from kubernetes.config import ConfigException

from plugins._provider import Failure
from plugins.kubernetes import config
from plugins.kubernetes.awaiting.loop import Awaiter
from plugins.kubernetes.cluster import ApiError, Cluster, Unreachable
from plugins.kubernetes.discovery import Discovery, UnknownKind
from plugins.kubernetes.kinds import built_in, is_definition, namespaced_by_name
from plugins.kubernetes.objects import Object, pluck
from plugins.kubernetes.operations import Operations


@dataclass(frozen=True)
class Connection:
    """A provider's options and its cluster."""

    options: config.Options
    unreachable: str
    """Why the cluster cannot be reached; empty if it can."""
    operations: Operations | None = None
    awaiter: Awaiter | None = None
    _scopes: dict[tuple[str, str], bool] = field(default_factory=dict)
    """Whether a kind that this very program defines has a namespace, by group and kind."""

    def connected(self) -> tuple[Operations, Awaiter]:
        """What works on the cluster. Raises Failure where there is none."""
        if self.unreachable or self.operations is None or self.awaiter is None:
            raise Failure(f"configured Kubernetes cluster is unreachable: {self.unreachable}")
        return self.operations, self.awaiter

    def learn(self, obj: Object) -> None:
        """Remember the scope of the kind that `obj` defines, if it is a CustomResourceDefinition of the program."""
        if not is_definition(obj.get("apiVersion"), obj.get("kind")):
            return
        group, kind, scope = (pluck(obj, "spec", *path) for path in (("group",), ("names", "kind"), ("scope",)))
        if isinstance(group, str) and isinstance(kind, str) and isinstance(scope, str):
            self._scopes[group, kind] = scope == "Namespaced"

    def namespaced(self, obj: Object) -> bool:
        """Whether the object's kind has a namespace: the program's or the server's word, else by its name."""
        api_version, kind = str(obj.get("apiVersion")), str(obj.get("kind"))
        if not built_in(api_version):
            learned = self._scopes.get((api_version.rpartition("/")[0], kind))
            if learned is not None:
                return learned
        if not self.unreachable and self.operations is not None:
            try:
                return self.operations.discovery.resource(api_version, kind).namespaced
            except (UnknownKind, ApiError, Unreachable):
                return namespaced_by_name(api_version, kind)  # its CRD may be among what is about to be created
        return namespaced_by_name(api_version, kind)

    def canonical(self, obj: Object) -> Object:
        """`obj` with the namespace that it really has: `default` if it names none, none if its kind has none."""
        metadata = obj.get("metadata")
        if not isinstance(metadata, dict):
            return obj
        rest = {name: value for name, value in metadata.items() if name != "namespace"}
        if self.namespaced(obj):
            rest["namespace"] = metadata.get("namespace") or "default"
        return {**obj, "metadata": rest}

    def placed(self, obj: Object) -> Object:
        """`obj` without a namespace if its kind turns out to have none."""
        return obj if self.namespaced(obj) else self.canonical(obj)


NOT_CONFIGURED = Connection(config.options({}, ""), "the provider is not configured")


def connect(properties: Mapping[str, Any], cancelled: threading.Event) -> Connection:
    """Connect to the cluster that a provider's options name; where that fails, the connection says why.

    Args:
        properties: the options, with secrets laid open.
        cancelled: ends waiting and retries when it is set.
    """
    namespace = ""
    try:
        kubeconfig = config.kubeconfig(properties)
        namespace = config.active_context(kubeconfig or {}).get("namespace", "")
        options = config.options(properties, namespace)
        cluster = Cluster(config.client_configuration(kubeconfig), cancelled)
        operations = Operations(cluster, Discovery(cluster), options.patch_force)
        cluster.version()
        return Connection(options, "", operations, Awaiter(operations, cancelled, everything=options.await_all))
    except (config.BadKubeconfig, ConfigException) as error:
        reason = f"kubeconfig: {error}"
    except Unreachable as error:
        reason = str(error)
    except ApiError as error:
        reason = f"the Kubernetes API server refuses the provider's credentials: {error}"
    return Connection(config.options(properties, namespace), reason)
