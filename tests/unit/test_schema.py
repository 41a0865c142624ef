"""The JSON Schema of stack files: current, valid, never stricter than the program, and no looser than it must be."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from mutations import mutated
from on_mocks import STACK_FILES, Raw
from test_injection import RICH
from test_settings import PROBLEMS, SMALLEST, problems, written

from cli.schema import FILE, schema_text
from settings.shapes import fields
from settings.stack import Settings
from settings.stack_file import PROJECT
from toolchain.paths import REPOSITORY

BEYOND = {
    r"^models\.\w+\.\w+\.jini\.from: '\w+' is not pulled": "two settings have to agree",
    r"^models\.chat: gpuShare": "two settings have to agree",
    r"^monitoring\.grafana: host ": "two settings have to agree",
    r"^models\.chat\.(cache|shm): '(50|0|9999999Pi)' is": "how much a quantity is, is no pattern of its text",
    r"^models\.chat\.gpuShare: nan": "JSON has no NaN, and Python's is within all bounds",
    r"^ingress\.routes\./v1\\n": "in Python the pattern's $ is also before a line's end; editors use ECMAScript",
    r'contains """': "the schema says nothing of the grammar of Modelfiles",
    r"has the host of Hugging Face": "a repository and a file of a claim are no one pattern that editors could explain",
    r"an Ollama model name": "the names of several registries are no pattern that editors could explain",
    r"^(namespace|.*\.system): looks like ": "what a secret looks like is not the schema's",
}
"""Problems that JSON Schema cannot say, or not in a way that editors show well, and why."""


@cache
def validator() -> Draft202012Validator:
    return Draft202012Validator(json.loads((REPOSITORY / FILE).read_text()))


def stack(raw: Raw) -> Raw:
    return {"config": {f"{PROJECT}:{key}": value for key, value in raw.items()}}


def refused(raw: Raw) -> list[str]:
    """What the schema says of a stack file with `raw`."""
    return [error.message for error in validator().iter_errors(stack(raw))]


def test_the_committed_schema_is_that_of_the_settings() -> None:
    assert (REPOSITORY / FILE).read_text() == schema_text(), "settings have changed: run `make schema`"


def test_the_schema_is_one() -> None:
    Draft202012Validator.check_schema(json.loads(schema_text()))


@pytest.mark.parametrize("file", STACK_FILES, ids=lambda file: file.name)
def test_a_committed_stack_file_names_the_schema_and_follows_it(file: Path) -> None:
    first = file.read_text().splitlines()[0]
    named = re.fullmatch(r"# yaml-language-server: \$schema=(\S+)", first)
    assert named, f"{file.name} begins with {first!r}"
    assert (file.parent / named[1]).resolve() == REPOSITORY / FILE
    assert [error.message for error in validator().iter_errors(yaml.safe_load(file.read_text()))] == []


def test_another_validator_says_the_same(tmp_path: Path) -> None:
    """check-jsonschema reads YAML itself, as a pipeline would run it."""

    def passes(*files: Path) -> bool:
        command = [sys.executable, "-m", "check_jsonschema", "--schemafile", str(REPOSITORY / FILE), *map(str, files)]
        return subprocess.run(command, capture_output=True).returncode == 0

    assert passes(*STACK_FILES)
    wrong = tmp_path / "Pulumi.wrong.yaml"
    wrong.write_text(STACK_FILES[0].read_text().replace("engine: vllm", "engine: vlm"))
    assert not passes(wrong)


@pytest.mark.parametrize("raw", RICH.values(), ids=RICH.keys())
def test_what_the_tests_plan_the_schema_accepts(raw: Raw) -> None:
    assert refused(raw) == []


@pytest.mark.parametrize("case", PROBLEMS, ids=lambda case: case["told"])
def test_what_is_told_the_schema_refuses_too_unless_it_cannot(case: Raw) -> None:
    cannot = [pattern for pattern in BEYOND if re.search(pattern, case["told"])]
    assert bool(refused(written(case))) == (not cannot), f"beyond the schema: {cannot}"


@pytest.mark.parametrize("pattern", BEYOND)
def test_every_exception_of_the_schema_is_still_one(pattern: str) -> None:
    assert any(re.search(pattern, case["told"]) for case in PROBLEMS)


