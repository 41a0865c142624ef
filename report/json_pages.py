"""Writes JSON Schema and page in docs/ of what commands with --json print: `python -m report.json_pages`."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from report.advice_document import AdviceDocument
from report.document import Document
from report.plan_summary import PlanDocument
from toolchain.paths import REPOSITORY


@dataclass(frozen=True, kw_only=True)
class JsonPage:
    """What one command prints."""

    command: str
    document: type[Document]
    about: str

    @property
    def schema_file(self) -> Path:
        """The JSON Schema in docs/."""
        return REPOSITORY / "docs" / f"{self.command}.schema.json"

    @property
    def file(self) -> Path:
        """The page in docs/."""
        return REPOSITORY / "docs" / f"{self.command}-json.md"

    def schema(self) -> dict[str, Any]:
        """The JSON Schema."""
        made = self.document.model_json_schema(by_alias=True, mode="serialization")
        return {"$schema": "https://json-schema.org/draft/2020-12/schema", **made}

    def schema_text(self) -> str:
        """The JSON Schema as it is committed."""
        return json.dumps(self.schema(), indent=2) + "\n"

    def text(self) -> str:
        """The page: a table for each kind of mapping."""
        schema = self.schema()
        parts = {"The document": schema, **schema["$defs"]}
        head = (
            "<!-- Made by report/json_pages.py; not to be edited. -->\n"
            f"# What `llmctl {self.command} --json` prints\n{self.about}\n\n"
            "One JSON document on standard output. Every key is always there; of what is not known, null is said and "
            "nothing is\nguessed. Its `version` changes when a key goes or changes its meaning, not when one comes. "
            f"Its JSON Schema:\n[{self.schema_file.name}]({self.schema_file.name}).\n"
        )
        return "\n".join([head, *(_section(name, part) for name, part in parts.items())])


PAGES = (
    JsonPage(
        command="plan",
        document=PlanDocument,
        about="Exit code 0: there is a plan, maybe with warnings. Exit code 1: there are problems, which standard "
        "error tells as well.\nFor example, `llmctl plan --json | jq '.models[].gpuMemoryMiB.total'`.",
    ),
    JsonPage(
        command="advise",
        document=AdviceDocument,
        about="Exit code 0: something fits. Exit code 1: nothing does. Exit code 2: the question is wrong, as standard "
        "error tells.",
    ),
)


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
    for page in PAGES:
        page.schema_file.write_text(page.schema_text())
        page.file.write_text(page.text())
