"""Sites of the internet that the lab stands in for: their names, and the authority that signs for them."""

from __future__ import annotations

from pathlib import Path

from lab import pki
from lab.pki import Certificate

OLLAMA_REGISTRY = "registry.ollama.ai"
OLLAMA_BLOBS = "blobs.ollama.invalid"
"""Where the registry redirects for a model's files: Ollama insists on another host name."""

HOSTS = (OLLAMA_REGISTRY, OLLAMA_BLOBS)

_AUTHORITY = "authority"
CERTIFICATE = "sites"


def ensure_authority(folder: Path) -> Path:
    """Make the authority and a certificate for all sites in `folder` once; gives the authority's certificate."""
    pki.issue(folder, Certificate(_AUTHORITY, "/CN=lab internet authority"))
    names = tuple(f"DNS:{name}" for name in HOSTS)
    pki.issue(folder, Certificate(CERTIFICATE, f"/CN={HOSTS[0]}", "serverAuth", _AUTHORITY, names))
    return folder / f"{_AUTHORITY}.crt"
