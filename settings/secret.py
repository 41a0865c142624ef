"""Secrets: texts that a stack file holds encrypted only, and that are shown nowhere."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Annotated, Literal

from pydantic import Field, PlainValidator, SecretStr, ValidationInfo

from settings.base import StrictModel
from settings.secret_texts import API_KEY

DECRYPTED = "decrypted"
"""Key of the validation context: the texts that Pulumi has decrypted. Any other text was readable in the file."""

SET_HERE = "<the command that sets it>"
"""What a problem has in the place of that command: which path a secret is at, its validator does not know."""

GENERATED: Literal["generated"] = "generated"
SSH_AGENT: Literal["agent"] = "agent"

_TOKEN = re.compile(r"[!-~]+")
_PRIVATE_KEY = re.compile(r"-----BEGIN ([A-Z]+ )*PRIVATE KEY-----\n[ -~\n]+\n-----END ([A-Z]+ )*PRIVATE KEY-----\n?")

_PATH = re.compile(r"(~|\.{1,2}|\$\{?HOME\}?)?/[^\s:]{1,200}|id_[a-z0-9_]+|[\w.-]{1,100}\.(pem|key)")
"""Of a file, where the text in it belongs; no key begins so."""


class Secure(StrictModel):
    """A secret as Pulumi writes it to a stack file."""

    secure: str = Field(description="Ciphertext, written by `pulumi config set --secret --path`.")


class EncryptedText(SecretStr):
    """A secret that was read from the file without Pulumi: nobody here knows what it is."""


def _secret(value: object, info: ValidationInfo) -> SecretStr:
    """The secret in `value`, which comes from Pulumi decrypted and from a file encrypted.

    Raises:
        ValueError: it is in the file as plain text, or is no text at all. The value is not told.
    """
    if isinstance(value, dict) and set(value) == {"secure"} and isinstance(value["secure"], str):
        return EncryptedText(value["secure"])
    if not isinstance(value, str):
        raise ValueError(f"is not a text; set it with {SET_HERE}.")
    if value not in (info.context or {}).get(DECRYPTED, ()):
        if not value.strip():
            raise ValueError(f"is empty; set it with {SET_HERE}.")
        raise ValueError(
            "is in the file as plain text, so whoever reads the file has it. Take it out, withdraw it where it was "
            f"issued, and set a new one: {SET_HERE}."
        )
    return SecretStr(value)


def _checked(pattern: re.Pattern[str], told: str) -> Callable[[object, ValidationInfo], SecretStr]:
    def check(value: object, info: ValidationInfo) -> SecretStr:
        secret = _secret(value, info)
        if not isinstance(secret, EncryptedText) and not pattern.fullmatch(secret.get_secret_value()):
            raise ValueError(told)
        return secret

    return check


_check_api_key = _checked(
    API_KEY,
    "is not an API key: 20 to 200 of A-Z, a-z, 0-9, '-' and '_'; what is shorter can be guessed. Write 'generated'.",
)


_check_private_key = _checked(
    _PRIVATE_KEY,
    "is no private key as `ssh-keygen` writes it, from -----BEGIN to -----END. Write 'agent', or set it again from its "
    f"file, with < FILE behind it: {SET_HERE}.",
)


def _private_key(value: object, info: ValidationInfo) -> SecretStr | Literal["agent"]:
    if isinstance(value, str) and _PATH.fullmatch(value):
        raise ValueError(
            "is a path, and the key's text is meant. Write 'agent' for the keys of the SSH agent, or set the text, "
            f"with < FILE behind it: {SET_HERE}."
        )
    return SSH_AGENT if value == SSH_AGENT else _check_private_key(value, info)


def _api_key(value: object, info: ValidationInfo) -> SecretStr | Literal["generated"]:
    if isinstance(value, str) and not value.strip():
        raise ValueError(f"is empty. Write 'generated', or set a key with {SET_HERE}.")
    return GENERATED if value == GENERATED else _check_api_key(value, info)


SecretText = Annotated[
    SecretStr,
    PlainValidator(
        _checked(_TOKEN, f"is empty, or has spaces or characters beyond ASCII; set it again: {SET_HERE}."),
        json_schema_input_type=Secure,
    ),
]
"""A secret text, set with `pulumi config set --secret`."""

ApiKey = Annotated[
    SecretStr | Literal["generated"],
    PlainValidator(_api_key, json_schema_input_type=Secure | Literal["generated"]),
]
"""A client's key: `generated` at the first deployment, or a secret text of one's own."""

PrivateKey = Annotated[
    SecretStr | Literal["agent"],
    PlainValidator(_private_key, json_schema_input_type=Secure | Literal["agent"]),
]
"""The private key of an SSH user: a secret text of several lines, or `agent` for those of the SSH agent."""
