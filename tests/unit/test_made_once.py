"""What is made on the machine that deploys: the commands as they are registered, run for real."""

from __future__ import annotations

import subprocess
from pathlib import Path

from conftest import Deploy
from on_mocks import Raw
from pydantic import SecretStr
from small_stacks import VARIANTS

from settings.loader import parse


def printed(deployed: Deploy, name: str) -> str:
    """What the command `name` of a stack with generated keys and certificate prints."""
    create = deployed(VARIANTS["spare-gpu"]).one("Command", name).inputs["create"]
    done = subprocess.run(["/bin/sh", "-c", create], capture_output=True, text=True, check=True)
    return done.stdout.removesuffix("\n")


def test_a_generated_key_is_one_that_a_client_could_have_been_given(deployed: Deploy) -> None:
    keys = [printed(deployed, "edge-key-team") for _ in range(3)]
    assert len(set(keys)) == 3
    for key in keys:
        assert key.startswith("sk-")
        assert len(key) == 3 + 43  # 256 bits in base64
        raw: Raw = {**VARIANTS["spare-gpu"]}
        raw["ingress"] = raw["ingress"] | {"apiKeys": {"team": key}}
        found = parse(raw, source="F", decrypted=["ingress"]).ingress
        assert found is not None
        assert found.api_keys == {"team": SecretStr(key)}


def test_the_certificate_is_of_the_host_and_of_no_other(deployed: Deploy, tmp_path: Path) -> None:
    text = printed(deployed, "edge-certificate")
    begin = text.index("-----BEGIN CERTIFICATE-----")
    assert "PRIVATE KEY" in text[:begin]
    assert "PRIVATE KEY" not in text[begin:]
    file = tmp_path / "certificate.pem"
    file.write_text(text[begin:])

    def openssl(*arguments: str) -> str:
        return subprocess.run(["openssl", *arguments], capture_output=True, text=True, check=True).stdout

    assert "does match" in openssl("x509", "-in", str(file), "-noout", "-checkhost", "llm.example.com")
    assert "does NOT match" in openssl("x509", "-in", str(file), "-noout", "-checkhost", "other.example.com")
    shown = openssl("x509", "-in", str(file), "-noout", "-text")
    assert "CA:FALSE" in shown
    assert "TLS Web Server Authentication" in shown
    assert openssl("verify", "-CAfile", str(file), "-purpose", "sslserver", str(file)).endswith(": OK\n")
