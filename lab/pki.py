"""Keys and certificates, made by openssl: a certificate is issued again when what it should say changes."""

from __future__ import annotations

import base64
import json
import subprocess
from dataclasses import asdict, dataclass
from pathlib import Path

from lab.processes import write_atomically

_DAYS = "3650"
_KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")


@dataclass(frozen=True)
class Certificate:
    """What a certificate says.

    Attributes:
        name: file name without suffix.
        subject: as openssl writes it, e.g. `/O=system:masters/CN=system:admin`.
        usage: `serverAuth` or `clientAuth`; empty for an authority.
        issuer: name of the authority that signs it; empty for an authority.
        alternatives: names and addresses it is good for, as `DNS:...` and `IP:...`.
    """

    name: str
    subject: str
    usage: str = ""
    issuer: str = ""
    alternatives: tuple[str, ...] = ()


def issue(folder: Path, certificate: Certificate) -> bool:
    """Make `<name>.crt` and `<name>.key` in `folder`, unless they are there and say the same.

    Returns:
        Whether they were made anew.

    Raises:
        subprocess.CalledProcessError: openssl refused.
    """
    request = folder / f"{certificate.name}.json"
    issuer = (folder / f"{certificate.issuer}.crt").read_text() if certificate.issuer else ""
    wanted = json.dumps({**asdict(certificate), "issuer_certificate": issuer})
    if request.exists() and request.read_text() == wanted:
        return False
    folder.mkdir(parents=True, exist_ok=True)
    files = ["-keyout", str(folder / f"{certificate.name}.key"), "-out", str(folder / f"{certificate.name}.crt")]
    if certificate.issuer:
        authority = folder / certificate.issuer
        extensions = [
            "basicConstraints=critical,CA:FALSE",
            "keyUsage=critical,digitalSignature,keyEncipherment",
            f"extendedKeyUsage={certificate.usage}",
        ]
        if certificate.alternatives:
            extensions.append(f"subjectAltName={','.join(certificate.alternatives)}")
        files += ["-CA", f"{authority}.crt", "-CAkey", f"{authority}.key"]
    else:
        extensions = ["basicConstraints=critical,CA:TRUE", "keyUsage=critical,digitalSignature,keyCertSign,cRLSign"]
    options = [word for extension in extensions for word in ("-addext", extension)]
    # -config: the machine's own openssl.cnf would add extensions of its own, some of them twice.
    command = ["openssl", "req", "-x509", *_KEY, "-days", _DAYS, "-subj", certificate.subject, *options, *files]
    config = folder / "openssl.cnf"
    config.write_text("[req]\ndistinguished_name = subject\n[subject]\n")
    subprocess.run([*command, "-config", str(config)], check=True, capture_output=True)
    write_atomically(request, wanted)
    return True


def issue_key_pair(folder: Path, name: str) -> None:
    """Make `<name>.key` and `<name>.pub` in `folder` once: the key that signs service account tokens."""
    private, public = folder / f"{name}.key", folder / f"{name}.pub"
    if public.exists():
        return
    parameters = ["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:prime256v1"]
    subprocess.run(["openssl", "genpkey", *parameters, "-out", str(private)], check=True, capture_output=True)
    subprocess.run(["openssl", "pkey", "-in", str(private), "-pubout", "-out", str(public)], check=True)


def kubeconfig(folder: Path, client: str, server: str) -> str:
    """Access to `server` as the client certificate `client`, with everything inside the one file (JSON is YAML)."""

    def data(name: str) -> str:
        return base64.b64encode((folder / name).read_bytes()).decode()

    return json.dumps(
        {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "lab", "cluster": {"server": server, "certificate-authority-data": data("ca.crt")}}],
            "users": [
                {
                    "name": client,
                    "user": {
                        "client-certificate-data": data(f"{client}.crt"),
                        "client-key-data": data(f"{client}.key"),
                    },
                }
            ],
            "contexts": [{"name": "lab", "context": {"cluster": "lab", "user": client}}],
            "current-context": "lab",
        },
        indent=1,
    )
