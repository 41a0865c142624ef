"""A stack file as it is written: read as Pulumi reads it, with the line of everything, and nothing lost."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from on_mocks import STACK_FILES, Raw

from planning.plan import plan_source
from planning.problems import PlanError
from settings.loader import read, read_source
from settings.problems import SettingsError
from settings.source import Source

HEAD = "config:\n  llm-serving:nodes: {a: {gpus: {model: l4, count: 2}}}\n"


def stack_file(folder: Path, text: str) -> Source:
    file = folder / "Pulumi.test.yaml"
    file.write_text(text)
    return read_source(file)


def told(folder: Path, text: str) -> list[str]:
    """The lines of the message for a file that says `text`."""
    file = folder / "Pulumi.test.yaml"
    file.write_text(text)
    with pytest.raises((SettingsError, PlanError)) as caught:
        plan_source(read_source(file))
    return str(caught.value).splitlines()


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("yes", "yes"),
        ("off", "off"),
        ("12:30", "12:30"),
        ("2024-13-31", "2024-13-31"),
        ("1e400", "1e400"),
        ("true", True),
        ("False", False),
        ("~", None),
        ("12", 12),
        ("-3", -3),
        ("1_000", 1000),
        ("0x1F", 31),
        ("0o17", 15),
        ("017", 15),
        ("089", 89.0),
        ("1.5", 1.5),
        ("1e3", 1000.0),
        (".inf", math.inf),
        ("-.inf", -math.inf),
        ("'12'", "12"),
        ('"true"', "true"),
        ("1.2.3", "1.2.3"),
        ("0x_", "0x_"),
        ("1" * 5000, "1" * 5000),
    ],
)
def test_an_unquoted_text_means_what_pulumi_takes_it_for(tmp_path: Path, written: str, meant: object) -> None:
    """As gopkg.in/yaml.v3 has it, through which Pulumi reads: YAML 1.2, but for the octal numbers of YAML 1.1."""
    found = stack_file(tmp_path, f"config:\n  key: [{written}]\n").raw["key"]
    assert found == [meant]
    assert type(found[0]) is type(meant)


@pytest.mark.parametrize("file", STACK_FILES, ids=lambda file: file.name)
def test_every_line_is_that_of_its_key(file: Path) -> None:
    found, written = read_source(file), file.read_text().splitlines()
    assert {"nodes", "models"} <= found.lines.keys()
    for path, line in found.lines.items():
        key = path.rpartition(".")[2]
        assert key.isdigit() or key in written[line - 1], f"{path} is not in line {line}"


TEXT = st.text(st.characters(categories=["L", "N", "P", "S", "Zs"]))
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=20,
)


@given(JSON)
def test_what_is_json_is_read_as_json(tmp_path_factory: pytest.TempPathFactory, value: object) -> None:
    text = json.dumps({"config": {"key": [value]}}, ensure_ascii=False)
    assert stack_file(tmp_path_factory.mktemp("json"), text).raw["key"] == [value]


def test_what_is_written_twice_is_told_with_both_lines(tmp_path: Path) -> None:
    text = HEAD + (
        "  llm-serving:models:\n"
        "    chat: {engine: vllm, model: a/b}\n"
        "    chat:\n"
        "      engine: ollama\n"
        "    help:\n"
        "      engine: ollama\n"
        "      pull: [qwen3:4b]\n"
        "      pull: [qwen3:8b]\n"
        "  models: {}\n"
    )
    lost = "so one of the two would be lost without a word. Take one out, or give it another name."
    assert told(tmp_path, text) == [
        "Pulumi.test.yaml has 3 problems:",
        f"  line 3: models: is written again in line 11, {lost}",
        f"  line 4: models.chat: is written again in line 5, {lost}",
        f"  line 9: models.help.pull: is written again in line 10, {lost}",
    ]


def test_problems_of_settings_and_of_the_plan_are_told_at_once_in_the_files_order(tmp_path: Path) -> None:
    """A misspelt engine hides neither that model's other mistakes nor what another model does not fit."""
    text = HEAD + (
        "  llm-serving:models:\n"
        "    large:\n"
        "      engine: vllm\n"
        "      gpus: 2\n"
        "      model: meta-llama/Llama-3.3-70B-Instruct\n"
        "    chat:\n"
        "      engine: vlm\n"
        "      model: a/b\n"
        "      shm: 4GB\n"
        "    help: {engine: ollama, pull: []}\n"
        "  llm-serving:ingress: {host: localhost, routes: {/v1: chat, v2: large}}\n"
    )
    first, *lines = told(tmp_path, text)
    assert first == "Pulumi.test.yaml has 5 problems:"
    assert [line.split(": ")[:2] for line in lines] == [
        ["  line 4", "models.large"],
        ["  line 9", "models.chat.engine"],
        ["  line 11", "models.chat.shm"],
        ["  line 12", "models.help.pull"],
        ["  line 13", "ingress.routes.v2"],
    ]
    assert "weights" in lines[0]


