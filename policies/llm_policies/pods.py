"""Pods and their containers, and what their engines are told."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cached_property, lru_cache
from typing import Literal

from llm_policies.values import Doubt, Unsaid, Value, hidden

GPU_RESOURCES = ("nvidia.com/gpu", "nvidia.com/gpu.shared", "amd.com/gpu", "gpu.intel.com/i915", "gpu.intel.com/xe")
"""Extended resources that stand for GPUs, or for time slices of one; a node's are counted by them."""

_GPU_PARTS = ("nvidia.com/mig-", "amd.com/cpx_", "amd.com/dpx_", "amd.com/qpx_", "amd.com/spx_")
"""How resources begin that stand for a part of a GPU with a memory of its own, by its profile."""

Role = Literal["init", "main", "ephemeral"]
TENSOR_PARALLEL = {
    "vllm": ("--tensor-parallel-size", "--tensor-parallel", "-tp"),  # it takes what is left out at the end
    "sglang": ("--tensor-parallel-size", "--tp-size", "--tp"),
    "tgi": ("--num-shard",),
}
"""Options that say over how many GPUs each layer is divided, by engine."""

CONTAINER_LISTS: dict[str, Role] = {"initContainers": "init", "containers": "main", "ephemeralContainers": "ephemeral"}
"""Keys of a pod's specification that hold containers."""


def is_gpu(resource: str) -> bool:
    """Whether an extended resource is a GPU or a part of one; `nvidia.com/gpumem`, a share of memory, is none."""
    return resource in GPU_RESOURCES or resource.startswith(_GPU_PARTS)


# What Python makes a number of in no time, however it is written: 1e999999999 would take for ever.
_NUMBER = re.compile(r"[+-]?(?:[0-9]{1,18}\.?[0-9]{0,18}|\.[0-9]{1,18})(?:[eE][+-]?[0-9]{1,2})?", re.ASCII)
_VARIABLE = re.compile(r"\$(?:\(([A-Za-z_][A-Za-z0-9_]*)\)|\{?([A-Za-z_][A-Za-z0-9_]*)\}?)", re.ASCII)


