"""Runs the program on Pulumi's mocks and keeps what it registered, as the engine would see it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pulumi
import yaml
from pulumi.runtime.mocks import MockMonitor, MockResourceArgs, set_mocks
from pulumi.runtime.proto import resource_pb2

from planning.plan import Plan, plan
from settings.loader import parse
from settings.stack import Settings
from stack import deploy
from toolchain.paths import REPOSITORY

Raw = dict[str, Any]
"""Plain data of a stack file by top-level key, or of a part of it."""

STACK_FILES = [*sorted(REPOSITORY.glob("Pulumi.*.yaml")), *sorted((REPOSITORY / "examples").glob("Pulumi.*.yaml"))]
"""Every stack file that is committed."""


@contextmanager
def event_loop() -> Iterator[None]:
    """A loop for this thread, which Pulumi wants outside of coroutines too, and nothing left of it afterwards."""
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    try:
        yield
        while begun := asyncio.all_tasks(loop):  # what a program left behind when it ended by an error, too
            loop.run_until_complete(asyncio.gather(*begun, return_exceptions=True))
        loop.run_until_complete(loop.shutdown_default_executor())
    finally:
        asyncio.set_event_loop(None)
        loop.close()


class Mocks(pulumi.runtime.Mocks):
    """Answers every registration with its own inputs, and a node with the GPUs that it is said to have."""

    def __init__(self, advertised: Mapping[str, int] | None = None) -> None:
        self._advertised = advertised or {}

    def new_resource(self, args: MockResourceArgs) -> tuple[str, dict[str, Any]]:
        """An id, and the inputs as outputs; a command also prints something that tells which one it was."""
        if args.typ == "kubernetes:core/v1:NodePatch":
            gpus = self._advertised[args.inputs["metadata"]["name"]]
            return f"{args.name}-id", {**args.inputs, "status": {"allocatable": {"nvidia.com/gpu": str(gpus)}}}
        if args.typ in ("command:local:Command", "command:remote:Command"):
            return f"{args.name}-id", {
                **args.inputs,
                "stdout": f"{args.name}\n-----BEGIN CERTIFICATE-----\n{args.name}",
            }
        return f"{args.name}-id", dict(args.inputs)

    def call(self, args: pulumi.runtime.MockCallArgs) -> tuple[dict[str, Any], None]:
        """The program calls no provider functions; one that it starts to call must be thought about here."""
        raise AssertionError(f"unexpected call of {args.token}")


@dataclass(frozen=True, kw_only=True)
class Registration:
    """One resource as it was registered: inputs in camelCase, numbers as floats, as the engine sends them."""

    urn: str
    type: str
    name: str
    inputs: Raw
    parent: str
    """URN of the parent; of the stack where the program gave none."""

    depends_on: frozenset[str]
    """URNs."""

    create_timeout: str
    update_timeout: str
    ignore_changes: frozenset[str]
    """Property paths whose change is not followed."""

    provider: str


class Recorder(MockMonitor):
    """Records every registration with what plain mocks are not told: parent, dependencies, time-outs, provider."""

    def __init__(self, advertised: Mapping[str, int] | None = None) -> None:
        super().__init__(Mocks(advertised))
        self.seen: list[Registration] = []

    def RegisterResource(self, request: resource_pb2.RegisterResourceRequest) -> resource_pb2.RegisterResourceResponse:
        """As the engine's method of the same name."""
        with event_loop():  # calls come on threads of their own, where the mocks would make loops and leave them open
            response: resource_pb2.RegisterResourceResponse = super().RegisterResource(request)  # type: ignore[no-untyped-call]  # Pulumi's mocks have no types
        if request.type != "pulumi:pulumi:Stack":
            self.seen.append(
                Registration(
                    urn=response.urn,
                    type=request.type,
                    name=request.name,
                    inputs=pulumi.runtime.rpc.deserialize_properties(request.object),
                    parent=request.parent,
                    depends_on=frozenset(request.dependencies),
                    create_timeout=request.customTimeouts.create,
                    update_timeout=request.customTimeouts.update,
                    ignore_changes=frozenset(request.ignoreChanges),
                    provider=request.provider,
                )
            )
        return response


@dataclass(frozen=True, kw_only=True)
class Deployed:
    """What one run of the program registered and returned."""

    plan: Plan
    resources: list[Registration]
    outputs: dict[str, Any] = field(default_factory=dict)

    def of(self, kind: str) -> list[Registration]:
        """All resources whose type ends in `kind`, e.g. `Deployment`."""
        return [r for r in self.resources if r.type.rpartition(":")[2] == kind]

    def one(self, kind: str, name: str) -> Registration:
        """The only resource of `kind` that has the Pulumi name `name`."""
        found = [r for r in self.of(kind) if r.name == name]
        assert len(found) == 1, f"expected one {kind} {name!r}, got {len(found)} of {[r.name for r in self.of(kind)]}"
        return found[0]

    def pods(self) -> list[tuple[Registration, Raw]]:
        """Every resource that makes pods, with the pod's spec."""
        return [
            (r, r.inputs["spec"]["template"]["spec"])
            for r in self.resources
            if isinstance(r.inputs.get("spec"), dict) and "template" in r.inputs["spec"]
        ]


def run(settings: Settings, *, advertised: Mapping[str, int] | None = None) -> Deployed:
    """Plan `settings` and register everything on fresh mocks, whose nodes have `advertised` GPUs, or those planned."""
    planned = plan(settings)
    recorder = Recorder(advertised or {name: node.allocatable_gpus for name, node in planned.nodes.items()})
    outputs: dict[str, Any] = {}

    def program() -> pulumi.Output[None]:
        return pulumi.Output.from_input(deploy(planned)).apply(outputs.update)

    with event_loop():
        set_mocks(recorder.mocks, project="llm-serving", stack="test", preview=False, monitor=recorder)
        pulumi.runtime.test(program)()  # type: ignore[no-untyped-call]  # Pulumi's mocks have no types
    return Deployed(plan=planned, resources=recorder.seen, outputs=outputs)


def seconds(timeout: str) -> int:
    """The number of a time-out such as `300s`, which must be in seconds."""
    assert timeout.endswith("s"), f"{timeout!r} is not in seconds"
    return int(timeout.removesuffix("s"))


def raw_of(file: Path) -> Raw:
    """Plain data of a committed stack file."""
    config = yaml.safe_load(file.read_text())["config"]
    return {key.partition(":")[2]: value for key, value in config.items()}


def settings_of(raw: Mapping[str, Any]) -> Settings:
    """`raw` validated; the tests' own stack file is called Pulumi.test.yaml."""
    return parse(raw, source="Pulumi.test.yaml")