def test_what_is_missing_is_told_at_the_line_of_what_should_have_it(tmp_path: Path) -> None:
    text = HEAD + "  llm-serving:models:\n    chat:\n      engine: vllm\n"
    assert told(tmp_path, text)[1] == "  line 4: models.chat.model: is required, and there is no default for it."


@pytest.mark.parametrize(
    ("model", "also"),
    [
        ("{pull: ['qwen3:4b'], gpus: two}", ["models.chat.gpus"]),
        ("{model: a/b, maxModelLen: 32k, shm: 4GB}", ["models.chat.maxModelLen", "models.chat.shm"]),
        ("{model: 'a/b:Q4_K_M', gpus: two}", []),
    ],
    ids=["ollama", "vllm", "one of three"],
)
def test_a_missing_engine_hides_no_mistake_where_the_settings_tell_it(
    tmp_path: Path, model: str, also: list[str]
) -> None:
    lines = told(tmp_path, HEAD + f"  llm-serving:models:\n    chat: {model}\n")
    assert [line.split(": ")[1] for line in lines[1:]] == ["models.chat.engine", *also]


def test_a_plan_that_does_not_fit_is_told_with_its_line(tmp_path: Path) -> None:
    text = HEAD + "  llm-serving:models:\n    chat: {engine: vllm, model: a/b,\n      gpus: 4}\n"
    first, second = told(tmp_path, text)
    assert first == "The stack cannot be planned, 1 problem:"
    assert second.startswith("  line 5: models.chat.gpus: 4 GPUs for one pod")


def test_anchors_and_merges_are_read_as_pulumi_reads_them(tmp_path: Path) -> None:
    text = "config:\n  a: &base {x: 1, y: 2}\n  b: {<<: *base, y: 3}\n  c: {<<: [{x: 5}, *base]}\n"
    assert stack_file(tmp_path, text).raw == {
        "a": {"x": 1, "y": 2},
        "b": {"x": 1, "y": 3},
        "c": {"x": 5, "y": 2},
    }


def test_the_line_of_what_is_written_over_a_merge_is_its_own(tmp_path: Path) -> None:
    text = "config:\n  a: &base {x: 1, y: 2}\n  b:\n    y: 3\n    <<: *base\n"
    lines = stack_file(tmp_path, text).lines
    assert (lines["b.x"], lines["b.y"]) == (2, 4)


SECRET = "sk-planted-0123456789"
EDGE = {"host": "localhost", "routes": {"/v1": "big"}}
TOO_LARGE = {"big": {"engine": "vllm", "model": "meta-llama/Llama-3.3-70B-Instruct"}}

