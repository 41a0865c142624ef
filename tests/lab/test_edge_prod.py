"""The edge as in production, in the lab: TLS, keys, two models of vLLM and an Ollama behind one host."""

from __future__ import annotations

import base64
import json
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import yaml
from lab_stack import Stack

from lab.lab import Lab

PARTNER_KEY = "sk-MARKER-of-a-partners-key"
CHAT = {"messages": [{"role": "user", "content": "hi"}], "max_tokens": 8}
ROUTES: dict[str, object] = {
    "/v1": "general",
    "/v1/fast": {"model": "fast", "timeoutSeconds": 30},
    "/ollama": "assistant",
    "/v1/assistant": "assistant",
}
CONFIG = {
    "nodes": {"gpu-a": {"gpus": {"model": "rtx-4090", "count": 3}}},
    "models": {
        "general": {"engine": "vllm", "model": "Qwen/Qwen2.5-7B-Instruct-AWQ"},
        "fast": {"engine": "vllm", "model": "Qwen/Qwen2.5-7B-Instruct-AWQ", "profile": "latency"},
        "assistant": {"engine": "ollama", "pull": ["qwen3:4b"]},
    },
    "ingress": {
        "host": "llm.example.com",
        "tls": "selfSigned",
        "apiKeys": {"team": "generated"},
        "routes": ROUTES,
    },
}


class Edge(Stack):
    """The stack, and what its clients do."""

    @property
    def keys(self) -> dict[str, str]:
        """Key by client, as an operator reads them."""
        found: dict[str, str] = json.loads(self.pulumi("stack", "output", "apiKeys", "--json", "--show-secrets").stdout)
        return found

    def client(self, key: str | None) -> httpx.Client:
        """A client that trusts nothing but the stack's certificate."""
        certificate = self.pulumi("stack", "output", "certificate").stdout
        return httpx.Client(
            base_url=f"https://{self.lab.network.node}",
            headers={"Host": "llm.example.com"} | ({} if key is None else {"Authorization": f"Bearer {key}"}),
            verify=ssl.create_default_context(cadata=certificate),
            timeout=30,
        )

    def gateway_log(self) -> str:
        """What all pods of the gateway have written."""
        return self.lab.kubectl("logs", "-n", "llm", "-l", "app.kubernetes.io/name=llm-gateway", "--tail=-1")

    def change_ingress(self, **changes: object) -> None:
        """Change settings of the edge in the stack file."""
        document = yaml.safe_load(self.file.read_text())
        document["config"]["llm-serving:ingress"] |= changes
        self.file.write_text(yaml.safe_dump(document))


SNI = {"sni_hostname": "llm.example.com"}


@pytest.fixture(scope="module")
def edge(lab: Lab, project: Path) -> Iterator[Edge]:
    made = Edge(lab, project, name="edge")
    made.file.write_text(yaml.safe_dump({"config": {f"llm-serving:{key}": value for key, value in CONFIG.items()}}))
    made.pulumi("stack", "select", "--create")
    made.pulumi("config", "set", "--secret", "--path", "llm-serving:ingress.apiKeys.partner", PARTNER_KEY)
    yield made
    made.make("down")


@pytest.fixture(scope="module")
def said(edge: Edge) -> str:
    """What bringing the stack up prints."""
    return edge.make("up")


def test_every_model_answers_and_no_key_is_shown(edge: Edge, said: str) -> None:
    answers = [line.removeprefix("It answers: ") for line in said.splitlines() if line.startswith("It answers: ")]
    assert len(answers) == 4, said
    assert all(answer.strip() for answer in answers), said
    assert edge.keys["partner"] == PARTNER_KEY
    assert edge.keys["team"].startswith("sk-")
    for key in edge.keys.values():
        assert key not in said


