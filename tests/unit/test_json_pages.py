"""What commands print for programs is what docs/ say."""

from __future__ import annotations

import jsonschema
import pytest

from report.json_pages import PAGES, JsonPage

every_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.command)


@every_page
def test_schema_and_page_are_those_of_the_program(page: JsonPage) -> None:
    assert page.schema_text() == page.schema_file.read_text(), "python -m report.json_pages"
    assert page.text() == page.file.read_text(), "python -m report.json_pages"


@every_page
def test_the_schema_is_one_and_every_key_is_described(page: JsonPage) -> None:
    schema = page.schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    for part in (schema, *schema["$defs"].values()):
        assert part["additionalProperties"] is False
        assert sorted(part["required"]) == sorted(part["properties"]), "every key is always there"
        for key, value in part["properties"].items():
            assert value["description"].endswith("."), key
            assert f"| `{key}` | " in page.text()


@every_page
def test_what_may_be_null_says_when(page: JsonPage) -> None:
    schema = page.schema()
    for part in (schema, *schema["$defs"].values()):
        for key, value in part["properties"].items():
            if {"type": "null"} in value.get("anyOf", ()):
                assert "null" in value["description"].lower(), key