FED = {
    "fed": {
        "engine": "vllm",
        "model": "Qwen/Qwen2.5-7B-Instruct-AWQ",
        "autoscale": {"max": 2, "runningRequests": 50},
    }
}
"""What needs monitoring."""


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ({"models": {"qwen2.5": {"engine": "vllm", "model": "a/b"}}}, ["models.big", "models.qwen2.5"]),
        ({"models": {"chat": {"engine": "olama", "pull": ["qwen3:4b"]}}}, ["models.big", "models.chat.engine"]),
        ({"modles": {}}, ["models.big", "modles"]),
        ({"models": {"fast": {**TOO_LARGE["big"], "gpu": 4}}}, ["models.big", "models.fast", "models.fast.gpu"]),
        ({"ingress": {"host": "localhost", "routes": {"/v1": "big"}, "hosts": 1}}, ["ingress.hosts", "models.big"]),
        ({"huggingFaceToken": SECRET}, ["huggingFaceToken", "models.big"]),
        ({"monitoring": None}, ["models.big", "monitoring"]),
        ({"monitoring": {"storage": "4GB"}, "models": FED}, ["models.big", "monitoring.storage"]),
    ],
    ids=["name with a dot", "engine", "key", "key of a model", "ingress", "secret", "nothing", "autoscaled"],
)
def test_a_mistake_elsewhere_does_not_hide_that_a_model_does_not_fit(more: Raw, expected: list[str]) -> None:
    raw: Raw = {"nodes": {"a": {"gpus": {"model": "rtx-4090", "count": 4}}}, **more}
    raw["models"] = {**raw.get("models", {}), **TOO_LARGE}
    with pytest.raises((SettingsError, PlanError)) as caught:
        plan_source(Source(name="F", raw=raw))
    assert sorted(problem.partition(": ")[0] for problem in caught.value.problems) == expected


def test_an_edge_with_a_wrong_secret_is_told_and_its_secret_is_not() -> None:
    """As Pulumi hands a stack over: the key is decrypted, and its section is left out of the rest's plan."""
    ingress = {"host": "localhost", "routes": {"/v1": "big"}, "apiKeys": {"team": "short"}}
    raw: Raw = {"nodes": {"a": {"gpus": {"model": "rtx-4090"}}}, "models": TOO_LARGE, "ingress": ingress}
    with pytest.raises(SettingsError) as caught:
        plan_source(Source(name="F", raw=raw, decrypted=["ingress"]))
    assert [problem.partition(": ")[0] for problem in caught.value.problems] == ["ingress.apiKeys.team", "models.big"]


@pytest.mark.parametrize(
    "ingress",
    [SECRET, {**EDGE, "apiKeys": SECRET}, {**EDGE, "apiKeys": {SECRET: "team"}}],
    ids=["in place of the edge", "in place of the clients", "in place of the client"],
)
def test_a_secret_in_the_wrong_place_is_not_told(ingress: object) -> None:
    raw: Raw = {"nodes": {"a": {"gpus": {"model": "rtx-4090"}}}, "models": TOO_LARGE, "ingress": ingress}
    with pytest.raises(SettingsError) as caught:
        plan_source(Source(name="F", raw=raw))
    assert any(problem.startswith("ingress") for problem in caught.value.problems)
    assert "planted" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("config:\n  a: &a [*a]\n", "a.0: is an alias of what it stands in, so it has no end. Write it out."),
        (
            "config:\n  a: &a [1,1,1,1,1,1,1,1,1]\n"
            + "".join(f"  {n}: &{n} [{', '.join([f'*{m}'] * 9)}]\n" for m, n in zip("abcdef", "bcdefg", strict=True)),
            "has more than 200000 values, aliases counted; that is no stack's.",
        ),
        ("config:\n  a: {[1, 2]: x}\n", "a: has a key that is not a text but a list; write 'name: value' pairs."),
        (
            "config: {a: " + "[" * 100_000 + "]" * 100_000 + "}",
            "has more than 50 levels within each other; that is no stack's.",
        ),
        ("config:\n  a: {<<: 3}\n", "a: merges with << what is no mapping; write the alias of one."),
        (
            "config: {a: 1}\nconfig: {b: 1}\n",
            "has several mappings 'config:' (lines 1, 2), of which all but one would be lost. Put them together.",
        ),
    ],
    ids=["cycle", "bomb", "key", "depth", "merge", "twice"],
)
def test_a_hostile_file_is_told_rather_than_followed(tmp_path: Path, text: str, problem: str) -> None:
    assert told(tmp_path, text) == ["Pulumi.test.yaml has 1 problem:", f"  {problem}"]


