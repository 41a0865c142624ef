"""The objects of an Ollama server: its models are there before it is, and so are the files that they are made from."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from conftest import Deploy
from on_mocks import Raw
from small_stacks import node

from components.ollama_server import _PULL
from planning.ollama import FILES_PATH, OllamaPlan

QWEN = "qwen3:4b"
MADE_FROM_FILES = {
    "mine": {"from": "./models/mine.gguf", "adapter": "./lora.gguf", "draft": "./small.gguf"},
    "jini": f"FROM {QWEN}\nSYSTEM Be kind.",
}


def stack(**settings: object) -> Raw:
    return {"nodes": {"a": node()}, "models": {"help": {"engine": "ollama", "pull": [QWEN], **settings}}}


def test_files_are_a_volume_of_their_node_that_the_job_alone_reads(deployed: Deploy) -> None:
    found = deployed(stack(files={"nodePath": "/data/gguf"}, modelfiles=MADE_FROM_FILES))
    volume, claim = found.one("PersistentVolume", "help-files"), found.one("PersistentVolumeClaim", "help-files")
    assert volume.inputs["spec"]["local"] == {"path": "/data/gguf"}
    [term] = volume.inputs["spec"]["nodeAffinity"]["required"]["nodeSelectorTerms"]
    assert term["matchExpressions"] == [{"key": "kubernetes.io/hostname", "operator": "In", "values": ["a"]}]
    assert volume.inputs["spec"]["persistentVolumeReclaimPolicy"] == "Retain"
    assert volume.inputs["spec"]["claimRef"] == {"namespace": "llm", "name": claim.inputs["metadata"]["name"]}
    assert claim.inputs["spec"]["volumeName"] == volume.inputs["metadata"]["name"]
    assert claim.inputs["spec"]["storageClassName"] == ""
    job = found.one("Job", "help-pull")
    assert {volume.urn, claim.urn} & job.depends_on == {volume.urn, claim.urn}
    pods = {name: pod for r, pod in found.pods() for name in [f"{r.type.rpartition(':')[2]} {r.name}"]}
    source = {"claimName": claim.inputs["metadata"]["name"], "readOnly": True}
    assert [v["persistentVolumeClaim"] for v in pods["Job help-pull"]["volumes"] if v["name"] == "files"] == [source]
    [mount] = [m for m in pods["Job help-pull"]["containers"][0]["volumeMounts"] if m["name"] == "files"]
    assert mount == {"name": "files", "mountPath": FILES_PATH, "readOnly": True}
    assert [v["name"] for v in pods["Deployment help"]["volumes"]] == ["models", "tmp"]


def test_a_claim_of_somebody_elses_is_mounted_and_nothing_is_made(deployed: Deploy) -> None:
    found = deployed(stack(files={"claim": "gguf"}, modelfiles=MADE_FROM_FILES))
    assert found.of("PersistentVolume") == []
    [pod] = [pod for r, pod in found.pods() if r.name == "help-pull"]
    assert {"name": "files", "persistentVolumeClaim": {"claimName": "gguf", "readOnly": True}} in pod["volumes"]


def test_modelfiles_name_files_where_the_job_has_them_and_are_no_models_names_themselves(deployed: Deploy) -> None:
    found = deployed(stack(files={"claim": "gguf"}, modelfiles=MADE_FROM_FILES))
    assert found.one("ConfigMap", "help-modelfiles").inputs["data"] == {
        "-mine": f"FROM {FILES_PATH}/models/mine.gguf\nADAPTER {FILES_PATH}/lora.gguf\nDRAFT {FILES_PATH}/small.gguf\n",
        "-jini": f'FROM {QWEN}\nSYSTEM """Be kind."""\n',
    }


def test_another_folder_is_another_volume_and_another_job(deployed: Deploy) -> None:
    def names(path: str) -> list[str]:
        found = deployed(stack(files={"nodePath": path}, modelfiles=MADE_FROM_FILES))
        return [r.inputs["metadata"]["name"] for kind in ("PersistentVolume", "Job") for r in found.of(kind)]

    assert not set(names("/data/gguf")) & set(names("/srv/gguf"))


def test_a_text_and_the_settings_that_say_the_same_are_one_model(deployed: Deploy) -> None:
    def key(modelfile: object) -> str:
        server = deployed(stack(modelfiles={"jini": modelfile})).plan.servers["help"]
        assert isinstance(server, OllamaPlan)
        return server.models_key

    settings: Raw = {"from": QWEN, "system": "Be kind.", "messages": [{"role": "user", "content": "Hi"}]}
    text = f'# mine\nFROM {QWEN}\nmessage user "Hi"\nSYSTEM Be kind.\n'
    assert key(settings) == key(text)
    assert key({**settings, "template": "{{ .Prompt }}"}) != key(settings)
    assert key({**settings, "license": ["MIT"]}) != key(settings)
    assert key({**settings, "messages": [{"role": "assistant", "content": "Hi"}]}) != key(settings)


_OLLAMA = """\
#!/bin/sh
# Stands for Ollama: a model is a file; the Internet is $ONLINE.
case "$1" in
  serve) exec sleep 60 ;;
  list) ls "$STORE" >/dev/null ;;
  show) [ -e "$STORE/$2" ] ;;
  pull) echo "pull $2" >>"$LOG"; [ -n "$ONLINE" ] && echo pulled >"$STORE/$2" ;;
  create) echo "create $2" >>"$LOG"; cp "$4" "$STORE/$2" ;;
  rm) echo "rm $2" >>"$LOG"; rm "$STORE/$2" ;;
