"""The rules of pods' security and secrets, where a manifest's case cannot show it: patches, and names of secrets."""

from __future__ import annotations

import pytest
from cpu_time import cpu_seconds
from judged import BY_NAME, findings
from llm_policies.image_names import is_of, repository, tag
from llm_policies.objects import of_pulumi
from llm_policies.secret_names import is_reference, looks_secret, names_secret, value_may_be_secret
from on_mocks import Raw


def said_of_patch(rule: str, pod: Raw) -> list[str]:
    """What a rule says of a patch of a Deployment's pods."""
    patch = {"metadata": {"name": "chat"}, "spec": {"template": {"spec": pod}}}
    return [f.message for f in findings(BY_NAME[rule], of_pulumi("kubernetes:apps/v1:DeploymentPatch", patch))]


def container(**more: object) -> Raw:
    return {"containers": [{"name": "vllm", **more}]}


@pytest.mark.parametrize(
    ("rule", "pod"),
    [
        ("privileged", container(securityContext={"privileged": True})),
        ("host-namespaces", {"hostNetwork": True}),
        ("hostpath", {"volumes": [{"name": "models", "hostPath": {"path": "/models"}}]}),
        ("run-as-non-root", container(securityContext={"runAsUser": 0})),
        ("run-as-non-root", container() | {"securityContext": {"runAsUser": 0}}),
        ("privilege-escalation", container(securityContext={"allowPrivilegeEscalation": True})),
        ("capabilities", container(securityContext={"capabilities": {"add": ["SYS_ADMIN"]}})),
        ("capabilities", container(securityContext={"capabilities": {"drop": ["NET_RAW"]}})),
        ("seccomp", container(securityContext={"seccompProfile": {"type": "Unconfined"}})),
        ("seccomp", container() | {"securityContext": {"seccompProfile": {"type": "Unconfined"}}}),
        ("sa-token", container(image="vllm/vllm-openai:v0.33.0") | {"automountServiceAccountToken": True}),
        ("image-tag-mutable", container(image="vllm/vllm-openai:latest")),
        ("image-digest", container(image="vllm/vllm-openai:v0.33.0")),
        ("secret-in-env", container(env=[{"name": "HF_TOKEN", "value": "x"}])),
        ("secret-in-args", container(args=["--api-key=x"])),
        ("duplicate-env", container(env=[{"name": "A", "value": "x"}, {"name": "A", "value": "y"}])),
        ("dev-endpoints", container(env=[{"name": "VLLM_SERVER_DEV_MODE", "value": "1"}])),
        ("trust-remote-code", container(args=["--trust-remote-code"])),
        ("service-env-clash", container(image="vllm/vllm-openai:v0.33.0") | {"enableServiceLinks": True}),
    ],
)
def test_what_a_patch_says_wrong_is_told(rule: str, pod: Raw) -> None:
    assert len(said_of_patch(rule, pod)) == 1


@pytest.mark.parametrize(
    "rule",
    [
        *("privileged", "host-namespaces", "hostpath", "run-as-non-root", "privilege-escalation", "capabilities"),
        *("seccomp", "sa-token", "image-tag-mutable", "image-digest", "secret-in-env", "secret-in-args"),
        *("duplicate-env", "ollama-host", "dev-endpoints", "trust-remote-code", "service-env-clash"),
    ],
)
@pytest.mark.parametrize(
    "pod", [{}, container(), {"nodeSelector": {"disk": "fast"}}], ids=["nothing", "a name", "other"]
)
def test_what_a_patch_leaves_out_is_not_told(rule: str, pod: Raw) -> None:
    assert said_of_patch(rule, pod) == []


@pytest.mark.parametrize(
    "name",
    [
        *(
            "HF_TOKEN",
            "HUGGING_FACE_HUB_TOKEN",
            "HUGGINGFACEHUB_API_TOKEN",
            "OPENAI_API_KEY",
            "OPENAI_API_KEYS",
            "apiKey",
        ),
        *("hf-token", "hfToken", "DB_PASSWORD", "PGPASSWORD", "AWS_SECRET_ACCESS_KEY", "SECRET_KEY_BASE", "APIKEY"),
        *("VAULT_SECRET_ID", "USE_TOKEN", "NO_PROXY_TOKEN", "DISABLE_SECRET", "TOKEN_LIMIT_PASSWORD", "ENABLE_API_KEY"),
        *("MYTOKEN", "GF_SECURITY_ADMIN_PASSWORD", "WEBUI_SECRET_KEY", "NGC_API_KEY", "TOKEN_1", "token.json"),
    ],
)
def test_a_name_of_a_secret_is_known(name: str) -> None:
    assert names_secret(name)


@pytest.mark.parametrize(
    "name",
    [
        *(
            "MAX_TOKENS",
            "TOKENIZERS_PARALLELISM",
            "MAX_INPUT_TOKENS",
            "MAX_TOKEN_LENGTH",
            "TOKEN_FILE",
            "PASSWORD_FILE",
        ),
        *("SECRET_NAME", "AWS_ACCESS_KEY_ID", "TOKEN_TTL", "tokenizer.json", "special_tokens_map.json", "TOKENIZER"),
        *("KEY", "KEYCLOAK_URL", "MONKEY", "SECRETARY", "SSL_KEYFILE", "", "__", "--"),
        *("REGISTRY_CREDENTIAL_USERNAME", "SECRET_PERSISTENCE", "ACCESS_TOKEN_LIFETIME", "TOKEN_REFRESH_INTERVAL"),
        *("SECRETS_MANAGER_REGION", "API_KEY_LOCATION", "API_KEY_HASH", "TOKEN_AUDIENCES", "TOKEN_FILES", "TOKEN_IDS"),
        *("EOS_TOKEN", "bos_token", "padToken", "STOP_TOKENS"),
    ],
)
def test_a_name_that_only_sounds_like_a_secret_is_none(name: str) -> None:
    assert not names_secret(name)


