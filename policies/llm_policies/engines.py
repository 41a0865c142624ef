"""Rules about what engines are told: by their flags and variables."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import suppress
from functools import partial

from llm_policies.config_maps import from_config_map, readable_containers
from llm_policies.containers import Container
from llm_policies.models import is_on_disk
from llm_policies.objects import Object, Stack
from llm_policies.pods import Pod
from llm_policies.rule import REMOVE, Context, Edit, Rule, Said
from llm_policies.values import Doubt, Unsaid, Value, each, hidden

_COMMIT = re.compile(r"[0-9a-f]{40}")

_POD = """\
apiVersion: v1
kind: Pod
metadata: {name: chat}
spec:
  containers:
  - name: vllm
    image: vllm/vllm-openai:v0.33.0
"""

_OPENED = {
    "VLLM_SERVER_DEV_MODE": "/collective_rpc (arbitrary RPC), /sleep and /pause",
    "VLLM_TORCH_PROFILER_DIR": "/start_profile",
    "VLLM_TORCH_CUDA_PROFILE": "/start_profile",
}
"""What variables open."""


def _opens(value: str) -> bool:
    """Whether vLLM takes it for yes; it reads them as numbers, but for the folder of the profiler."""
    return value.strip() not in ("", "0")


def _may_be_vllm(container: Container) -> bool:
    """Whether it is vLLM, an image of one's own, or one that cannot be told."""
    try:
        return container.engine in ("vllm", None)
    except Doubt:
        return True


def _development(container: Container) -> Iterator[tuple[int, str, bool]]:
    """Variables that open endpoints for developers: place, name, and whether they may, their value being elsewhere."""
    if not _may_be_vllm(container):
        return
    for index, entry in enumerate(container.value.get("env").items()):
        name = entry.get("name").text()
        if name in _OPENED:
            value = hidden(entry.get("value")).text()
            if value is None:
                if entry.get("valueFrom").exists:
                    yield index, name, True
            elif _opens(value):
                yield index, name, False


def _exposed(container: Container, name: str, exposes: str, repair: str = "Leave the variable out.") -> str:
    return f"{container.name}: {name} {exposes} {_OPENED[name]} to whoever reaches the port. {repair}"


def _dev(container: Container, _: Context) -> Iterator[Said]:
    def variables() -> Iterator[Said]:
        for name, elsewhere in {name: elsewhere for _, name, elsewhere in _development(container)}.items():
            yield _exposed(container, name, "comes from elsewhere, and may expose" if elsewhere else "exposes")

    def command_line() -> Iterator[Said]:
        if _may_be_vllm(container):
            for name in _OPENED:
                if _opens(container.assigned.get(name, "")):
                    yield _exposed(container, name, "on the command line exposes")

    def flags() -> Iterator[Said]:
        # Also `--profiler-config.profiler=torch`, as vLLM has parts of a JSON option.
        words = (word.replace("_", "-") for word in container.given)
        if any(word.startswith("--profiler-config") for word in words) and container.engine == "vllm":
            yield (
                f"{container.name}: --profiler-config exposes /start_profile to whoever reaches the port. Leave it out."
            )

    yield from each((variables, command_line, flags), lambda check: check())


def _dev_in_stack(stack: Stack, _: Context) -> Iterator[tuple[Object, Said]]:
    for item in stack.workloads():
        judge = partial(_mapped, item=item, stack=stack)
        yield from ((item, said) for said in each(readable_containers(item), judge))


def _mapped(container: Container, item: Object, stack: Stack) -> Iterator[Said]:
    """What ConfigMaps of the stack set; the container by itself has been judged."""
    for name in _OPENED:
        found = from_config_map(stack, item, container, name)
        if found is not None and _opens(found[1]) and _may_be_vllm(container):
            repair = f"Leave it out of ConfigMap '{found[0].name}'."
            yield _exposed(container, name, "exposes", repair)


def _close(item: Object, _: Context) -> Iterator[Edit]:
    """From the last: what is taken out moves those behind it."""
    for path, container in item.containers_with_paths():
        for index, _name, _elsewhere in reversed(list(_development(container))):
            yield Edit((*path, "env", index), REMOVE)


