"""All rules of the pack."""

from llm_policies import (
    autoscaling,
    engines,
    gpus,
    images,
    pod_security,
    rollouts,
    secrets,
    shared_memory,
    shutdown,
    workloads,
)
from llm_policies.pack_settings import policy_settings

_SUBJECTS = (rollouts, shared_memory, images, pod_security, secrets, engines, workloads, shutdown, gpus, autoscaling)
_RULES = tuple(rule for subject in _SUBJECTS for rule in subject.RULES)

RULES = (*_RULES, policy_settings({rule.name for rule in _RULES}))
