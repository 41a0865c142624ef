"""Rule about where Ollama listens: inside a pod, and by what Services and ConfigMaps of the stack say."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache, partial

from llm_policies.config_maps import from_config_map, readable_containers
from llm_policies.containers import Container
from llm_policies.image_names import is_of
from llm_policies.kinds import namespace_of
from llm_policies.labels import has, of_pod
from llm_policies.objects import Object, Stack
from llm_policies.rule import Context, Edit, Rule, Said
from llm_policies.selection import candidates
from llm_policies.values import Doubt, Value, each, hidden

_LOOPBACK = re.compile(
    r"(?:https?://)?(?P<address>(?:127(?:\.\d+){1,3}|localhost|\[?::1\]?)(?::(?P<port>\d{1,5}))?)(?:/.*)?",
    re.IGNORECASE,
)
_HOST = "OLLAMA_HOST"
_PORT = 11434
_EVERYWHERE = f"0.0.0.0:{_PORT}"  # inside a pod: NetworkPolicy and Service decide who reaches it
_OFFICIAL = "ollama/ollama"
"""The image that sets OLLAMA_HOST itself."""

_Listens = re.Match[str]
"""An address on loopback that Ollama is told."""


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
    """Whether another container of the pod may be what its Service asks: a proxy that checks keys, on loopback."""
    listening = [c.value.get("ports").items() for c in container.pod.main_containers]
    return not container.value.get("ports").items() and any(listening)


def _variable(container: Container) -> tuple[int, Value] | None:
    """Place and entry of the variable OLLAMA_HOST; of several the last, which wins."""
    entries = list(enumerate(container.value.get("env").items()))
    return next((pair for pair in reversed(entries) if pair[1].get("name").text() == _HOST), None)


def _told(container: Container) -> str | None:
    """What it is told by its command line, or else its variable; None where that is told from elsewhere."""
    if (assigned := container.assigned.get(_HOST)) is not None:
        return assigned
    if (told := _variable(container)) is None:
        elsewhere = bool(container.value.get("envFrom").items())
        return None if elsewhere or is_of(container.image, _OFFICIAL) else ""
    return None if told[1].get("valueFrom").exists else hidden(told[1].get("value")).text() or ""


def _loopback(host: str) -> _Listens | None:
    """Where it listens, if that is loopback: an empty text counts as none to Ollama, and hides the image's."""
    return _LOOPBACK.fullmatch(host.strip().strip("\"'").strip() or "127.0.0.1")


def _alone_on_loopback(container: Container) -> _Listens | None:
    """Where it listens, if that is loopback, and no proxy is in front."""
    host = _told(container) if _serves(container) else None
    listens = None if host is None else _loopback(host)
    return listens if listens is not None and not _is_behind_another(container) else None


def _host(container: Container, _: Context) -> Iterator[Said]:
    if (listens := _alone_on_loopback(container)) is not None:
        yield (
            f"{container.name}: OLLAMA_HOST {listens['address']} listens on loopback, so the Service gets connection "
            f"refused. Set OLLAMA_HOST to {_EVERYWHERE}."
        )


def _in_stack(stack: Stack, _: Context) -> Iterator[tuple[Object, Said]]:
    for item in stack.workloads():
        judge = partial(_of_container, item=item, stack=stack)
        yield from ((item, said) for said in each(readable_containers(item), judge))


def _of_container(container: Container, item: Object, stack: Stack) -> Iterator[Said]:
    """What other objects of the stack show; the container by itself has been judged."""
    try:
        if not _serves(container):
            return
        host, behind = _told(container), _is_behind_another(container)
    except Doubt:
        return
    mapped = from_config_map(stack, item, container, _HOST) if host is None else None
    if mapped is not None:
        host = mapped[1]
    listens = None if host is None else _loopback(host)
    if listens is None:
        return
    by = f" of ConfigMap '{mapped[0].name}'" if mapped is not None else ""
    if behind and (service := _asking(stack, item, container, int(listens["port"] or _PORT))) is not None:
        yield (
            f"{container.name}: OLLAMA_HOST {listens['address']}{by} listens on loopback, so Service "
            f"'{service.name}', which asks its port and not a proxy's, gets connection refused. Name the proxy's port "
            f"there, or set OLLAMA_HOST to {_EVERYWHERE}."
        )
    elif mapped is not None and not behind:
        yield (
            f"{container.name}: OLLAMA_HOST {listens['address']}{by} listens on loopback, so the Service gets "
            f"connection refused. Set OLLAMA_HOST to {_EVERYWHERE}."
        )


def _asking(stack: Stack, item: Object, container: Container, port: int) -> Object | None:
    """The Service that asks `port` of the container's pod, where no other container has it."""
    others = (other.value.get("ports").items() for other in container.pod.main_containers)
    if any(entry.get("containerPort").integer() == port for entries in others for entry in entries):
        return None
    labels = of_pod(item, container.pod)
    return next((service for service in _services(stack).get(id(item), ()) if _asks(service, labels, port)), None)


@lru_cache(maxsize=1)  # there are as many servers as Services
def _services(stack: Stack) -> dict[int, list[Object]]:
    """The Services that may select the pods of a workload, by its id."""
    found: dict[int, list[Object]] = {}
    for service in stack.of("Service"):
        try:
            selector = service.properties.get("spec", "selector")
        except Doubt:
            selector = Value(None)  # told of those that it is asked of
        for item in candidates(stack, namespace_of(service), selector):
            found.setdefault(id(item), []).append(service)
    return found


def _asks(service: Object, labels: Value, port: int) -> bool:
    """Whether a Service asks `port` of a pod with `labels`, by its number."""
    spec = service.properties.get("spec")
    selector = spec.get("selector")
    if not selector.pairs() or not has(labels, selector):
        return False
    service.properties.get("metadata", "namespace").text()  # not known yet: a doubt
    asked = (
        entry.get("targetPort") if entry.get("targetPort").exists else entry.get("port")
        for entry in spec.get("ports").items()
    )
    # A text is the name of a port, which is another container's: this one has none.
    return any(target.integer() == port for target in asked if not isinstance(target.raw, str))


def _listen(item: Object, _: Context) -> Iterator[Edit]:
    for path, container in item.containers_with_paths():
        if _alone_on_loopback(container) is not None and _HOST not in container.assigned:
            told = _variable(container)
            index = len(container.value.get("env").items()) if told is None else told[0]
            yield Edit((*path, "env", index), {"name": _HOST, "value": _EVERYWHERE})


_POD = """\
apiVersion: v1
kind: Pod
metadata: {name: chat}
spec:
  containers:
  - name: ollama
    image: docker.io/ollama/ollama:0.32.15
"""

OLLAMA_HOST = Rule(
    name="ollama-host",
    title="Ollama listens where its Service asks.",
    description=(
        "Ollama itself listens on 127.0.0.1; its own image changes that, images made from scratch do not. The pod is "
        "healthy, and every request is refused. Behind a proxy in the same pod loopback is right, unless a Service "
        "asks Ollama's own port. What envFrom sets is read of the ConfigMaps that are deployed with it."
    ),
    remediation=f"Set OLLAMA_HOST to {_EVERYWHERE}.",
    severity="error",
    references=("ollama envconfig/config.go",),
    of_container=_host,
    of_stack=_in_stack,
    remediate=_listen,
    bad=_POD + "    env: [{name: OLLAMA_HOST, value: 127.0.0.1}]\n",
    good=_POD + f"    env: [{{name: OLLAMA_HOST, value: '{_EVERYWHERE}'}}]\n",
)

RULES = (OLLAMA_HOST,)
