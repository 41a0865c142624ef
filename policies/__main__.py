"""Entry point only: it serves until it is ended, so nothing else may live here."""

from llm_policies.analyzer import serve
from llm_policies.pack import RULES

serve("llm-policies", RULES)
