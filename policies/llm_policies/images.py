"""Rules about container images."""

from __future__ import annotations

from collections.abc import Iterator

from llm_policies.manifest import containers, pod_spec
from llm_policies.rule import Properties, Rule

_MOVING_TAGS = ("", "latest", "nightly", "main")


def _mutable(resource_type: str, properties: Properties, _: Properties) -> Iterator[str]:
    for container in containers(pod_spec(resource_type, properties) or {}):
        image = str(container.get("image") or "")
        tag = image.rpartition("/")[2].partition(":")[2]
        if "@sha256:" not in image and tag in _MOVING_TAGS:
            yield f"{container.get('name')}: image '{image}' is mutable; pin a release tag or @sha256 digest."


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
    check=_mutable,
)
