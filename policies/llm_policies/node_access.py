"""Rules about what a pod shares with its node: namespaces and files."""

from __future__ import annotations

from collections.abc import Iterator

from llm_policies.examples import CONTAINERS, POD_HEAD
from llm_policies.objects import Object
from llm_policies.pods import Pod
from llm_policies.rule import Context, Edit, Rule, Said, Setting
from llm_policies.values import Value, each

_NAMESPACES = {
    "hostIPC": "its processes share the node's memory segments. For tensor parallelism mount emptyDir{medium: Memory} "
    "at /dev/shm instead",
    "hostPID": "it sees and may signal every process of the node. Leave it out",
    "hostNetwork": "it listens on the node's own addresses, past every NetworkPolicy. Leave it out, and use a Service",
}


def _host_namespaces(pod: Pod, _: Context) -> Iterator[Said]:
    def judge(key: str) -> Iterator[Said]:
        if pod.spec.get(key).boolean():
            yield f"{key} is on, so {_NAMESPACES[key]}."

    yield from each(_NAMESPACES, judge)


def _close_ipc(item: Object, _: Context) -> Iterator[Edit]:
    """Only where /dev/shm is memory of the pod's own: else workers that shared the node's would fail."""
    for path, pod in item.pods_with_paths():
        served = pod.engines or pod.main_containers
        shm = [pod.mounted_at(container, "/dev/shm") for container in served]
        own = all(volume is not None and volume.get("emptyDir", "medium").text() == "Memory" for volume in shm)
        if own and pod.spec.get("hostIPC").boolean():
            yield Edit((*path, "spec", "hostIPC"), False)


HOST_NAMESPACES = Rule(
    name="host-namespaces",
    title="A pod keeps to namespaces of its own.",
    description=(
        "Often hostIPC is written to give NCCL shared memory, and opens that of every process on the node. hostNetwork "
        "puts the engine on the node's addresses, where no NetworkPolicy holds."
    ),
    remediation="Leave hostIPC, hostPID and hostNetwork out; mount an emptyDir of medium Memory at /dev/shm.",
    severity="error",
    references=(
        "polaris hostIPCSet, hostPIDSet, hostNetworkSet",
        "CKV_K8S_17",
        "CKV_K8S_18",
        "CKV_K8S_19",
        "CIS 5.2.3",
    ),
    of_pod=_host_namespaces,
    remediate=_close_ipc,
    bad=POD_HEAD + "  hostIPC: true\n" + CONTAINERS,
    good=POD_HEAD
    + CONTAINERS
    + """\
    volumeMounts: [{name: shm, mountPath: /dev/shm}]
  volumes:
  - {name: shm, emptyDir: {medium: Memory, sizeLimit: 2Gi}}
""",
)


def _host_path(pod: Pod, context: Context) -> Iterator[Said]:
    allowed: list[str] = context.settings["allowed"]

    def judge(volume: Value) -> Iterator[Said]:
        if not volume.get("hostPath").exists:
            return
        path = volume.get("hostPath", "path").text() or ""
        name = volume.get("name").text() or volume.path
        if not any(_is_below(path, prefix) for prefix in allowed):
            repair = (
                "mount emptyDir{medium: Memory} instead"
                if path.removesuffix("/") == "/dev/shm"
                else "use a PVC, or allow-list it read-only"
            )
            yield (
                f"volume '{name}' mounts host path '{path}', so the pod reads or changes what is the node's; {repair}."
            )
            return
        mounts = [(c, mount) for c in pod.containers for mount in c.value.get("volumeMounts").items()]
        own = [(c, mount) for c, mount in mounts if mount.get("name").text() == name]
        # Absent is false to Kubernetes: it may write.
        writers = dict.fromkeys(c.name for c, mount in own if not mount.get("readOnly").boolean())
        if writers:
            yield f"{', '.join(writers)}: mounts host path '{path}', which is allowed read-only. Set readOnly: true."

    yield from each(pod.spec.get("volumes").items(), judge)


def _is_below(path: str, prefix: str) -> bool:
    """Whether `path` is `prefix` or in it; never by `..`, and never by a prefix that is no path."""
    parts = path.split("/")
    inner = prefix.removesuffix("/").split("/")
    return prefix.startswith("/") and ".." not in parts and parts[: len(inner)] == inner


HOSTPATH = Rule(
    name="hostpath",
    title="No pod mounts its node's files, but for what is allowed, read-only.",
    description=(
        "A path of the node ties the pod to it, is in no backup, and with the right path (the container runtime's "
        "socket, /etc, /var/lib/kubelet) is the node itself."
    ),
    remediation="Use a PersistentVolumeClaim. What a system's own agent must read is allowed by the setting `allowed`.",
    severity="error",
    references=("polaris hostPathSet", "kubescape C-0048, C-0045", "gatekeeper host-filesystem", "CIS 5.2.12"),
    of_pod=_host_path,
    settings={"allowed": Setting(default=[], description="Paths of the node that may be mounted read-only.")},
    bad=POD_HEAD + CONTAINERS + "  volumes:\n  - {name: models, hostPath: {path: /data/models}}\n",
    good=POD_HEAD + CONTAINERS + "  volumes:\n  - {name: models, persistentVolumeClaim: {claimName: models}}\n",
)

RULES = (HOST_NAMESPACES, HOSTPATH)
