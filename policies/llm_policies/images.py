"""Rules about container images."""

from __future__ import annotations

import re
from collections.abc import Iterator

from llm_policies.containers import Container
from llm_policies.examples import POD_HEAD
from llm_policies.image_names import tag
from llm_policies.rule import Context, Rule, Setting

_DIGEST = re.compile(r".+@sha(256:[0-9a-f]{64}|384:[0-9a-f]{96}|512:[0-9a-f]{128})")
"""Those that container runtimes take (opencontainers/go-digest); any other text behind an @ they refuse."""

_MOVING = re.compile(
    r"|latest(-.+)?|main|master|edge"
    # By which vLLM and SGLang name last night's build; a single night's has its commit behind.
    r"|(cu[0-9]{3}-)?nightly(-(aarch64|x86_64))?|dev(-cu[0-9]{2,3})?"
    # By which Ollama and llama.cpp name their newest release for one kind of GPU; a release's has its number behind.
    r"|rocm|(server|full|light)(-[a-z]+([0-9]{2})?)?"
)
"""Tags that projects move to each new release; none at all is `latest`."""

_INJECTED = ("istio-proxy", "auto")
"""Name and image of a container that stands for what Istio puts in its place."""

_POD = f"{POD_HEAD}  containers:\n"


def _moves(container: Container, context: Context) -> bool:
    named = tag(container.image)
    moving = _MOVING.fullmatch(named) is not None or named in context.settings.get("movingTags", ())
    return moving and not _is_settled(container)


def _is_settled(container: Container) -> bool:
    """Whether it is one image for ever, or no image yet."""
    return _DIGEST.fullmatch(container.image) is not None or (container.own_name, container.image) == _INJECTED


def _is_refused(container: Container) -> bool:
    return "@" in container.image and not _is_settled(container)


def _mutable(container: Container, context: Context) -> Iterator[str]:
    if not container.image:
        yield f"{container.name} has no image; name one with a release tag or @sha256 digest."
    elif _is_refused(container):
        yield (
            f"{container.name}: image '{container.image}' has a digest that is none, so the runtime refuses its name "
            "and the pod never starts. Copy it whole: sha256: and 64 of 0-9a-f."
        )
    elif _moves(container, context):
        yield f"{container.name}: image '{container.image}' is mutable; pin a release tag or @sha256 digest."


IMAGE_TAG_MUTABLE = Rule(
    name="image-tag-mutable",
    title="Images carry a release tag or a digest.",
    description=(
        "Under a moving tag another engine starts at the next restart of a pod: flags and metrics change, and two "
        "replicas may differ. A digest that was cut short, or is of no algorithm that runtimes know, starts none."
    ),
    remediation="Pin a release tag, or append '@sha256:...'.",
    severity="error",
    references=("kyverno disallow-latest-tag", "kube-linter latest-tag", "CKV_K8S_14"),
    of_container=_mutable,
    settings={"movingTags": Setting(default=[], description="Further tags that move, such as those of one's own CI.")},
    bad=_POD + '  - {name: vllm, image: "vllm/vllm-openai:latest"}\n',
    good=_POD + '  - {name: vllm, image: "vllm/vllm-openai:v0.33.0"}\n',
)


def _without_digest(container: Container, context: Context) -> Iterator[str]:
    # What moves, and what is refused, is told by the other rule, and worse.
    if not _is_settled(container) and not _is_refused(container) and not _moves(container, context):
        yield (
            f"{container.name}: image '{container.image}' is whatever its registry has under that tag today; append "
            "the release's @sha256 digest."
        )


IMAGE_DIGEST = Rule(
    name="image-digest",
    title="Images carry a digest.",
    description=(
        "A release's tag is a promise of its publisher; a digest is checked by the container runtime. Whoever may push "
        "to the registry, or stands between, changes what runs under a tag, and two nodes may run different images."
    ),
    remediation="Append '@sha256:...' to the tag, as `docker buildx imagetools inspect IMAGE` and `crane digest` tell.",
    severity="warn",
    references=("CKV_K8S_43", "kubescape C-0306", "kyverno require-image-checksum"),
    of_container=_without_digest,
    bad=_POD + '  - {name: vllm, image: "vllm/vllm-openai:v0.33.0"}\n',
    good=_POD + f'  - {{name: vllm, image: "vllm/vllm-openai:v0.33.0@sha256:{"5e0b" * 16}"}}\n',
)

RULES = (IMAGE_TAG_MUTABLE, IMAGE_DIGEST)
