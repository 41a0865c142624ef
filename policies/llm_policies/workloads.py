"""Rules about what a serving container asks of its node, and how it is known to be well."""

from __future__ import annotations

from collections.abc import Iterator

from llm_policies.objects import Object
from llm_policies.pods import Container
from llm_policies.rule import Context, Edit, Rule, Said
from llm_policies.values import each

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


def _resources(container: Container, _: Context) -> Iterator[Said]:
    if container.role == "ephemeral":
        return  # Kubernetes lets them have none
    resources = container.value.get("resources")
    lacking = [
        f"{'request' if key == 'requests' else 'limit'} of {what}"
        for key, what in (("requests", "cpu"), ("requests", "memory"), ("limits", "memory"))
        # A limit without a request is its own request.
        if not resources.get(key, what).exists and not (key == "requests" and resources.get("limits", what).exists)
    ]
    if lacking:
        yield (
            f"{container.name}: has no {', no '.join(lacking)}, so its node may be overfull before it starts; host "
            "memory peaks while weights load. Set them (no CPU limit: it only slows the server down)."
        )


RESOURCES_SET = Rule(
    name="resources-set",
    title="Containers say what they need of their node.",
    description=(
        "The scheduler counts requests alone. Without one of memory a server is put where there is none left, and the "
        "kernel ends it, or its neighbour, while weights load."
    ),
    remediation="Set requests of cpu and memory, and a limit of memory.",
    severity="error",
    references=("polaris cpuRequestsMissing, memory*Missing", "CKV_K8S_10, 12, 13", "kube-score container-resources"),
    of_container=_resources,
    bad=_POD,
    good=_POD + '        resources: {requests: {cpu: "2", memory: 8Gi}, limits: {memory: 32Gi}}\n',
)


def _probes(item: Object, _: Context) -> Iterator[Said]:
    def judge(container: Container) -> Iterator[Said]:
        if container.engine is None and container.gpus == 0:
            return
        has = {name: container.value.get(f"{name}Probe").exists for name in ("startup", "readiness", "liveness")}
        if has["liveness"] and not has["startup"]:
            yield (
                f"{container.name}: liveness without startupProbe kills the server while weights load. Add a "
                "startupProbe with a budget of the load time."
            )
        elif not has["startup"]:
            yield (
                f"{container.name}: no startupProbe, so nothing says how long weights may load. Add one with a budget "
                "of the load time."
            )
        if not has["readiness"]:
            yield (
                f"{container.name}: no readinessProbe, so requests come before the model is loaded. Add one of /health."
            )

    if item.kind not in _RUN_TO_END:
        yield from each((c for pod in item.pods for c in pod.main_containers), judge)


PROBES_SET = Rule(
    name="probes-set",
    title="A server is asked whether it is up, and given the time to come up.",
    description=(
        "Weights take minutes to load. Without a readinessProbe requests come before; with a livenessProbe alone the "
        "server is killed while it loads, for ever."
    ),
    remediation="Add a startupProbe with a budget of the load time, and a readinessProbe.",
    severity="error",
    references=("kube-score pod-probes", "CKV_K8S_8, 9", "gatekeeper requiredprobes"),
    of_object=_probes,
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
    named = any(name == "VLLM_API_KEY" for name, _ in container.environment)
    return container.engine == "vllm" and (named or container.has_flag("--api-key"))


def _refused_probes(container: Container) -> Iterator[tuple[str, str]]:
    """Key and path of the probes that the engine's own key refuses."""
    if not _has_key(container):
        return
    for key in _PROBES:
        request = container.value.get(key, "httpGet")
        path = request.get("path").text() or "/"
        headers = [(header.get("name").text() or "").lower() for header in request.get("httpHeaders").items()]
        below = any(path == prefix or path.startswith((f"{prefix}/", f"{prefix}?")) for prefix in _NEED_A_KEY)
        if below and "authorization" not in headers:
            yield key, path


def _probe_key(container: Container, _: Context) -> Iterator[Said]:
    for key, path in _refused_probes(container):
        yield f"{container.name}: {key} {path} answers 401, since the server asks for a key there; use /health."


def _ask_health(item: Object, _: Context) -> Iterator[Edit]:
    for path, container in item.containers_with_paths():
        for key, _path in _refused_probes(container):
            yield Edit((*path, key, "httpGet", "path"), "/health")


PROBE_NEEDS_KEY = Rule(
    name="probe-needs-key",
    title="Probes ask where no key is needed.",
    description=(
        "vLLM with a key refuses /v1, /v2 and /inference without it: the probe fails, and the server is never ready, "
        "or killed."
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
