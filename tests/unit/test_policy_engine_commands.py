"""Which engine a command line starts, and what it is given: as a shell and Kubernetes would have it."""

from __future__ import annotations

import re

import pytest
from cpu_time import cpu_seconds
from hypothesis import given
from hypothesis import strategies as st
from llm_policies.containers import Container
from llm_policies.engine_commands import engine_of_image, read
from llm_policies.engine_options import WHOLE_FLAGS, last_option
from llm_policies.objects import of_manifest
from llm_policies.values import Doubt
from on_mocks import Raw

from planning.vllm_flags import GONE
from planning.vllm_release import release
from toolchain.paths import REPOSITORY

TP = "--tensor-parallel-size"


@pytest.mark.parametrize(
    ("script", "words"),
    [
        ("vllm serve m --x 4", ("m", "--x", "4")),
        ('vllm serve m --x "4"', ("m", "--x", "4")),
        ("vllm serve 'a b' --x 4;", ("a b", "--x", "4")),
        ("vllm serve m --x=4& wait", ("m", "--x=4")),
        ("vllm serve m \\\n  --x 4 \\\n  --y", ("m", "--x", "4", "--y")),
        ("# --y 9, don't\nvllm serve m --x 4 # --z\nsleep 5", ("m", "--x", "4")),
        ("set -e\nexec vllm serve m --x 4 2>&1 | tee /log", ("m", "--x", "4", "2", ">&", "1")),
        ("cd /x && source a/bin/activate && exec python3 -m vllm.entrypoints.openai.api_server --x", ("--x",)),
        (
            'vllm serve --x "$(nvidia-smi -L | wc -l)" -y ${Y:-1 }',
            ("--x", "$(nvidia-smi -L | wc -l)", "-y", "${Y:-1 }"),
        ),
        ("vllm serve m --x 'open --y", ("m", "--x", "'open", "--y")),
        ("uv run --no-sync /opt/venv/bin/vllm serve m", ("m",)),
        (
            "vllm serve --x $(( $(nvidia-smi -L | wc -l) / 2 )) --y",
            ("--x", "$(( $(nvidia-smi -L | wc -l) / 2 ))", "--y"),
        ),
        ('vllm serve a#1 --x s3://b/m#v1 --y "#" # --z', ("a#1", "--x", "s3://b/m#v1", "--y", "#")),
        ("[ $# -gt 0 ] || vllm serve m --x", ("m", "--x")),
        ("# start \\\nvllm serve m --x", ("m", "--x")),
    ],
)
def test_a_script_is_read_as_its_shell_reads_it(script: str, words: tuple[str, ...]) -> None:
    for before in (
        ("sh", "-c"),
        ("/bin/bash", "-e", "-o", "pipefail", "-lc"),
        ("tini", "--", "sh", "-ec"),
        ("-c",),
        (),
    ):
        line = read((*before, script))
        assert (line.engine, line.words, line.starts) == ("vllm", words, 1)


@pytest.mark.parametrize(
    ("words", "engine", "given_to_it"),
    [
        (("tini", "--", "python3", "-m", "vllm.entrypoints.openai.api_server", "-tp=2"), "vllm", ("-tp=2",)),
        (("python3", "-m", "sglang.launch_server", "--tp", "2"), "sglang", ("--tp", "2")),
        (("sh", "-c", 'exec vllm serve "$@"', "name", "m", "-tp", "2"), "vllm", ("m", "-tp", "2")),
        (("env", "A=b", "ollama", "serve"), "ollama", ()),
        (("sh", "-c", "trap : TERM\nsu - me -c \"bash -c 'vllm serve m --x'\""), "vllm", ("m", "--x")),
        (("/app/llama-server", "-c", "4096"), "llamacpp", ("-c", "4096")),
        (("text-generation-launcher", "--num-shard", "2"), "tgi", ("--num-shard", "2")),
        (("org/model", "-tp=2"), None, ("org/model", "-tp=2")),
        (("-c", "4096"), None, ("-c", "4096")),
        (("vllm serve m -tp 2",), "vllm", ("m", "-tp", "2")),
        (("--model m -tp 2 --x",), None, ("--model", "m", "-tp", "2", "--x")),
        (("vllm", "bench", "serve"), None, ("vllm", "bench", "serve")),
        ((), None, ()),
    ],
)
def test_the_engine_is_what_is_started_wherever_it_stands(
    words: tuple[str, ...], engine: str | None, given_to_it: tuple[str, ...]
) -> None:
    line = read(words)
    assert (line.engine, line.words) == (engine, given_to_it)