def test_a_file_of_yaml_written_by_others_is_read_whole(tmp_path: Path) -> None:
    """Pulumi writes files with its own settings beside `config`."""
    config = yaml.safe_load(STACK_FILES[0].read_text())["config"]
    file = tmp_path / STACK_FILES[0].name
    file.write_text(yaml.safe_dump({"secretsprovider": "x", "encryptionsalt": "v1:abc", "config": config}))
    assert read(file) == read(STACK_FILES[0])


def test_a_file_of_windows_is_read_as_any_other(tmp_path: Path) -> None:
    """A mark of the byte order, and lines that end in CR LF; Pulumi takes both."""
    file = tmp_path / "Pulumi.test.yaml"
    file.write_bytes(b"\xef\xbb\xbf" + STACK_FILES[0].read_bytes().replace(b"\n", b"\r\n"))
    assert read(file) == read(STACK_FILES[0])


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "is empty; write 'config:' with keys such as 'llm-serving:models' below it."),
        ("# TODO\n\n", "is empty; write 'config:' with keys such as 'llm-serving:models' below it."),
        ("config:\n", "has no mapping 'config:' with keys such as 'llm-serving:models'."),
        ("confg:\n  a: 1\n", "has no mapping 'config:' with keys such as 'llm-serving:models'; 'confg' is none."),
        (
            "config:\nllm-serving:models: {}\n",
            "has no mapping 'config:' with keys such as 'llm-serving:models'; its keys stand at the beginning of their "
            "lines: indent them below 'config:'.",
        ),
        (
            "nodes: {}\nmodels: {}\n",
            "has no mapping 'config:' with keys such as 'llm-serving:models'; its keys stand at the beginning of their "
            "lines: indent them below 'config:'.",
        ),
        (
            "config: {a: 1}\n---\nconfig: {b: 1}\n",
            "has a second document (---) in line 2, which Pulumi does not read. Put it in a file of its own, or take "
            "the '---' out.",
        ),
        (
            "config:\n\ta: 1\n",
            "line 2: is not YAML in column 1: found character that cannot start any token. A tab cannot indent: write "
            "spaces.",
        ),
        (
            'config: {a: "C:\\models"}\n',
            "line 1: is not YAML in column 16: found unknown escape character. In double quotes a backslash begins an "
            "escape: write single quotes.",
        ),
        (
            "config:\n  a: b: c\n",
            "line 2: is not YAML in column 7: mapping values are not allowed in this context. Look at the indentation, "
            "and put texts with ': ' in quotes.",
        ),
        (
            "config:\n  a: *.example.com\n",
            "line 2: is not YAML in column 7: did not find expected alphabetic or numeric character. A text that "
            "begins with '*' or '&' stands in quotes.",
        ),
    ],
)
def test_a_file_that_cannot_be_read_is_told_with_its_repair(tmp_path: Path, text: str, problem: str) -> None:
    assert told(tmp_path, text) == ["Pulumi.test.yaml has 1 problem:", f"  {problem}"]


