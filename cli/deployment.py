"""From a stack file to answers, and back to nothing: what `make up` and `make down` do."""

from __future__ import annotations

import json
import os
import shutil
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import SecretStr

from cli.edge import Access, endpoints, preparation, show_answer
from cli.lab_spec import lab_spec
from cli.levels import read_levels
from cli.policies import policy_config
from cli.pulumi import PREPARED, Pulumi
from lab.lab import Lab
from planning.plan import Plan, plan_source
from settings.loader import read_source
from toolchain import gobuild
from toolchain.paths import REPOSITORY, state_dir
from toolchain.steps import StepFailed, duration, step

_PROMPT = "Say hello."


@dataclass(kw_only=True)
class Deployment:
    """One stack on one cluster: the one that KUBECONFIG names, or the lab."""

    stack: str
    assume_yes: bool = False
    """Confirm in the person's place; also done where there is no terminal to ask on."""

    folder: Path = REPOSITORY
    lab: Lab | None
    """The cluster, where it is ours; None for the one that KUBECONFIG names or that the stack makes itself."""

    address: str | None = None
    """Where the edge is reached, if not under its host's name."""

    @property
    def pulumi(self) -> Pulumi:
        """The CLI for this stack on this cluster."""
        environment = {"KUBECONFIG": str(self.lab.kubeconfig)} if self.lab else {}
        return Pulumi(self.stack, environment=environment, folder=self.folder)

    def up(self) -> None:
        """Bring everything up and show an answer of each model server.

        Raises:
            SettingsError, PlanError: the stack file cannot be followed; nothing was touched.
            StepFailed: a step could not be done.
        """
        start = time.monotonic()
        with step(f"Planning Pulumi.{self.stack}.yaml"):
            planned = self.plan()
        self._check_kubeconfig(planned)
        self._check_cluster()
        self._prepare(planned)
        self.deploy(planned)
        self._show(planned)
        print(f"\nEverything is up after {duration(time.monotonic() - start)}.")

    def deploy(self, planned: Plan) -> None:
        """Mend what an earlier run has left, and run `pulumi up` on a cluster that is there.

        Raises:
            StepFailed: another run holds the stack, or Pulumi has failed.
        """
        with step(f"State of stack {self.stack}"):
            self.pulumi.select_stack()
            self._mend()
        with step(f"Preview, policies and deployment of stack {self.stack}"):
            self.pulumi.up(*self._policy(planned), *self._confirmation())

    def plan(self) -> Plan:
        """What the stack file means.

        Raises:
            SettingsError, PlanError: it cannot be followed.
        """
        return plan_source(read_source(self.folder / f"Pulumi.{self.stack}.yaml"))

    def down(self) -> None:
        """Take the stack and, where it is ours, the cluster away. Nothing there is no error.

        Raises:
            StepFailed: the stack is not on the cluster that is meant; nothing was touched.
        """
        self._check_cluster()
        pulumi = self.pulumi
        if self.lab:
            self.lab.down()
        elif pulumi.exists():
            with step(f"State of stack {self.stack}"):
                self._mend()  # what nobody knows of would hold volumes and namespaces that are to go
            with step(f"Destroying stack {self.stack}"):
                pulumi.run("destroy", "--stack", self.stack, *self._confirmation())
        if pulumi.exists():
            # All that the state tells of is gone: destroyed, or with the lab. The stack file is the person's own.
            pulumi.output("stack", "rm", self.stack, "--yes", "--force", "--preserve-config")
        pulumi.forget()

    def _check_cluster(self) -> None:
        """See that the stack is where it is taken to be: a state used for another cluster is as good as lost."""
        deployed = self.pulumi.cluster()
        if self.lab and deployed == PREPARED:
            self.lab = None
        elif self.lab and deployed not in (None, str(self.lab.kubeconfig)):
            raise StepFailed(
                f"Stack {self.stack} is deployed to the cluster of {deployed}, and KUBECONFIG is not set, so the lab "
                f"would take that cluster's place in its state. Set KUBECONFIG={deployed}, or give the lab's stack a "
                "name of its own."
            )
        elif self.lab is None and deployed == str(Lab().kubeconfig) != os.environ.get("KUBECONFIG"):
            raise StepFailed(
                f"Stack {self.stack} is deployed to the lab, and KUBECONFIG names another cluster. Run `make down "
                f"STACK={self.stack}` without KUBECONFIG first."
            )

    def _check_kubeconfig(self, planned: Plan) -> None:
        """Before anything is built or started: a cluster that is named must be there."""
        if self.lab is not None or _makes_its_cluster(planned):
            return
        kubeconfig = os.environ["KUBECONFIG"]
        if not any(Path(path).is_file() for path in kubeconfig.split(os.pathsep)):
            raise StepFailed(
                f"KUBECONFIG names {kubeconfig}, which is not there, so there is no cluster to deploy to. Correct "
                "it, or unset it to use the lab."
            )

    def _prepare(self, planned: Plan) -> None:
        """Build what is not in the cache and bring the lab up as the plan needs it."""
        if _makes_its_cluster(planned):
            self.lab = None
            print("The stack prepares the host of its cluster; the lab is not started.")
            return
        if self.lab is None:
            print(f"Using the cluster of KUBECONFIG={os.environ['KUBECONFIG']}; the lab is not started.")
            return
        spec = lab_spec(planned)
        names = self.lab.program_names(spec)
        if shutil.which("pulumi") is None:  # one of the person's own comes first
            names.insert(0, "pulumi")
        with step("Programs of the lab and of Pulumi (built once, kept in the cache)"):
            gobuild.build(names)
        with step("The lab: a Kubernetes on this machine, with make-believe GPUs"):
            self.lab.up(spec)

    def _mend(self) -> None:
        """Bring the state in order after a run that was killed."""
        self._unlock()
        adopted = self.pulumi.adopt()
        if adopted.looked_up:
            names = ", ".join(adopted.looked_up)
            print(f"    an earlier run was interrupted while it created {names}: looked up again")
        if adopted.left:
            print(f"    not made by that run, as far as can be told, and left as it is: {', '.join(adopted.left)}")

    def _unlock(self) -> None:
        for owner in self.pulumi.unlock():
            print(f"    unlocked: {owner} held the stack, and is no more")

    def _show(self, planned: Plan) -> None:
        """The outputs, a line to paste for each route, and a real answer through it."""
        outputs = self.pulumi.outputs()
        print("\nOutputs:")
        for path, url in sorted(outputs.get("urls", {}).items()):
            print(f"  {path:12} {url}")
        keys = self._keys(outputs)
        access = self._access(keys, outputs.get("certificate"))
        for line in preparation(next(iter(keys), None), self_signed=access.certificate is not None, stack=self.stack):
            print(f"  {line}")
        for endpoint in endpoints(planned):
            print(f"\n{endpoint.server} ({endpoint.engine}), models {', '.join(endpoint.models)}. Try:")
            print(f"  {endpoint.curl(_PROMPT, access)}")
            print("It answers: ", end="", flush=True)
            answer = show_answer(endpoint, _PROMPT, access)
            if not answer.strip():
                raise StepFailed(f"{endpoint.server} answered without a word; see its pod's log.")

    def access(self) -> Access:
        """What this machine needs to come in, as the stack's outputs say.

        Raises:
            StepFailed: there is no such stack, or its outputs cannot be read.
        """
        self._check_cluster()
        outputs = self.pulumi.outputs()
        return self._access(self._keys(outputs), outputs.get("certificate"))

    def _keys(self, outputs: Mapping[str, Any]) -> dict[str, str]:
        keys: dict[str, str] = self.pulumi.secret_output("apiKeys") if "apiKeys" in outputs else {}
        return keys

    def _access(self, keys: Mapping[str, str], certificate: str | None) -> Access:
        """What this machine needs to come in as the first of the clients; only the lab is not where its name says."""
        return Access(
            address=self.address or (str(self.lab.network.node) if self.lab else None),
            api_key=SecretStr(next(iter(keys.values()))) if keys else None,
            certificate=certificate,
        )

    def _policy(self, planned: Plan) -> list[str]:
        """Options of `pulumi` for the policy pack; the file with its configuration stays for a look at it."""
        file = state_dir() / "policies" / f"{self.stack}.json"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(self.policy_config(planned), indent=2))
        return ["--policy-pack", str(REPOSITORY / "policies"), "--policy-pack-config", str(file)]

    def policy_config(self, planned: Plan, levels: Path | None = None) -> dict[str, Any]:
        """What the policy pack is told of this stack."""
        own = REPOSITORY / "policies" / "levels" / f"{self.stack}.yaml"
        return policy_config(read_levels(levels or own), planned)

    def _confirmation(self) -> list[str]:
        return ["--yes"] if self.assume_yes or not sys.stdin.isatty() else []


def _makes_its_cluster(planned: Plan) -> bool:
    """Whether the stack prepares the host that holds its cluster."""
    return any(node.host is not None and not node.host.joins for node in planned.nodes.values())
