"""Rules about container images."""

from __future__ import annotations

from collections.abc import Iterator

from llm_policies.pods import Container
from llm_policies.rule import Context, Rule

_MOVING_TAGS = ("", "latest", "nightly", "main")


def _mutable(container: Container, _: Context) -> Iterator[str]:
    tag = container.image.rpartition("/")[2].partition(":")[2]
    if "@sha256:" not in container.image and tag in _MOVING_TAGS:
        yield f"{container.name}: image '{container.image}' is mutable; pin a release tag or @sha256 digest."


IMAGE_TAG_MUTABLE = Rule(
    name="image-tag-mutable",
    title="Images carry a release tag or a digest.",
    description=(
        "Under a moving tag another engine starts at the next restart of a pod: flags and metrics change, and two "
        "replicas may differ."
    ),
    remediation="Pin a release tag, or append '@sha256:...'.",
    severity="error",
    references=("kyverno disallow-latest-tag", "kube-linter latest-tag", "CKV_K8S_14"),
    of_container=_mutable,
    bad="""\
apiVersion: v1
kind: Pod
metadata: {name: chat}
spec:
  containers:
  - {name: vllm, image: "vllm/vllm-openai:latest"}
""",
    good="""\
apiVersion: v1
kind: Pod
metadata: {name: chat}
spec:
  containers:
  - {name: vllm, image: "vllm/vllm-openai:v0.33.0"}
""",
)

RULES = (IMAGE_TAG_MUTABLE,)
