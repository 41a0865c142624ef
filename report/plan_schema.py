"""Writes docs/plan.schema.json and docs/plan-json.md, of what `llmctl plan --json` prints: `python -m
report.plan_schema`."""

from __future__ import annotations

import json
from typing import Any

from report.plan_summary import PlanDocument
from toolchain.paths import REPOSITORY

SCHEMA_FILE = REPOSITORY / "docs" / "plan.schema.json"
PAGE = REPOSITORY / "docs" / "plan-json.md"

_HEAD = """\
<!-- Made by report/plan_schema.py from report/plan_summary.py; not to be edited. -->
# What `llmctl plan --json` prints
One JSON document on standard output, whatever comes of the stack file. Exit code 0: there is a plan, maybe with
warnings. Exit code 1: there are problems, which standard error tells as well. Of what is not known, null is said and
nothing is guessed. Every key is always there. Its JSON Schema: [plan.schema.json](plan.schema.json).

```sh
bin/llmctl plan Pulumi.prod.yaml --json | jq '.models[].gpuMemoryMiB.total'
```
"""


def schema() -> dict[str, Any]:
    """The JSON Schema."""
    made = PlanDocument.model_json_schema(by_alias=True, mode="serialization")
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **made}


def page() -> str:
    """The page in docs/."""
    document = schema()
    parts = {"The document": document, **document["$defs"]}
    return "\n".join([_HEAD, *(_section(name, part) for name, part in parts.items())])


def schema_text() -> str:
    """The schema as it is committed."""
    return json.dumps(schema(), indent=2) + "\n"


def _section(name: str, part: dict[str, Any]) -> str:
    rows = [f"| `{key}` | {_type(value)} | {value['description']} |" for key, value in part["properties"].items()]
    return "\n".join(
        [f"## {name}", part["description"], "", "| Key | Type | Meaning |", "| --- | --- | --- |", *rows, ""]
    )


def _type(value: dict[str, Any]) -> str:
    """The type of a value, in words of which a table's cell may be made."""
    if "anyOf" in value:
        return " or ".join(_type(one) for one in value["anyOf"])
    if "$ref" in value:
        return str(value["$ref"].rpartition("/")[2])
    if "enum" in value or "const" in value:
        return ", ".join(f"`{json.dumps(one)}`" for one in value.get("enum", [value.get("const")]))
    if value["type"] == "array":
        return f"list of {_type(value['items'])}"
    if value["type"] == "object":
        return f"by name: {_type(value['additionalProperties'])}"
    return str(value["type"])


if __name__ == "__main__":
    SCHEMA_FILE.write_text(schema_text())
    PAGE.write_text(page())
