"""The scripts of hosts/, unchanged, over a real SSH server, with the real apt-get, on hosts in every state."""

from __future__ import annotations

import subprocess
from pathlib import Path

import packages
import pytest
from conftest import K3S, MakeHost
from machine import Machine
from mirror import Mirror
from preparing import TOKEN, Raw, node_settings, plan_of, prepare, refused, run

from toolchain.paths import REPOSITORY

_READY = ["install k3s v1.34.4+k3s1", "systemctl restart k3s"]


def changes(host: Machine) -> list[str]:
    """What has changed the host, without the starts of k3s that follow from it."""
    return [line for line in host.log() if not line.startswith("k3s ")]


def versions(host: Machine) -> dict[str, str]:
    """Installed packages of the toolkit."""
    listed = host.ssh("dpkg-query -W -f '${Package} ${db:Status-Status} ${Version}\\n' '*nvidia-container*' || true")
    rows = [line.split() for line in listed.stdout.splitlines()]
    return {row[0]: row[2] for row in rows if row[1] == "installed"}


def set_gpus(host: Machine, *lines: str) -> None:
    host.ssh(
        "cat >/etc/standin/gpus.csv", stdin="".join(f"{line}, 580.95.05, GPU-{n}\n" for n, line in enumerate(lines))
    )


def test_a_bare_host_becomes_a_ready_node(host: Machine, site: Mirror) -> None:
    said = prepare(host, node_settings(host, site))
    assert "GPUs 1: NVIDIA GeForce RTX 4090 (24564 MiB), driver 580.95.05" in said[0]
    assert set(versions(host).values()) == {"1.20.1-1"}
    assert len(versions(host)) == 4
    assert changes(host) == _READY
    assert "nvidia" in host.read("/var/lib/rancher/k3s/agent/etc/containerd/config.toml")
    assert said[-1].splitlines()[-1] == "==> workstation is Ready"
    assert '"node-name": "workstation"' in host.read("/etc/rancher/k3s/config.yaml.d/llm-serving.yaml")


def test_a_second_run_writes_nothing(host: Machine, site: Mirror) -> None:
    node = node_settings(host, site)
    prepare(host, node)
    files, done = host.written(), host.log()
    assert "/usr/local/bin/k3s" in files, "the files of the first run must be seen, else this test sees nothing"
    said = prepare(host, node)
    assert host.written() == files
    assert host.log() == done
    assert "is there" in said[1]


def test_a_user_with_sudo_is_enough(host: Machine, site: Mirror) -> None:
    node = node_settings(host, site)
    node["host"]["ssh"]["user"] = "ops"
    for step in plan_of(node).steps:
        texts = [(REPOSITORY / "hosts" / file).read_text() for file in ("lib.sh", step.script)]
        done = host.ssh(step.command, stdin="".join(texts), user="ops", check=False)
        assert done.returncode == 0, done.stdout + done.stderr
    assert changes(host) == _READY


@pytest.mark.parametrize(
    ("model", "lines", "count"),
    [
        ("rtx-4090", ["NVIDIA GeForce RTX 4090, 24564"], 1),
        ("a100-80gb", ["NVIDIA A100-SXM4-80GB, 81920"] * 4, 4),
        ("a100-80gb", ["NVIDIA A100 80GB PCIe, 81920"], 1),
        ("h100-80gb", ["NVIDIA H100 80GB HBM3, 81559"] * 8, 8),
        ("rtx-4060-ti-16gb", ["NVIDIA GeForce RTX 4060 Ti, 16380"], 1),
        ("l4", ["NVIDIA L4, 23034"], 1),
    ],
)
def test_cards_are_known_by_what_the_driver_calls_them(
    host: Machine, site: Mirror, model: str, lines: list[str], count: int
) -> None:
    set_gpus(host, *lines)
    facts = plan_of(node_settings(host, site, gpus={"model": model, "count": count})).steps[0]
    done = run(host, facts)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("lines", "shown"),
    [
        (["NVIDIA GeForce RTX 4090, 24564"], "1: NVIDIA GeForce RTX 4090 (24564 MiB)"),
        (
            ["NVIDIA GeForce RTX 4090, 24564", "NVIDIA GeForce RTX 3090, 24576"],
            "2: NVIDIA GeForce RTX 4090 (24564 MiB), ",
        ),
        (["NVIDIA GeForce RTX 4090 Laptop GPU, 16376"] * 2, "2: NVIDIA GeForce RTX 4090 Laptop GPU (16376 MiB), "),
        (["NVIDIA GeForce RTX 4090, 49140"] * 2, "2: NVIDIA GeForce RTX 4090 (49140 MiB), "),
        ([], "0: "),
    ],
)
def test_other_cards_than_planned_are_told_and_nothing_is_installed(
    host: Machine, site: Mirror, lines: list[str], shown: str
) -> None:
    set_gpus(host, *lines)
    files = host.written()
    told = refused(host, node_settings(host, site, gpus={"model": "rtx-4090", "count": 2}))
    assert f"workstation: the stack file says 2 x rtx-4090 (24564 MiB) and the driver shows {shown}" in told
    assert "repair: Correct nodes.workstation.gpus, or the cards in the host." in told
    assert host.written() == files


