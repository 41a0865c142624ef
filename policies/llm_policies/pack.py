"""All rules of the pack."""

from llm_policies.images import IMAGE_TAG_MUTABLE
from llm_policies.rollouts import GPU_ROLLOUT_DEADLOCK
from llm_policies.shared_memory import SHM_TOO_SMALL

RULES = (GPU_ROLLOUT_DEADLOCK, SHM_TOO_SMALL, IMAGE_TAG_MUTABLE)
