"""Rules about what engines are told: by their flags and variables."""

from __future__ import annotations

import re
from collections.abc import Iterator

from llm_policies.objects import Object
from llm_policies.pods import Container, Pod
from llm_policies.rule import Context, Edit, Rule, Said
from llm_policies.values import each

_LOOPBACK = re.compile(r"(https?://)?(127(\.\d+){1,3}|localhost|\[?::1\]?)(:\d+)?/?", re.IGNORECASE)
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


def _is_official(image: str) -> bool:
    """Whether it is Ollama's own image, which sets OLLAMA_HOST itself."""
    name = image.partition("@")[0].removeprefix("docker.io/").removeprefix("index.docker.io/")
    return name.partition(":")[0] == "ollama/ollama"


def _on_loopback(container: Container) -> str | None:
    """The host that Ollama listens on, where that is loopback."""
    if container.engine != "ollama":
        return None
    told = [entry for entry in container.value.get("env").items() if entry.get("name").text() == "OLLAMA_HOST"]
    if not told:
        # From elsewhere it may be set all the same.
        elsewhere = bool(container.value.get("envFrom").items())
        return None if elsewhere or _is_official(container.image) else "127.0.0.1:11434"
    if told[-1].get("valueFrom").exists:
        return None
    host = told[-1].get("value").text() or "127.0.0.1"
    return host if _LOOPBACK.fullmatch(host) else None


def _host(container: Container, _: Context) -> Iterator[Said]:
    if (host := _on_loopback(container)) is not None:
        yield (
            f"{container.name}: OLLAMA_HOST {host} listens on loopback, so the Service gets connection refused. Set "
            f"OLLAMA_HOST to {_OLLAMA_HOST}."
        )


def _listen(item: Object, _: Context) -> Iterator[Edit]:
    for path, container in item.containers_with_paths():
        if _on_loopback(container) is not None:
            variables = container.value.get("env").items()
            index = next(
                (i for i, entry in enumerate(variables) if entry.get("name").text() == "OLLAMA_HOST"), len(variables)
            )
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


def _development(container: Container) -> list[str]:
    """Variables that open endpoints for developers."""
    if container.engine not in ("vllm", None):
        return []
    found = []
    for name, value in container.environment:
        text = value.text()
        if (name == _DEV_MODE and text not in (None, "", "0")) or (name in _PROFILER and text):
            found.append(name)
    return found


def _dev(container: Container, _: Context) -> Iterator[Said]:
    for name in dict.fromkeys(_development(container)):
        opened = "/collective_rpc (arbitrary RPC), /sleep and /pause" if name == _DEV_MODE else "/start_profile"
        yield f"{container.name}: {name} exposes {opened} to whoever reaches the port. Leave the variable out."
    if container.engine == "vllm" and container.has_flag("--profiler-config"):
        yield f"{container.name}: --profiler-config exposes /start_profile to whoever reaches the port. Leave it out."


def _close(item: Object, _: Context) -> Iterator[Edit]:
    """One edit for the whole list: what is taken out would move the others."""
    for path, container in item.containers_with_paths():
        if names := _development(container):
            kept = [e.raw for e in container.value.get("env").items() if e.get("name").text() not in names]
            yield Edit((*path, "env"), kept)


DEV_ENDPOINTS = Rule(
    name="dev-endpoints",
    title="vLLM's endpoints for developers are closed.",
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
    lacking = [name for name in ("--revision", "--code-revision") if not container.option(name)]
    pinned = "" if lacking else ", which is pinned; see that someone has read it"
    repair = f"; pin {' and '.join(lacking)}" if lacking else ""
    yield f"{container.name}: code of the model's repository runs in the pod{pinned}{repair}."


TRUST_REMOTE_CODE = Rule(
    name="trust-remote-code",
    title="Code that comes with a model is not run, or is known.",
    description=(
        "--trust-remote-code runs Python of the model's repository with the pod's rights, at every start in the "
        "version that the repository has then."
    ),
    remediation="Choose a model that the engine knows itself, or read the code and pin --revision and --code-revision.",
    severity="warn",
    references=("vLLM docs/usage/security.md",),
    of_container=_remote_code,
    bad=_VLLM + "    args: [org/model, --trust-remote-code]\n",
    good=_VLLM + "    args: [org/model]\n",
)


def _links(pod: Pod) -> bool:
    return pod.spec.get("enableServiceLinks").boolean() is not False and any(c.engine == "vllm" for c in pod.engines)


def _service_env(item: Object, _: Context) -> Iterator[Said]:
    def judge(pod: Pod) -> Iterator[Said]:
        if _links(pod):
            yield (
                "enableServiceLinks is not false: a Service 'vllm' in the namespace injects VLLM_PORT=tcp://... and "
                "vLLM refuses to start. Set enableServiceLinks: false."
            )

    yield from each(item.pods, judge)


def _unlink(item: Object, _: Context) -> Iterator[Edit]:
    for path, pod in zip(item.pod_paths, item.pods, strict=True):
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
    of_object=_service_env,
    remediate=_unlink,
    bad=_VLLM,
    good=_VLLM.replace("spec:\n", "spec:\n  enableServiceLinks: false\n"),
)

RULES = (OLLAMA_HOST, DEV_ENDPOINTS, TRUST_REMOTE_CODE, SERVICE_ENV_CLASH)