@dataclass(frozen=True, eq=False)
class Container:
    """One container of a pod."""

    value: Value
    pod: Pod
    role: Role

    @cached_property
    def name(self) -> str:
        """Its name, or its place where it has none that is known."""
        try:
            return self.value.get("name").text() or self.value.path
        except Doubt:
            return self.value.path

    @cached_property
    def is_sidecar(self) -> bool:
        """Whether it is an init container that goes on beside the others (restartPolicy Always)."""
        return self.role == "init" and self.value.get("restartPolicy").raw == "Always"

    @cached_property
    def image(self) -> str:
        """Its image; empty where none is said."""
        return self.value.get("image").text() or ""

    @cached_property
    def words(self) -> tuple[str, ...]:
        """Its command line, as far as it is said: command and args.

        Raises:
            Doubt: a word is unknown or no text.
        """
        command: list[Value] = []
        with suppress(Unsaid):  # a patch may change the arguments alone
            command = self.value.get("command").items()
        # One of them may be a secret: no doubt shows it.
        found = [hidden(word).text() for word in (*command, *self.value.get("args").items())]
        return tuple(word for word in found if word is not None)

    @cached_property
    def known_words(self) -> tuple[str, ...]:
        """The words that are known: enough to tell which engine it is."""
        found = []
        for key in ("command", "args"):
            raw = self.value.raw.get(key) if isinstance(self.value.raw, Mapping) else None
            found += [word for word in raw if isinstance(word, str)] if isinstance(raw, list | tuple) else []
        return tuple(found)

    @cached_property
    def engine(self) -> Literal["vllm", "sglang", "ollama", "llamacpp", "tgi"] | None:
        """What it serves models with, by its image or command; None for anything else."""
        raw = self.value.raw.get("image") if isinstance(self.value.raw, Mapping) else None
        image = raw.lower() if isinstance(raw, str) else ""
        name = image.partition("@")[0].rpartition("/")[2].partition(":")[0]
        words = " ".join(self.known_words[:4])
        if "vllm" in name or "vllm serve" in words or "vllm.entrypoints" in words:
            return "vllm"
        if "sglang" in name or "sglang.launch_server" in words:
            return "sglang"
        if name == "ollama" or "ollama serve" in words:
            return "ollama"
        if "llama.cpp" in name or "llama-server" in words:
            return "llamacpp"
        if "text-generation-inference" in name or "text-generation-launcher" in words:
            return "tgi"
        return None

    @cached_property
    def serves(self) -> bool:
        """Whether it answers requests: an engine that is no worker of another's (vLLM's `--headless`).

        By the words that are known: one that is not makes no server a worker.
        """
        return self.engine is not None and last_option(self.known_words, "--headless") is None

    def option(self, *names: str) -> str | None:
        """The value of the last of the options `names` on the command line; None where none is given.

        Both `--option value` and `--option=value` are read, and `_` counts as `-`, as vLLM has it. A flag without a
        value is an empty text.
        """
        return last_option(self.words, *names)

    def has_flag(self, *names: str) -> bool:
        """Whether one of `names` is on the command line."""
        return self.option(*names) is not None

    def number(self, *names: str) -> Fraction | None:
        """The number that an option says, or the variable that it names; None where it is not given, or no number."""
        value = self.option(*names)
        if value is not None and (named := _VARIABLE.fullmatch(value)):
            variable = self.variable(named[1] or named[2])
            value = variable.text() if variable is not None else None
        return Fraction(value) if value is not None and _NUMBER.fullmatch(value) else None

    @cached_property
    def environment(self) -> tuple[tuple[str, Value], ...]:
        """Name and value of each variable as it is written; variables whose name is not known are left out."""
        return tuple(
            (name.raw, hidden(entry.get("value")))
            for entry in self.value.get("env").items()
            if isinstance((name := entry.get("name")).raw, str) and not name.is_unknown
        )

    def variable(self, name: str) -> Value | None:
        """What the last variable of that name is set to; None where it is not set, or from elsewhere."""
        return next((value for key, value in reversed(self.environment) if key == name), None)

    def limit(self, resource: str) -> Fraction | None:
        """Its limit of `resource`, e.g. `memory` in bytes."""
        return self.value.get("resources", "limits", resource).quantity()

    def request(self, resource: str) -> Fraction | None:
        """Its request of `resource`; the limit, where only that is said."""
        asked = self.value.get("resources", "requests", resource).quantity()
        return self.limit(resource) if asked is None else asked

    @property
    def gpus(self) -> int:
        """GPUs, slices or parts of them that it gets: by limits, or by requests where it has no limit."""
        return self.gpus_of(is_gpu)

    def gpus_of(self, counts: Callable[[str], bool]) -> int:
        """The same, of resources that `counts` says yes to."""
        asked: dict[str, Fraction | None] = {}
        for key in ("requests", "limits"):
            for resource, value in self.value.get("resources", key).pairs():
                if counts(resource):
                    asked[resource] = value.quantity() or asked.get(resource)
        return sum(max(0, int(quantity or 0)) for quantity in asked.values())

    @property
    def workers(self) -> int:
        """Processes of one engine that work together: tensor x pipeline parallel."""
        return self.tensor_parallel * self.pipeline_parallel

    @property
    def tensor_parallel(self) -> int:
        """GPUs over which each layer is divided; 1 where nothing is said."""
        return max(1, int(self.number(*TENSOR_PARALLEL.get(self.engine or "", TENSOR_PARALLEL["vllm"])) or 1))

    @property
    def pipeline_parallel(self) -> int:
        """Groups of GPUs over which the layers are divided; 1 where nothing is said."""
        return max(1, int(self.number("--pipeline-parallel-size", "--pp-size", "-pp") or 1))


