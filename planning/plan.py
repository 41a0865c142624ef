"""From settings to the plan of a whole environment."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from pydantic import SecretStr

from planning.catalogue import gpu_models
from planning.ingress import IngressPlan, plan_ingress
from planning.monitoring import MonitoringPlan, plan_monitoring, unfed_autoscalers
from planning.nodes import NodePlan, plan_nodes
from planning.ollama import OllamaPlan, plan_ollama
from planning.placement import Placement, fewest_replicas, place, replicas_of
from planning.pods import scheduling
from planning.problems import PlanError
from planning.rollout import outage_seconds, rollout
from planning.vllm import VllmPlan, plan_vllm
from planning.volumes import VolumeClass, volume_class
from planning.warnings import warnings
from settings.ollama import OllamaSettings
from settings.problems import SettingsError
from settings.source import Source
from settings.stack import Settings
from settings.vllm import VllmSettings

ServerPlan = VllmPlan | OllamaPlan

_PLANNERS: dict[type, Callable[..., Any]] = {VllmSettings: plan_vllm, OllamaSettings: plan_ollama}
"""By the type of a server's settings: (name, settings, *, nodes, node, rollout, storage, problems, warnings)."""

_DECISIVE = {field.alias for field in Settings.model_fields.values()} - {"ingress", "huggingFaceToken"}
"""Settings without which nothing can be said of the models' plan."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What an environment is made of."""

    namespace: str
    nodes: dict[str, NodePlan]
    servers: dict[str, ServerPlan]
    ingress: IngressPlan | None
    hugging_face_token: SecretStr | None
    warnings: tuple[str, ...]
    """What may go wrong although the plan can be followed."""
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
    """What a plan without the models (and the edge) that have `problems` would not fit either.

    Nothing is told where a problem is elsewhere: nodes, storage and monitoring change what a plan comes to.
    """
    likely = source.likely()  # a misspelt engine alone is no reason not to plan its model
    if likely != source:
        problems = likely.problems()
    paths = [problem.partition(": ")[0] for problem in problems]
    models = {name for name in _models(source) for path in paths if f"{path}.".startswith(f"models.{name}.")}
    elsewhere = {path.partition(".")[0] for path in paths if not path.startswith("models.")}
    if elsewhere & _DECISIVE:
        return ()
    try:
        plan(likely.without(models, elsewhere).settings())
    except PlanError as error:
        return error.problems
    except SettingsError:
        return ()  # no model is left
    return ()


def _models(source: Source) -> Collection[str]:
    models = source.raw.get("models")
    return models if isinstance(models, Mapping) else ()


def plan(settings: Settings) -> Plan:
    """The plan of `settings`.

    Raises:
        PlanError: with every problem of every node, model and route.
    """
    problems: list[str] = []
    doubts: list[str] = []
    nodes = plan_nodes(settings.nodes, problems)
    ingress = (
        plan_ingress(settings.ingress, settings.models, namespace=settings.namespace, problems=problems)
        if settings.ingress
        else None
    )
    placement = place(settings.nodes, settings.models, problems, access_mode=settings.storage.access_mode)
    _check_shares(settings, placement, problems)
    servers: dict[str, ServerPlan] = {}
    for name, placed in placement.nodes.items():
        if not placed or any(settings.nodes[n].gpus.model not in gpu_models() for n in placed):
            continue  # the problem is told already
        server, node = settings.models[name], settings.nodes[placed[0]]
        strategy = rollout(
            replicas=fewest_replicas(server),
            most=replicas_of(server),
            gpus=server.gpus,
            nodes=placed,
            free=placement.free,
        )
        planned: ServerPlan = _PLANNERS[type(server)](
            name,
            server,
            nodes=placed,
            node=node,
            rollout=strategy,
            storage=settings.storage,
            problems=problems,
            warnings=doubts,
        )
        seconds = outage_seconds(strategy, startup=planned.startup, shutdown=planned.shutdown)
        servers[name] = replace(
            planned, rollout=replace(strategy, outage_seconds=seconds), scheduling=scheduling(server)
        )
    if settings.monitoring is None:
        problems += unfed_autoscalers(settings.models)
    monitoring = (
        plan_monitoring(
            settings.monitoring,
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
        hugging_face_token=settings.hugging_face_token,
        warnings=(*warnings(settings), *doubts),
        volumes=volume_class(settings.storage),
        monitoring=monitoring,
    )


def _check_shares(settings: Settings, placement: Placement, problems: list[str]) -> None:
    """A share may not exceed a slice's part: the scheduler, not the plan, picks who shares a GPU with whom."""
    for name, placed in placement.nodes.items():
        share = settings.models[name].gpu_share
        slices = settings.nodes[placed[0]].gpus.time_slices if placed else 1
        if share is not None and slices > 1 and share * slices > 1:
            problems.append(
                f"models.{name}.gpuShare: {share} of a GPU that {slices} pods share; together they may want "
                f"more than the card has, and nothing isolates their memory. Write {1 / slices:g} or less."
            )
