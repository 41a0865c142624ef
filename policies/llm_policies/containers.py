"""Containers, and what their engines are told."""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from typing import TYPE_CHECKING, Literal

from llm_policies import engine_commands
from llm_policies.engine_commands import Engine, engine_of_image
from llm_policies.engine_options import last_option
from llm_policies.gpu_resources import is_gpu
from llm_policies.values import UNKNOWNS, Doubt, Unsaid, Value, hidden

if TYPE_CHECKING:
    from llm_policies.pods import Pod

Role = Literal["init", "main", "ephemeral"]
TENSOR_PARALLEL = {
    "vllm": ("--tensor-parallel-size", "-tp"),
    "sglang": ("--tensor-parallel-size", "--tp-size", "--tp"),
    "tgi": ("--num-shard",),
}
"""Options that say over how many GPUs each layer is divided, by engine."""

_FLAGS_OF_TGI = frozenset({"--trust-remote-code", "--disable-custom-kernels"})
"""Options without a value, which their variables turn off with `false`."""

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
    def own_name(self) -> str:
        """Its name, or its place where it has none that is known."""
        try:
            return self.value.get("name").text() or self.value.path
        except Doubt:
            return self.value.path

    @property
    def name(self) -> str:
        """For messages: `worker/vllm` where another pod of the object has a container of its name too."""
        return f"{self.pod.role}/{self.own_name}" if self.pod.role else self.own_name

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
            raw = self.value.get(key).raw
            found += [word for word in raw if isinstance(word, str)] if isinstance(raw, list | tuple) else []
        return tuple(word for word in found if word not in UNKNOWNS)

    @cached_property
    def engine(self) -> Engine | None:
        """What it serves models with, by its command or else its image; None for anything else.

        Raises:
            Doubt: neither names one, and one of them is not known.
        """
        known = engine_commands.read(self.known_words)
        if known.engine is not None:
            return known.engine
        own = self.value.get("command").raw is not None
        if own and known.serves_nothing:
            return None
        with suppress(Unsaid):  # a patch may change something else
            if (found := engine_of_image(self.image)) is not None:
                return found
            self._see_its_program()
        return None

    def _see_its_program(self) -> None:
        """Raises a doubt where a word is not known that may name an engine: the first, or a shell's script."""
        before = None
        for key in ("command", "args"):
            for word in self.value.get(key).items():
                if before is None or before == "-m" or engine_commands.takes_a_script(before):
                    before = hidden(word).text()
                elif not word.is_unknown and isinstance(word.raw, str):
                    before = word.raw

    @cached_property
    def serves(self) -> bool:
        """Whether it answers requests: an engine that is no worker of another's (vLLM's `--headless`).

        By the words that are known: one that is not makes no server a worker.
        """
        return (
            self.engine is not None and last_option(engine_commands.read(self.known_words).words, "--headless") is None
        )

    @property
    def starts(self) -> int:
        """Engines that its command line starts; 0 where it is the image's own, or a script's."""
        return self._line.starts

    @property
    def assigned(self) -> dict[str, str]:
        """Variables that its command line sets for the engine, as `NAME=value vllm serve` does."""
        return self._line.assigned

    @property
    def given(self) -> tuple[str, ...]:
        """The words that its engine is given; all of its command line, where that names none."""
        return self._line.words

    @property
    def _line(self) -> engine_commands.CommandLine:
        return engine_commands.read(self.words)

    def option(self, *names: str) -> str | None:
        """The value of the last of the options `names` of the engine; None where none is given.

        Both `--option value` and `--option=value` are read, and `_` counts as `-`, as vLLM has it, which also takes
        names cut short. A flag without a value is an empty text. TGI's options may be variables (NUM_SHARD).
        """
        found = last_option(self.given, *names, shortened=self.engine == "vllm")
        if found is None and self.engine == "tgi":
            variables = (self.variable(name.strip("-").replace("-", "_").upper()) for name in names)
            found = next((text for variable in variables if variable is not None and (text := variable.text())), None)
            found = None if found in ("false", "0") and names[0] in _FLAGS_OF_TGI else found
        return found

    def has_flag(self, *names: str) -> bool:
        """Whether one of `names` is given."""
        return self.option(*names) is not None

    def is_substituted(self, *names: str) -> bool:
        """Whether an option is given what a shell or Kubernetes puts in, and nobody can read here."""
        value = self.option(*names)
        return value is not None and self.number(*names) is None and ("$" in value or "`" in value)

    def number(self, *names: str) -> Fraction | None:
        """The number that an option says, or the variable that it names; None where it is not given, or no number."""
        value = self.option(*names)
        value = None if value is None else self.put_in(value)
        return Fraction(value) if value is not None and _NUMBER.fullmatch(value) else None

    def put_in(self, word: str) -> str | None:
        """`word` with the variable that it begins with put in (`$(A)/b`, `${A}`); None where that is set elsewhere."""
        if (named := _VARIABLE.match(word)) is None:
            return word
        name = named[1] or named[2]
        variable = self.variable(name)
        value = variable.text() if variable is not None else self.assigned.get(name)
        return None if value is None else value + word[named.end() :]

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
            with suppress(Unsaid):  # a patch may say one of them alone
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
        """GPUs over which each layer is divided; where nothing is said 1, and all that there are for TGI."""
        said = self.number(*TENSOR_PARALLEL.get(self.engine or "", TENSOR_PARALLEL["vllm"]))
        if said is None and self.engine == "tgi" and self.option("--sharded") != "false":
            return max(1, self.gpus)
        return max(1, int(said or 1))

    @property
    def pipeline_parallel(self) -> int:
        """Groups of GPUs over which the layers are divided; 1 where nothing is said."""
        return max(1, int(self.number("--pipeline-parallel-size", "--pp-size", "-pp") or 1))
