"""Nodes and their hosts: what a stack file may say, the plan of a host as data, and the commands it comes to."""

from __future__ import annotations

import copy
import itertools
import json
import re
import shlex
from typing import Any

import pulumi
import pytest
from conftest import Deploy
from on_mocks import Deployed, Raw, run, settings_of
from pulumi.runtime import rpc
from pydantic import SecretStr
from small_stacks import node, ollama, planned, problems, vllm

from cli.lab_spec import lab_spec
from planning.catalogue import gpu_models
from planning.hosts import HostPlan, gpu_words, plan_host
from settings.loader import parse
from settings.node import NodeSettings
from settings.problems import SettingsError
from toolchain.paths import REPOSITORY
from toolchain.steps import StepFailed

HOST_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIBxOWfSKJm0lRcMXIF5hVKcSyY2KFJ1bmdvZmFiY2Rl"
PRIVATE_KEY = "-----BEGIN OPENSSH PRIVATE KEY-----\nplanted\nkey==\n-----END OPENSSH PRIVATE KEY-----\n"
TOKEN = "planted-token"
SSH: Raw = {"host": "gpu-a.lan", "user": "ops", "privateKey": "agent", "hostKey": HOST_KEY}
AGENT: Raw = {"role": "agent", "server": "https://gpu-a.lan:6443", "token": TOKEN}


def remote(model: str = "rtx-4090", *, ssh: Raw | None = None, **more: Any) -> Raw:
    """A node that is made of a host."""
    return node(model, host={"ssh": {**SSH, **(ssh or {})}}, **more)


def told(settings: Raw, *, decrypted: tuple[str, ...] = ()) -> list[str]:
    """What is told of a stack whose one node has `settings`."""
    try:
        parse({"nodes": {"a": settings}, "models": {"x": ollama()}}, source="F", decrypted=decrypted)
    except SettingsError as error:
        return list(error.problems)
    return []


def host_plan(settings: Raw, name: str = "a") -> HostPlan:
    """The plan of the host of a node with `settings`, whose secrets are taken for decrypted ones."""
    raw = {"nodes": {name: settings}, "models": {"x": ollama()}}
    found = plan_host(name, parse(raw, source="F", decrypted=("nodes",)).nodes[name])
    assert found is not None
    return found


def variables(command: str) -> dict[str, str]:
    """What `env` is told in a step's command."""
    words = shlex.split(command[command.index("env ") :])
    assert (words[0], words[-2:]) == ("env", ["bash", "-s"])
    return dict(word.split("=", 1) for word in words[1:-2])


def revealed(value: Any) -> tuple[Any, bool]:
    """An input without the mark of a secret, and whether it had it."""
    secret = isinstance(value, dict) and rpc._special_sig_key in value
    return (value["value"] if secret else value), secret


