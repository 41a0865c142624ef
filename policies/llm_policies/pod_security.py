"""Rules about what a container may do on its node: those of the Pod Security Standards."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress

from llm_policies.containers import Container
from llm_policies.engine_commands import Engine
from llm_policies.examples import CONTAINERS, POD_HEAD
from llm_policies.image_names import is_of
from llm_policies.objects import Object
from llm_policies.pods import Pod
from llm_policies.rule import Context, Edit, Rule, Said, Setting
from llm_policies.values import Doubt, Unsaid, Value, each

_CONFINED = ("RuntimeDefault", "Localhost")
_ROOT_IMAGES = ("vllm/vllm-openai", "ollama/ollama")
"""Images whose own user is root; also those of a mirror."""


def _is_windows(pod: Pod) -> bool:
    """Whether the pod is for Windows, where Linux' security settings are refused; not so in a patch without a word."""
    systems = []
    for keys in (("os", "name"), ("nodeSelector", "kubernetes.io/os")):
        with suppress(Unsaid):
            systems.append(pod.spec.get(*keys).text())
    return "windows" in systems


def _setting(container: Container, *keys: str) -> Value:
    """A setting of securityContext: the container's own, else the pod's.

    Raises:
        Unsaid: a patch says it at neither place.
    """
    with suppress(Unsaid):
        own = container.value.get("securityContext", *keys)
        if own.exists:
            return own
    return container.pod.spec.get("securityContext", *keys)


def _engine_for_words(container: Container) -> Engine | None:
    """Its engine, for the wording alone; None also where it cannot be told, which hides no violation."""
    engine: Engine | None = None
    with suppress(Doubt):
        engine = container.engine
    return engine


def _privileged(container: Container, _: Context) -> Iterator[Said]:
    def as_root() -> Iterator[Said]:
        if container.value.get("securityContext", "privileged").boolean():
            repair = (
                "the device plugin hands over GPUs without it. Remove privileged and set limits['nvidia.com/gpu']."
                if _engine_for_words(container) is not None
                else "what it needs of the node is a capability or a device. Remove privileged, and ask for that alone."
            )
            yield f"{container.name} is privileged, so it is root on its node; {repair}"

    def as_host_process() -> Iterator[Said]:
        if _setting(container, "windowsOptions", "hostProcess").boolean():
            yield f"{container.name} is a HostProcess of Windows, so it has its node's rights. Leave hostProcess out."

    yield from each((as_root, as_host_process), lambda check: check())


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
    bad=POD_HEAD + CONTAINERS + "    securityContext: {privileged: true}\n",
    good=POD_HEAD + CONTAINERS + "    resources: {limits: {nvidia.com/gpu: 1}}\n",
)

_USER_OF: dict[str | None, str] = {
    # https://github.com/vllm-project/vllm/pull/40275
    "vllm": "vllm/vllm-openai has 2000 with runAsGroup 0 in images since May 2026 (caches, and what is mounted below "
    "/root, then belong to /home/vllm); older ones need a user of your own making",
    "ollama": "Ollama takes any that may write to HOME and OLLAMA_MODELS",
}


def _root(container: Container, _: Context) -> Iterator[Said]:
    setting = _setting(container, "runAsUser")
    user = setting.integer()
    if user is not None and user < 0:
        raise setting.malformed("a user's number")
    if user:
        return  # whatever runAsNonRoot says: this is not root's number
    hint = _USER_OF.get(_engine_for_words(container), "any but 0 that may write to its volumes (fsGroup)")
    repair = f"so a way out of the container is root on the node. Set runAsNonRoot: true and a runAsUser: {hint}."
    if user == 0:
        said = f"{container.name} runs as root (runAsUser is 0), {repair}"
    elif not _setting(container, "runAsNonRoot").boolean():
        said = f"{container.name} may run as root, as neither runAsNonRoot nor a runAsUser forbids it, {repair}"
    elif is_of(container.image, *_ROOT_IMAGES):
        said = (
            f"{container.name}: runAsNonRoot is true, but its image runs as root, so the kubelet refuses to start it. "
            f"Set a runAsUser: {hint}."
        )
    else:
        return
    if not _is_windows(container.pod):
        yield said


RUN_AS_NON_ROOT = Rule(
    name="run-as-non-root",
    title="No container runs as root.",
    description=(
        "Root in a container is root's number on the node: whatever lets a process out lets it out as root. The images "
        "of vLLM and Ollama run as root unless told otherwise, and both can do without. A runAsUser other than 0 is "
        "enough; with runAsNonRoot alone the kubelet refuses images whose own user is root."
    ),
    remediation=(
        "Set runAsNonRoot: true and a runAsUser in the pod's securityContext; caches and models must be writable for "
        "that user (fsGroup)."
    ),
    severity="warn",
    references=("CKV_K8S_6", "CKV_K8S_23", "kube-linter run-as-non-root", "kubescape C-0013", "CIS 5.2.7"),
    of_container=_root,
    bad=POD_HEAD + CONTAINERS,
    good=POD_HEAD + "  securityContext: {runAsNonRoot: true, runAsUser: 2000, runAsGroup: 0}\n" + CONTAINERS,
)


def _escalates(container: Container) -> bool:
    # Absent is true to Kubernetes.
    allowed = container.value.get("securityContext", "allowPrivilegeEscalation").boolean()
    return allowed is not False and not _is_windows(container.pod)


