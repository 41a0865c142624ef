"""Rules about what a serving container asks of its node, and how it is known to be well."""

from __future__ import annotations

from collections.abc import Iterator

from llm_policies.containers import Container
from llm_policies.objects import POD_BEARING, Object
from llm_policies.rule import Context, Edit, Rule, Said
from llm_policies.values import Value, each

_RUN_TO_END = frozenset({"Job", "CronJob"})
"""Kinds whose pods end by themselves: nobody waits for them to be ready."""

_POD = """\
apiVersion: apps/v1
kind: Deployment
metadata: {name: chat}
spec:
  template:
    spec:
      containers:
      - name: vllm
        image: vllm/vllm-openai:v0.33.0
"""


_ASKED = (("requests", "cpu"), ("requests", "memory"), ("limits", "memory"))


def _resources(container: Container, _: Context) -> Iterator[Said]:
    if container.role == "ephemeral":
        return  # Kubernetes lets them have none
    # What the whole pod has (spec.resources) its containers share.
    own, whole = container.value.get("resources"), container.pod.spec.get("resources")
    lacking = [
        f"{'request' if key == 'requests' else 'limit'} of {what}"
        for key, what in _ASKED
        if not (_asks(own, key, what) or _asks(whole, key, what))
    ]
    if lacking:
        yield (
            f"{container.name}: has no {', no '.join(lacking)}, so its node may be overfull before it starts; host "
            "memory peaks while weights load. Set them (no CPU limit: it only slows the server down)."
        )


def _asks(resources: Value, key: str, what: str) -> bool:
    """Whether it is set: 0 is as good as nothing, and a limit without a request is its own request."""
    amount = resources.get(key, what).quantity(least=0)
    if amount is None:
        amount = resources.get("limits", what).quantity(least=0)
    return bool(amount)


RESOURCES_SET = Rule(
    name="resources-set",
    title="Containers say what they need of their node.",
    description=(
        "The scheduler counts requests alone. Without one of memory a server is put where there is none left, and the "
        "kernel ends it, or its neighbour, while weights load. Init containers and sidecars count as well; what the "
        "whole pod has (spec.resources) counts for each of its containers. A LimitRange is not seen."
    ),
    remediation="Set requests of cpu and memory, and a limit of memory.",
    severity="error",
    references=("polaris cpuRequestsMissing, memory*Missing", "CKV_K8S_10, 12, 13", "kube-score container-resources"),
    of_container=_resources,
    bad=_POD,
    good=_POD + '        resources: {requests: {cpu: "2", memory: 8Gi}, limits: {memory: 32Gi}}\n',
)


_HANDLERS = {"httpGet": "port", "exec": "command", "grpc": "port", "tcpSocket": "port"}
"""Ways to ask, and what Kubernetes demands of each."""


def _probes(item: Object, _: Context) -> Iterator[Said]:
    def judge(container: Container) -> Iterator[Said]:
        # A training on a GPU serves nobody; what has GPUs and a port does.
        if not (container.serves or (container.engine is None and container.gpus and _has_port(container))):
            return
        has = {name: _asks_something(container.value.get(f"{name}Probe")) for name in ("startup", "readiness")}
        # Ollama is up at once, and loads a model when it is first asked for it.
        if not has["startup"] and container.engine != "ollama":
            if _asks_something(container.value.get("livenessProbe")):
                yield (
                    f"{container.name}: liveness without startupProbe kills the server while weights load. Add a "
                    "startupProbe with a budget of the load time."
                )
            else:
                yield (
                    f"{container.name}: no startupProbe, so nothing says how long weights may load. Add one with a "
                    "budget of the load time."
                )
        if not has["readiness"]:
            yield (
                f"{container.name}: no readinessProbe, so requests come before the model is loaded. Add one of /health."
                if container.engine != "ollama"
                else f"{container.name}: no readinessProbe, so requests come before the server is up. Add one of /."
            )

    # A Pod alone has it there: what is not restarted is as a Job.
    if item.properties.get("spec", "restartPolicy").text() == "Never":
        return
    yield from each((c for pod in item.serving_pods for c in pod.main_containers), judge)


def _has_port(container: Container) -> bool:
    return bool(container.value.get("ports").items())


