"""Rules about volumes that keep models."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from fractions import Fraction

from llm_policies.labels import matches, may_be_in, of_pod
from llm_policies.nodes import open_to, pools_of
from llm_policies.objects import POD_BEARING, Object, Stack
from llm_policies.placing import PASSING, largest
from llm_policies.pods import Pod
from llm_policies.pools import Pool
from llm_policies.rule import Context, Rule, Said, Setting
from llm_policies.scalers import least_and_most, scaled
from llm_policies.values import Doubt, Value, each

_CLAIM = "PersistentVolumeClaim"
_GIB = 2**30
_SPARE = Fraction(11, 10)
"""Of the model's size: a file system keeps some for itself, and a download has files of its own."""

_HOSTNAME = "kubernetes.io/hostname"
_ONE_POD = {
    "Job": "a parallelism of 1",
    "CronJob": "a parallelism of 1",
    "LeaderWorkerSet": "one replica of size 1",
}
"""How a workload comes to a single pod, where it is not by its replicas alone."""

_OF_ONE_NODE = frozenset({"ReadWriteOnce", "ReadWriteOncePod"})
_OF_MANY_NODES = frozenset({"ReadOnlyMany", "ReadWriteMany"})


def _most_pods(workload: Object, by: Mapping[int, Object]) -> int | None:
    """Pods that it may come to, those of a surge not counted; None for one on each node."""
    if workload.kind == "DaemonSet":
        return 1 if workload.pod.spec.get("nodeSelector", _HOSTNAME).exists else None
    if (scaler := by.get(id(workload))) is not None:
        return least_and_most(scaler)[1]
    path = {
        "Job": ("spec", "parallelism"),
        "CronJob": ("spec", "jobTemplate", "spec", "parallelism"),
    }.get(workload.kind, ("spec", "replicas"))
    written = workload.properties.get(*path).integer()
    # Of a group, which others have not.
    size = workload.properties.get("spec", "leaderWorkerTemplate", "size").integer()
    return (1 if written is None else written) * (1 if size is None else size)


def _surges(workload: Object) -> bool:
    """Whether an update starts a pod before it ends one."""
    if workload.kind != "Deployment":
        return False
    strategy = workload.properties.get("spec", "strategy")
    if strategy.get("type").text() == "Recreate":
        return False
    surge = strategy.get("rollingUpdate", "maxSurge").share(1)
    return surge is None or surge > 0  # 25% where nothing is said: rounded up, one


def _mounting(workload: Object, claim: str) -> list[Pod]:
    """Its pods that mount `claim`."""
    return [
        pod
        for pod in workload.pods
        if any(
            volume.get("persistentVolumeClaim", "claimName").text() == claim
            for volume in pod.spec.get("volumes").items()
        )
    ]


def _why_spread(workload: Object, pod: Pod, pods: int, pools: Mapping[str, Pool] | None) -> Iterator[str]:
    """What keeps `pods` of a workload from being on one node; nothing where nothing is known to."""
    terms = pod.spec.get("affinity", "podAntiAffinity", "requiredDuringSchedulingIgnoredDuringExecution")
    labels = of_pod(workload, pod)
    for term in terms.items():
        if _is_of_its_own(labels, term):
            yield "keep apart (podAntiAffinity)"
    for constraint in pod.spec.get("topologySpreadConstraints").items():
        skew = constraint.get("maxSkew").integer()
        hard = constraint.get("whenUnsatisfiable").text() != "ScheduleAnyway"
        over_nodes = hard and constraint.get("topologyKey").text() == _HOSTNAME
        if over_nodes and pods > (1 if skew is None else skew) and _is_of_its_own(labels, constraint):
            yield "keep apart (topologySpreadConstraints)"
    if pools is not None:
        wanted, room = pods * pod.gpus, largest(open_to(pod, pools), pools)
        if 0 < room < wanted:
            yield f"want {wanted} GPUs, of which no node has more than {room}"


def _is_of_its_own(labels: Value, term: Value) -> bool:
    """Whether what keeps a pod from others is of those with its own labels; without a selector it is of none."""
    selector = term.get("labelSelector")
    return selector.exists and matches(labels, selector)


def _judged(
    claim: Object, mode: str, workload: Object, by: Mapping[int, Object], pools: Mapping[str, Pool] | None
) -> Iterator[str]:
    """What one workload cannot do with a volume of one pod, or of one node."""
    if not (mounting := _mounting(workload, claim.name)):
        return
    pods, where = _most_pods(workload, by), f"'{workload.name}'"
    if pods is None:
        yield f"'{claim.name}' is {mode}; the pods of {where}, one on each node, cannot mount it. Use ReadWriteMany."
    elif mode == "ReadWriteOncePod":
        if pods > 1:
            single = "one replica with Recreate" if _surges(workload) else _ONE_POD.get(workload.kind, "one replica")
            yield (
                f"'{claim.name}' is ReadWriteOncePod; {pods} pods of {where} cannot mount it, and all but one stay "
                f"Pending. Use ReadWriteMany, or {single}."
            )
        elif pods == 1 and _surges(workload):
            yield (
                f"'{claim.name}' is ReadWriteOncePod; the new pod of a rollout of {where} cannot mount it beside the "
                "old one, and stays Pending. Use Recreate."
            )
    elif pods > 1 and (why := next(_why_spread(workload, mounting[0], pods, pools), None)) is not None:
        yield (
            f"'{claim.name}' is ReadWriteOnce; {pods} pods of {where} on several nodes cannot mount it, and they "
            f"{why}. Use ReadWriteMany, or a volume for each."
        )