def test_a_card_of_another_model_with_as_much_memory_is_another_card(host: Machine, site: Mirror) -> None:
    set_gpus(host, "NVIDIA GeForce RTX 3090 Ti, 24576")
    assert "RTX 3090 Ti" in refused(host, node_settings(host, site, gpus={"model": "rtx-3090"}))


def test_a_driver_that_is_not_there_is_told_and_never_installed(host: Machine, site: Mirror) -> None:
    host.ssh("rm /usr/bin/nvidia-smi")
    told = refused(host, node_settings(host, site))
    assert "there is no nvidia-smi, so the NVIDIA driver is not installed; it is never installed from here." in told
    assert versions(host) == {}
    assert changes(host) == []


def test_a_driver_that_does_not_work_is_told(host: Machine, site: Mirror) -> None:
    host.ssh("rm /etc/standin/gpus.csv")
    assert "nvidia-smi fails, so the driver does not work: NVIDIA-SMI has failed" in refused(
        host, node_settings(host, site)
    )


def test_everything_that_is_wrong_with_a_host_is_told_at_once(host: Machine, site: Mirror) -> None:
    host.ssh(
        "rm /usr/bin/nvidia-smi; rmdir /run/systemd/system; sed -i 's/^ID=.*/ID=fedora/' $(readlink -f /etc/os-release)"
    )
    told = refused(host, node_settings(host, site, platform="wsl2"))
    assert told.count("error: workstation: ") == told.count("repair: ") == 4, told
    assert "is not prepared here, only Debian, Ubuntu" in told
    assert "the host is native and the stack file says wsl2" in told
    assert "systemd does not run" in told


def test_a_full_disk_is_told(host: Machine, site: Mirror) -> None:
    host.ssh("mkdir -p /var/lib/rancher && mount -t tmpfs -o size=1g tmpfs /var/lib/rancher")
    told = refused(host, node_settings(host, site))
    assert "/var/lib/rancher has 1 GiB free and images alone need 40" in told


def test_wsl2_is_known_by_its_kernel_and_its_driver_by_its_place(make_host: MakeHost, site: Mirror) -> None:
    host = make_host(kernel="6.6.87.2-microsoft-standard-WSL2")
    assert "Write nodes.workstation.platform: wsl2." in refused(host, node_settings(host, site))
    wsl2 = node_settings(host, site, platform="wsl2")
    assert "/usr/lib/wsl/lib/libcuda.so.1 is not there" in refused(host, wsl2)
    # There, and not on sudo's PATH, is nvidia-smi too.
    host.ssh("mkdir -p /usr/lib/wsl/lib; touch /usr/lib/wsl/lib/libcuda.so.1; mv /usr/bin/nvidia-smi /usr/lib/wsl/lib/")
    prepare(host, wsl2)
    assert changes(host) == _READY


def test_a_toolkit_that_is_there_is_left_alone_and_an_older_one_is_replaced(host: Machine, site: Mirror) -> None:
    older = node_settings(host, site)
    older["containerToolkit"]["version"] = "1.19.0"
    toolkit = plan_of(older).steps[1]
    assert run(host, toolkit).returncode == 0
    assert set(versions(host).values()) == {"1.19.0-1"}
    prepare(host, node_settings(host, site))
    assert set(versions(host).values()) == {"1.20.1-1"}


def test_a_key_that_is_not_the_one_is_refused(host: Machine, site: Mirror) -> None:
    node = node_settings(host, site)
    del node["containerToolkit"]["keyFingerprint"]
    told = refused(host, node)
    assert f"holds the key {site.fingerprint} and not C95B321B61E88C1809C4F759DDCAE044F796ECB0" in told
    assert versions(host) == {}
    assert host.ssh("ls /etc/apt/sources.list.d /usr/share/keyrings").stdout.count("llm-serving") == 0


def test_k3s_without_the_runtime_is_restarted_once(host: Machine, site: Mirror) -> None:
    """The toolkit came after k3s, which looks for runtimes only when it starts."""
    node = node_settings(host, site)
    prepare(host, node)
    host.ssh("apt-get purge -y -q '*nvidia-container*' && systemctl restart k3s")
    assert "nvidia" not in host.read("/var/lib/rancher/k3s/agent/etc/containerd/config.toml")
    before = changes(host)
    said = prepare(host, node)
    assert "Restarting k3s, which has not seen the NVIDIA runtime yet" in said[-1]
    assert changes(host) == [*before, "systemctl restart k3s"]


def test_k3s_that_was_stopped_is_started(host: Machine, site: Mirror) -> None:
    prepare(host, node_settings(host, site))
    before = changes(host)
    host.ssh("systemctl stop k3s")
    prepare(host, node_settings(host, site))
    assert changes(host) == [*before, "systemctl restart k3s"]