esac
"""


class Job:
    """The Job's script, with a stand-in for Ollama."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        for name in ("bin", "models", "modelfiles", "store"):
            (folder / name).mkdir()
        program = folder / "bin" / "ollama"
        program.write_text(_OLLAMA)
        program.chmod(0o755)

    def run(self, pull: str, modelfiles: dict[str, str], *, online: bool = True) -> tuple[bool, list[str]]:
        """Whether it succeeds, and what it does to models."""
        for file in (self._folder / "modelfiles").iterdir():
            file.unlink()
        for name, text in modelfiles.items():
            (self._folder / "modelfiles" / f"-{name}").write_text(text)
        log = self._folder / "log"
        log.write_text("")
        script = _PULL.replace("/models/", f"{self._folder}/models/").replace(
            "/modelfiles/", f"{self._folder}/modelfiles/"
        )
        done = subprocess.run(
            ["sh", "-c", script],
            env={
                "PATH": f"{self._folder / 'bin'}:{os.environ['PATH']}",
                "PULL": pull,
                "MAKE": " ".join(modelfiles),
                "STORE": str(self._folder / "store"),
                "LOG": str(log),
                "ONLINE": "yes" if online else "",
            },
            capture_output=True,
            check=False,
            timeout=30,
        )
        return done.returncode == 0, log.read_text().splitlines()

    def models(self) -> set[str]:
        """What is on disk."""
        return {file.name for file in (self._folder / "store").iterdir()}


@pytest.fixture
def job(tmp_path: Path) -> Job:
    return Job(tmp_path)


def test_models_are_fetched_once_and_never_again(job: Job) -> None:
    assert job.run(f"{QWEN} llama3.2:1b", {}) == (True, [f"pull {QWEN}", "pull llama3.2:1b"])
    assert job.run(f"{QWEN} llama3.2:1b", {}, online=False) == (True, [])


def test_a_model_that_cannot_be_had_fails_the_job(job: Job) -> None:
    assert job.run(QWEN, {"jini": "FROM x"}, online=False) == (False, [f"pull {QWEN}"])


def test_custom_models_are_made_again_and_gone_when_removed(job: Job) -> None:
    assert job.run(QWEN, {"jini": "1", "ada": "1"})[1] == [f"pull {QWEN}", "create jini", "create ada"]
    assert job.run(QWEN, {"jini": "2"}) == (True, ["create jini", "rm ada"])
    assert job.models() == {QWEN, "jini"}
    assert job.run(QWEN, {}) == (True, ["rm jini"])
    assert job.run(QWEN, {}) == (True, [])


def test_what_was_pulled_is_never_removed(job: Job) -> None:
    job.run(f"{QWEN} llama3.2:1b", {"jini": "1"})
    assert job.run(QWEN, {"jini": "1"})[1] == ["create jini"]
    assert job.models() == {QWEN, "llama3.2:1b", "jini"}


def test_a_name_that_is_pulled_from_now_on_is_no_longer_the_custom_model(job: Job) -> None:
    job.run(QWEN, {"jini": "1"})
    assert job.run(f"{QWEN} jini", {}) == (True, ["rm jini", "pull jini"])
    assert job.run(f"{QWEN} jini", {}) == (True, [])


def test_a_failed_job_forgets_no_custom_model(job: Job) -> None:
    job.run(QWEN, {"jini": "1"})
    assert job.run(f"{QWEN} missing", {"ada": "1"}, online=False)[0] is False
    assert job.run(QWEN, {"ada": "1"}) == (True, ["create ada", "rm jini"])
