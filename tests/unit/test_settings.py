"""Settings: what cannot be followed is told in the file's own words, everything at once; what can is read the same
by Pulumi and without it."""

from __future__ import annotations

import contextvars
import json
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any, get_args

import pulumi
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from on_mocks import STACK_FILES, Raw
from pydantic import BaseModel

from settings.base import quantity_bytes
from settings.loader import load, parse, read, read_source
from settings.problems import SettingsError
from settings.stack import Settings

SOURCE = "Pulumi.test.yaml"
VLLM: Raw = {"engine": "vllm", "model": "Qwen/Qwen2.5-7B-Instruct-AWQ"}
OLLAMA: Raw = {"engine": "ollama", "pull": ["qwen3:4b"]}
SMALLEST: Raw = {"nodes": {"a": {"gpus": {"model": "rtx-4090"}}}, "models": {"chat": VLLM}}

PROBLEMS: list[Raw] = yaml.safe_load(Path(__file__).with_name("settings_problems.yaml").read_text())


def problems(raw: Raw) -> list[str]:
    """What is told of `raw`; empty where it can be followed."""
    try:
        parse(raw, source=SOURCE)
    except SettingsError as error:
        return list(error.problems)
    return []


def vllm(**settings: object) -> Raw:
    """The small file with one vLLM server that has these settings."""
    return {**SMALLEST, "models": {"chat": {**VLLM, **settings}}}


def ollama(**settings: object) -> Raw:
    """The same with one Ollama server."""
    return {**SMALLEST, "models": {"assistant": {**OLLAMA, **settings}}}


def written(case: Raw) -> Raw:
    """The stack file that a case of settings_problems.yaml describes."""
    match case:
        case {"stack": change}:
            return {**SMALLEST, **change}
        case {"vllm": change}:
            return vllm(**change)
        case {"ollama": change}:
            return ollama(**change)
        case {"edge": change}:
            return {**SMALLEST, "ingress": {"host": "localhost", "routes": {"/v1": "chat"}, **change}}
        case {"jini": change}:
            return ollama(modelfiles={"jini": {"from": "qwen3:4b", **change}})
    raise AssertionError(f"not a case: {case}")


def test_the_smallest_file_needs_no_more_than_a_card_and_a_model() -> None:
    assert problems(SMALLEST) == []


@pytest.mark.parametrize("case", PROBLEMS, ids=lambda case: case["told"])
def test_a_problem_is_told_with_path_value_and_repair(case: Raw) -> None:
    assert problems(written(case)) == [case["told"]]


def test_all_problems_are_told_at_once_under_the_name_of_the_file() -> None:
    raw = {
        "namespace": "LLM",
        "nodes": {"a": {"gpus": {"modle": "rtx-4090"}}},
        "models": {"chat": {**VLLM, "gpus": "two", "shm": "4GB"}, "help": {**OLLAMA, "pull": []}},
        "ingress": {"host": "localhost", "routes": {"v1": "chat"}},
    }
    with pytest.raises(SettingsError) as caught:
        parse(raw, source=SOURCE)
    first, *lines = str(caught.value).splitlines()
    assert first == f"{SOURCE} has 7 problems:"
    assert [line.split(": ")[0] for line in lines] == [
        "  namespace",
        "  nodes.a.gpus.model",
        "  nodes.a.gpus.modle",
        "  models.chat.gpus",
        "  models.chat.shm",
        "  models.help.pull",
        "  ingress.routes.v1",
    ]


def test_one_problem_is_counted_as_one() -> None:
    assert str(SettingsError("F", ["a: b."])) == "F has 1 problem:\n  a: b."


@pytest.mark.parametrize("value", ["1", 1.0, True, None, [1], {"n": 1}])
def test_a_number_is_written_as_one(value: object) -> None:
    """Nothing is converted: a text that looks like a number is not one, nor is a truth value."""
    assert [line.partition(":")[0] for line in problems(vllm(gpus=value))] == ["models.chat.gpus"]


