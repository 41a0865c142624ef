"""The JSON Schema of a stack file, made of the settings, by which editors complete and check it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema

from settings.beside import OF_PULUMI
from settings.node import GpuSettings
from settings.shapes import fields
from settings.stack import Settings
from settings.stack_file import PROJECT
from settings.vllm import VllmSettings

_DIALECT = "https://json-schema.org/draft/2020-12/schema"
_OPENAPI_ONLY = "discriminator"


class _OfFiles(GenerateJsonSchema):
    """Says what may be in a file: nothing (null) only where that means something else than the default."""

    schema_dialect = _DIALECT

    def nullable_schema(self, schema: core_schema.NullableSchema) -> JsonSchemaValue:
        """Without null: who wants the default leaves the setting out."""
        return self.generate_inner(schema["schema"])

    def default_schema(self, schema: core_schema.WithDefaultSchema) -> JsonSchemaValue:
        """With the default, and with null where the setting has another one."""
        if schema.get("default", ...) is None:
            return self.generate_inner(schema["schema"])
        made = super().default_schema(schema)
        return self.get_union_of_schemas([made, {"type": "null"}]) if schema["schema"]["type"] == "nullable" else made

    def dict_schema(self, schema: core_schema.DictSchema) -> JsonSchemaValue:
        """With the pattern of its keys as a demand, which JSON Schema's patternProperties alone is not."""
        made = super().dict_schema(schema)
        if len(patterns := made.pop("patternProperties", {})) == 1:
            [(pattern, made["additionalProperties"])] = patterns.items()
            made["propertyNames"] = {**made.get("propertyNames", {}), "pattern": pattern}
        return made

    def tagged_union_schema(self, schema: core_schema.TaggedUnionSchema) -> JsonSchemaValue:
        """The member that the tag names and no other: of `oneOf` an editor tells what is wrong with all of them."""
        made = super().tagged_union_schema(schema)
        tag = made.pop(_OPENAPI_ONLY)["propertyName"]
        members = {str(name): self.generate_inner(member) for name, member in schema["choices"].items()}
        return {
            "type": "object",
            "properties": {tag: {"enum": list(members), "description": "Decides which other settings there are."}},
            "required": [tag],
            "allOf": [
                {"if": {"properties": {tag: {"const": name}}, "required": [tag]}, "then": member}
                for name, member in members.items()
            ],
        }

    def field_title_should_be_set(self, schema: Any) -> bool:  # noqa: ARG002  # as the base class has it
        """Never: it would repeat the key."""
        return False


def stack_file_schema(*, gpus: Iterable[str], models: Iterable[str]) -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of a whole `Pulumi.<stack>.yaml`.

    It says what a file may look like. What only several settings together show, it does not: see `plan`.

    Args:
        gpus: names of GPUs that can be planned with.
        models: Hugging Face repositories that are known, for completion; others are allowed.
    """
    settings = Settings.model_json_schema(by_alias=True, mode="validation", schema_generator=_OfFiles)
    definitions: dict[str, Any] = settings["$defs"]
    for definition in definitions.values():
        definition.pop("title", None)
    definitions[GpuSettings.__name__]["properties"]["model"]["enum"] = sorted(gpus)
    definitions[VllmSettings.__name__]["properties"]["model"]["examples"] = sorted(models)
    required = [key for key, field in fields(Settings).items() if field.is_required()]
    config = {
        "type": "object",
        "description": "Configuration of the project; keys of other projects may stand beside.",
        "properties": {f"{PROJECT}:{key}": {"$ref": f"#/$defs/{key}"} for key in settings["properties"]},
        # Pulumi takes a key without a namespace for one of the project's.
        "patternProperties": {
            **{f"^{key}$": {"$ref": f"#/$defs/{key}"} for key in settings["properties"]},
            f"^(?!{PROJECT}:)[^:]+:": True,
        },
        "additionalProperties": False,
        "allOf": [{"anyOf": [{"required": [f"{PROJECT}:{key}"]}, {"required": [key]}]} for key in required],
    }
    return {
        "$schema": _DIALECT,
        "title": "Stack file of llm-serving",
        "description": settings["description"],
        "type": "object",
        "properties": {
            "config": config,
            **OF_PULUMI,
        },
        # What slipped out of `config` to the beginning of its line is not read.
        "additionalProperties": False,
        "required": ["config"],
        "$defs": {**{key: _alone(schema) for key, schema in settings["properties"].items()}, **definitions},
    }


def _alone(schema: dict[str, Any]) -> dict[str, Any]:
    """A top-level setting. One that is a text may be a bare number: it is a text by the time Pulumi hands it over."""
    return {**schema, "type": ["string", "number", "boolean"]} if schema.get("type") == "string" else schema