@pytest.mark.parametrize("moment", ["postinst", "daemon-reload", "restart"])
def test_what_was_cut_off_is_finished_by_the_next_run(host: Machine, site: Mirror, moment: str) -> None:
    node = node_settings(host, site)
    host.ssh(f"echo {moment} >/etc/standin/die-at")
    with pytest.raises(AssertionError):
        prepare(host, node)
    assert host.read("/etc/standin/die-at") == "", "the run must have been cut off there"
    prepare(host, node)
    assert set(versions(host).values()) == {"1.20.1-1"}
    assert host.log()[-1].startswith(f"k3s server {K3S} ")
    files = host.written()
    prepare(host, node)
    assert host.written() == files


def test_a_newer_k3s_is_installed_over_an_older_and_never_the_other_way(host: Machine, site: Mirror) -> None:
    older = node_settings(host, site)
    older["k3s"]["version"] = "v1.33.1+k3s1"
    prepare(host, older)
    prepare(host, node_settings(host, site))
    assert changes(host)[-2:] == _READY
    assert "k3s v1.34.4+k3s1 is here and v1.33.1+k3s1 is older" in refused(host, older)


def test_a_node_of_another_name_is_not_renamed(host: Machine, site: Mirror) -> None:
    """As one finds k3s that somebody has installed by hand."""
    prepare(host, node_settings(host, site))
    host.ssh("rm /etc/rancher/k3s/config.yaml.d/llm-serving.yaml && systemctl restart k3s")
    before = changes(host)
    assert "k3s runs here already under another name than workstation" in refused(host, node_settings(host, site))
    assert changes(host) == before


def agent_settings(host: Machine, site: Mirror) -> Raw:
    node = node_settings(host, site)
    node["k3s"] |= {"role": "agent", "server": "https://gpu-a.lan:6443", "token": TOKEN}
    return node


def test_an_agent_joins_by_a_token_that_is_in_no_argument(host: Machine, site: Mirror) -> None:
    plan = plan_of(agent_settings(host, site))
    assert [step.name for step in plan.steps] == ["facts", "toolkit", "token", "k3s"]
    assert TOKEN not in "".join(step.command for step in plan.steps)
    said = prepare(host, agent_settings(host, site))
    assert changes(host) == ["install k3s-agent v1.34.4+k3s1", "systemctl restart k3s-agent"]
    assert '"server": "https://gpu-a.lan:6443"' in host.read("/etc/rancher/k3s/config.yaml.d/llm-serving.yaml")
    assert host.ssh("stat -c '%a %U' /etc/rancher/k3s/llm-serving-token").stdout == "600 root\n"
    assert host.read("/etc/rancher/k3s/llm-serving-token") == f"{TOKEN}\n"
    assert TOKEN not in "".join(said)
    assert said[-1].splitlines()[-1] == "==> workstation is Ready"


def test_a_server_does_not_become_an_agent(host: Machine, site: Mirror) -> None:
    prepare(host, node_settings(host, site))
    host.ssh("touch /etc/systemd/system/k3s-agent.service")
    assert "k3s is installed here as agent and the stack file says server" in refused(host, node_settings(host, site))


def test_the_air_gap_needs_a_folder_alone(make_host: MakeHost, site: Mirror) -> None:
    host = make_host(web=False)
    node = node_settings(host, site)
    node["containerToolkit"]["repository"] = "file:///srv/mirror/nvidia"
    node["k3s"]["mirror"] = "file:///srv/mirror/k3s"
    prepare(host, node)
    assert changes(host) == _READY
    assert host.read("/var/lib/rancher/k3s/agent/images/k3s-airgap-images-amd64.tar.zst") == "images\n"


def test_a_binary_that_is_not_what_was_published_is_not_installed(host: Machine, site: Mirror) -> None:
    host.ssh(f"cp -r /srv/mirror/k3s /srv/k3s; echo x >>'/srv/k3s/download/{K3S}/k3s'")
    node = node_settings(host, site)
    node["k3s"]["mirror"] = "file:///srv/k3s"
    assert "sha256 does not match" in refused(host, node)
    assert host.read("/usr/local/bin/k3s") == ""


def test_undo_takes_everything_away_and_can_be_repeated(host: Machine, site: Mirror) -> None:
    node = node_settings(host, site)
    node["k3s"]["uninstallOnDestroy"] = True
    prepare(host, node)
    for _ in range(2):
        for step in reversed([step for step in plan_of(node).steps if step.undo]):
            done = run(host, step, undo=True)
            assert done.returncode == 0, done.stdout + done.stderr
    assert versions(host) == {}
    left = [path for path in host.written() if "k3s" in path or "llm-serving" in path]
    assert left == []


def test_shellcheck_finds_nothing(tmp_path: Path) -> None:
    packages.unpack("shellcheck", into=tmp_path)
    scripts = sorted(str(path) for path in (REPOSITORY / "hosts").glob("*.sh"))
    assert len(scripts) == 6
    done = subprocess.run(
        [str(tmp_path / "usr/bin/shellcheck"), "--external-sources", *scripts],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout == ""
    assert done.returncode == 0