def _asks_something(probe: Value) -> bool:
    """Whether it is there, and says what to ask.

    Raises:
        Doubt: it lacks what Kubernetes demands.
    """
    way = next((way for way in _HANDLERS if probe.get(way).exists), None)
    if way is not None and not probe.get(way).is_unknown:
        demanded = probe.get(way, _HANDLERS[way])
        if not demanded.exists:
            raise demanded.malformed(f"a {_HANDLERS[way]}")
    return way is not None


PROBES_SET = Rule(
    name="probes-set",
    title="A server is asked whether it is up, and given the time to come up.",
    description=(
        "Weights take minutes to load. Without a readinessProbe requests come before; with a livenessProbe alone the "
        "server is killed while it loads, for ever. A server is a container with an engine, or with GPUs and a port. "
        "Ollama needs no startupProbe, as it is up before it loads; Jobs and pods that are not restarted need none."
    ),
    remediation="Add a startupProbe with a budget of the load time, and a readinessProbe.",
    severity="error",
    references=("kube-score pod-probes", "CKV_K8S_8, 9", "gatekeeper requiredprobes"),
    of_object=_probes,
    kinds=POD_BEARING - _RUN_TO_END,
    bad=_POD + "        livenessProbe: {httpGet: {path: /health, port: 8000}}\n",
    good=_POD
    + """\
        startupProbe: {httpGet: {path: /health, port: 8000}, periodSeconds: 5, failureThreshold: 240}
        readinessProbe: {httpGet: {path: /health, port: 8000}}
        livenessProbe: {httpGet: {path: /health, port: 8000}}
""",
)

_NEED_A_KEY = ("/v1", "/v2", "/inference", "/cohere")
_PROBES = ("startupProbe", "readinessProbe", "livenessProbe")


def _has_key(container: Container) -> bool:
    """Whether vLLM asks for a key; one that is set from elsewhere counts, an empty text is none."""
    written = container.variable("VLLM_API_KEY")
    is_set = written is not None and (written.is_unknown or written.text() != "")
    return container.engine == "vllm" and (is_set or container.has_flag("--api-key"))


def _refused(container: Container, probe: Value) -> str | None:
    """The path that a probe asks, where the engine's own key refuses it."""
    request = probe.get("httpGet")
    # The kubelet puts the slash before it that is left out.
    path = "/" + (request.get("path").text() or "").removeprefix("/")
    if not any(path == prefix or path.startswith((f"{prefix}/", f"{prefix}?")) for prefix in _NEED_A_KEY):
        return None
    headers = [(header.get("name").text() or "").lower() for header in request.get("httpHeaders").items()]
    return path if "authorization" not in headers and _has_key(container) else None


def _probe_key(container: Container, _: Context) -> Iterator[Said]:
    def judge(key: str) -> Iterator[Said]:
        if (path := _refused(container, container.value.get(key))) is not None:
            yield (
                f"{container.name}: {key} {path} answers 401, since the server asks for a key there, so it is never "
                "ready, or killed. Use /health."
            )

    yield from each(_PROBES, judge)


def _ask_health(item: Object, _: Context) -> Iterator[Edit]:
    for path, container in item.containers_with_paths():
        for key in _PROBES:
            if _refused(container, container.value.get(key)) is not None:
                yield Edit((*path, key, "httpGet", "path"), "/health")


PROBE_NEEDS_KEY = Rule(
    name="probe-needs-key",
    title="Probes ask where no key is needed.",
    description=(
        "With a key vLLM refuses /v1, /v2, /inference and /cohere without it: the probe fails, and the server is never "
        "ready, or killed."
    ),
    remediation="Ask /health.",
    severity="error",
    references=("vLLM docs/usage/security.md",),
    of_container=_probe_key,
    remediate=_ask_health,
    bad=_POD
    + """\
        env: [{name: VLLM_API_KEY, valueFrom: {secretKeyRef: {name: api, key: key}}}]
        readinessProbe: {httpGet: {path: /v1/models, port: 8000}}
""",
    good=_POD
    + """\
        env: [{name: VLLM_API_KEY, valueFrom: {secretKeyRef: {name: api, key: key}}}]
        readinessProbe: {httpGet: {path: /health, port: 8000}}
""",
)

RULES = (RESOURCES_SET, PROBES_SET, PROBE_NEEDS_KEY)