@dataclass(frozen=True, eq=False)
class Pod:
    """A pod, or the template of pods."""

    template: Value
    """With `metadata` and `spec`."""

    owner_kind: str = "Pod"
    _lists: dict[str, tuple[Container, ...]] = field(default_factory=dict)

    @cached_property
    def spec(self) -> Value:
        """Its specification."""
        return self.template.get("spec")

    @cached_property
    def written_labels(self) -> Value:
        """Its labels as they are written."""
        return self.template.get("metadata", "labels")

    @cached_property
    def labels(self) -> Mapping[str, str]:
        """Its labels, without those that are not known yet."""
        pairs = self.written_labels.pairs()
        return {key: value.raw for key, value in pairs if isinstance(value.raw, str) and not value.is_unknown}

    @cached_property
    def containers(self) -> tuple[Container, ...]:
        """Every container: those before, those that serve, those put in later."""
        return tuple(container for key in CONTAINER_LISTS for container in self.listed(key))

    def listed(self, key: str) -> tuple[Container, ...]:
        """The containers of one of CONTAINER_LISTS; a patch names those that it changes, and none where it has no list.

        Raises:
            Doubt: the list is unknown, or none.
        """
        if key not in self._lists:
            items: list[Value] = []
            with suppress(Unsaid):
                items = self.spec.get(key).items()
            self._lists[key] = tuple(Container(item, self, CONTAINER_LISTS[key]) for item in items)
        return self._lists[key]

    @property
    def main_containers(self) -> tuple[Container, ...]:
        """Containers that run as long as the pod, sidecars included."""
        return tuple(c for c in self.containers if c.role == "main" or c.is_sidecar)

    @property
    def engines(self) -> tuple[Container, ...]:
        """Containers that serve models."""
        return tuple(c for c in self.main_containers if c.engine is not None)

    @cached_property
    def gpus(self) -> int:
        """GPUs of the pod, as the scheduler counts them: those of all containers, or of an init container if more."""
        return self.gpus_of(is_gpu)

    def gpus_of(self, counts: Callable[[str], bool]) -> int:
        """The same, of resources that `counts` says yes to."""
        main = sum(container.gpus_of(counts) for container in self.main_containers)
        return max([main, *(c.gpus_of(counts) for c in self.containers if c.role == "init" and not c.is_sidecar)])

    def volume(self, name: str) -> Value | None:
        """The volume of that name."""
        return next((v for v in self.spec.get("volumes").items() if v.get("name").raw == name), None)

    def mounted_at(self, container: Container, path: str) -> Value | None:
        """The volume that `container` has at `path`; None for none."""
        for mount in container.value.get("volumeMounts").items():
            if (mount.get("mountPath").text() or "").rstrip("/") == path:
                name = mount.get("name").text()
                return self.volume(name) if name else None
        return None

    def security(self, container: Container, key: str) -> Value:
        """A setting of securityContext: the container's own, else the pod's."""
        own = container.value.get("securityContext", key)
        return own if own.raw is not None else self.spec.get("securityContext", key)


def last_option(words: tuple[str, ...], *names: str) -> str | None:
    """As `Container.option`, of any words; also of a command that a shell is given as one text."""
    options = _options(words)
    found = [said for name in names if (said := options.get(name)) is not None]
    return max(found)[1] if found else None


@lru_cache(maxsize=256)  # each rule asks for others of the same words
def _options(words: tuple[str, ...]) -> dict[str, tuple[int, str]]:
    """Every word as if it were an option: its last place, and what it is given."""
    found: dict[str, tuple[int, str]] = {}
    place = 0
    for position, word in enumerate(words):
        for part, after in _parts(word, words[position + 1] if position + 1 < len(words) else ""):
            flag, equals, rest = part.partition("=")
            place += 1
            found[flag.replace("_", "-")] = place, rest if equals else ("" if after.startswith("--") else after)
    return found


def _parts(word: str, following: str) -> Iterator[tuple[str, str]]:
    """`word` with what follows it; the words of `sh -c '...'` each with its own follower."""
    inner = word.split() if " " in word and "--" in word else [word]
    yield from zip(inner, [*inner[1:], following], strict=True)
