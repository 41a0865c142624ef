"""Rules about what engines are told: by their flags and variables."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import suppress

from llm_policies.image_names import is_of
from llm_policies.objects import Object
from llm_policies.pods import Container, Pod
from llm_policies.rule import REMOVE, Context, Edit, Rule, Said
from llm_policies.values import Unsaid, Value, each, hidden

_LOOPBACK = re.compile(
    r"(?:https?://)?(?P<address>(?:127(?:\.\d+){1,3}|localhost|\[?::1\]?)(?::\d+)?)(?:/.*)?", re.IGNORECASE
)
_OFFICIAL = "ollama/ollama"
"""The image that sets OLLAMA_HOST itself."""

_COMMIT = re.compile(r"[0-9a-f]{40}")
_OLLAMA_HOST = "0.0.0.0:11434"  # inside a pod: NetworkPolicy and Service decide who reaches it

_POD = """\
apiVersion: v1
kind: Pod
metadata: {{name: chat}}
spec:
  containers:
  - name: {name}
    image: {image}
"""
_VLLM = _POD.format(name="vllm", image="vllm/vllm-openai:v0.33.0")
_OLLAMA = _POD.format(name="ollama", image="docker.io/ollama/ollama:0.32.15")


def _serves(container: Container) -> bool:
    """Whether it is Ollama's server: its clients take OLLAMA_HOST for where they ask, loopback too."""
    if container.engine != "ollama" or not (container.role == "main" or container.is_sidecar):
        return False
    if container.pod.owner_kind in ("Job", "CronJob"):
        return False  # a server that it starts is for itself
    # The image's own entrypoint is `/bin/ollama`, its argument `serve`.
    words = [part for word in container.words for part in word.split()]
    return not words or "serve" in words


def _is_behind_another(container: Container) -> bool:
    """Whether another container of the pod is what its Service asks: a proxy that checks keys, on loopback."""
    listening = [c.value.get("ports").items() for c in container.pod.main_containers]
    return not container.value.get("ports").items() and any(listening)


def _told_host(container: Container) -> tuple[int, Value] | None:
    """Place and entry of the variable OLLAMA_HOST; of several the last, which wins."""
    entries = list(enumerate(container.value.get("env").items()))
    return next((pair for pair in reversed(entries) if pair[1].get("name").text() == "OLLAMA_HOST"), None)


def _on_loopback(container: Container) -> str | None:
    """The host that Ollama listens on, where that is loopback."""
    if not _serves(container):
        return None
    told = _told_host(container)
    if told is None:
        # From elsewhere it may be set all the same.
        elsewhere = bool(container.value.get("envFrom").items())
        host = "" if elsewhere or is_of(container.image, _OFFICIAL) else "127.0.0.1"
    elif told[1].get("valueFrom").exists:
        host = ""
    else:
        # An empty one counts as none to Ollama, and hides the image's.
        host = (hidden(told[1].get("value")).text() or "").strip().strip("\"'").strip() or "127.0.0.1"
    match = _LOOPBACK.fullmatch(host)
    return match["address"] if match is not None and not _is_behind_another(container) else None


def _host(container: Container, _: Context) -> Iterator[Said]:
    if (host := _on_loopback(container)) is not None:
        yield (
            f"{container.name}: OLLAMA_HOST {host} listens on loopback, so the Service gets connection refused. Set "
            f"OLLAMA_HOST to {_OLLAMA_HOST}."
        )


def _listen(item: Object, _: Context) -> Iterator[Edit]:
    for path, container in item.containers_with_paths():
        if _on_loopback(container) is not None:
            told = _told_host(container)
            index = len(container.value.get("env").items()) if told is None else told[0]
            yield Edit((*path, "env", index), {"name": "OLLAMA_HOST", "value": _OLLAMA_HOST})


OLLAMA_HOST = Rule(
    name="ollama-host",
    title="Ollama listens where its Service asks.",
    description=(
        "Ollama itself listens on 127.0.0.1; its own image changes that, images made from scratch do not. The pod is "
        "healthy, and every request is refused."
    ),
    remediation=f"Set OLLAMA_HOST to {_OLLAMA_HOST}.",
    severity="error",
    references=("ollama envconfig/config.go",),
    of_container=_host,
    remediate=_listen,
    bad=_OLLAMA + "    env: [{name: OLLAMA_HOST, value: 127.0.0.1}]\n",
    good=_OLLAMA + f"    env: [{{name: OLLAMA_HOST, value: '{_OLLAMA_HOST}'}}]\n",
)

