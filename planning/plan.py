"""From settings to the plan of a whole environment."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

from pydantic import SecretStr

from planning.gpu_runtime import DevicePluginPlan, plan_gpu_runtime
from planning.images import all_mirrored, mirrored
from planning.ingress import IngressPlan, plan_ingress
from planning.monitoring import MonitoringPlan, plan_monitoring, unfed_autoscalers
from planning.nodes import NodePlan, plan_nodes
from planning.problems import PlanError
from planning.security import check_namespaces
from planning.servers import ServerPlan, plan_servers
from planning.shared_gpus import overfull_gpus
from planning.tracing import plan_tracing
from planning.volumes import VolumeClass, volume_class
from planning.warnings import warnings
from settings.problems import SettingsError
from settings.source import Source
from settings.stack import Settings
from settings.storage import StorageSettings

__all__ = ["Plan", "ServerPlan", "plan", "plan_source"]

_DECISIVE = {"nodes", "models", "storage"}
"""Settings without which nothing can be said of the models' plan."""

_PREPARATION = ("host", "containerToolkit", "k3s")
"""Settings of a node that change nothing about what runs there."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What an environment is made of."""

    namespace: str
    nodes: dict[str, NodePlan]
    servers: dict[str, ServerPlan]
    gpu_runtime: tuple[DevicePluginPlan, ...]
    pod_security: str
    """Level of Pod Security that the models' namespace enforces."""

    ingress: IngressPlan | None
    hugging_face_token: SecretStr | None
    warnings: tuple[str, ...]
    """What may go wrong although the plan can be followed."""
    storage: StorageSettings
    """How fast models come to a node and into memory; budgets are made of it."""

    volumes: VolumeClass
    monitoring: MonitoringPlan | None


def plan_source(source: Source) -> Plan:
    """The plan of what was written.

    Raises:
        SettingsError, PlanError: with every problem at once, and the line of each in the file.
    """
    try:
        settings = source.settings()
    except SettingsError as error:
        raise SettingsError(
            source.name, [*error.problems, *_problems_of_the_rest(source, error.problems)], source.lines
        ) from None
    try:
        return plan(settings)
    except PlanError as error:
        raise PlanError(error.problems, source.lines) from None


def _problems_of_the_rest(source: Source, problems: Sequence[str]) -> tuple[str, ...]:
    """What a plan without the models and other parts that have `problems` would not fit either.

    Nothing is told where storage has one, or what the nodes have to offer: that changes what a plan comes to.
    """
    likely = source.likely()  # a misspelt engine alone is no reason not to plan its model
    if likely != source:
        problems = likely.problems()
    paths = [problem.partition(": ")[0] for problem in problems]
    models = {name for name in _named(source, "models") for path in paths if f"{path}.".startswith(f"models.{name}.")}
    hosts = tuple(f"nodes.{name}.{key}." for name in _named(source, "nodes") for key in _PREPARATION)
    others = [path for path in paths if not path.startswith("models.") and not f"{path}.".startswith(hosts)]
    elsewhere = {path.partition(".")[0] for path in others}
    if elsewhere & _DECISIVE:
        return ()
    rest = likely.without(models, elsewhere, of_nodes=_PREPARATION)
    if "monitoring" in elsewhere:  # it will be there, however it is written now
        rest = replace(rest, raw={**rest.raw, "monitoring": {}})
    try:
        plan(rest.settings())
    except PlanError as error:
        return error.problems
    except SettingsError:
        return ()  # no model is left
    return ()


def _named(source: Source, key: str) -> Collection[str]:
    """The names of the models or nodes that are written."""
    written = source.raw.get(key)
    return written if isinstance(written, Mapping) else ()


def plan(settings: Settings) -> Plan:
    """The plan of `settings`.

    Raises:
        PlanError: with every problem of every node, model and route.
    """
    mirror = settings.security.registry_mirror
    problems: list[str] = []
    doubts: list[str] = []
    check_namespaces(settings, problems)
    nodes = plan_nodes(settings.nodes, problems)
    ingress = (
        plan_ingress(settings.ingress, settings.models, namespace=settings.namespace, problems=problems)
        if settings.ingress
        else None
    )
    if ingress is not None:
        secrets = tuple(settings.security.image_pull_secrets)
        ingress = replace(ingress, image=mirrored(ingress.image, mirror), image_pull_secrets=secrets)
    servers = plan_servers(settings, problems, doubts)
    if settings.tracing is not None:
        servers = plan_tracing(settings.tracing, servers, problems, doubts)
    if settings.monitoring is None:
        problems += unfed_autoscalers(settings.models)
    monitoring = (
        plan_monitoring(
            settings.monitoring.model_copy(update={"images": all_mirrored(settings.monitoring.images, mirror)}),
            servers,
            settings.nodes,
            models_namespace=settings.namespace,
            models_host=settings.ingress.host if settings.ingress else None,
            problems=problems,
        )
        if settings.monitoring
        else None
    )
    if problems:
        raise PlanError(problems)
    return Plan(
        namespace=settings.namespace,
        nodes=nodes,
        servers=servers,
        ingress=ingress,
        gpu_runtime=plan_gpu_runtime(nodes, mirror=mirror),
        pod_security=settings.security.pod_security.level,
        hugging_face_token=settings.hugging_face_token,
        warnings=(*warnings(settings), *doubts, *overfull_gpus(nodes, servers)),
        storage=settings.storage,
        volumes=volume_class(settings.storage),
        monitoring=monitoring,
    )