# --- settings ---


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        (
            node(host="gpu-a"),
            "nodes.a.host: 'gpu-a' is neither 'local' nor a mapping; write {ssh: {host: gpu-a, ...}}.",
        ),
        (
            node(host={"ssh": None}),
            "nodes.a.host: ssh says nothing, so there is no host to reach. Write ssh: {host: ..., ...}, or host: "
            "local.",
        ),
        (
            node(host={"ssh": {key: value for key, value in SSH.items() if key != "hostKey"}}),
            "nodes.a.host.ssh.hostKey: is required, and there is no default for it.",
        ),
        (
            remote(ssh={"hostKey": "yes"}),
            "nodes.a.host.ssh.hostKey: 'yes' is not a public host key, so any host could answer in its place. Write "
            "what `ssh-keyscan -t ed25519 HOST` shows behind the name, once it was compared with the host's own: "
            "'ssh-ed25519 AAAA...'.",
        ),
        (
            remote(ssh={"hostKey": {"unchecked": "no"}}),
            "nodes.a.host.ssh.hostKey.unchecked: must have at least 10 characters, got 'no' (The reason why nobody "
            "else can answer there, so that anybody is believed).",
        ),
        (
            remote(ssh={"host": "ops@gpu-a"}),
            "nodes.a.host.ssh.host: 'ops@gpu-a' is neither a host name nor an address; write the user and the port "
            "apart.",
        ),
        (
            remote(ssh={"privateKey": PRIVATE_KEY}),
            "nodes.a.host.ssh.privateKey: is in the file as plain text, so whoever reads the file has it. Take it out, "
            "withdraw it where it was issued, and set a new one: `bin/pulumi config set --stack <stack> --secret "
            "--path 'nodes.a.host.ssh.privateKey'`.",
        ),
        (
            node(k3s={}, containerToolkit={}),
            "nodes.a: k3s and containerToolkit without host, so nothing would be installed. Write host: local or {ssh: "
            "...}, or leave that out for a node that is in the cluster already.",
        ),
        (
            remote(k3s={"role": "agent"}),
            "nodes.a.k3s: role agent without server and token, so it could join no cluster. Write server: "
            "https://HOST:6443 and set the token of that server's stack file.",
        ),
        (
            remote(k3s={"server": "https://b:6443"}),
            "nodes.a.k3s: server 'https://b:6443' for role server: several servers need an etcd of their own, which is "
            "not done here. Write role: agent, or leave server out.",
        ),
        (
            remote(k3s={"mirror": "mirror.lan/k3s"}),
            "nodes.a.k3s.mirror: 'mirror.lan/k3s' is not an https://, http:// or file:/// URL without a '/' at its "
            "end.",
        ),
        (
            remote(k3s={"version": "1.34"}),
            "nodes.a.k3s.version: must look like 'v1.34.4+k3s1', got '1.34' (Release of k3s; an older one than is "
            "installed is refused).",
        ),
        (
            remote(containerToolkit={"keyFingerprnt": "A"}),
            "nodes.a.containerToolkit.keyFingerprnt: there is no such setting; did you mean 'keyFingerprint'?",
        ),
    ],
)
def test_what_cannot_be_followed_is_told(settings: Raw, problem: str) -> None:
    assert told(settings) == [problem]


def test_what_disable_means_is_only_known_to_servers() -> None:
    [line] = told(remote(k3s={**AGENT, "disable": ["traefik"]}), decrypted=("nodes",))
    assert line.startswith("nodes.a.k3s: disable ['traefik'] on an agent: only servers deploy these.")


@pytest.mark.parametrize("path", ["~/.ssh/id_ed25519", "/srv/ssh/key", "./a.pem", "$HOME/.ssh/id_rsa", "id_ed25519"])
def test_a_path_in_the_place_of_a_key_is_no_secret_that_is_out(path: str) -> None:
    [line] = told(remote(ssh={"privateKey": path}))
    assert line == (
        "nodes.a.host.ssh.privateKey: is a path, and the key's text is meant. Write 'agent' for the keys of the SSH "
        "agent, or set the text, with < FILE behind it: `bin/pulumi config set --stack <stack> --secret --path "
        "'nodes.a.host.ssh.privateKey'`."
    )


@pytest.mark.parametrize("wrong", ["not a key", PRIVATE_KEY.replace("BEGIN", "END"), "-----BEGIN PRIVATE KEY-----"])
def test_a_key_that_is_none_is_told_without_its_text(wrong: str) -> None:
    [line] = told(remote(ssh={"privateKey": wrong}), decrypted=("nodes",))
    assert line.startswith("nodes.a.host.ssh.privateKey: is no private key as `ssh-keygen` writes it")
    assert wrong not in line


@pytest.mark.parametrize(
    "settings",
    [
        node(host="local"),
        remote(ssh={"hostKey": {"unchecked": "a virtual machine on this one"}}),
        remote(ssh={"host": "fd00::1"}, k3s={"disable": ["traefik"], "mirror": "file:///srv/bundle/k3s"}),
        remote(taint=True, containerToolkit={"repository": "https://mirror.lan/nvidia", "keyFingerprint": "A" * 40}),
    ],
)
def test_what_can_be_followed_is(settings: Raw) -> None:
    assert told(settings) == []


def test_a_secret_is_not_in_what_is_printed_of_settings_or_plans() -> None:
    raw = {"nodes": {"a": remote(ssh={"privateKey": PRIVATE_KEY}, k3s=AGENT)}, "models": {"x": ollama()}}
    settings = parse(raw, source="F", decrypted=("nodes",))
    shown = f"{settings!r} {plan_host('a', settings.nodes['a'])!r}"
    assert "planted" not in shown


