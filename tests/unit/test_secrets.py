"""Secrets: how they may be written, and that none is in a message, a plan's text or a registration as plain text."""

from __future__ import annotations

import json
import string
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pulumi
import pytest
import yaml
from google.protobuf.json_format import MessageToDict  # type: ignore[import-untyped]  # its stubs lie in a namespace package
from hypothesis import example, given
from hypothesis import strategies as st
from on_mocks import Raw, Recorder, event_loop
from pulumi.runtime.config import set_all_config
from pulumi.runtime.mocks import set_mocks
from pulumi.runtime.proto import resource_pb2
from small_stacks import node, vllm

from planning.plan import Plan, plan
from planning.problems import PlanError
from settings.loader import PROJECT, load, parse, read
from settings.problems import SettingsError
from settings.stack import Settings
from stack import deploy

KEY = "sk-MARKER-of-a-partners-key"
TOKEN = "hf_MARKERofatoken"
SECRET_SIGNATURE = "1b47061264138c4ac30d75fd1eb44270"

STACK: Raw = {
    "nodes": {"a": node()},
    "models": {"chat": vllm()},
    "ingress": {
        "host": "llm.example.com",
        "routes": {"/v1": "chat"},
        "apiKeys": {"team": "generated", "partner": KEY},
        "tls": "selfSigned",
    },
    "huggingFaceToken": TOKEN,
}


@pytest.fixture(autouse=True)
def _config() -> Iterator[None]:
    yield
    set_all_config({}, [])


def loaded(raw: Raw, *secret: str) -> Settings:
    """What the program reads where Pulumi has decrypted the keys `secret`."""
    texts = {f"{PROJECT}:{key}": value if isinstance(value, str) else json.dumps(value) for key, value in raw.items()}
    set_all_config(texts, [f"{PROJECT}:{key}" for key in secret])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pulumi, "get_stack", lambda: "test")
        return load()


def refused(raw: Raw, *secret: str) -> str:
    with pytest.raises(SettingsError) as caught:
        loaded(raw, *secret)
    return str(caught.value)


# --- how they may be written ---


def test_what_pulumi_decrypts_is_read_and_shown_by_nothing() -> None:
    found = loaded(STACK, "ingress", "huggingFaceToken")
    assert found.ingress is not None
    assert found.ingress.api_keys is not None
    partner = found.ingress.api_keys["partner"]
    assert not isinstance(partner, str)
    assert partner.get_secret_value() == KEY
    assert found.hugging_face_token is not None
    assert found.hugging_face_token.get_secret_value() == TOKEN
    for shown in (found, plan(found), found.model_dump()):
        assert "MARKER" not in f"{shown!r}{shown}"


@pytest.mark.parametrize("secret", [(), ("ingress",), ("huggingFaceToken",)])
def test_a_plain_secret_is_refused_without_being_quoted(secret: tuple[str, ...]) -> None:
    """One that is encrypted does not let another one pass."""
    told = refused(STACK, *secret)
    assert ("ingress.apiKeys.partner: is in the file as plain text" in told) == ("ingress" not in secret)
    assert ("huggingFaceToken: is in the file as plain text" in told) == ("huggingFaceToken" not in secret)
    assert "bin/pulumi config set --stack test --secret" in told
    assert "MARKER" not in told