@given(
    whole=st.integers(0, 10**6),
    unit=st.sampled_from([("Ki", 2**10), ("Mi", 2**20), ("Gi", 2**30), ("Ti", 2**40), ("Pi", 2**50)])
    | st.sampled_from([("k", 10**3), ("M", 10**6), ("G", 10**9), ("T", 10**12), ("P", 10**15), ("", 1)]),
)
def test_a_quantity_is_its_number_times_its_unit(whole: int, unit: tuple[str, int]) -> None:
    suffix, factor = unit
    assert quantity_bytes(f"{whole}{suffix}") == whole * factor


@given(quarters=st.integers(0, 10**6))
def test_a_fraction_of_a_unit_is_exact(quarters: int) -> None:
    number = f"{quarters // 4}.{quarters % 4 * 25:02d}"
    assert quantity_bytes(f"{number}Gi") == Fraction(quarters, 4) * 2**30


@given(st.text(max_size=8).filter(lambda text: not text[:1].isascii() or not text[:1].isdigit()))
def test_what_does_not_start_with_a_digit_is_no_quantity(text: str) -> None:
    with pytest.raises(ValueError, match="is not a Kubernetes quantity"):
        quantity_bytes(text)


@given(amount=st.integers(1, 10**6), unit=st.sampled_from(["GB", "gi", "K", "g", " Gi", "Gi ", "B", "GiB", "\n", "٣"]))
def test_what_kubernetes_would_refuse_is_refused(amount: int, unit: str) -> None:
    with pytest.raises(ValueError, match="is not a Kubernetes quantity"):
        quantity_bytes(f"{amount}{unit}")


def all_models(model: type[BaseModel] = Settings) -> Iterator[type[BaseModel]]:
    """Every model of settings that can be reached from the whole."""

    def reached(annotation: Any) -> Iterator[type[BaseModel]]:
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            yield from all_models(annotation)
        for argument in get_args(annotation):
            yield from reached(argument)

    yield model
    for field in model.model_fields.values():
        yield from reached(field.annotation)


MODELS = list(dict.fromkeys(all_models()))


def test_the_walk_over_all_models_reaches_the_deepest() -> None:
    assert {"Settings", "GpuSettings", "VllmSettings", "ModelfileSettings", "IngressSettings", "StorageSettings"} <= {
        model.__name__ for model in MODELS
    }


@pytest.mark.parametrize("model", MODELS, ids=[model.__name__ for model in MODELS])
def test_every_setting_is_described_by_a_sentence(model: type[BaseModel]) -> None:
    for name, field in model.model_fields.items():
        description = field.description or ""
        assert description[:1].isupper(), f"{model.__name__}.{name}: {description!r} is no sentence"
        assert description.endswith("."), f"{model.__name__}.{name}: {description!r} is no sentence"


@pytest.mark.parametrize("model", MODELS, ids=[model.__name__ for model in MODELS])
def test_settings_are_strict_and_frozen(model: type[BaseModel]) -> None:
    assert {key: model.model_config.get(key) for key in ("extra", "frozen", "strict")} == {
        "extra": "forbid",
        "frozen": True,
        "strict": True,
    }


# --- files ---


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (None, "cannot be read: No such file or directory."),
        (b"a: [", "line 2: is not YAML in column 1: "),
        (b"a: \xff\xfe", "is not YAML: byte 4 is not UTF-8. Save the file in that encoding."),
        (b"", "is empty; write 'config:' with keys such as 'llm-serving:models' below it."),
        (b"# nothing\n", "is empty; write"),
        (b"- config", "has no mapping 'config:' with keys such as 'llm-serving:models'."),
        (b"config: 5", "has no mapping 'config:' with keys such as 'llm-serving:models'."),
    ],
)
def test_a_file_that_is_none_is_told_by_its_name(tmp_path: Path, content: bytes | None, problem: str) -> None:
    file = tmp_path / SOURCE
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(SettingsError) as caught:
        read(file)
    assert str(caught.value).startswith(f"{SOURCE} has 1 problem:\n  {problem}")
    assert len(str(caught.value).splitlines()) == 2


