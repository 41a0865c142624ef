"""What the policy pack is told of one environment: its levels, and what only the plan knows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from llm_policies.environment import (
    Environment,
    PackSettingsError,
    engine_config,
    read_environment,
)
from llm_policies.pack import RULES

from planning.catalogue import gpu_models
from planning.ollama import OllamaPlan
from planning.plan import Plan
from toolchain.steps import StepFailed

_TAINT = "nvidia.com/gpu=present:NoSchedule"


def environment_of(levels: Mapping[str, Any], plan: Plan) -> Environment:
    """How strict the pack is for a stack, and what it knows of the GPUs.

    Args:
        levels: what `policies/levels/<stack>.yaml` says; its pools and settings go before what the plan says.
        plan: of the environment; which GPUs there are, and which stay free, is not to be seen in a resource.

    Raises:
        StepFailed: with every mistake of `levels`.
    """
    said = levels.get("rules") or {}
    rules = said if not isinstance(said, Mapping) else {**said, **_with_known(said, plan)}
    try:
        return read_environment({"pools": _pools(plan), **levels, "rules": rules}, RULES)
    except PackSettingsError as error:
        raise StepFailed(f"The policy pack's settings are wrong:\n{error}") from None


def policy_config(levels: Mapping[str, Any], plan: Plan) -> dict[str, Any]:
    """What `pulumi --policy-pack-config` takes; arguments and errors as for `environment_of`."""
    return engine_config(environment_of(levels, plan), RULES)


def _with_known(rules: Mapping[str, Any], plan: Plan) -> dict[str, Any]:
    """What `rules` say of those that are told something of the plan; what is written goes before it."""
    return {
        name: {**known, **(said if isinstance(said := rules.get(name, {}), Mapping) else {"level": said})}
        for name, known in _known(plan).items()
    }


def _known(plan: Plan) -> dict[str, dict[str, Any]]:
    """Settings of rules, by rule: what cannot be seen in a resource."""
    servers = {f"{plan.namespace}/{name}": server for name, server in plan.servers.items()}
    files = {name: server.files_bytes for name, server in servers.items() if server.files_bytes}
    return {
        "gpu-rollout-deadlock": {
            "spareGpusByWorkload": {name: server.rollout.spare_gpus for name, server in servers.items()}
        },
        "pvc-too-small": {
            "modelBytesByClaim": {
                f"{name}-{'models' if isinstance(servers[name], OllamaPlan) else 'cache'}": size
                for name, size in files.items()
            }
        },
        "startup-budget": {
            "modelBytesByWorkload": files,
            "diskMegabytesPerSecond": plan.storage.read_megabytes_per_second,
            "downloadMegabytesPerSecond": plan.storage.download_megabytes_per_second,
        },
    }


def _pools(plan: Plan) -> dict[str, Any]:
    return {
        name: {
            "gpus": node.gpus,
            "timeSlices": node.time_slices,
            "memoryMiB": gpu_models()[node.gpu_model].memory_mib,
            "labels": {**node.labels, "kubernetes.io/hostname": name},
            "taints": [*([_TAINT] if node.taint else []), *(str(taint) for taint in node.other_taints)],
        }
        for name, node in plan.nodes.items()
    }