def test_a_plain_secret_beside_an_encrypted_one_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pulumi calls all of 'ingress' a secret then; only the file says which of its texts was readable."""
    written = {"partner": {"secure": "v1:abc:def"}, "other": "sk-MARKER-of-another-client"}
    ingress = STACK["ingress"] | {"apiKeys": written}
    config = {f"{PROJECT}:{key}": value for key, value in (STACK | {"ingress": ingress}).items()}
    del config[f"{PROJECT}:huggingFaceToken"]
    (tmp_path / "Pulumi.test.yaml").write_text(yaml.safe_dump({"config": config}))
    monkeypatch.chdir(tmp_path)
    handed = {key: value for key, value in STACK.items() if key != "huggingFaceToken"}
    handed["ingress"] = ingress | {"apiKeys": {**written, "partner": KEY}}
    told = refused(handed, "ingress")
    assert "ingress.apiKeys.other: is in the file as plain text" in told
    assert "MARKER" not in told


@pytest.mark.parametrize(
    "wrong",
    [
        {"apiKeys": KEY},
        {"apiKeys": [KEY]},
        {"apiKeys": {"partner": [KEY]}},
        {"apiKeys": {"partner": {"secret": KEY}}},
        {"apiKeys": {"partner": f"{KEY} with spaces"}},
        {"apiKeys": {"partner": f'{KEY}" evil'}},
        {"apiKeys": {"partner": "MARKER-short"}},
        {"host": {"x": KEY}},
        {"replicas": KEY},
        {"routes": {"/v1": [KEY]}},
        {"controller": KEY},
    ],
)
def test_no_message_quotes_from_where_secrets_are(wrong: Raw) -> None:
    assert "MARKER" not in refused(STACK | {"ingress": STACK["ingress"] | wrong}, "ingress", "huggingFaceToken")


@pytest.mark.parametrize("token", ["", "two words", "new\nline", "\N{HANGUL SYLLABLE GA}"])
def test_a_token_is_one_word(token: str) -> None:
    told = refused(STACK | {"huggingFaceToken": token}, "ingress", "huggingFaceToken")
    assert "huggingFaceToken: is empty, or has spaces" in told


@given(st.characters(), st.integers(0, 20))
@example("$", 0)
@example('"', 3)
@example("\n", 20)
@example(".", 5)
def test_no_key_can_mean_anything_to_nginx(character: str, place: int) -> None:
    """No character is taken to which a regular expression or a quoted text gives a meaning."""
    key = "k" * place + character + "k" * (20 - place)
    ingress = STACK["ingress"] | {"apiKeys": {"partner": key}}
    try:
        parse({**STACK, "ingress": ingress}, source="F", decrypted=["ingress", "huggingFaceToken"])
    except SettingsError:
        return
    assert character in string.ascii_letters + string.digits + "-_"


def test_a_file_is_planned_without_anybody_knowing_its_secrets(tmp_path: Path) -> None:
    """What Pulumi writes for `config set --secret --path`."""
    ingress = STACK["ingress"] | {"apiKeys": {"partner": {"secure": "v1:abc:d+e/f="}}}
    config = {**STACK, "ingress": ingress, "huggingFaceToken": {"secure": "v1:x:y"}}
    file = tmp_path / "Pulumi.test.yaml"
    file.write_text(yaml.safe_dump({"config": {f"{PROJECT}:{key}": value for key, value in config.items()}}))
    found = plan(read(file)).ingress
    assert found is not None
    assert set(found.api_keys) == {"partner"}


# --- what is registered ---


class Wire(Recorder):
    """Also keeps every registration as it went over the wire, where secrets are marked."""

    def __init__(self, advertised: Mapping[str, int]) -> None:
        super().__init__(advertised)
        self.sent: list[Raw] = []

    def RegisterResource(self, request: resource_pb2.RegisterResourceRequest) -> resource_pb2.RegisterResourceResponse:
        """As the engine's method of the same name."""
        self.sent.append(MessageToDict(request))
        return super().RegisterResource(request)

    def RegisterResourceOutputs(self, request: resource_pb2.RegisterResourceOutputsRequest) -> Any:
        """As the engine's method of the same name."""
        self.sent.append(MessageToDict(request))
        return super().RegisterResourceOutputs(request)  # type: ignore[no-untyped-call]  # Pulumi's mocks have no types


def registered(planned: Plan) -> list[Raw]:
    """Every message to the engine; the keys are secret and the certificate is not."""
    monitor = Wire({name: node.allocatable_gpus for name, node in planned.nodes.items()})
    secrecy: list[bool] = []

    def program() -> pulumi.Output[None]:
        outputs = deploy(planned)
        return pulumi.Output.all(outputs["apiKeys"].is_secret(), outputs["certificate"].is_secret()).apply(
            secrecy.extend
        )

    with event_loop():
        set_mocks(monitor.mocks, project=PROJECT, stack="test", preview=False, monitor=monitor)
        pulumi.runtime.test(program)()  # type: ignore[no-untyped-call]  # Pulumi's mocks have no types
    assert secrecy == [True, False]
    return monitor.sent


def plain(value: Any) -> Any:
    """`value` without what is marked secret, which the engine encrypts and does not show."""
    if isinstance(value, dict):
        if SECRET_SIGNATURE in value.values() or SECRET_SIGNATURE in value:
            return "[secret]"
        return {key: plain(item) for key, item in value.items()}
    return [plain(item) for item in value] if isinstance(value, list) else value