DEV_ENDPOINTS = Rule(
    name="dev-endpoints",
    title="Endpoints for developers of vLLM are closed.",
    description=(
        "VLLM_SERVER_DEV_MODE=1 adds /collective_rpc, which runs any method of the workers, /sleep and /pause; none of "
        "them asks for a key. A profiler writes prompts to disk. What envFrom sets is read of the ConfigMaps that are "
        "deployed with it."
    ),
    remediation="Leave VLLM_SERVER_DEV_MODE and the profiler's settings out.",
    severity="error",
    references=("vLLM docs/usage/security.md",),
    of_container=_dev,
    of_stack=_dev_in_stack,
    remediate=_close,
    bad=_POD + '    env: [{name: VLLM_SERVER_DEV_MODE, value: "1"}]\n',
    good=_POD,
)


def _remote_code(container: Container, _: Context) -> Iterator[Said]:
    if not container.has_flag("--trust-remote-code") or is_on_disk(container):
        return  # what is on disk is what somebody has put there
    # vLLM alone may take the code of another revision than the weights.
    options = ("--revision", "--code-revision") if container.engine == "vllm" else ("--revision",)
    if unpinned := [name for name in options if not _COMMIT.fullmatch(container.option(name) or "")]:
        yield (
            f"{container.name}: --trust-remote-code runs code of the model's repository in the pod, whatever is there "
            f"at each start; pin {' and '.join(unpinned)} to a commit that someone has read."
        )


TRUST_REMOTE_CODE = Rule(
    name="trust-remote-code",
    title="Code that comes with a model is not run, or is known.",
    description=(
        "With --trust-remote-code Python of the model's repository runs with the pod's rights, at every start in the "
        "version that the repository has then. Of a branch or a tag nobody knows what it will be; a commit stays. A "
        "model that is a path is not looked at: its code is what somebody has put there."
    ),
    remediation=(
        "Choose a model that the engine knows itself, or read the code and pin --revision (and --code-revision)."
    ),
    severity="warn",
    references=("vLLM docs/usage/security.md",),
    of_container=_remote_code,
    bad=_POD + "    args: [org/model, --trust-remote-code]\n",
    good=_POD + "    args: [org/model]\n",
)


def _links(pod: Pod) -> bool:
    """Whether a Service's variables reach vLLM: absent is true to Kubernetes, a pod's own VLLM_PORT goes first."""
    if pod.spec.get("enableServiceLinks").boolean() is False:
        return False
    return any(c.engine == "vllm" and not _has_port(c) for c in pod.engines)


def _has_port(container: Container) -> bool:
    ports: list[Value] = []
    with suppress(Unsaid):  # of a patch without variables
        ports = [value for name, value in container.environment if name == "VLLM_PORT"]
    return bool(ports)


def _service_env(pod: Pod, _: Context) -> Iterator[Said]:
    if _links(pod):
        yield (
            "enableServiceLinks is not false: a Service 'vllm' in the namespace would inject VLLM_PORT=tcp://... and "
            "vLLM refuses to start. Set enableServiceLinks: false."
        )


def _unlink(item: Object, _: Context) -> Iterator[Edit]:
    for path, pod in item.pods_with_paths():
        if _links(pod):
            yield Edit((*path, "spec", "enableServiceLinks"), False)


SERVICE_ENV_CLASH = Rule(
    name="service-env-clash",
    title="No Service's variables reach vLLM.",
    description=(
        "Kubernetes sets NAME_PORT and others in each pod for every Service of the namespace. Of a Service called vllm "
        "that is VLLM_PORT, which vLLM takes for its own, and refuses. The Service may come later than the pod, so the "
        "pod is judged whatever Services there are."
    ),
    remediation="Set enableServiceLinks: false.",
    severity="error",
    references=("vLLM envs.py ('appears to be a URI')",),
    of_pod=_service_env,
    remediate=_unlink,
    bad=_POD,
    good=_POD.replace("spec:\n", "spec:\n  enableServiceLinks: false\n"),
)

RULES = (DEV_ENDPOINTS, TRUST_REMOTE_CODE, SERVICE_ENV_CLASH)
