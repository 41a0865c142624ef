"""The autoscaler's plan: room for every pod, no target out of reach, no run-away while a model loads."""

from __future__ import annotations

import pytest
from on_mocks import Raw
from small_stacks import LLAMA_8B, node, planned, problems, vllm, vllm_plan

from settings.problems import SettingsError

POOL = {"a": node("a100-80gb", 4)}


def autoscaled(**autoscale: object) -> Raw:
    return vllm(LLAMA_8B, autoscale={"max": 4, "runningRequests": 50, **autoscale})


def test_the_next_pod_is_added_only_after_a_start_could_have_helped() -> None:
    found = vllm_plan(POOL, **autoscaled())
    assert found.autoscale
    assert found.autoscale.scale_up_window_seconds == found.startup.expected_seconds > 60


def test_an_autoscaled_server_starts_with_its_fewest_pods() -> None:
    found = vllm_plan(POOL, **autoscaled(min=2))
    assert (found.replicas, len(found.nodes)) == (2, 4)


def test_a_target_that_no_pod_ever_passes_is_told() -> None:
    """By the tenth that Kubernetes tolerates."""
    assert problems(POOL, {"fast": autoscaled(runningRequests=117)}) == [
        "models.fast.autoscale.runningRequests: 117, but a pod never runs more than 128 (--max-num-seqs), and "
        "Kubernetes adds one only beyond a tenth above the target, so no pod would ever be added. Write 116 at most, "
        "or raise maxNumSeqs."
    ]
    assert vllm_plan(POOL, **autoscaled(runningRequests=116)).autoscale
    [told] = problems(POOL, {"fast": autoscaled(runningRequests=1) | {"maxNumSeqs": 1}})
    assert told.endswith("so no pod would ever be added. Raise maxNumSeqs.")


def test_a_maximum_beyond_the_pool_is_told() -> None:
    [told] = problems(POOL, {"fast": autoscaled(max=5)})
    assert told.startswith(
        "models.fast.autoscale.max: 1 of 5 replicas find no free GPU (each takes 1, all on one node)"
    )


@pytest.mark.parametrize(
    ("model", "told"),
    [
        (autoscaled(min=5), "models.fast.autoscale: max 4 is below min 5"),
        (autoscaled() | {"replicas": 1}, "models.fast: replicas 1 beside autoscale"),
        (autoscaled(runningRequests=0), "models.fast.autoscale.runningRequests"),
    ],
)
def test_settings_that_contradict_themselves_are_told(model: Raw, told: str) -> None:
    with pytest.raises(SettingsError, match=told):
        planned(POOL, {"fast": model})