def write(folder: Path, raw: Raw) -> Path:
    """`raw` as a stack file, with keys of other programs in it."""
    config: dict[object, object] = {f"llm-serving:{key}": value for key, value in raw.items()}
    config |= {"kubernetes:context": "k3s", "other:8": "eight"}
    file = folder / SOURCE
    file.write_text(yaml.safe_dump({"config": config}, sort_keys=False))
    return file


def test_read_looks_at_its_own_keys_alone(tmp_path: Path) -> None:
    assert read(write(tmp_path, SMALLEST)) == parse(SMALLEST, source=SOURCE)


def test_a_key_without_a_namespace_is_the_projects_own_as_pulumi_takes_it(tmp_path: Path) -> None:
    file = write(tmp_path, SMALLEST)
    file.write_text(file.read_text().replace("llm-serving:models", "models"))
    assert read(file) == parse(SMALLEST, source=SOURCE)
    file.write_text(yaml.safe_dump({"config": {8: "eight"}}))
    with pytest.raises(SettingsError, match="8: there is no such setting"):
        read(file)


@pytest.mark.parametrize(
    ("written", "meant"),
    [("2024-01-31", "2024-01-31 00:00:00 +0000 UTC"), ("2024-1-31T10:00:00Z", "2024-01-31 10:00:00 +0000 UTC")],
)
def test_a_date_is_told_since_pulumi_makes_another_text_of_it(tmp_path: Path, written: str, meant: str) -> None:
    """As `pulumi config --json` (3.255.0) shows it."""
    file = write(tmp_path, {**SMALLEST, "nodes": {"a": {**SMALLEST["nodes"]["a"], "labels": {"bought": "then"}}}})
    text = file.read_text()
    for quoted in (f"'{written}'", f"!!str {written}"):
        file.write_text(text.replace("then", quoted))
        assert read_source(file).unclear == ()
    file.write_text(text.replace("then", written))
    with pytest.raises(SettingsError) as caught:
        read(file)
    assert caught.value.problems[0] == (
        f"nodes.a.labels.bought: {written} is a date to Pulumi, which makes '{meant}' of it. Write it in quotes: "
        f"'{written}'."
    )


def load_as_pulumi(raw: Raw) -> Settings:
    """`load()` with the configuration that Pulumi hands to a program whose stack file says `raw`."""
    texts = {f"llm-serving:{key}": value if isinstance(value, str) else json.dumps(value) for key, value in raw.items()}

    def program() -> Settings:
        pulumi.runtime.set_all_config({"kubernetes:context": "k3s", **texts})
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(pulumi, "get_stack", lambda: "test")
            return load()

    # Pulumi keeps the configuration in context variables; a context of its own leaves none behind.
    return contextvars.copy_context().run(program)


@pytest.mark.parametrize("file", STACK_FILES, ids=lambda file: file.name)
def test_pulumi_and_the_tools_read_a_committed_stack_the_same(file: Path) -> None:
    config = yaml.safe_load(file.read_text())["config"]
    assert load_as_pulumi({key.partition(":")[2]: value for key, value in config.items()}) == read(file)


@pytest.mark.parametrize(("namespace", "bare_is"), [("llm", "llm"), ("123", "123"), ("true", "true"), ("1e3", "1000")])
def test_a_name_is_text_whatever_else_it_could_be(tmp_path: Path, namespace: str, bare_is: str) -> None:
    """Without quotes Pulumi makes a number's own text of it, as `pulumi config --json` (3.255.0) shows."""
    assert load_as_pulumi({**SMALLEST, "namespace": namespace}).namespace == namespace
    file = write(tmp_path, {**SMALLEST, "namespace": "here"})
    text = file.read_text()
    file.write_text(text.replace("here", f"'{namespace}'"))
    assert read(file).namespace == namespace
    file.write_text(text.replace("here", namespace))
    assert read(file).namespace == bare_is


def test_load_names_the_stacks_own_file() -> None:
    with pytest.raises(
        SettingsError, match=r"^Pulumi\.test\.yaml has 1 problem:\n  models: at least one is required\.$"
    ):
        load_as_pulumi({**SMALLEST, "models": {}})


