"""The committed dev stack on a real cluster, from nothing to answers and back. The tests build on each other."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

from lab_stack import Stack, eventually

_CHAT = {"model": "chat", "messages": [{"role": "user", "content": "hi"}], "max_tokens": 8}


def test_make_up_ends_with_an_answer_of_each_engine(stack: Stack) -> None:
    said = stack.make("up")
    answers = [line.removeprefix("It answers: ") for line in said.splitlines() if line.startswith("It answers: ")]
    assert len(answers) == 2, said
    assert all(answer.strip() for answer in answers)
    assert "http://localhost/v1" in said
    assert "curl -N http://localhost/ollama/v1/chat/completions" in said


def test_vllm_streams_piece_by_piece_through_the_edge(stack: Stack) -> None:
    response = stack.post("/v1/chat/completions", {**_CHAT, "stream": True})
    events = [line for line in response.text.splitlines() if line.startswith("data: ")]
    assert response.headers["content-type"].startswith("text/event-stream")
    assert len(events) > 2
    assert events[-1] == "data: [DONE]"


def test_both_apis_of_ollama_are_reached_without_their_prefix(stack: Stack) -> None:
    chat = {"model": "jini", "messages": _CHAT["messages"], "stream": False, "options": {"num_predict": 4}}
    assert stack.post("/ollama/api/chat", chat).json()["message"]["role"] == "assistant"
    openai = stack.post("/ollama/v1/chat/completions", {**_CHAT, "model": "qwen3:4b"}).json()
    assert openai["choices"][0]["message"]["content"]


def test_only_the_public_paths_are_open(stack: Stack) -> None:
    for path in ("/", "/invocations", "/metrics", "/api/chat"):
        assert stack.post(path, _CHAT).status_code == 404, path


def test_the_gpu_is_shared_as_the_stack_file_says(stack: Stack) -> None:
    node = stack.get("node", "workstation")
    assert node["status"]["allocatable"]["nvidia.com/gpu"] == "2"
    assert node["metadata"]["labels"]["llm-serving/gpu-model"] == "rtx-4090"


def test_a_second_up_changes_nothing(stack: Stack) -> None:
    before = {name: stack.get("deployment", name)["metadata"]["generation"] for name in ("chat", "assistant")}
    stack.pulumi("up", "--yes", "--expect-no-changes")
    assert {name: stack.get("deployment", name)["metadata"]["generation"] for name in before} == before


def test_a_refresh_finds_no_difference(stack: Stack) -> None:
    stack.pulumi("refresh", "--yes", "--expect-no-changes")
    assert stack.steps() == []


def test_a_change_is_previewed_as_one_update_and_applied_as_planned(stack: Stack) -> None:
    stack.edit("chat", {"profile": "latency"})
    assert stack.steps() == [("update", "kubernetes:apps/v1:Deployment::chat")]
    saved = str(stack.folder / "plan.json")
    stack.pulumi("preview", "--save-plan", saved)
    stack.pulumi("up", "--yes", "--skip-preview", "--plan", saved)
    template = stack.get("deployment", "chat")["spec"]["template"]["spec"]
    assert "--max-num-seqs=16" in template["containers"][0]["args"]
    assert stack.get("deployment", "chat")["spec"]["strategy"] == {"type": "Recreate"}
    # The edge hears of the new endpoint a moment after Kubernetes calls it ready.
    eventually(lambda: stack.post("/v1/chat/completions", _CHAT).status_code == 200, 20, "an answer")


def test_a_mandatory_violation_is_refused_and_nothing_changes(stack: Stack, tmp_path: Path) -> None:
    before = stack.get("deployment", "chat")
    stack.edit("chat", {"image": "docker.io/vllm/vllm-openai:latest"})
    refused = stack.pulumi("up", "--yes", *stack.policies("prod", tmp_path), check=False)
    assert refused.returncode != 0
    message = "vllm: image 'docker.io/vllm/vllm-openai:latest' is mutable; pin a release tag or @sha256 digest."
    assert message in refused.stdout
    after = stack.get("deployment", "chat")
    assert after["metadata"]["resourceVersion"] == before["metadata"]["resourceVersion"]


def test_an_advisory_violation_is_told_and_does_not_stop_a_preview(stack: Stack, tmp_path: Path) -> None:
    told = stack.pulumi("preview", *stack.policies("dev", tmp_path))
    assert "[advisory]" in told.stdout
    assert "is mutable" in told.stdout
    stack.edit("chat", {"image": None})


def test_a_wrong_stack_file_stops_before_anything_is_registered(stack: Stack) -> None:
    stack.edit("chat", {"gpus": 3})
    refused = stack.pulumi("preview", check=False)
    stack.edit("chat", {"gpus": None})
    assert refused.returncode != 0
    assert "models.chat" in refused.stdout + refused.stderr
    assert "Traceback" not in refused.stdout + refused.stderr
    assert "create" not in refused.stdout.replace("created", "")


def test_what_the_api_server_refuses_is_refused_by_the_preview(stack: Stack) -> None:
    file = stack.folder / "components" / "_server.py"
    text = file.read_text()
    file.write_text(text.replace('"port": self._port, "target_port"', '"port": 99999, "target_port"'))
    assert file.read_text() != text, "the test's own edit matched nothing"
    refused = stack.pulumi("preview", check=False)
    file.write_text(text)
    assert refused.returncode != 0
    assert "99999" in refused.stdout + refused.stderr


def test_a_killed_pod_comes_back_and_answers(stack: Stack) -> None:
    def pods() -> set[str]:
        listed = stack.lab.kubectl("get", "pods", "-n", "llm", "-l", "app.kubernetes.io/instance=chat", "-o", "name")
        return set(listed.split())

    before = pods()
    stack.lab.kubectl("delete", "-n", "llm", *before, "--wait=false", "--grace-period=1")
    eventually(lambda: bool(pods()) and not pods() & before, 60, "a new pod")
    eventually(lambda: stack.post("/v1/chat/completions", _CHAT).status_code == 200, 60, "an answer")


def test_destroy_leaves_nothing(stack: Stack) -> None:
    stack.pulumi("destroy", "--yes")
    assert "llm" not in stack.lab.kubectl("get", "namespaces", "-o", "name").replace("namespace/", "").split()
    assert "llm-serving/gpu-model" not in stack.get("node", "workstation")["metadata"]["labels"]
    ours = "app.kubernetes.io/part-of=llm-serving"
    kinds = "daemonsets,configmaps,runtimeclasses,persistentvolumeclaims,pods"
    assert stack.lab.kubectl("get", kinds, "-A", "-l", ours, "-o", "name").split() == []


def test_an_up_that_was_killed_is_finished_by_the_next(stack: Stack, state_home: Path) -> None:
    log = state_home / "killed.log"
    with log.open("w") as file:
        killed = subprocess.Popen(
            ["make", "up"],
            cwd=stack.folder,
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=file,
            start_new_session=True,
        )
    eventually(lambda: "Job assistant-pull creating" in log.read_text(), 60, "the Job being created")
    os.killpg(killed.pid, signal.SIGKILL)
    killed.wait()
    said = stack.make("up")
    assert "an earlier run was interrupted while it created" in said
    assert stack.steps() == []


def test_make_down_leaves_no_process_mount_or_interface(stack: Stack) -> None:
    def traces() -> str:
        root = str(stack.lab.layout.root)
        mounts = [line for line in Path("/proc/mounts").read_text().splitlines() if root in line]
        processes = [line for line in _command_lines() if root in line]
        links = subprocess.run(["ip", "-o", "addr"], capture_output=True, text=True, check=True).stdout
        addresses = [line for line in links.splitlines() if str(machine) in line]
        return "\n".join(mounts + processes + addresses)

    machine = stack.lab.network.machine
    assert traces(), "a running lab must be seen, else this test sees nothing"
    stack.make("down")
    assert traces() == ""
    assert not stack.lab.layout.root.exists()


def _command_lines() -> list[str]:
    found = []
    for folder in Path("/proc").iterdir():
        try:
            if folder.name.isdecimal():
                found.append((folder / "cmdline").read_bytes().replace(b"\0", b" ").decode())
        except (FileNotFoundError, ProcessLookupError):
            continue  # it has ended meanwhile
    return found
