"""Rules about what a pod may do to its node: those of Pod Security Standards, and the pod's own token."""

from __future__ import annotations

from collections.abc import Iterator

from llm_policies.objects import POD_BEARING, Object
from llm_policies.pods import Container, Pod
from llm_policies.rule import Context, Edit, Rule, Said, Setting
from llm_policies.values import Doubt, Value, each

_SEED = """\
apiVersion: v1
kind: Pod
metadata: {name: chat}
spec:
"""
_CONTAINER = """\
  containers:
  - name: vllm
    image: vllm/vllm-openai:v0.33.0
"""


def _is_windows(pod: Pod) -> bool:
    """Whether the pod says that it is for Windows, where Linux' security settings are refused."""
    return pod.spec.get("os", "name").text() == "windows"


def _privileged(container: Container, _: Context) -> Iterator[Said]:
    if container.value.get("securityContext", "privileged").boolean():
        yield (
            f"{container.name} is privileged, so it is root on its node; the device plugin hands over GPUs without it. "
            "Remove privileged and set limits['nvidia.com/gpu']."
        )


def _unprivilege(item: Object, _: Context) -> Iterator[Edit]:
    for path, container in item.containers_with_paths():
        if container.value.get("securityContext", "privileged").boolean():
            yield Edit((*path, "securityContext", "privileged"), False)


PRIVILEGED = Rule(
    name="privileged",
    title="No container is privileged.",
    description=(
        "A privileged container has every device and capability of its node: who takes it over has the node. GPUs need "
        "none of that: the device plugin gives a container the devices that it asked for."
    ),
    remediation="Remove privileged, and ask for GPUs by limits['nvidia.com/gpu'].",
    severity="error",
    references=("CKV_K8S_16", "gatekeeper privileged-containers", "kubesec Privileged", "CIS 5.2.2", "NSA 1.0"),
    of_container=_privileged,
    remediate=_unprivilege,
    bad=_SEED + _CONTAINER + "    securityContext: {privileged: true}\n",
    good=_SEED + _CONTAINER + "    resources: {limits: {nvidia.com/gpu: 1}}\n",
)

_HOST_NAMESPACES = {
    "hostIPC": "its processes share the node's memory segments: for tensor parallelism mount emptyDir{medium: Memory} "
    "at /dev/shm instead",
    "hostPID": "it sees and may signal every process of the node. Leave it out",
    "hostNetwork": "it listens on the node's own addresses, past every NetworkPolicy. Leave it out, and use a Service",
}


def _host_namespaces(pod: Pod, _: Context) -> Iterator[Said]:
    def judge(key: str) -> Iterator[Said]:
        if pod.spec.get(key).boolean():
            yield f"{key} is on, so {_HOST_NAMESPACES[key]}."

    yield from each(_HOST_NAMESPACES, judge)


def _close_ipc(item: Object, _: Context) -> Iterator[Edit]:
    """Only where /dev/shm is memory of the pod's own: else workers that shared the node's would fail."""
    for path, pod in zip(item.pod_paths, item.pods, strict=True):
        shm = [pod.mounted_at(container, "/dev/shm") for container in pod.main_containers]
        own = any(v is not None and v.get("emptyDir", "medium").text() == "Memory" for v in shm)
        if own and pod.spec.get("hostIPC").boolean():
            yield Edit((*path, "spec", "hostIPC"), False)