@pytest.mark.parametrize("value", ["hunter12MARKER", ["hunter12MARKER"], {"key": "hunter12MARKER"}, 12345678])
@pytest.mark.parametrize(
    ("server", "mapping", "name"),
    [
        ({"engine": "llamacpp", "model": "Qwen/Qwen3-8B-GGUF:Q4_K_M"}, "extraArgs", "api-key-file"),
        ({"engine": "llamacpp", "model": "Qwen/Qwen3-8B-GGUF:Q4_K_M"}, "extraArgs", "hf-token"),
        ({"engine": "tgi", "model": "Qwen/Qwen3-8B"}, "extraArgs", "api-key"),
        (vllm(), "extraArgs", "api-key"),
        (vllm(), "extraEnvironment", "S3_SECRET_ACCESS_KEY"),
        ({"engine": "ollama", "pull": ["qwen3:4b"]}, "extraEnvironment", "OLLAMA_API_KEY"),
    ],
)
def test_what_is_named_like_a_secret_is_refused_and_not_quoted(
    server: Raw, mapping: str, name: str, value: object
) -> None:
    with pytest.raises((SettingsError, PlanError)) as caught:
        plan(parse({"nodes": STACK["nodes"], "models": {"chat": {**server, mapping: {name: value}}}}, source="a"))
    told = "\n".join(caught.value.problems)
    assert f"models.chat.{mapping}.{name}: " in told
    assert "MARKER" not in told
    assert "12345678" not in told


def test_what_is_counted_in_tokens_is_no_secret() -> None:
    flag: Raw = {"extraArgs": {"tokens-per-step": [7]}}
    with pytest.raises(SettingsError, match=r"tokens-per-step: \[7\] is neither"):
        parse(
            {**STACK, "models": {"chat": {"engine": "llamacpp", "model": "Qwen/Qwen3-8B-GGUF:Q4_K_M", **flag}}},
            source="a",
        )


def test_secrets_are_registered_as_secrets_and_nowhere_else() -> None:
    sent = registered(plan(loaded(STACK, "ingress", "huggingFaceToken")))
    everything = json.dumps(sent)
    for marker in (KEY, TOKEN, "edge-key-team"):
        assert marker in everything, f"{marker} is used by nothing: this test looks at nothing"
    shown = json.dumps([plain(message.get("object", message)) for message in sent])
    assert "MARKER" not in shown
    # What the stand-in for the command printed: the generated key, and the certificate's private key.
    assert "edge-key-team$" not in shown
    assert "edge-certificate\\n-----BEGIN" not in shown


@pytest.mark.parametrize("client", ["team", "partner"])
def test_the_keys_are_a_secret_output_wherever_they_come_from(client: str) -> None:
    """One alone: beside another that is marked it would be hidden with it."""
    keys = {client: STACK["ingress"]["apiKeys"][client]}
    raw = STACK | {"ingress": STACK["ingress"] | {"apiKeys": keys}}
    assert registered(plan(loaded(raw, "ingress", "huggingFaceToken")))


def test_a_generated_secret_is_marked_before_anybody_has_seen_it() -> None:
    commands = [
        m for m in registered(plan(loaded(STACK, "ingress", "huggingFaceToken"))) if "Command" in m.get("type", "")
    ]
    assert {m["name"] for m in commands} == {"edge-key-team", "edge-certificate"}
    for command in commands:
        assert {"stdout", "stderr"} <= set(command["additionalSecretOutputs"])
        assert command["object"]["logging"] == "none"


def test_a_vllm_pod_reads_the_token_from_its_secret_alone(deployed: Any) -> None:
    raw = {key: value for key, value in STACK.items() if key not in ("ingress", "huggingFaceToken")}
    [container] = deployed(raw).one("Deployment", "chat").inputs["spec"]["template"]["spec"]["containers"]
    assert "HF_TOKEN" not in {variable["name"] for variable in container["env"]}
    found = deployed({**raw, "huggingFaceToken": {"secure": "v1:x:y"}})
    [container] = found.one("Deployment", "chat").inputs["spec"]["template"]["spec"]["containers"]
    [variable] = [variable for variable in container["env"] if variable["name"] == "HF_TOKEN"]
    secret = found.one("Secret", "chat-hugging-face")
    name = secret.inputs["metadata"]["name"]
    assert variable == {"name": "HF_TOKEN", "valueFrom": {"secretKeyRef": {"name": name, "key": "token"}}}
    assert secret.urn in found.one("Deployment", "chat").depends_on
