"""The provider's own configuration: which options are taken, which are refused, and the client that they give."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from kubernetes.client.configuration import Configuration
from kubernetes.config import ConfigException
from kubernetes.config.incluster_config import load_incluster_config
from kubernetes.config.kube_config import KubeConfigMerger, load_kube_config_from_dict

from plugins._provider import Failure
from plugins._values import UNKNOWN

TAKEN = frozenset(
    {
        "kubeconfig",
        "context",
        "cluster",
        "namespace",
        "clusterIdentifier",
        "deleteUnreachable",
        "skipUpdateUnreachable",
        "renderYamlToDirectory",
        "alwaysRender",
        "enablePatchForce",
        "enableServerSideApply",
        "upsertExistingObjects",
        "enableConfigMapMutable",
        "enableSecretMutable",
        "suppressDeprecationWarnings",
        "suppressHelmHookWarnings",
    }
)
_ENGINES_OWN = frozenset({"version", "pluginDownloadURL", "pluginChecksums", "__internal"})
_NO_CLUSTER = "the kubeconfig names no cluster"

# Options that may also come from the environment, as with the official provider.
_ENVIRONMENT = {
    "deleteUnreachable": "PULUMI_K8S_DELETE_UNREACHABLE",
    "skipUpdateUnreachable": "PULUMI_K8S_SKIP_UPDATE_UNREACHABLE",
    "enableServerSideApply": "PULUMI_K8S_ENABLE_SERVER_SIDE_APPLY",
    "enablePatchForce": "PULUMI_K8S_ENABLE_PATCH_FORCE",
    "upsertExistingObjects": "PULUMI_K8S_UPSERT_EXISTING_OBJECTS",
    "enableConfigMapMutable": "PULUMI_K8S_ENABLE_CONFIGMAP_MUTABLE",
    "enableSecretMutable": "PULUMI_K8S_ENABLE_SECRET_MUTABLE",
}
_NAMING_A_CLUSTER = ("kubeconfig", "context", "cluster")


class BadKubeconfig(Exception):
    """The kubeconfig cannot be used; the message says why."""


@dataclass(frozen=True)
class Options:
    """The switches among the provider's options."""

    delete_unreachable: bool
    skip_update_unreachable: bool
    """Whether objects of a cluster that is away are left as they are, instead of failing the run."""
    patch_force: bool
    upsert: bool
    config_map_mutable: bool
    secret_mutable: bool
    await_all: bool
    """Whether kinds without a check of their own are waited for too, by their conditions."""
    namespace: str
    """Namespace of objects that name none."""
    render_to: str
    """Folder for YAML files, which are written instead of anything in a cluster; empty for none."""
    always_render: bool
    """Whether every file is written at every run, changed or not."""


def problems(properties: Mapping[str, Any]) -> list[tuple[str, str]]:
    """(option, reason) for each option that this stand-in does not do, or that contradicts another."""
    found = [
        (name, f'"{name}" is not done by this provider, a stand-in for the official one. Use the official plugin.')
        for name in sorted(properties)
        if name not in TAKEN and name not in _ENGINES_OWN and properties[name] not in (None, "", False, "false")
    ]
    if not _switch(properties, "enableServerSideApply", default=True):
        reason = (
            "client-side apply is not done by this provider, a stand-in for the official one: "
            "leave enableServerSideApply at true, or use the official plugin."
        )
        found.append(("enableServerSideApply", reason))
    if properties.get("renderYamlToDirectory"):
        # The SDK itself fills in KUBECONFIG, which is nobody's wish.
        ambient = properties.get("kubeconfig") == os.environ.get("KUBECONFIG")
        found += [
            (name, f'"{name}" arg is not compatible with "renderYamlToDirectory" arg')
            for name in ("cluster", "context", "kubeconfig")
            if properties.get(name) and not (name == "kubeconfig" and ambient)
        ]
    elif properties.get("alwaysRender") in (True, "true"):
        found.append(("alwaysRender", '"alwaysRender" requires "renderYamlToDirectory" to be set'))
    return found


def options(properties: Mapping[str, Any], namespace: str) -> Options:
    """The switches, from the options and the environment; `namespace` is the kubeconfig's."""
    return Options(
        delete_unreachable=_switch(properties, "deleteUnreachable"),
        skip_update_unreachable=_switch(properties, "skipUpdateUnreachable"),
        patch_force=_switch(properties, "enablePatchForce"),
        upsert=_switch(properties, "upsertExistingObjects"),
        config_map_mutable=_switch(properties, "enableConfigMapMutable"),
        secret_mutable=_switch(properties, "enableSecretMutable"),
        await_all=os.environ.get("PULUMI_K8S_AWAIT_ALL") == "true",
        namespace=properties.get("namespace") or namespace or "default",
        render_to=properties.get("renderYamlToDirectory") or "",
        always_render=_switch(properties, "alwaysRender"),
    )


def _switch(properties: Mapping[str, Any], name: str, *, default: bool = False) -> bool:
    value = properties.get(name)
    if value is None:
        value = os.environ.get(_ENVIRONMENT[name]) if name in _ENVIRONMENT else None
    return default if value is None else value in (True, "true")


