"""All rules of the pack."""

from llm_policies import (
    autoscaling,
    cors,
    disruption,
    edge_tls,
    engines,
    exposure,
    gpus,
    images,
    ingress,
    network_policies,
    node_access,
    pod_security,
    rollouts,
    secrets,
    selectors,
    service_accounts,
    shared_memory,
    shutdown,
    startup,
    volumes,
    workloads,
)
from llm_policies.pack_settings import policy_settings

_SUBJECTS = (
    images,
    pod_security,
    node_access,
    service_accounts,
    secrets,
    engines,
    cors,
    workloads,
    shutdown,
    startup,
    rollouts,
    gpus,
    shared_memory,
    volumes,
    autoscaling,
    disruption,
    selectors,
    network_policies,
    edge_tls,
    ingress,
    exposure,
)
_RULES = tuple(rule for subject in _SUBJECTS for rule in subject.RULES)

RULES = (*_RULES, policy_settings({rule.name for rule in _RULES}))