_DEV_MODE = "VLLM_SERVER_DEV_MODE"
_PROFILER = ("VLLM_TORCH_PROFILER_DIR", "VLLM_TORCH_CUDA_PROFILE")


def _development(container: Container) -> Iterator[tuple[int, str, bool]]:
    """Variables that open endpoints for developers: place, name, and whether they may, their value being elsewhere."""
    if container.engine not in ("vllm", None):
        return
    for index, entry in enumerate(container.value.get("env").items()):
        name = entry.get("name").text()
        if name == _DEV_MODE or name in _PROFILER:
            value = hidden(entry.get("value")).text()
            if value is None:
                if entry.get("valueFrom").exists:
                    yield index, name, True
            elif value.strip() not in ("", "0"):  # vLLM reads them as numbers, but for the folder of the profiler
                yield index, name, False


def _dev(container: Container, _: Context) -> Iterator[Said]:
    def variables() -> Iterator[Said]:
        for name, elsewhere in {name: elsewhere for _, name, elsewhere in _development(container)}.items():
            opened = "/collective_rpc (arbitrary RPC), /sleep and /pause" if name == _DEV_MODE else "/start_profile"
            exposes = "comes from elsewhere, and may expose" if elsewhere else "exposes"
            yield f"{container.name}: {name} {exposes} {opened} to whoever reaches the port. Leave the variable out."

    def flags() -> Iterator[Said]:
        # Also `--profiler-config.profiler=torch`, as vLLM has parts of a JSON option.
        words = (part.replace("_", "-") for word in container.words for part in word.split())
        if container.engine == "vllm" and any(word.startswith("--profiler-config") for word in words):
            yield (
                f"{container.name}: --profiler-config exposes /start_profile to whoever reaches the port. Leave it out."
            )

    yield from each((variables, flags), lambda check: check())


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
        "them asks for a key. A profiler writes prompts to disk."
    ),
    remediation="Leave VLLM_SERVER_DEV_MODE and the profiler's settings out.",
    severity="error",
    references=("vLLM docs/usage/security.md",),
    of_container=_dev,
    remediate=_close,
    bad=_VLLM + '    env: [{name: VLLM_SERVER_DEV_MODE, value: "1"}]\n',
    good=_VLLM,
)


def _remote_code(container: Container, _: Context) -> Iterator[Said]:
    if not container.has_flag("--trust-remote-code"):
        return
    unpinned = [
        name for name in ("--revision", "--code-revision") if not _COMMIT.fullmatch(container.option(name) or "")
    ]
    if unpinned:
        yield (
            f"{container.name}: --trust-remote-code runs code of the model's repository in the pod, whatever is there "
            f"at each start; pin {' and '.join(unpinned)} to a commit that someone has read."
        )


TRUST_REMOTE_CODE = Rule(
    name="trust-remote-code",
    title="Code that comes with a model is not run, or is known.",
    description=(
        "With --trust-remote-code Python of the model's repository runs with the pod's rights, at every start in the "
        "version that the repository has then. Of a branch or a tag nobody knows what it will be; a commit stays."
    ),
    remediation="Choose a model that the engine knows itself, or read the code and pin --revision and --code-revision.",
    severity="warn",
    references=("vLLM docs/usage/security.md",),
    of_container=_remote_code,
    bad=_VLLM + "    args: [org/model, --trust-remote-code]\n",
    good=_VLLM + "    args: [org/model]\n",
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
            "enableServiceLinks is not false: a Service 'vllm' in the namespace injects VLLM_PORT=tcp://... and "
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
    bad=_VLLM,
    good=_VLLM.replace("spec:\n", "spec:\n  enableServiceLinks: false\n"),
)

RULES = (OLLAMA_HOST, DEV_ENDPOINTS, TRUST_REMOTE_CODE, SERVICE_ENV_CLASH)