@pytest.mark.parametrize(
    ("config", "problem"),
    [
        (
            "  llm-servin:models: {}\n",
            "  line 2: llm-servin:models: is another project's, so it would be passed over; did you mean "
            "'llm-serving:models'?",
        ),
        (
            "  llm-serving: {models: {}}\n",
            "  line 2: llm-serving: is a level of its own, and 'config:' has none. Write keys such as "
            "'llm-serving:models:'.",
        ),
        (
            "  <<: {llm-serving:models: {}}\n",
            "  line 2: <<: merges another mapping, and 'config:' has none. Write keys such as 'llm-serving:models:'.",
        ),
        (
            "  llm-serving:models.chat.gpus: 2\n",
            "  line 2: models.chat.gpus: a dot is no path here, so there is no such setting; write mappings below "
            "'models:'.",
        ),
        ("  ? [a]\n  : b\n", "  line 2: a list: there is no such setting"),
    ],
)
def test_a_key_that_is_none_of_ours_is_told(tmp_path: Path, config: str, problem: str) -> None:
    assert any(line.startswith(problem) for line in told(tmp_path, "config:\n" + config))


TOKEN = "hf_" + "abcdefghijklmnopqrstuvwxyz0123"


@pytest.mark.parametrize(
    ("beside", "problems"),
    [
        ("llm-serving:ingress:\n  host: localhost\n", ["'llm-serving:ingress'|so it is not read: indent it by two."]),
        ("ingress: {}\n", ["'ingress'|so it is not read: indent it by two."]),
        ("kubernetes:context: k3s\n", ["'kubernetes:context'|so it is not read: indent it by two."]),
        (
            "architecture: {layers: 4}\n",
            ["'architecture'|so it is not read. It is a setting of models.<name>: indent it below that."],
        ),
        ("ingres: {}\n", ["'ingres'|so it is not read; did you mean 'ingress'? Write it below 'config:'."]),
        (
            "services: {}\n",
            [
                "'services'|so it is not read. Pulumi has no such key, and this project no such setting: take it out.",
            ],
        ),
    ],
)
def test_what_slipped_out_of_config_is_told(tmp_path: Path, beside: str, problems: list[str]) -> None:
    text = HEAD + "  llm-serving:models:\n    chat: {engine: vllm, model: Qwen/Qwen2.5-7B-Instruct-AWQ}\n" + beside
    expected = [problem.replace("|", ": stands beside 'config:', ") for problem in problems]
    assert told(tmp_path, text)[1:] == [f"  line 5: {problem}" for problem in expected]


def test_a_token_beside_config_is_told_and_not_shown(tmp_path: Path) -> None:
    text = HEAD + f"  llm-serving:models: {{}}\nsecrets:\n  - hf: {TOKEN}\n"
    lines = told(tmp_path, text)
    assert any(line.startswith("  line 5: 'secrets' in line 5: looks like a Hugging Face token") for line in lines)
    assert TOKEN not in "".join(lines)


def test_what_slipped_out_hides_no_mistake_of_the_section_that_is_read(tmp_path: Path) -> None:
    text = HEAD + "  llm-serving:models: {chat: {engine: vllm, model: a/b, shm: 4GB}}\nmodels: {}\n"
    assert [line.split(": ")[:2] for line in told(tmp_path, text)[1:]] == [
        ["  line 3", "models.chat.shm"],
        ["  line 4", "'models'"],
    ]


def test_the_line_of_what_is_not_yaml_is_told_to_programs_too(tmp_path: Path) -> None:
    file = tmp_path / "Pulumi.test.yaml"
    file.write_text("config:\n  a: b: c\n")
    with pytest.raises(SettingsError) as caught:
        read_source(file)
    assert caught.value.lines == (2,)


def test_what_cannot_be_read_clearly_hides_no_other_mistake(tmp_path: Path) -> None:
    text = HEAD + "  llm-serving:models:\n    chat: {engine: vlm, model: a/b, model: c/d}\n  llm-serving:monitoring:\n"
    lines = [line.split(": ")[:2] for line in told(tmp_path, text)[1:]]
    assert lines == [["  line 4", "models.chat.model"], ["  line 4", "models.chat.engine"], ["  line 5", "monitoring"]]
