"""Secrets that nobody has to think up: made on the machine that deploys, once, and kept in Pulumi's encrypted state."""

from __future__ import annotations

import pulumi
import pulumi_command as command

_API_KEY = "import secrets; print('sk-' + secrets.token_urlsafe(32))"

# Its own authority for nothing but this host: who trusts the certificate trusts no other that its key might sign.
_CERTIFICATE = (
    "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -sha256 -days 825 -subj /CN=llm-gateway"
    " -addext basicConstraints=critical,CA:FALSE -addext keyUsage=critical,digitalSignature"
    " -addext extendedKeyUsage=serverAuth -addext subjectAltName=DNS:{host} -keyout -"
)
_BEGIN_CERTIFICATE = "-----BEGIN CERTIFICATE-----"


def api_key(name: str, *, parent: pulumi.Resource) -> pulumi.Output[str]:
    """A key of 256 random bits, secret. It is replaced when it is asked for: `pulumi up --replace <urn>`."""
    # A later release that makes keys in another way must not change those that clients have.
    return _run(name, f'python3 -c "{_API_KEY}"', parent=parent, ignore_changes=["create"])


def certificate(name: str, host: str, *, parent: pulumi.Resource) -> tuple[pulumi.Output[str], pulumi.Output[str]]:
    """A self-signed certificate of `host` for 825 days, made again when `host` changes.

    Returns:
        Private key (secret) and certificate (not secret), both as PEM.
    """
    # 825 days: the longest that Apple's systems take from an authority of one's own.
    both = _run(name, _CERTIFICATE.format(host=host), parent=parent)
    key = both.apply(lambda text: text[: text.index(_BEGIN_CERTIFICATE)])
    shown = both.apply(lambda text: text[text.index(_BEGIN_CERTIFICATE) :] + "\n")
    return key, pulumi.Output.unsecret(shown)


def _run(
    name: str, create: str, *, parent: pulumi.Resource, ignore_changes: list[str] | None = None
) -> pulumi.Output[str]:
    """What `create` prints, marked secret everywhere and logged nowhere."""
    made = command.local.Command(
        name,
        create=create,
        logging=command.local.Logging.NONE,
        add_previous_output_in_env=False,
        opts=pulumi.ResourceOptions(
            parent=parent, additional_secret_outputs=["stdout", "stderr"], ignore_changes=ignore_changes
        ),
    )
    return pulumi.Output.secret(made.stdout)