def kubeconfig(properties: Mapping[str, Any]) -> dict[str, Any] | None:
    """The kubeconfig that the options name (content or path), else the ambient one, with `context`, `cluster`.

    Returns None where there is none: then the program may run inside a cluster.

    Raises:
        BadKubeconfig: it cannot be read, or is none.
    """
    given = properties.get("kubeconfig")
    if isinstance(given, Mapping):
        found = dict(given)
    elif given and ("\n" in given or given.lstrip().startswith("{")):
        found = _parse(given)
    else:
        paths = str(given or os.environ.get("KUBECONFIG") or "~/.kube/config")
        there = any(Path(path).expanduser().is_file() for path in paths.split(os.pathsep) if path)
        if not there and not given:
            return None
        if not there:
            raise BadKubeconfig("it is neither a kubeconfig's content nor the path of one")
        found = _from_files(paths)
    if properties.get("context"):
        found = {**found, "current-context": properties["context"]}
    if properties.get("cluster"):
        active = active_context(found)
        changed = {**active, "cluster": properties["cluster"]}
        contexts = [
            {**item, "context": changed} if item.get("name") == found.get("current-context") else item
            for item in found.get("contexts") or []
        ]
        found = {**found, "contexts": contexts}
    return found


_FILES = ("certificate-authority", "client-certificate", "client-key", "tokenFile")


def _from_files(paths: str) -> dict[str, Any]:
    """The kubeconfigs at `paths` merged, with the files that they name made absolute."""
    try:
        merged = KubeConfigMerger(paths).config  # type: ignore[no-untyped-call]  # the client is not typed
    except (OSError, yaml.YAMLError, ConfigException) as error:
        raise BadKubeconfig(f"{paths} cannot be read: {error}") from error
    found: dict[str, Any] = dict(merged.value)
    for kind, entry in (("clusters", "cluster"), ("users", "user"), ("contexts", "context")):
        found[kind] = [_absolute(node.value, entry, Path(node.path).parent) for node in found.get(kind) or []]
    return found


def _absolute(item: dict[str, Any], entry: str, base: Path) -> dict[str, Any]:
    settings = item.get(entry) or {}
    files = {name: str(base / settings[name]) for name in _FILES if settings.get(name)}
    return {**item, entry: {**settings, **files}}


def _parse(text: str) -> dict[str, Any]:
    try:
        found = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise BadKubeconfig("its content is not YAML") from error
    if not isinstance(found, dict) or "clusters" not in found:
        raise BadKubeconfig("it is neither a kubeconfig's content nor the path of one")
    return found


def active_context(config: Mapping[str, Any]) -> dict[str, Any]:
    """The current context's own entry; empty if there is none."""
    for item in config.get("contexts") or []:
        if item.get("name") == config.get("current-context"):
            return dict(item.get("context") or {})
    return {}


def active_cluster(config: Mapping[str, Any] | None) -> dict[str, Any]:
    """The entry of the cluster that the current context names; empty if there is none."""
    if config is None:
        return {}
    wanted = active_context(config).get("cluster")
    for item in config.get("clusters") or []:
        if item.get("name") == wanted:
            return dict(item.get("cluster") or {})
    return {}


def client_configuration(config: Mapping[str, Any] | None) -> Configuration:
    """The official client's configuration for a kubeconfig, or for the cluster that the process runs in.

    Raises:
        BadKubeconfig: no cluster, or credentials that cannot be loaded.
    """
    result = Configuration()
    try:
        if config is None:
            load_incluster_config(client_configuration=result)  # type: ignore[no-untyped-call]  # the client is not typed
        else:
            load_kube_config_from_dict(dict(config), client_configuration=result)  # type: ignore[no-untyped-call]  # as above
    except ConfigException as error:
        raise BadKubeconfig(str(error) if config is not None else f"{_NO_CLUSTER}, and none is set: {error}") from error
    return result


def replacing_changes(olds: Mapping[str, Any], news: Mapping[str, Any]) -> list[str]:
    """Options whose change means another cluster or another folder, so that everything in it is to be replaced.

    `clusterIdentifier` decides if it is set; without it, the active cluster's entry in the kubeconfig, of which an
    unknown one (the run is about to make the cluster) is taken for another. One that comes or goes replaces nothing.

    Raises:
        Failure: a kubeconfig cannot be read.
    """
    was, is_ = olds.get("clusterIdentifier"), news.get("clusterIdentifier")
    if is_ and was == is_:
        return []
    replaces = ["clusterIdentifier"] if was and is_ else []
    if unknown := [name for name in _NAMING_A_CLUSTER if news.get(name) is UNKNOWN]:
        return replaces + unknown
    if (olds.get("renderYamlToDirectory") or "") != (news.get("renderYamlToDirectory") or ""):
        replaces.append("renderYamlToDirectory")
    # Without the option the ambient kubeconfig is used, and nothing is known of the one that was used then.
    given = [found if found.get("kubeconfig") else None for found in (olds, news)]
    try:
        before, after = (active_cluster(None if found is None else kubeconfig(found)) for found in given)
    except (BadKubeconfig, ConfigException) as error:
        raise Failure(f"kubeconfig: {error}") from error
    if before and after and before != after:
        replaces += [name for name in _NAMING_A_CLUSTER if olds.get(name) != news.get(name)]
    return replaces
