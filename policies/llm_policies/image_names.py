"""The parts of an image's name: registry.example.com:5000/vllm/vllm-openai:v0.33.0@sha256:..."""

from __future__ import annotations


def tag(image: str) -> str:
    """Its tag; empty where it has none. A colon before the last slash is a registry's port."""
    return image.partition("@")[0].rpartition("/")[2].partition(":")[2]


def repository(image: str) -> str:
    """It without tag and digest."""
    return image.partition("@")[0].removesuffix(f":{tag(image)}")


def is_of(image: str, *repositories: str) -> bool:
    """Whether it is one of `repositories` (`ollama/ollama`), wherever it is mirrored."""
    return f"/{repository(image)}".endswith(tuple(f"/{name}" for name in repositories))