# --- the plan ---


def test_a_node_without_a_host_is_in_the_cluster_already() -> None:
    found = planned({"a": node()}, {"x": ollama()}).nodes["a"]
    assert (found.host, found.taint) == (None, None)


def test_cards_of_wsl2_are_one_to_the_device_plugin() -> None:
    assert problems({"a": node(count=2, platform="wsl2")}, {"x": ollama()}) == [
        "nodes.a.gpus.count: 2 on wsl2, where the device plugin advertises all cards as one, so the node would never "
        "have what is planned. Write 1, or run Linux without Windows."
    ]


def test_a_stack_is_one_cluster() -> None:
    assert problems({"a": remote(), "b": remote()}, {"x": ollama()}) == [
        "nodes.b.k3s.role: server, as a is, so they would be two clusters, and a stack is of one. Write role: agent, "
        "with server and token."
    ]


def test_nodes_that_could_not_join_for_want_of_a_token_are_told() -> None:
    secret = {**AGENT, "token": {"secure": "v1:x"}}
    assert problems({"a": remote(), "b": remote(k3s=secret)}, {"x": ollama()}) == [
        "nodes.a.k3s.token: is not set, so a would make one of its own, and b could not join with another. Set "
        "the same token for both."
    ]


def test_an_unknown_gpu_on_a_host_is_told_once() -> None:
    [line] = problems({"a": remote("rtx-9999")}, {"x": ollama()})
    assert line.startswith("nodes.a.gpus.model: 'rtx-9999' is not in the catalogue")


def test_every_step_is_a_script_that_is_there_and_gets_every_variable_it_names() -> None:
    """A script's head lists what it is told; under `set -u` a missing one would end it on the host."""
    server, agent = host_plan(remote()), host_plan(remote(k3s=AGENT))
    assert server.kubeconfig is not None
    assert [step.name for step in server.steps] == ["facts", "toolkit", "k3s"]
    assert [step.name for step in agent.steps] == ["facts", "toolkit", "token", "k3s"]
    for step in (*server.steps, *agent.steps, server.kubeconfig):
        text = (REPOSITORY / "hosts" / step.script).read_text()
        head = text[: text.index("\n\n")]
        named = set(re.findall(r"^# ([A-Z][A-Z0-9_]+)  +\S", head, flags=re.MULTILINE))
        given = set(variables(step.command)) | ({"SECRET"} if step.secret is not None else set())
        assert given == named, step.script


def test_no_variable_becomes_one_of_k3s_service() -> None:
    """k3s' installation script writes every K3S_ variable of its environment to the service's."""
    for step in host_plan(remote(k3s=AGENT)).steps:
        assert not [name for name in variables(step.command) if name.startswith(("K3S_", "CONTAINERD_", "INSTALL_"))]


@pytest.mark.parametrize(
    ("host", "sudo"),
    [("local", '$(test "$(id -u)" -eq 0 || echo sudo -n) env '), ({"ssh": SSH}, "sudo -n env "), (None, "env ")],
)
def test_root_is_become_only_where_one_is_not_root(host: Any, sudo: str) -> None:
    settings = remote(ssh={"user": "root"}) if host is None else node(host=host)
    plan = host_plan(settings)
    assert all(step.command.startswith(sudo) for step in plan.steps)
    assert (plan.ssh is None) == (host == "local")


def test_the_token_is_in_no_argument() -> None:
    plan = host_plan(remote(k3s=AGENT))
    assert TOKEN not in "".join(step.command for step in plan.steps)
    [token] = [step for step in plan.steps if step.secret is not None]
    assert token.secret == SecretStr(TOKEN)
    assert not token.shows
    assert plan.kubeconfig is None