def test_lines_are_told_only_of_the_file_that_pulumi_has_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`pulumi up --config-file other.yaml` hands over what is not in the stack's own file."""
    monkeypatch.chdir(tmp_path)
    wrong = {**SMALLEST, "models": {"chat": {**VLLM, "gpus": 0}}}
    write(tmp_path, wrong)
    with pytest.raises(SettingsError, match=r"^Pulumi\.test\.yaml has 1 problem:\n  line \d+: models\.chat\.gpus: "):
        load_as_pulumi(wrong)
    write(tmp_path, SMALLEST)
    with pytest.raises(
        SettingsError, match=r"^The configuration of the stack 'test' has 1 problem:\n  models\.chat\.gpus: "
    ):
        load_as_pulumi(wrong)


def test_models_and_nodes_keep_the_order_of_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Servers are placed in it, so that a plan without Pulumi is what Pulumi then does, which sorts keys (3.255.0)."""
    monkeypatch.chdir(tmp_path)
    [card] = SMALLEST["nodes"].values()
    raw = {**SMALLEST, "nodes": {"b": card, "a": card}, "models": {"y": VLLM, "x": VLLM}}
    write(tmp_path, raw)
    handed = {key: dict(sorted(value.items())) if isinstance(value, dict) else value for key, value in raw.items()}
    found = load_as_pulumi(handed)
    assert list(found.nodes) == ["b", "a"]
    assert list(found.models) == ["y", "x"]


def test_nothing_behind_a_key_is_told_the_same_with_pulumi_and_without(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Pulumi (3.255.0) hands over an empty text for it."""
    monkeypatch.chdir(tmp_path)
    file = write(tmp_path, {**SMALLEST, "monitoring": None})
    told = r"line \d+: monitoring: has nothing behind it"
    with pytest.raises(SettingsError, match=told):
        read(file)
    with pytest.raises(SettingsError, match=told):
        load_as_pulumi({**SMALLEST, "monitoring": ""})


@pytest.mark.parametrize(
    "secret",
    [
        "hf_0123456789abcdefghijklmnopqrstuvwx",
        "sk-0123456789abcdefghijklmnop",
        "nvapi-0123456789abcdefghijklmnop",
        "ghp_0123456789abcdefghijklmnopqrstuvwxyz",
        "AKIA0123456789ABCDEF",
        "-----BEGIN OPENSSH PRIVATE KEY-----\nMARKER0123456789\n-----END OPENSSH PRIVATE KEY-----\n",
    ],
)
@pytest.mark.parametrize(
    "raw",
    [
        lambda secret: vllm(model=secret),
        lambda secret: vllm(image=f"registry/{secret}"),
        lambda secret: vllm(gpus=secret),
        lambda secret: vllm(**{secret: 1}),
        lambda secret: vllm(profile=secret),
        lambda secret: vllm(engine=secret),
        lambda secret: {**SMALLEST, "models": {secret: VLLM}},
        lambda secret: {**SMALLEST, "models": secret},
        lambda secret: {**SMALLEST, secret: {}},
        lambda secret: {**SMALLEST, "huggingFaceToken": secret},
        lambda secret: {**SMALLEST, "ingress": {"host": secret, "routes": {secret: secret}}},
        lambda secret: ollama(
            modelfiles={"jini": {"from": "qwen3:4b", "system": f"The key is {secret}, tell nobody."}}
        ),
    ],
)
def test_a_secret_in_any_text_is_told_of_and_not_shown(raw: Any, secret: str) -> None:
    told = problems(raw(secret))
    assert told, "a secret in the clear is no problem"
    assert secret not in "".join(told)
    assert "0123456789" not in "".join(told)


def test_what_only_resembles_a_secret_is_none() -> None:
    for text in ("task-0123456789abcdefghijk", "shf_model", "sk-small", "hf_internal_testing"):
        assert problems(ollama(modelfiles={"jini": {"from": "qwen3:4b", "system": f"Say {text}."}})) == []
