"""Images that may be others tomorrow are warned of, by the same tags as the policy pack refuses."""

from __future__ import annotations

import pytest
from judged import BY_NAME, findings, objects_of
from small_stacks import node, planned, vllm

from planning.image_tags import MOVING_TAGS


def warned(image: str) -> list[str]:
    found = planned({"a": node()}, {"chat": vllm(image=image)}).warnings
    return [warning for warning in found if "moves" in warning]


@pytest.mark.parametrize(
    ("image", "called"),
    [
        ("docker.io/vllm/vllm-openai:latest", "the tag 'latest' moves"),
        ("docker.io/vllm/vllm-openai:nightly", "the tag 'nightly' moves"),
        ("localhost:5000/vllm-openai", "no tag means 'latest', which moves"),
    ],
)
def test_a_moving_tag_is_warned_of(image: str, called: str) -> None:
    assert warned(image) == [
        f"models.chat.image: {image!r}: {called}, so another release may start with the next pod, with other flags and "
        "metrics; the policy pack refuses it. Write a release tag or a digest."
    ]


@pytest.mark.parametrize("image", ["docker.io/vllm/vllm-openai:v0.33.0", f"vllm/vllm-openai@sha256:{'0' * 64}"])
def test_a_release_or_a_digest_stays(image: str) -> None:
    assert warned(image) == []


@pytest.mark.parametrize("tag", MOVING_TAGS)
def test_what_is_warned_of_the_policies_refuse(tag: str) -> None:
    image = f"docker.io/vllm/vllm-openai:{tag}".removesuffix(":")
    spec = {"containers": [{"name": "vllm", "image": image}]}
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "chat"}, "spec": spec}
    assert findings(BY_NAME["image-tag-mutable"], objects_of([pod], pulumi=False)) != []