def test_k3s_is_told_its_name_and_what_the_stack_file_says() -> None:
    def config(**k3s: Any) -> Raw:
        step = host_plan(remote(k3s=k3s), "gpu-a").steps[-1]
        found: Raw = json.loads(variables(step.command)["CONFIG"])
        return found

    assert config() == {"node-name": "gpu-a", "tls-san+": ["gpu-a.lan"]}
    assert config(disable=["traefik"])["disable+"] == ["traefik"]
    file = "/etc/rancher/k3s/llm-serving-token"
    assert config(token=TOKEN) == {"node-name": "gpu-a", "token-file": file, "tls-san+": ["gpu-a.lan"]}
    assert config(**AGENT) == {"node-name": "gpu-a", "token-file": file, "server": "https://gpu-a.lan:6443"}


@pytest.mark.parametrize(("host", "address"), [("gpu-a.lan", "gpu-a.lan"), ("fd00::1", "[fd00::1]")])
def test_the_kubeconfig_leads_to_where_the_host_is_reached(host: str, address: str) -> None:
    printed = host_plan(remote(ssh={"host": host})).kubeconfig
    assert printed is not None
    assert variables(printed.command)["ADDRESS"] == address
    assert not printed.shows


def test_versions_are_pinned_and_a_mirror_has_the_installer_too() -> None:
    default, mirrored = host_plan(remote()), host_plan(remote(k3s={"mirror": "file:///srv/k3s"}))
    assert variables(default.steps[1].command)["TOOLKIT_VERSION"] == "1.20.1"
    k3s = variables(default.steps[2].command)
    assert k3s["VERSION"] == "v1.34.4+k3s1"
    assert k3s["INSTALLER"] == "https://raw.githubusercontent.com/k3s-io/k3s/v1.34.4+k3s1/install.sh"
    assert variables(mirrored.steps[2].command)["INSTALLER"] == "file:///srv/k3s/download/v1.34.4+k3s1/install.sh"


def test_nothing_is_undone_unless_it_is_asked_for() -> None:
    assert [step.undo for step in host_plan(remote()).steps] == [None] * 3
    asked = host_plan(remote(k3s={"uninstallOnDestroy": True})).steps
    assert [step.name for step in asked if step.undo == f"{step.command} undo"] == ["toolkit", "k3s"]


@pytest.mark.parametrize("model", gpu_models())
def test_every_model_has_words_by_which_the_driver_names_it(model: str) -> None:
    words = gpu_words(model).split()
    assert words
    assert not [word for word in words if re.fullmatch(r"\d+gb", word)]


@pytest.mark.parametrize(
    ("nodes", "kubectl"),
    [
        ({"a": node(taint=True)}, "kubectl"),
        ({"a": remote(taint=True)}, "sudo -n /usr/local/bin/k3s kubectl"),
        ({"a": node(taint=True), "b": remote()}, "sudo -n /usr/local/bin/k3s kubectl"),
    ],
)
def test_the_taint_is_put_on_where_kubectl_reaches_the_cluster(nodes: Raw, kubectl: str) -> None:
    taint = planned(nodes, {"x": ollama()}).nodes["a"].taint
    assert taint is not None
    assert taint.add == f"{kubectl} taint nodes a nvidia.com/gpu=present:NoSchedule --overwrite"
    assert taint.remove.count(kubectl) == 3
    assert (taint.ssh is None) == (kubectl == "kubectl")


# --- what is registered ---


def deploy_hosts(nodes: Raw) -> Deployed:
    raw = {"nodes": nodes, "models": {"x": vllm()}}
    return run(parse(raw, source="F", decrypted=("nodes",)))


SITE: Raw = {
    "b": remote(ssh={"host": "gpu-b.lan", "privateKey": PRIVATE_KEY}, k3s=AGENT),
    "a": remote(k3s={"token": TOKEN}),
}


def test_each_step_comes_after_the_one_before_and_the_cluster_after_its_host() -> None:
    found = deploy_hosts(SITE)
    for name in SITE:
        names = [f"{name}-{step}" for step in ("facts", "toolkit", "token", "k3s")]
        commands = [found.one("Command", n) for n in names]
        for before, after in itertools.pairwise(commands):
            assert before.urn in after.depends_on, after.name
        host = found.one("GpuHost", name)
        assert {c.parent for c in commands} == {host.urn}
        assert commands[-1].urn in found.one("GpuNode", name).depends_on
    # The one that joins waits for the one that holds the cluster, wherever it is in the file.
    assert found.one("Command", "a-k3s").urn in found.one("GpuHost", "b").depends_on
    assert found.one("GpuHost", "a").depends_on == frozenset()