def _mode(claim: Object) -> str | None:
    """The access mode of a volume that is one pod's, or one node's; None where several nodes may have it."""
    modes = set()
    for mode in claim.properties.get("spec", "accessModes").items():
        if mode.text() not in _OF_ONE_NODE | _OF_MANY_NODES:
            raise mode.malformed("ReadWriteOnce, ReadOnlyMany, ReadWriteMany or ReadWriteOncePod")
        modes.add(mode.text())
    if not modes or modes & _OF_MANY_NODES:
        return None
    return "ReadWriteOnce" if "ReadWriteOnce" in modes else "ReadWriteOncePod"


def _claimed(workload: Object) -> frozenset[str | None] | None:
    """The claims that its pods mount; None where one cannot be read."""
    try:
        return frozenset(
            volume.get("persistentVolumeClaim", "claimName").text()
            for pod in workload.pods
            for volume in pod.spec.get("volumes").items()
        )
    except Doubt:
        return None


def _access_mode(stack: Stack, context: Context) -> Iterator[tuple[Object, Said]]:
    claims = stack.of(_CLAIM)
    by = scaled(stack) if claims else {}
    pools = pools_of(stack, context)
    # Read once: with a hundred claims and a hundred workloads nearly all have nothing to do with each other.
    claimed = {id(workload): _claimed(workload) for workload in stack.workloads()} if claims else {}
    for claim in claims:
        try:
            if (mode := _mode(claim)) is None:
                continue
            for key in ("name", "namespace"):
                claim.properties.get("metadata", key).text()  # not known yet: a doubt
        except Doubt as doubt:
            yield claim, doubt
            continue
        users = []
        for workload in stack.workloads():
            mounted = claimed[id(workload)]
            if (mounted is not None and claim.name not in mounted) or not may_be_in(workload, claim.namespace):
                continue
            try:
                yield from ((claim, said) for said in _judged(claim, mode, workload, by, pools))
                if workload.kind not in PASSING and _mounting(workload, claim.name):
                    users.append(workload.name)
            except Doubt as doubt:
                yield workload, doubt
        if mode == "ReadWriteOncePod" and len(users) > 1:
            names = ", ".join(f"'{name}'" for name in users)
            yield (
                claim,
                f"'{claim.name}' is ReadWriteOncePod; {names} cannot all mount it, and all but one stay Pending. Use "
                "ReadWriteMany, or a volume for each.",
            )


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
        "Pending. Pods are on several nodes where they keep apart, where there is one on each node, or where no "
        "declared pool has a node with the GPUs of all; else Kubernetes may put them on one, and nothing is said."
    ),
    remediation="Use ReadWriteMany, or one replica with Recreate.",
    severity="error",
    references=("kyverno readwriteonce-pod", "Kubernetes: access modes"),
    of_stack=_access_mode,
    kinds=POD_BEARING | {_CLAIM},
    bad=_VOLUME + "  accessModes: [ReadWriteOncePod]\n" + _WORKLOAD,
    good=_VOLUME + "  accessModes: [ReadWriteMany]\n" + _WORKLOAD,
)


def _too_small(item: Object, context: Context) -> Iterator[Said]:
    sizes = Value(context.settings["modelBytesByClaim"], "rules.pvc-too-small.modelBytesByClaim")

    def judge(claim: tuple[str, Value]) -> Iterator[Said]:
        name, spec = claim
        size = spec.get("resources", "requests", "storage").quantity(least=0)
        model = sizes.get(f"{item.namespace}/{name}").quantity()
        if not size:
            yield f"PVC '{name}' asks for no storage, which Kubernetes refuses. Set resources.requests.storage."
        elif model is not None and size < _SPARE * model:
            yield (
                f"PVC '{name}' has {float(size) / _GIB:.1f} GiB < 1.1 x model {float(model) / _GIB:.1f} GiB, so the "
                "download ends on a full disk, again and again; note k3s local-path does not enforce size. Ask for "
                f"{-(-_SPARE * model // _GIB)}Gi or more."
            )

    yield from each(_claim_specs(item), judge)


def _claim_specs(item: Object) -> Iterator[tuple[str, Value]]:
    """Name and specification of a claim, or of those that a StatefulSet makes for each pod, without its number."""
    if item.kind == _CLAIM:
        yield item.name, item.properties.get("spec")
    else:
        for template in item.properties.get("spec", "volumeClaimTemplates").items():
            yield f"{template.get('metadata', 'name').text()}-{item.name}", template.get("spec")


PVC_TOO_SMALL = Rule(
    name="pvc-too-small",
    title="A volume holds its models.",
    description=(
        "A download that ends on a full disk begins again at the next start, for ever. Few classes let a volume grow, "
        "and none lets it shrink. How large the models are is told by the setting `modelBytesByClaim`; without it only "
        "a claim without any size is found: a small volume may be meant for something else."
    ),
    remediation="Ask for 1.1 times the files; twice them where they are converted on the volume.",
    severity="error",
    references=("local-path-provisioner ('The capacity limit will be ignored')",),
    of_object=_too_small,
    kinds=frozenset({_CLAIM, "StatefulSet"}),
    settings={
        "modelBytesByClaim": Setting(
            default={},
            description=(
                "Bytes of the models that a claim ('namespace/name') has to hold; twice as many where they are "
                "converted on it. A StatefulSet's claims are named without the pod's number."
            ),
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