def _has_all_rights(container: Container) -> bool:
    """Whether the API server refuses allowPrivilegeEscalation: false."""
    security = container.value.get("securityContext")
    rights: set[str] = set()
    with suppress(Unsaid):  # in a patch
        rights |= {word.text() or "" for word in security.get("capabilities", "add").items()}
    with suppress(Unsaid):
        rights |= {"SYS_ADMIN"} if security.get("privileged").boolean() else set()
    return any(right.upper().removeprefix("CAP_") == "SYS_ADMIN" for right in rights)


def _escalation(container: Container, _: Context) -> Iterator[Said]:
    if _escalates(container):
        first = "Take privileged and SYS_ADMIN away, and set" if _has_all_rights(container) else "Set"
        yield (
            f"{container.name} may gain rights that it did not start with (setuid programs), since "
            f"allowPrivilegeEscalation is not false. {first} allowPrivilegeEscalation: false."
        )


def _forbid_escalation(item: Object, _: Context) -> Iterator[Edit]:
    for path, container in item.containers_with_paths():
        if _escalates(container) and not _has_all_rights(container):
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
    bad=POD_HEAD + CONTAINERS,
    good=POD_HEAD + CONTAINERS + "    securityContext: {allowPrivilegeEscalation: false}\n",
)


def _capability_names(container: Container, key: str) -> list[str]:
    names = container.value.get("securityContext", "capabilities", key).items()
    return [text for name in names if (text := name.text()) is not None]


def _drops_all(container: Container) -> bool:
    return "ALL" in (name.upper() for name in _capability_names(container, "drop"))


def _capabilities(container: Container, context: Context) -> Iterator[Said]:
    allowed: list[str] = context.settings["allowed"]

    def added() -> Iterator[Said]:
        names = [name for name in _capability_names(container, "add") if name not in allowed]
        if names and not _is_windows(container.pod):
            yield (
                f"{container.name} adds Linux capabilities {', '.join(names)}; serving a model needs none. Leave them "
                "out."
            )

    def kept() -> Iterator[Said]:
        if not _drops_all(container) and not _is_windows(container.pod):
            dropped = _capability_names(container, "drop")
            but = f", all but {', '.join(dropped)}" if dropped else ""
            yield (
                f"{container.name} keeps the Linux capabilities of its runtime{but}, which serve who breaks out of it. "
                "Write capabilities: {drop: [ALL]}."
            )

    yield from each((added, kept), lambda check: check())


def _drop_all(item: Object, _: Context) -> Iterator[Edit]:
    """What is added on purpose stays."""
    for path, container in item.containers_with_paths():
        if not _drops_all(container) and not _is_windows(container.pod):
            yield Edit((*path, "securityContext", "capabilities", "drop"), ["ALL"])


CAPABILITIES = Rule(
    name="capabilities",
    title="Containers drop all Linux capabilities.",
    description=(
        "Runtimes leave some fourteen of them to a container that runs as root (raw sockets, file owners, ...); "
        "serving a model needs none. What a program truly needs beside them, such as NET_BIND_SERVICE for a port below "
        "1024 or IPC_LOCK for InfiniBand, an environment allows by the setting `allowed`."
    ),
    remediation="Write capabilities: {drop: [ALL]}, and add none.",
    severity="warn",
    references=("CKV_K8S_25", "CKV_K8S_37", "kyverno require-drop-all", "polaris dangerousCapabilities", "CIS 5.2.9"),
    of_container=_capabilities,
    settings={"allowed": Setting(default=[], description="Capabilities that may be added, as the manifest has them.")},
    remediate=_drop_all,
    bad=POD_HEAD + CONTAINERS,
    good=POD_HEAD + CONTAINERS + "    securityContext: {capabilities: {drop: [ALL]}}\n",
)


def _is_unconfined(container: Container) -> bool:
    # Absent is Unconfined, unless the kubelet was started with --seccomp-default.
    profile = _setting(container, "seccompProfile", "type").text()
    return profile not in _CONFINED and not _is_windows(container.pod)


def _seccomp(container: Container, _: Context) -> Iterator[Said]:
    if _is_unconfined(container):
        yield (
            f"{container.name} has no seccomp profile, so it may make every call of the kernel. Set seccompProfile: "
            "{type: RuntimeDefault}."
        )


def _default_profile(item: Object, _: Context) -> list[Edit]:
    """For a whole pod that says nothing, and for what says otherwise where it says so."""
    profile = {"type": "RuntimeDefault"}
    edits = [
        Edit((*path, "spec", "securityContext", "seccompProfile"), profile)
        for path, pod in item.pods_with_paths()
        if pod.spec.get("securityContext", "seccompProfile", "type").text() not in _CONFINED
        and any(map(_is_unconfined, pod.containers))
    ]
    return edits + [
        Edit((*path, "securityContext", "seccompProfile"), profile)
        for path, container in item.containers_with_paths()
        if container.value.get("securityContext", "seccompProfile").exists and _is_unconfined(container)
    ]


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
    bad=POD_HEAD + CONTAINERS,
    good=POD_HEAD + "  securityContext: {seccompProfile: {type: RuntimeDefault}}\n" + CONTAINERS,
)

RULES = (PRIVILEGED, RUN_AS_NON_ROOT, PRIVILEGE_ESCALATION, CAPABILITIES, SECCOMP)