def test_several_engines_have_their_words_together() -> None:
    line = read(("sh", "-c", "if x; then vllm serve a --y; else vllm serve b --z; fi"))
    assert (line.engine, line.starts, line.words) == ("vllm", 2, ("a", "--y", "b", "--z"))


def test_what_is_set_before_an_engine_is_known() -> None:
    line = read(("sh", "-c", "export A=1 B=2\nC=3\nG=7 true; declare -x H=8; unset B\nD=4 vllm serve a\nF=6"))
    assert line.assigned == {"A": "1", "C": "3", "H": "8", "D": "4"}
    line = read(("sh", "-c", "export A=1; E=5 ollama serve & export A=2\nexec ollama serve"))
    assert line.assigned == {"A": "2"}, "the last is who stays"
    assert read(("env", "VLLM_SERVER_DEV_MODE=1", "vllm", "serve", "m", "X=1")).assigned == {
        "VLLM_SERVER_DEV_MODE": "1"
    }


@pytest.mark.parametrize(
    ("words", "nothing"),
    [
        (("sleep", "infinity"), True),
        (("vllm", "bench", "serve"), True),
        (("sh", "-c", "ollama pull x && sleep 5"), True),
        (("sh", "-c", "ollama serve & ollama pull x; wait"), False),
        (("sh", "-c", "while true; do sleep 30; done"), True),
        (("sh", "-c", "trap : TERM INT; sleep infinity & wait"), True),
        (("sh", "-c", "--", "A=b; sleep 5"), True),
        (("genai-perf", "profile"), True),
        (("bash", "/start.sh"), False),
        (("sh", "-c", "sleep 5; /start.sh"), False),
        ((), False),
    ],
)
def test_what_serves_nothing_is_known_by_its_programs(words: tuple[str, ...], nothing: bool) -> None:
    assert read(words).serves_nothing is nothing


@pytest.mark.parametrize(
    ("image", "engine"),
    [
        ("vllm/vllm-openai:v0.33.0", "vllm"),
        ("registry:5000/x/vllm@sha256:abc", "vllm"),
        ("rocm/vllm:latest", "vllm"),
        ("vllm/vllm-router:1", None),
        ("x/vllm-chat-ui:1", None),
        ("x/vllm_exporter:1", None),
        ("x/vllm-guide:1", "vllm"),
        ("ollama/ollama", "ollama"),
        ("ollama/ollama-webui", None),
        ("ghcr.io/ggml-org/llama.cpp:server-cuda", "llamacpp"),
        ("lmsysorg/sglang:v0.5", "sglang"),
        ("ghcr.io/huggingface/text-generation-inference:3.3.7", "tgi"),
        ("nginx", None),
    ],
)
def test_an_image_is_an_engines_by_its_name(image: str, engine: str | None) -> None:
    assert engine_of_image(image) == engine


@pytest.mark.parametrize(
    ("word", "value"),
    [
        ("--tensor-parallel-size=4", "4"),
        ("--tensor_parallel_size=4", "4"),
        ("--tensor-par=4", "4"),
        ("--te=4", None),
        ("--tensor-parallel-sizes=4", None),
        ("--pipeline=4", None),
    ],
)
def test_the_end_of_an_option_may_be_left_out(word: str, value: str | None) -> None:
    assert last_option((word,), TP, "-tp", shortened=True) == value


def test_a_whole_option_is_not_another_cut_short() -> None:
    words = ("--data-parallel-size=4",)
    assert last_option(words, "--data-parallel-size-local", shortened=True) is None
    assert last_option(words, "--data-parallel-size", shortened=True) == "4"
    assert last_option((f"{TP}=2", "--tensor-par=4"), TP, shortened=True) == "4", "the last counts"
    assert last_option(("--tensor-par=4",), TP) is None, "of vLLM alone"


def container(**said: object) -> Container:
    """A container of a Pod."""
    pod: Raw = {"apiVersion": "v1", "kind": "Pod", "spec": {"containers": [{"name": "c", **said}]}}
    [item] = of_manifest(pod)
    return item.pod.containers[0]


UNKNOWN = "04da6b54-80e4-46f7-96ec-b56ff0331ba9"


@pytest.mark.parametrize(
    "said",
    [
        {"image": UNKNOWN},
        {"image": ["x"]},
        {"image": "own", "command": UNKNOWN},
        {"image": "own", "command": [UNKNOWN, "x"]},
        {"image": "own", "command": "vllm serve m"},
        {"image": "own", "command": ["sh", "-c"], "args": [UNKNOWN]},
        {"image": "own", "command": ["python3", "-m", UNKNOWN]},
    ],
)
def test_what_may_be_an_engine_is_a_doubt(said: Raw) -> None:
    with pytest.raises(Doubt):
        _ = container(**said).engine
    pod = container(**said).pod
    with pytest.raises(Doubt):
        _ = pod.engines


