"""What the lab must be so that a stack runs on it unchanged."""

from __future__ import annotations

from collections.abc import Iterable

from pydantic import ValidationError

from lab.spec import LabSpec, NodeSpec, Role
from planning.catalogue import gpu_models
from planning.llamacpp import LlamaCppPlan
from planning.ollama import OllamaPlan
from planning.plan import Plan
from planning.tgi import TgiPlan
from planning.vllm import VllmPlan
from toolchain.steps import StepFailed


def lab_spec(plan: Plan) -> LabSpec:
    """The nodes that the plan counts on, and a stand-in for every image and model that it names.

    Raises:
        StepFailed: the lab cannot be what the plan counts on, e.g. several nodes.
    """
    if prepared := [name for name, node in plan.nodes.items() if node.host is not None]:
        raise StepFailed(
            f"nodes.{prepared[0]}.host is a host that becomes a cluster's node, so the lab cannot stand in for it. "
            "Name the cluster that it joins in KUBECONFIG."
        )
    images: dict[Role, tuple[str, ...]] = {
        "vllm": _distinct(server.image for server in plan.servers.values() if isinstance(server, VllmPlan)),
        "ollama": _distinct(server.image for server in plan.servers.values() if isinstance(server, OllamaPlan)),
        "llamacpp": _distinct(server.image for server in plan.servers.values() if isinstance(server, LlamaCppPlan)),
        "tgi": _distinct(server.image for server in plan.servers.values() if isinstance(server, TgiPlan)),
        "gateway": (plan.ingress.image,) if plan.ingress else (),
        "devicePlugin": _distinct(plugin.image for plugin in plan.gpu_runtime),
    }
    if (watch := plan.monitoring) is not None:
        images["prometheus"] = (watch.prometheus.image,)
        images["dcgmExporter"] = (watch.dcgm.image,) if watch.dcgm else ()
        images["grafana"] = (watch.grafana.image,) if watch.grafana else ()
        images["prometheusAdapter"] = (watch.adapter.image,) if watch.adapter else ()
    try:
        return LabSpec(
            nodes={
                name: NodeSpec(
                    gpus=node.gpus,
                    gpu_model=node.gpu_model,
                    gpu_memory_mib=gpu_models()[node.gpu_model].memory_mib,
                )
                for name, node in plan.nodes.items()
            },
            images={role: references for role, references in images.items() if references},
            ollama_models=_distinct(
                model for server in plan.servers.values() if isinstance(server, OllamaPlan) for model in server.pull
            ),
        )
    except ValidationError as error:
        told = "; ".join(
            str(details["msg"]).removeprefix("Value error, ") for details in error.errors(include_url=False)
        )
        raise StepFailed(
            f"The lab cannot stand in for this stack: {told}. Name a cluster of yours in KUBECONFIG."
        ) from None


def _distinct(items: Iterable[str]) -> tuple[str, ...]:
    return tuple(sorted(set(items)))