def test_the_lines_that_are_shown_can_be_pasted(edge: Edge, said: str) -> None:
    lines = [line.strip() for line in said.splitlines() if "$LLM_API_KEY" in line or "bin/pulumi stack output" in line]
    setting, asking = [line for line in lines if "curl" not in line], [line for line in lines if "curl" in line]
    assert (len(setting), len(asking)) == (2, 4)
    for line in asking:
        script = "\n".join(["set -eu", *setting, line])
        done = subprocess.run(["bash", "-c", script], cwd=edge.folder, capture_output=True, text=True, check=False)
        assert "data: [DONE]" in done.stdout, done.stdout + done.stderr


@pytest.mark.usefixtures("said")
def test_each_client_is_let_in_by_its_key_and_logged_by_its_name(edge: Edge) -> None:
    for name, key in edge.keys.items():
        with edge.client(key) as client:
            sent = {"X-Request-ID": f"lab-of-{name}"}
            response = client.post(
                "/v1/fast/chat/completions", json=CHAT | {"model": "fast"}, headers=sent, extensions=SNI
            )
            assert response.status_code == 200, response.text
            assert response.headers.get_list("X-Request-ID") == [f"lab-of-{name}"]
    lines = [json.loads(line) for line in edge.gateway_log().splitlines() if "lab-of-" in line]
    assert {line["requestId"]: line["client"] for line in lines} == {
        "lab-of-team": "team",
        "lab-of-partner": "partner",
    }


@pytest.mark.usefixtures("said")
def test_paths_lead_to_their_models_and_to_nothing_else(edge: Edge) -> None:
    with edge.client(PARTNER_KEY) as client:
        served = {
            path: [model["id"] for model in client.get(f"{path}/models", extensions=SNI).json()["data"]]
            for path in ("/v1", "/v1/fast", "/v1/assistant", "/ollama/v1")
        }
        assert served == {
            "/v1": ["general"],
            "/v1/fast": ["fast"],
            "/v1/assistant": ["qwen3:4b"],
            "/ollama/v1": ["qwen3:4b"],
        }
        assert client.get("/ollama/api/tags", extensions=SNI).json()["models"]
        for path in ("/", "/metrics", "/invocations", "/v1/load_lora_adapter", "/ollama/api/pull", "/api/chat"):
            refused = client.post(path, json={}, extensions=SNI)
            assert (refused.status_code, refused.json()["error"]["code"]) == (404, "unknown_url"), path


@pytest.mark.usefixtures("said")
@pytest.mark.parametrize("path", ["/v1", "/v1/fast", "/v1/assistant", "/ollama/v1"])
@pytest.mark.parametrize("key", [None, "sk-a-wrong-one-of-the-right-length", PARTNER_KEY.lower()])
def test_no_engine_answers_without_a_key(edge: Edge, path: str, key: str | None) -> None:
    with edge.client(key) as client:
        response = client.post(f"{path}/chat/completions", json=CHAT, extensions=SNI)
    assert response.status_code == 401
    assert response.json()["error"]["code"] == "invalid_api_key"
    assert response.headers["WWW-Authenticate"] == 'Bearer realm="llm"'
    assert len(response.headers.get_list("X-Request-ID")) == 1


@pytest.mark.usefixtures("said")
def test_plain_http_is_closed_and_another_host_is_nobodys(edge: Edge) -> None:
    headers = {"Host": "llm.example.com", "Authorization": f"Bearer {PARTNER_KEY}"}
    plain = httpx.get(f"http://{edge.lab.network.node}/v1/models", headers=headers, follow_redirects=False)
    assert plain.status_code == 404
    with edge.client(PARTNER_KEY) as client:
        assert client.get("/v1/models", headers={"Host": "localhost"}, extensions=SNI).status_code == 404


@pytest.mark.usefixtures("said")
def test_the_certificate_is_the_hosts_own(edge: Edge) -> None:
    with edge.client(PARTNER_KEY) as client, pytest.raises(httpx.ConnectError, match="CERTIFICATE_VERIFY_FAILED"):
        client.get("/v1/models", extensions={"sni_hostname": "other.example.com"})


