"""What the policy pack is told of one environment: its levels, and what only the plan knows."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from planning.plan import Plan

_ROLLOUT_RULE = "gpu-rollout-deadlock"


def read_levels(file: Path) -> dict[str, Any]:
    """The levels of an environment; without a file of its own each rule keeps its own level, the strict one."""
    levels: dict[str, Any] = json.loads(file.read_text()) if file.exists() else {}
    return levels


def policy_config(levels: Mapping[str, Any], plan: Plan) -> dict[str, Any]:
    """What `pulumi --policy-pack-config` takes.

    Args:
        levels: enforcement level, or an object with one, by rule; `all` for the others.
        plan: of the environment; which GPUs stay free is not to be seen in a resource.
    """
    written = levels.get(_ROLLOUT_RULE, levels.get("all"))
    rule = {"enforcementLevel": written} if isinstance(written, str) else dict(written or {})
    rule["spareGpusByWorkload"] = {
        f"{plan.namespace}/{name}": server.rollout.spare_gpus for name, server in plan.servers.items()
    }
    return {**levels, _ROLLOUT_RULE: rule}