HOST_NAMESPACES = Rule(
    name="host-namespaces",
    title="A pod keeps to namespaces of its own.",
    description=(
        "hostIPC is often written to give NCCL shared memory, and opens that of every process on the node. hostNetwork "
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
    bad=_SEED + "  hostIPC: true\n" + _CONTAINER,
    good=_SEED
    + _CONTAINER
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
        name = volume.get("name").text()
        if not any(_is_below(path, prefix) for prefix in allowed):
            yield (
                f"volume '{name}' mounts host path '{path}', so the pod reads or changes what is the node's; use a "
                "PVC, or allow-list it read-only."
            )
            return
        writers = [
            container.name
            for container in pod.containers
            for mount in container.value.get("volumeMounts").items()
            if mount.get("name").text() == name and not mount.get("readOnly").boolean()
        ]
        if writers:
            yield f"{', '.join(writers)}: mounts host path '{path}', which is allowed read-only. Set readOnly: true."

    yield from each(pod.spec.get("volumes").items(), judge)


def _is_below(path: str, prefix: str) -> bool:
    """Whether `path` is `prefix` or in it; never by `..`."""
    parts = path.rstrip("/").split("/")
    inner = prefix.rstrip("/").split("/")
    return ".." not in parts and parts[: len(inner)] == inner


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
    bad=_SEED + _CONTAINER + "  volumes:\n  - {name: models, hostPath: {path: /data/models}}\n",
    good=_SEED + _CONTAINER + "  volumes:\n  - {name: models, persistentVolumeClaim: {claimName: models}}\n",
)


def _root(container: Container, _: Context) -> Iterator[Said]:
    if _is_windows(container.pod):
        return
    non_root = container.pod.security(container, "runAsNonRoot").boolean()
    user = container.pod.security(container, "runAsUser").integer()
    if user == 0 or not (non_root or user):
        why = "runAsUser is 0" if user == 0 else "nothing says that it may not"
        yield (
            f"{container.name} may run as root ({why}), so a way out of the container is root on the node. Set "
            "runAsNonRoot: true and a runAsUser: vllm/vllm-openai takes 2000 with runAsGroup 0 and caches under "
            "/home/vllm."
        )


RUN_AS_NON_ROOT = Rule(
    name="run-as-non-root",
    title="No container runs as root.",
    description=(
        "Root in a container is root's number on the node: whatever lets a process out lets it out as root. The images "
        "of vLLM and Ollama run as root unless told otherwise, and both can do without."
    ),
    remediation=(
        "Set runAsNonRoot: true and a runAsUser in the pod's securityContext; caches and models must be writable for "
        "that user (fsGroup)."
    ),
    severity="warn",
    references=("CKV_K8S_6", "CKV_K8S_23", "kube-linter run-as-non-root", "kubescape C-0013", "CIS 5.2.7"),
    of_container=_root,
    bad=_SEED + _CONTAINER,
    good=_SEED + "  securityContext: {runAsNonRoot: true, runAsUser: 2000, runAsGroup: 0}\n" + _CONTAINER,
)


def _escalates(container: Container) -> bool:
    return container.value.get("securityContext", "allowPrivilegeEscalation").boolean() is not False


def _escalation(container: Container, _: Context) -> Iterator[Said]:
    if not _is_windows(container.pod) and _escalates(container):
        yield (
            f"{container.name} may gain rights that it did not start with (setuid programs), since "
            "allowPrivilegeEscalation is not false. Set allowPrivilegeEscalation: false."
        )


def _forbid_escalation(item: Object, _: Context) -> Iterator[Edit]:
    for path, container in item.containers_with_paths():
        if not _is_windows(container.pod) and _escalates(container):
            yield Edit((*path, "securityContext", "allowPrivilegeEscalation"), False)


PRIVILEGE_ESCALATION = Rule(
    name="privilege-escalation",
    title="No process gains more rights than its container started with.",
    description="Kubernetes allows it unless it is said: a setuid program in the image is then a way to root.",
    remediation="Set allowPrivilegeEscalation: false in every container's securityContext.",
    severity="error",
    references=("CKV_K8S_20", "gatekeeper allow-privilege-escalation", "CIS 5.2.6", "kubescape C-0016"),
    of_container=_escalation,
    remediate=_forbid_escalation,
    bad=_SEED + _CONTAINER,
    good=_SEED + _CONTAINER + "    securityContext: {allowPrivilegeEscalation: false}\n",
)


def _kept(container: Container) -> tuple[list[str], list[str]]:
    """Capabilities that are dropped, and those that are added."""
    capabilities = container.value.get("securityContext", "capabilities")
    dropped, added = (
        [text for item in capabilities.get(key).items() if (text := item.text()) is not None] for key in ("drop", "add")
    )
    return dropped, added


def _capabilities(container: Container, _: Context) -> Iterator[Said]:
    if _is_windows(container.pod):
        return
    dropped, added = _kept(container)
    if added:
        yield f"{container.name} adds Linux capabilities {', '.join(added)}, which no engine needs. Leave them out."
    if "ALL" not in (name.upper() for name in dropped):
        yield f"{container.name} keeps the Linux capabilities of its runtime. Write capabilities: {{drop: [ALL]}}."


def _drop_all(item: Object, _: Context) -> Iterator[Edit]:
    """What is added on purpose stays."""
    for path, container in item.containers_with_paths():
        if not _is_windows(container.pod) and "ALL" not in (name.upper() for name in _kept(container)[0]):
            yield Edit((*path, "securityContext", "capabilities", "drop"), ["ALL"])


CAPABILITIES = Rule(
    name="capabilities",
    title="Containers drop all Linux capabilities.",
    description=(
        "Runtimes leave some fourteen of them to a container that runs as root (raw sockets, file owners, ...); "
        "serving a model needs none."
    ),
    remediation="Write capabilities: {drop: [ALL]}, and add none.",
    severity="warn",
    references=("CKV_K8S_25", "CKV_K8S_37", "kyverno require-drop-all", "polaris dangerousCapabilities", "CIS 5.2.9"),
    of_container=_capabilities,
    remediate=_drop_all,
    bad=_SEED + _CONTAINER,
    good=_SEED + _CONTAINER + "    securityContext: {capabilities: {drop: [ALL]}}\n",
)


def _profile(container: Container) -> str | None:
    own = container.value.get("securityContext", "seccompProfile", "type").text()
    return own or container.pod.spec.get("securityContext", "seccompProfile", "type").text()


def _seccomp(container: Container, _: Context) -> Iterator[Said]:
    if not _is_windows(container.pod) and _profile(container) not in ("RuntimeDefault", "Localhost"):
        yield (
            f"{container.name} has no seccomp profile, so it may make every call of the kernel. Set seccompProfile: "
            "{type: RuntimeDefault}."
        )


def _default_profile(item: Object, _: Context) -> Iterator[Edit]:
    """For the whole pod where no container says otherwise, else for the containers that lack one."""
    for path, pod in zip(item.pod_paths, item.pods, strict=True):
        if not _is_windows(pod) and any(_profile(c) not in ("RuntimeDefault", "Localhost") for c in pod.containers):
            yield Edit((*path, "spec", "securityContext", "seccompProfile"), {"type": "RuntimeDefault"})
    for container_path, container in item.containers_with_paths():
        says = container.value.get("securityContext", "seccompProfile").exists and not _is_windows(container.pod)
        if says and _profile(container) not in ("RuntimeDefault", "Localhost"):
            yield Edit((*container_path, "securityContext", "seccompProfile"), {"type": "RuntimeDefault"})


SECCOMP = Rule(
    name="seccomp",
    title="Containers have a seccomp profile.",
    description=(
        "Kubernetes runs containers unconfined unless told otherwise; the runtime's own profile closes the calls of "
        "the kernel that most ways out of a container need."
    ),
    remediation="Set seccompProfile: {type: RuntimeDefault} in the pod's securityContext.",
    severity="warn",
    references=("CKV_K8S_31", "kube-score container-seccomp-profile", "gatekeeper seccompv2", "CIS 5.7.2"),
    of_container=_seccomp,
    remediate=_default_profile,
    bad=_SEED + _CONTAINER,
    good=_SEED + "  securityContext: {seccompProfile: {type: RuntimeDefault}}\n" + _CONTAINER,
)

_MOUNTS = "automountServiceAccountToken"


def _token(item: Object, _: Context) -> Iterator[Said]:
    if item.kind == "ServiceAccount":
        if item.properties.get(_MOUNTS).boolean() is not False:
            yield (
                f"every pod of account '{item.name}' gets an API token unless it says otherwise; set "
                f"{_MOUNTS}: false here, and true in the pods that ask the API."
            )
        return

    def judge(pod: Pod) -> Iterator[Said]:
        mounts = pod.spec.get(_MOUNTS).boolean()
        # With an account of its own the account may say it: that is judged there.
        own = pod.spec.get("serviceAccountName").text() not in (None, "", "default")
        if mounts or (mounts is None and not own):
            yield (
                "pod mounts an API token it never uses, which is a way into the cluster for who takes it over; set "
                f"{_MOUNTS}: false."
            )

    yield from each(item.pods, judge)


def _no_token(item: Object, _: Context) -> Iterator[Edit]:
    if item.kind == "ServiceAccount":
        yield Edit((_MOUNTS,), False)
    for path, pod in zip(item.pod_paths, item.pods, strict=True):
        try:
            if pod.spec.get(_MOUNTS).boolean() is None:
                yield Edit((*path, "spec", _MOUNTS), False)
        except Doubt:
            continue


SA_TOKEN = Rule(
    name="sa-token",
    title="Pods that do not ask the API have no token for it.",
    description=(
        "Kubernetes mounts the token of its service account into every pod. A model server never asks the API; who "
        "takes it over could."
    ),
    remediation=f"Set {_MOUNTS}: false in the pod, or in its service account.",
    severity="warn",
    references=("polaris automountServiceAccountToken", "CKV_K8S_38", "kubescape C-0034", "CIS 5.1.6"),
    of_object=_token,
    kinds=POD_BEARING | {"ServiceAccount"},
    remediate=_no_token,
    bad=_SEED + _CONTAINER,
    good=_SEED + f"  {_MOUNTS}: false\n" + _CONTAINER,
)

RULES = (
    PRIVILEGED,
    HOST_NAMESPACES,
    HOSTPATH,
    RUN_AS_NON_ROOT,
    PRIVILEGE_ESCALATION,
    CAPABILITIES,
    SECCOMP,
    SA_TOKEN,
)
