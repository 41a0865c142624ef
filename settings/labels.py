"""Labels and taints of nodes, as Kubernetes takes them."""

from __future__ import annotations

import re
from typing import Annotated, Literal, NamedTuple, cast

from pydantic import AfterValidator

_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?")
_DNS_SUBDOMAIN = re.compile(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*")
_LONGEST_PREFIX = 253
_EFFECTS = ("NoSchedule", "NoExecute")

_FOR_PEOPLE = ("node-role.kubernetes.io", "topology.kubernetes.io", "node-restriction.kubernetes.io")
"""Domains of Kubernetes in which people label nodes; the kubelet and the cloud write all others themselves."""

_OURS = "llm-serving"


class Taint(NamedTuple):
    """A taint, or what tolerates just that one."""

    key: str
    value: str
    """Empty where it has none."""

    effect: Literal["NoSchedule", "NoExecute"]

    def __str__(self) -> str:
        """As kubectl writes it."""
        return f"{self.key}={self.value}:{self.effect}" if self.value else f"{self.key}:{self.effect}"


def _label_key(key: str) -> str:
    prefix, slash, name = key.rpartition("/")
    if not _NAME.fullmatch(name):
        raise ValueError(
            f"{key!r} is not a label's key: a name of at most 63 of A-Z, a-z, 0-9, '-', '_' and '.', that begins and "
            "ends with a letter or digit, and before it, if at all, a domain and '/'."
        )
    if slash and (not _DNS_SUBDOMAIN.fullmatch(prefix) or len(prefix) > _LONGEST_PREFIX):
        raise ValueError(f"{key!r} is not a label's key: {prefix!r} before the '/' is not a domain, as example.com is.")
    return key


def _label_value(value: str) -> str:
    if value and not _NAME.fullmatch(value):
        raise ValueError(
            f"{value!r} is not a label's value: at most 63 of A-Z, a-z, 0-9, '-', '_' and '.', that begins and ends "
            "with a letter or digit."
        )
    return value


def _own_label(key: str) -> str:
    prefix = key.rpartition("/")[0]
    if prefix == _OURS or key == "nvidia.com/gpu.present":
        raise ValueError(
            f"{key!r} is a label that the program sets from nodes.<name>.gpus, so it would be written twice. Leave it "
            "out."
        )
    if prefix not in _FOR_PEOPLE and f".{prefix}".endswith((".kubernetes.io", ".k8s.io")):
        raise ValueError(
            f"{key!r} is Kubernetes' own: the kubelet sets it, and others place pods by it. Use a domain of yours, or "
            f"one of {', '.join(_FOR_PEOPLE)}."
        )
    return key


def parse_taint(text: str) -> Taint:
    """The taint that kubectl writes as `text`.

    Raises:
        ValueError: it is none, or one that keeps nobody away.
    """
    described, _, effect = text.rpartition(":")
    key, _, value = described.partition("=")
    if effect == "PreferNoSchedule":
        raise ValueError(f"{text!r} keeps nobody away, so there is nothing to plan with it. Leave it out.")
    if effect not in _EFFECTS:
        raise ValueError(
            f"{text!r} is not a taint as kubectl writes it; write e.g. 'dedicated=llm:NoSchedule', with NoSchedule or "
            "NoExecute."
        )
    return Taint(_label_key(key), _label_value(value), cast(Literal["NoSchedule", "NoExecute"], effect))


def _taint(text: str) -> str:
    parse_taint(text)
    return text


LabelKey = Annotated[str, AfterValidator(_label_key)]
"""A label's key, e.g. `example.com/rack`."""

OwnLabelKey = Annotated[LabelKey, AfterValidator(_own_label)]
"""A label's key that neither Kubernetes nor this program writes itself."""

LabelValue = Annotated[str, AfterValidator(_label_value)]
"""A label's value; may be empty."""

TaintText = Annotated[str, AfterValidator(_taint)]
"""A taint as kubectl writes it, e.g. `dedicated=llm:NoSchedule`."""