def test_a_script_is_the_standard_input_and_the_command_stays_short() -> None:
    found = deploy_hosts(SITE)
    library = (REPOSITORY / "hosts/lib.sh").read_text()
    for r in found.of("Command"):
        assert len(r.inputs["create"]) < 600, r.name
        assert "add_previous_output_in_env" not in r.inputs
        assert r.inputs["addPreviousOutputInEnv"] is False
        text, secret = revealed(r.inputs["stdin"])
        assert library in text, r.name
        assert secret == r.name.endswith("-token"), r.name


def test_who_answers_is_checked_and_what_is_secret_is_secret() -> None:
    found = deploy_hosts(SITE)
    for r in found.of("Command"):
        assert r.type == "command:remote:Command"
        connection, secret = revealed(r.inputs["connection"])
        assert connection["hostKey"] == HOST_KEY
        assert secret
        assert ("privateKey" in connection) == r.name.startswith("b-"), r.name
        hidden = r.name.endswith(("-token", "-kubeconfig"))
        assert (r.inputs.get("logging") == "none") == hidden, r.name
    text, secret = revealed(found.one("Command", "a-token").inputs["stdin"])
    assert text.startswith(f"SECRET={TOKEN}\n")
    assert secret


def test_a_host_key_that_is_not_checked_is_left_out() -> None:
    nodes = {"a": remote(ssh={"hostKey": {"unchecked": "a virtual machine on this one"}})}
    assert "hostKey" not in deploy_hosts(nodes).one("Command", "a-facts").inputs["connection"]


def test_a_local_host_is_reached_without_ssh() -> None:
    found = deploy_hosts({"a": node(host="local", taint=True)})
    assert {r.type for r in found.of("Command")} == {"command:local:Command"}
    assert found.one("Command", "a-taint").inputs["create"].startswith('$(test "$(id -u)" -eq 0 || echo sudo -n) /usr')


def test_the_taint_is_a_command_and_no_patch() -> None:
    """To server-side apply a node's taints are one field: whoever applies one takes off all others."""
    found = deploy_hosts({"a": node(taint=True)})
    assert all("spec" not in patch.inputs for patch in found.of("NodePatch"))
    assert found.one("NodePatch", "a").urn in found.one("Command", "a-taint").depends_on


def test_models_wait_until_the_gpus_are_counted(deployed: Deploy, dev: Raw) -> None:
    found = deployed(dev)
    counted = found.one("NodePatch", "workstation-advertised")
    runtime = {r.urn for r in found.of("DaemonSet")}
    assert runtime <= found.one("AdvertisedGpus", "workstation").depends_on
    assert counted.inputs["metadata"]["annotations"] == {"llm-serving/planned-gpus": "2"}
    for name in found.plan.servers:
        server = next(r for r in found.resources if r.type.endswith("Server") and r.name == name)
        assert counted.urn in server.depends_on, name


@pytest.mark.parametrize("advertised", [0, 1, 3])
def test_another_number_of_gpus_than_planned_ends_the_deployment(dev: Raw, advertised: int) -> None:
    with pytest.raises(pulumi.RunError) as caught:
        run(settings_of(copy.deepcopy(dev)), advertised={"workstation": advertised})
    assert str(caught.value).startswith(
        "nodes.workstation: 2 nvidia.com/gpu are planned (1 of rtx-4090 in 2 slices each), and the node advertises "
        f"{advertised}, so pods would stay Pending, or cards idle. Correct nodes.workstation.gpus.count; or look at"
    )


def test_a_node_is_prepared_only_where_the_file_says_so() -> None:
    assert NodeSettings.model_fields["host"].default is None
    assert deploy_hosts({"a": node()}).of("Command") == []


@pytest.mark.parametrize("host", ["local", {"ssh": SSH}])
def test_the_lab_does_not_stand_in_for_a_host(host: Any) -> None:
    """Else a lab would come up, and the deployment go to the host all the same."""
    with pytest.raises(StepFailed, match=r"^nodes\.a\.host is a host that becomes a cluster's node"):
        lab_spec(planned({"a": node(host=host)}, {"x": ollama()}))