@pytest.mark.usefixtures("said")
def test_nothing_comes_in_around_the_edge(edge: Edge) -> None:
    """A pod beside them reaches neither the gateway nor a model; the gateway does."""

    def reached(deployment: str, service: str, port: int) -> bool:
        address = edge.get("service", service)["spec"]["clusterIP"]
        script = f"printf 'GET / HTTP/1.0\\r\\n\\r\\n' | nc -w 3 {address} {port} || true"
        return "HTTP/1." in edge.lab.kubectl("exec", "-n", "llm", f"deploy/{deployment}", "--", "/bin/sh", "-c", script)

    assert reached("llm-gateway", "general", 8000)
    assert not reached("assistant", "general", 8000)
    assert not reached("assistant", "llm-gateway", 80)


@pytest.mark.usefixtures("said")
def test_no_secret_is_in_anything_that_is_shown_or_kept_in_plain(edge: Edge) -> None:
    keys = edge.keys
    tls = edge.get("secret", "llm-gateway-tls")["data"]["tls.key"]
    secrets = {*keys.values(), *base64.b64decode(tls).decode().splitlines()[1:-1]}
    encoded = edge.get("secret", "llm-gateway-keys")["data"].values()
    assert all(any(key in base64.b64decode(text).decode() for text in encoded) for key in keys.values())
    shown = {
        "preview": edge.pulumi("preview", "--diff", "--show-config").stdout,
        "preview --json": edge.pulumi("preview", "--json").stdout,
        "outputs": edge.pulumi("stack", "output", "--json").stdout,
        "state": edge.pulumi("stack", "export").stdout,
        "stack file": edge.file.read_text(),
        "gateway's log": edge.gateway_log(),
        "objects": edge.lab.kubectl("get", "all,configmaps,ingresses,events", "-n", "llm", "-o", "yaml"),
    }
    for where, text in shown.items():
        assert len(text) > 50, where
        for secret in {*secrets, *(base64.b64encode(key.encode()).decode() for key in keys.values()), *encoded}:
            assert secret not in text, where


@pytest.mark.usefixtures("said")
def test_a_second_preview_and_a_refresh_find_nothing(edge: Edge) -> None:
    assert edge.steps() == []
    edge.pulumi("refresh", "--yes", "--expect-no-changes")


@pytest.mark.usefixtures("said")
def test_a_client_is_taken_away_without_an_outage_for_the_others(edge: Edge) -> None:
    team = edge.keys["team"]
    done, failed, asked = threading.Event(), list[str](), 0
    with edge.client(team) as client:

        def ask() -> None:
            nonlocal asked
            while not done.is_set():
                try:
                    status = str(client.get("/v1/models", extensions=SNI).status_code)
                except httpx.TransportError as error:
                    status = repr(error)
                asked += 1
                if status != "200":
                    failed.append(status)
                time.sleep(0.02)  # some fifty requests a second

        asking = threading.Thread(target=ask)
        asking.start()
        edge.change_ingress(apiKeys={"team": "generated"}, routes={**ROUTES, "/v1/more": "fast"})
        before = edge.get("deployment", "llm-gateway")["metadata"]["generation"]
        assert ("update", "kubernetes:apps/v1:Deployment::edge-gateway") in edge.steps()
        edge.pulumi("up", "--yes", "--skip-preview")
        time.sleep(20)  # until the old pods are gone as well
        done.set()
        asking.join()
        assert edge.get("deployment", "llm-gateway")["metadata"]["generation"] > before
        assert failed == []
        assert asked > 100
        assert client.get("/v1/more/models", extensions=SNI).status_code == 200
    assert edge.keys == {"team": team}
    with edge.client(PARTNER_KEY) as client:
        assert client.get("/v1/models", extensions=SNI).status_code == 401