@pytest.mark.parametrize("option", ["--api-key", "--api_key", "--hf-token", "--admin-password", "--client-secret"])
def test_an_option_that_takes_a_secret_is_known(option: str) -> None:
    assert names_secret(option, at_the_end=True)


@pytest.mark.parametrize(
    "option",
    [
        *("--long-prefill-token-threshold", "--max-num-batched-tokens", "--tokenizer", "--allow-credentials", "--seed"),
        *("--ssl-keyfile", "--api-key-file", "--return-tokens-as-token-ids", "--password-hasher", "--tokens-only"),
    ],
)
def test_an_option_that_only_sounds_like_a_secret_is_none(option: str) -> None:
    assert not names_secret(option, at_the_end=True)


@pytest.mark.parametrize("text", ["$(NAME)", "Bearer $(NAME)", "${NAME}", '"$(NAME)"'])
def test_a_reference_is_no_secret(text: str) -> None:
    assert is_reference(text)


@pytest.mark.parametrize("text", ["$NAME", "`cat key`", "$(cat /key)", "$1"])
def test_what_a_shell_reads_is_a_reference_in_a_shell_alone(text: str) -> None:
    assert is_reference(text, in_shell=True)
    assert not is_reference(text)


@pytest.mark.parametrize("text", ["$$(NAME)", "NAME", "a$", ""])
def test_what_is_no_reference_is_none(text: str) -> None:
    assert not is_reference(text)


@pytest.mark.parametrize(
    ("name", "text", "may_be"),
    [
        ("API_KEY", "EMPTY", False),
        ("DB_PASSWORD", "EMPTY", True),
        ("API_KEY", "true", False),
        ("GOOGLE_APPLICATION_CREDENTIALS", "/var/run/key.json", False),
        ("DB_PASSWORD", "/var/run/key.json", True),
        ("API_KEY", "changeme", True),
        ("OPENAI_API_KEY", "user_provided", False),
        ("ENABLE_API_KEY", "1", False),
        ("REQUIRE_TOKEN", "optional", False),
        ("REQUIRE_TOKEN", "hunter2", True),
        ("API_KEY", "1", True),
        ("", "1", True),
    ],
)
def test_a_stand_in_for_no_secret_is_none(name: str, text: str, may_be: bool) -> None:
    assert value_may_be_secret(name, text) is may_be


JWT = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIwIn0.AAAAAAAAAAAAAAAA"


@pytest.mark.parametrize(
    "text",
    [
        "postgres://app:hunter2@$(DB_HOST):5432/db",
        f"hf_{'0' * 34}$(EMPTY)",
        '{"db": {"user": "app", "password" : "hunter2"}}',
        '{"apiKey":"0000000"}',
        f"Authorization: {JWT}",
    ],
)
def test_what_looks_like_a_secret_is_one_beside_what_is_none(text: str) -> None:
    assert looks_secret(text)


@pytest.mark.parametrize(
    "text",
    [
        "postgres://$(USER):$(PASSWORD)@db:5432/db",
        '{"password": "$(PASSWORD)", "api_key": "${API_KEY}", "token": "<your token>", "secret": ""}',
        '{"eos_token": "<|end|>", "pad_token": "[PADDING]", "bos_token": "begin_of_text", "max_tokens": "1000000"}',
        '{"token_file": "some-file", "password": "/run/secrets/password", "api_key": "not-needed"}',
        '{"password": "short"}',
        "AKIAIOSFODNN7EXAMPLE",  # which key it is, and not the key
    ],
)
def test_what_only_stands_like_a_secret_is_none(text: str) -> None:
    assert not looks_secret(text)


@pytest.mark.parametrize(
    "text",
    [
        '"password":"' * 30_000,
        '"a" :  ' * 50_000,
        "eyJ" * 100_000,
        "-eyJ" * 75_000,
        "a" * 300_000,
        "hf_" * 100_000,
        "sk-" * 100_000,
        "://" * 100_000,
        "://a:" * 60_000,
        "bearer " * 40_000,
        "A" * 300_000,
    ],
)
def test_a_long_text_is_read_in_time(text: str) -> None:
    with cpu_seconds(10):
        looks_secret(text)
        names_secret(text)
        is_reference(text, in_shell=True)


@pytest.mark.parametrize(
    ("image", "of", "tagged"),
    [
        ("vllm", "vllm", ""),
        ("vllm/vllm-openai:v0.33.0", "vllm/vllm-openai", "v0.33.0"),
        ("mirror.example.com:5000/vllm/vllm-openai", "mirror.example.com:5000/vllm/vllm-openai", ""),
        ("localhost:5000/a:v1@sha256:00", "localhost:5000/a", "v1"),
        ("a@sha256:00", "a", ""),
    ],
)
def test_an_image_has_a_repository_and_a_tag(image: str, of: str, tagged: str) -> None:
    assert (repository(image), tag(image)) == (of, tagged)


def test_an_image_is_known_on_a_mirror_and_not_by_an_ending() -> None:
    assert is_of("mirror.example.com:5000/hub/ollama/ollama:0.32.15", "ollama/ollama")
    assert is_of("ollama/ollama", "ollama/ollama")
    assert not is_of("example.com/notollama/ollama:v1", "ollama/ollama")
