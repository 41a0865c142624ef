"""Environment variables that hold a secret are known by their name or their value, which no message shows."""

from __future__ import annotations

import pytest
from small_stacks import node, problems, vllm

from settings.secret_texts import variable_problem

SECRET = [
    ("S3_SECRET_ACCESS_KEY", "x"),
    ("LLAMA_API_KEY", "x"),
    ("HTTPS_PROXY", "http://me:hunter2@proxy:3128"),
    ("A", "redis://:hunter2@cache"),
]
OTHERS = [
    ("TOKENIZERS_PARALLELISM", "1"),
    ("LLAMA_ARG_IMAGE_MAX_TOKENS", "1024"),
    ("HTTPS_PROXY", "http://proxy:3128"),
    ("A", "http://proxy/path:x@y"),
]


@pytest.mark.parametrize(("name", "value"), SECRET)
def test_a_secret_is_told_and_not_shown(name: str, value: str) -> None:
    told = variable_problem(name, value)
    assert told is not None
    assert "hunter2" not in told


@pytest.mark.parametrize(("name", "value"), OTHERS)
def test_what_only_looks_like_one_is_left_alone(name: str, value: str) -> None:
    assert variable_problem(name, value) is None


def test_vllm_is_given_no_address_with_a_password() -> None:
    server = vllm(extraEnvironment={"HTTPS_PROXY": "http://me:hunter2@proxy:3128"})
    assert problems({"a": node()}, {"chat": server}) == [
        "models.chat.extraEnvironment.HTTPS_PROXY: is an address with a password in it, which would stand in the file "
        "and in the pod as plain text. Write an address without one."
    ]
