"""The rule that stands for the pack: what it is told holds, and exceptions are what they say."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from functools import partial

from llm_policies.environment import PACK
from llm_policies.exceptions import ANNOTATION, annotated
from llm_policies.objects import Object
from llm_policies.rule import Context, Rule, Setting


def policy_settings(rules: Collection[str]) -> Rule:
    """The rule, of a pack with `rules` (names) beside it."""

    def wrong_annotations(item: Object, _: Context) -> Iterator[str]:
        mistakes: list[str] = []
        found = list(annotated(item, mistakes))
        yield from mistakes
        yield from (
            f"metadata.annotations.{ANNOTATION}{exception.rule}: there is no such rule, so it excepts nothing."
            for exception in found
            if exception.rule not in rules
        )

    return _RULE(of_object=wrong_annotations)


_RULE = partial(
    Rule,
    name=PACK,
    title="Exceptions say why, whose and until when.",
    description=(
        "An exception without a reason, an owner and a last day stays for ever, and nobody knows whether it may go. "
        "One that says less excepts nothing; one whose day is over is a violation again."
    ),
    remediation=f"Annotate the object with `{ANNOTATION}<rule>: until 2027-06-30, owner ops: the reason`.",
    severity="error",
    references=("kyverno PolicyException",),
    kinds=None,
    settings={
        "exceptions": Setting(
            default=[], description="Exceptions: rule, object, reason, owner, until.", items="object"
        ),
        "namespaces": Setting(default={}, description="Levels by namespace, then by rule or `all`."),
        "pools": Setting(
            default={}, description="GPU nodes by pool: resource, nodes, gpus, memoryMiB, timeSlices, labels, taints."
        ),
    },
    bad="""\
apiVersion: apps/v1
kind: DaemonSet
metadata:
  name: exporter
  annotations:
    llm-policies/hostpath: it needs this
""",
    good="""\
apiVersion: apps/v1
kind: DaemonSet
metadata:
  name: exporter
  annotations:
    llm-policies/hostpath: "until 2027-06-30, owner ops: reads the kubelet's list of GPUs"
""",
)
