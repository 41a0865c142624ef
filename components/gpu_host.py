"""GpuHost: a host that is made a node of the cluster, from bare Linux on."""

from __future__ import annotations

import shlex
from pathlib import Path

import pulumi
import pulumi_command as command

from planning.hosts import HostPlan, HostStep, SshPlan

__all__ = ["GpuHost", "run_on"]

_SCRIPTS = Path(__file__).resolve().parent.parent / "hosts"


class GpuHost(pulumi.ComponentResource):
    """One command for each step, each after the one before: facts checked, container toolkit, k3s, node Ready.

    Deliberately does not install the NVIDIA driver: it is bound to the kernel and to Secure Boot, and takes a reboot.
    Taking it away leaves the host as it is, unless the plan has something to undo.
    """

    kubeconfig: pulumi.Output[str] | None
    """The administrator's kubeconfig, secret; None where the host joins a cluster."""

    def __init__(self, name: str, plan: HostPlan, *, opts: pulumi.ResourceOptions | None = None) -> None:
        """Prepare the host; `plan` says which it is and what is done."""
        super().__init__("llm:index:GpuHost", name, None, opts)
        done: list[pulumi.Resource] = []
        for step in plan.steps:
            done = [self._step(name, step, plan.ssh, after=done)]
        self.kubeconfig = None
        if plan.kubeconfig is not None:
            printed = self._step(name, plan.kubeconfig, plan.ssh, after=done)
            self.kubeconfig = pulumi.Output.secret(printed.stdout)
        self.register_outputs({} if self.kubeconfig is None else {"kubeconfig": self.kubeconfig})

    def _step(
        self, name: str, step: HostStep, ssh: SshPlan | None, *, after: list[pulumi.Resource]
    ) -> command.local.Command | command.remote.Command:
        # As standard input: nobody else on the host can change what root runs, and a failure shows the short command.
        text = "".join((_SCRIPTS / file).read_text() for file in ("lib.sh", step.script))
        return run_on(
            ssh,
            f"{name}-{step.name}",
            create=step.command,
            delete=step.undo,
            stdin=text if step.secret is None else _with_secret(step.secret.get_secret_value(), text),
            shows=step.shows,
            opts=pulumi.ResourceOptions(
                parent=self,
                depends_on=after,
                additional_secret_outputs=[] if step.shows else ["stdout", "stderr"],
            ),
        )


def run_on(
    ssh: SshPlan | None,
    name: str,
    *,
    create: str,
    delete: str | None = None,
    stdin: pulumi.Input[str] | None = None,
    shows: bool = True,
    opts: pulumi.ResourceOptions,
) -> command.local.Command | command.remote.Command:
    """A command on the host that `ssh` leads to, or on this machine where it is None."""
    # Without the output of the last run in the environment: sshd accepts no variable that it was not told of.
    if ssh is None:
        return command.local.Command(
            name,
            create=create,
            delete=delete,
            stdin=stdin,
            logging=None if shows else command.local.Logging.NONE,
            add_previous_output_in_env=False,
            opts=opts,
        )
    return command.remote.Command(
        name,
        connection=_connection(ssh),
        create=create,
        delete=delete,
        stdin=stdin,
        logging=None if shows else command.remote.Logging.NONE,
        add_previous_output_in_env=False,
        opts=opts,
    )


def _connection(ssh: SshPlan) -> command.remote.ConnectionArgsDict:
    connection: command.remote.ConnectionArgsDict = {"host": ssh.host, "port": ssh.port, "user": ssh.user}
    if ssh.private_key is not None:
        connection["private_key"] = pulumi.Output.secret(ssh.private_key.get_secret_value())
    if ssh.host_key is not None:
        connection["host_key"] = ssh.host_key
    return connection


def _with_secret(secret: str, text: str) -> pulumi.Output[str]:
    return pulumi.Output.secret(f"SECRET={shlex.quote(secret)}\n{text}")
