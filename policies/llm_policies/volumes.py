"""Rules about volumes that keep models."""

from __future__ import annotations

from collections.abc import Iterator

from llm_policies.objects import Object, Stack
from llm_policies.rule import Context, Rule, Said, Setting
from llm_policies.scalers import least_and_most, target_of
from llm_policies.values import Doubt

_CLAIM = "PersistentVolumeClaim"
_GIB = 2**30


def _most_pods(workload: Object, stack: Stack) -> int:
    """Pods that it may come to, those of a surge not counted."""
    for scaler in stack.of("HorizontalPodAutoscaler", "ScaledObject"):
        if target_of(scaler, stack) is workload:
            return least_and_most(scaler)[1]
    replicas = workload.properties.get("spec", "replicas").integer()
    return 1 if replicas is None else replicas


def _surges(workload: Object) -> bool:
    """Whether an update starts a pod before it ends one."""
    strategy = workload.properties.get("spec", "strategy")
    if workload.kind != "Deployment" or strategy.get("type").text() == "Recreate":
        return False
    surge = strategy.get("rollingUpdate", "maxSurge").share(1)
    return surge is None or surge > 0


def _claims(workload: Object) -> list[str]:
    return [
        name
        for pod in workload.pods
        for volume in pod.spec.get("volumes").items()
        if (name := volume.get("persistentVolumeClaim", "claimName").text())
    ]


def _is_spread(workload: Object) -> bool:
    """Whether its pods may not be on one node."""
    if workload.kind == "DaemonSet":
        return True
    return any(
        bool(pod.spec.get("affinity", "podAntiAffinity", "requiredDuringSchedulingIgnoredDuringExecution").items())
        for pod in workload.pods
    )


def _access_mode(stack: Stack, _: Context) -> Iterator[tuple[Object, Said]]:
    claims = {(claim.namespace, claim.name): claim for claim in stack.of(_CLAIM)}
    for workload in stack.workloads():
        try:
            for name in _claims(workload):
                claim = claims.get((workload.namespace, name))
                if claim is None:
                    continue
                modes = [mode.text() for mode in claim.properties.get("spec", "accessModes").items()]
                pods = _most_pods(workload, stack)
                if modes == ["ReadWriteOncePod"] and (pods > 1 or _surges(workload)):
                    why = f"{pods} pods" if pods > 1 else "the new pod of a rollout beside the old one"
                    yield (
                        claim,
                        f"'{name}' is ReadWriteOncePod; {why} of '{workload.name}' cannot mount it, and stay Pending. "
                        "Use RWX, or Recreate with one replica.",
                    )
                elif modes == ["ReadWriteOnce"] and (pods > 1 or workload.kind == "DaemonSet") and _is_spread(workload):
                    yield (
                        claim,
                        f"'{name}' is ReadWriteOnce; the pods of '{workload.name}', each on a node of its own, cannot "
                        "mount it. Use RWX, or a volume for each.",
                    )
        except Doubt as doubt:
            yield workload, doubt


_WORKLOAD = """\
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: chat}
spec:
  replicas: 2
  template:
    spec:
      containers: [{name: vllm, image: "vllm/vllm-openai:v0.33.0"}]
      volumes: [{name: models, persistentVolumeClaim: {claimName: models}}]
"""
_VOLUME = """\
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: models}
spec:
  resources: {requests: {storage: 50Gi}}
"""

PVC_ACCESS_MODE = Rule(
    name="pvc-access-mode",
    title="All pods of a workload can mount its volume.",
    description=(
        "ReadWriteOncePod is one pod's, ReadWriteOnce one node's. The second pod, or the first of a rollout, stays "
        "Pending."
    ),
    remediation="Use ReadWriteMany, or one replica with Recreate.",
    severity="error",
    references=("kyverno readwriteonce-pod", "Kubernetes: access modes"),
    of_stack=_access_mode,
    kinds=frozenset({_CLAIM}),
    bad=_VOLUME + "  accessModes: [ReadWriteOncePod]\n" + _WORKLOAD,
    good=_VOLUME + "  accessModes: [ReadWriteMany]\n" + _WORKLOAD,
)


def _too_small(item: Object, context: Context) -> Iterator[Said]:
    size = item.properties.get("spec", "resources", "requests", "storage").quantity()
    model = context.settings["modelBytesByClaim"].get(f"{item.namespace}/{item.name}")
    if size is None:
        yield f"PVC '{item.name}' asks for no storage, which Kubernetes refuses. Set resources.requests.storage."
    elif model is not None and size < 1.1 * model:
        yield (
            f"PVC {float(size) / _GIB:.1f} GiB < model {1.1 * model / _GIB:.1f} GiB with a tenth to spare, so the "
            "download ends on a full disk; note k3s local-path does not enforce size. Ask for more."
        )


PVC_TOO_SMALL = Rule(
    name="pvc-too-small",
    title="A volume holds its models.",
    description=(
        "A download that ends on a full disk begins again at the next start, for ever. Few classes let a volume grow, "
        "and none lets it shrink. How large the models are is told by the setting `modelBytesByClaim`; without it only "
        "a claim without any size is found."
    ),
    remediation="Ask for 1.1 times the files; twice them where they are converted on the volume.",
    severity="error",
    references=("local-path-provisioner ('The capacity limit will be ignored')",),
    of_object=_too_small,
    kinds=frozenset({_CLAIM}),
    settings={
        "modelBytesByClaim": Setting(
            default={}, description="Bytes of the models that a claim ('namespace/name') has to hold."
        )
    },
    bad="""\
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: models}
spec:
  accessModes: [ReadWriteOnce]
""",
    good=_VOLUME + "  accessModes: [ReadWriteOnce]\n",
)

RULES = (PVC_ACCESS_MODE, PVC_TOO_SMALL)
