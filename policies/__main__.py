"""Entry point only: PolicyPack() serves until it is ended, so nothing else may live here."""

from llm_policies.pack import RULES
from pulumi_policy import PolicyPack

PolicyPack("llm-policies", [rule.policy() for rule in RULES])