@pytest.mark.parametrize(
    ("said", "engine"),
    [
        ({"image": UNKNOWN, "command": ["vllm", "serve", UNKNOWN]}, "vllm"),
        ({"image": UNKNOWN, "command": ["sleep", "infinity"]}, None),
        ({"image": "vllm/vllm-openai:v0.33.0", "args": [UNKNOWN]}, "vllm"),
        ({"image": "vllm/vllm-openai:v0.33.0", "command": ["sleep", "1"]}, None),
        ({"image": "vllm/vllm-openai:v0.33.0", "args": ["org/sleep"]}, "vllm"),
        ({"image": "nginx", "args": ["-g", UNKNOWN]}, None),
        ({"image": "own", "command": ["/server", UNKNOWN]}, None),
        ({}, None),
    ],
)
def test_what_is_known_decides(said: Raw, engine: str | None) -> None:
    assert container(**said).engine == engine


def test_an_engine_that_is_known_counts_beside_what_is_not() -> None:
    known = {"name": "chat", "image": "vllm/vllm-openai:v0.33.0"}
    pod: Raw = {"apiVersion": "v1", "kind": "Pod", "spec": {"containers": [{"name": "x", "image": UNKNOWN}, known]}}
    [item] = of_manifest(pod)
    assert [engine.name for engine in item.pod.engines] == ["chat"]


def test_options_of_tgi_may_be_variables() -> None:
    image = "ghcr.io/huggingface/text-generation-inference:3.3.7"
    gpus: Raw = {"limits": {"nvidia.com/gpu": 4}}
    shards = [{"name": "NUM_SHARD", "value": "2"}, {"name": "TRUST_REMOTE_CODE", "value": "false"}]
    tgi = container(image=image, env=shards, resources=gpus)
    assert (tgi.option("--num-shard"), tgi.tensor_parallel) == ("2", 2)
    assert not tgi.has_flag("--trust-remote-code")
    assert container(image=image, env=shards, args=["--num-shard=1"]).tensor_parallel == 1
    assert container(image=image, resources=gpus).tensor_parallel == 4, "it takes all that there are"
    assert container(image=image, resources=gpus, args=["--sharded", "false"]).tensor_parallel == 1
    assert container(image="vllm/vllm-openai:v0.33.0", env=shards).option("--num-shard") is None


def test_a_variable_that_the_script_sets_is_known() -> None:
    script = 'TP=4\nvllm serve m --tensor-parallel-size "$TP" -pp $PP -dp $(nvidia-smi -L | wc -l)'
    vllm = container(image="own", command=["sh", "-c", script])
    assert vllm.number(TP) == 4
    assert vllm.number("-pp") is None
    assert vllm.is_substituted("-pp")
    assert vllm.is_substituted("-dp")
    assert not vllm.is_substituted(TP)
    assert not vllm.is_substituted("--x")


PARTS = [*("sh", "bash", "-c", "vllm", "serve", "$(", "${", "`", "'", '"', "\\", "\n", "#", ";", "&", ">", "A=b"), " "]


@given(st.lists(st.sampled_from(PARTS) | st.text(max_size=5), max_size=8), st.booleans())
def test_any_words_are_read(words: list[str], joined: bool) -> None:
    line = read(tuple(["sh", "-c", " ".join(words)] if joined else words))
    assert line.starts or line.engine is None


@pytest.mark.parametrize(
    "text", ["$(" * 20_000, "${" * 20_000, "`" * 20_001, "vllm serve " + "'a' " * 12_000, "x " * 10**5]
)
def test_long_scripts_are_read_in_no_time(text: str) -> None:
    with cpu_seconds(2):
        read(("sh", "-c", text))


def test_options_of_vllm_that_others_begin_with_are_known() -> None:
    """Else one is read as another that is cut short, with its value."""
    asked = {
        name
        for file in (REPOSITORY / "policies" / "llm_policies").glob("*.py")
        for name in re.findall(r'"(--[a-z][a-z-]+)"', file.read_text())
    }
    there = {f"--{name}" for name in (*release().flags, *GONE)}
    assert {flag for flag in there if any(name.startswith(flag) and name != flag for name in asked)} <= WHOLE_FLAGS
