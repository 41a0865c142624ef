"""`llmctl schema`: the JSON Schema of stack files, as it is committed in schemas/."""

from __future__ import annotations

import json

from planning.catalogue import gpu_models, hub_models
from settings.schema import stack_file_schema

FILE = "schemas/stack-file.schema.json"
"""Where it is committed; the first line of each stack file leads there."""


def schema_text() -> str:
    """The JSON Schema, with the GPUs and models of the catalogue."""
    return json.dumps(stack_file_schema(gpus=gpu_models(), models=hub_models()), indent=2) + "\n"