@settings(max_examples=150, deadline=None)
@given(data=st.data(), name=st.sampled_from(sorted(RICH)))
def test_the_schema_is_never_stricter_than_the_program(data: st.DataObject, name: str) -> None:
    raw = mutated(data.draw, RICH[name])
    if problems(raw) == []:
        assert refused(raw) == []


@pytest.mark.parametrize(
    ("config", "accepted"),
    [
        ({}, True),
        ({"kubernetes:context": "k3s", "other:anything": [1]}, True),
        ({f"{PROJECT}:modles": {}}, False),
        ({"modles": {}}, False),
        ({f"{PROJECT}:monitoring": None}, False),
        ({f"{PROJECT}:monitoring": {}}, True),
        ({f"{PROJECT}:monitoring": {"grafana": None}}, True),
        ({f"{PROJECT}:namespace": 123}, True),
        ({f"{PROJECT}:namespace": "A"}, False),
        ({f"{PROJECT}:huggingFaceToken": "hf_plain"}, False),
        ({f"{PROJECT}:huggingFaceToken": {"secure": "v1:abc"}}, True),
        ({f"{PROJECT}:ingress": {"host": "localhost", "routes": {"/v1": "chat"}}}, True),
        (
            {f"{PROJECT}:ingress": {"host": "localhost", "routes": {"/v1": {"model": "chat"}}, "tls": "selfSigned"}},
            True,
        ),
        ({f"{PROJECT}:ingress": {"host": "localhost", "routes": {"/v1": "chat"}, "tls": "self"}}, False),
        ({f"{PROJECT}:ingress": {"host": "localhost", "routes": {"v1": "chat"}}}, False),
        ({f"{PROJECT}:ingress": {"host": "10.0.0.1", "routes": {"/v1": "chat"}}}, False),
    ],
)
def test_a_file_is_held_to_our_keys_and_to_no_others(config: Raw, accepted: bool) -> None:
    config = {**stack(SMALLEST)["config"], **config}
    assert validator().is_valid({"config": config}) == accepted
    whole = {"config": config, "secretsprovider": "passphrase", "encryptionsalt": "v1:abc="}
    assert validator().is_valid(whole) == accepted


def test_a_mistake_of_one_engine_is_told_of_that_engine_alone() -> None:
    model = {"engine": "ollama", "pull": ["qwen3:4b"], "numParallel": "two"}
    [error] = validator().iter_errors(stack({**SMALLEST, "models": {"chat": model}}))
    assert list(error.absolute_path)[-1] == "numParallel"
    assert "'two' is not of type 'integer'" in error.message


@pytest.mark.parametrize("model", [{"pull": ["qwen3:4b"]}, {"engine": "sglang"}])
def test_without_an_engine_there_is_no_model(model: Raw) -> None:
    assert refused({**SMALLEST, "models": {"chat": model}})


@pytest.mark.parametrize("slipped", ["ingress", f"{PROJECT}:ingress", "architecture"])
def test_what_slipped_out_of_config_is_refused(slipped: str) -> None:
    assert not validator().is_valid({**stack(SMALLEST), slipped: {}})


def test_a_key_without_a_namespace_is_the_projects_own() -> None:
    assert list(validator().iter_errors({"config": SMALLEST})) == []
    assert list(validator().iter_errors({"config": {"models": SMALLEST["models"]}}))


def described(schema: Any, where: str = "") -> list[str]:
    """Properties without a description."""
    if isinstance(schema, list):
        return [found for item in schema for found in described(item, where)]
    if not isinstance(schema, dict):
        return []
    properties = schema.get("properties", {})
    missing = [
        f"{where}.{key}"
        for key, value in properties.items()
        if isinstance(value, dict) and "description" not in value and "$ref" not in value
        # Ollama's own, which its documentation describes; and what only tells one engine from another.
        if not where.endswith((".parameters", ".if"))
    ]
    return missing + [found for key, value in schema.items() for found in described(value, f"{where}.{key}")]


def test_editors_find_every_setting_with_its_description() -> None:
    schema = json.loads(schema_text())
    assert set(schema["properties"]["config"]["properties"]) == {f"{PROJECT}:{key}" for key in fields(Settings)}
    assert described(schema) == []
    assert "rtx-4090" in schema["$defs"]["GpuSettings"]["properties"]["model"]["enum"]
    assert "Qwen/Qwen2.5-7B-Instruct-AWQ" in schema["$defs"]["VllmSettings"]["properties"]["model"]["examples"]
