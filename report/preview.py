"""Reads what `pulumi preview --json` prints, and the policy findings that it does not print."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from report.masking import Scrubber, hidden_texts, masked

Operation = Literal["create", "update", "replace", "delete", "read", "import", "refresh", "other"]

_OPERATIONS: dict[str, Operation] = {
    "create": "create",
    "update": "update",
    "replace": "replace",
    "delete": "delete",
    "read": "read",
    "import": "import",
    "import-replacement": "replace",
    "refresh": "refresh",
    # Parts of a replacement, which stand there instead of `replace` where the CLI is told to show them.
    "create-replacement": "replace",
    "delete-replaced": "replace",
    "read-replacement": "read",
}
_SILENT = frozenset({"same", "discard-replaced", "remove-pending-replace", "read-discard"})

_NOISE = ("preview failed", "an unhandled error occurred: program exited with non-zero exit code: 1")
"""Diagnostics that only say that there are others."""


_EXCEPTED = re.compile(r" Excepted until \d{4}-\d\d-\d\d, owner ")


class PreviewError(Exception):
    """A file is not what it should be."""


@dataclass(frozen=True, kw_only=True)
class Step:
    """What happens to one resource; its secrets are hidden already."""

    operation: Operation
    type: str
    """Pulumi's, e.g. `kubernetes:apps/v1:Deployment`."""

    component_type: str | None
    """Type of the component that it belongs to, e.g. `llm:index:VllmServer`; None where it is the program's own."""

    urn_name: str
    component: str | None
    """Name of that component, where its own resources tell it."""

    old: Mapping[str, Any]
    new: Mapping[str, Any]
    """Inputs before and after; empty where there are none."""

    old_outputs: Mapping[str, Any]
    differing: Sequence[str]
    """Paths that the provider reports, e.g. `spec.replicas`."""

    replacing: Sequence[str]
    """Paths that cannot be changed in place."""

    @property
    def kind(self) -> str:
        """`Deployment` of `kubernetes:apps/v1:Deployment`."""
        return self.type.rpartition(":")[2]

    @property
    def name(self) -> str:
        """The object's own name where it has one, else the one in Pulumi."""
        metadata = (self.new or self.old).get("metadata")
        named = metadata.get("name") if isinstance(metadata, Mapping) else None
        return named if isinstance(named, str) else self.urn_name


@dataclass(frozen=True, kw_only=True)
class Diagnostic:
    """What Pulumi said during the preview."""

    severity: str
    message: str
    about: str | None
    """Kind and name of the resource, if it is about one."""


@dataclass(frozen=True, kw_only=True)
class Finding:
    """A policy that a resource does not meet."""

    mandatory: bool
    rule: str
    about: str
    message: str

    @property
    def excepted(self) -> bool:
        """Whether an exception covers it: the pack ends the message with its last day, its owner and its reason."""
        return not self.mandatory and _EXCEPTED.search(self.message) is not None


@dataclass(frozen=True, kw_only=True)
class Preview:
    """What a deployment would do."""

    stack: str | None
    """None where the program ended before anything of the stack was known."""

    steps: tuple[Step, ...]
    unchanged: int
    diagnostics: tuple[Diagnostic, ...]
    scrub: Scrubber
    """Takes the preview's secrets out of other texts."""

    @property
    def failed(self) -> bool:
        """Whether Pulumi reported an error; a policy's violation is none of its own."""
        return any(d.severity == "error" for d in self.diagnostics)


def read_preview(text: str) -> Preview:
    """The preview in `text`.

    Raises:
        PreviewError: it is not what `pulumi preview --json` prints.
    """
    digest = _digest(text)
    raw_steps = [step for step in digest.get("steps") or () if isinstance(step, dict) and "urn" in step]
    told = [step for step in raw_steps if _is_told(step, raw_steps)]
    states = [_masked_state(step.get(which)) for step in raw_steps for which in ("oldState", "newState")]
    scrub = Scrubber(text for state in states for text in hidden_texts(state))
    return Preview(
        stack=raw_steps[0]["urn"].split("::")[0].rpartition(":")[2] if raw_steps else None,
        steps=tuple(_step(step) for step in told),
        unchanged=(digest.get("changeSummary") or {}).get("same", 0),
        diagnostics=tuple(
            Diagnostic(severity=d.get("severity", "info"), message=message, about=_about(d.get("urn")))
            for d in digest.get("diagnostics") or ()
            if (message := _plain(scrub(d.get("message", "")))) not in ("", *_NOISE)
        ),
        scrub=scrub,
    )


def read_findings(text: str, scrub: Scrubber) -> tuple[Finding, ...]:
    """The policy findings in an event log, mandatory ones first.

    `pulumi preview --json` leaves policy events out (pkg/backend/display/json.go of 3.255.0), but `--event-log FILE`,
    an option that PULUMI_DEBUG_COMMANDS=true uncovers and that Pulumi's own Automation API works with, has them, one
    JSON object a line.

    Raises:
        PreviewError: it is not an event log.
    """
    findings: dict[Finding, None] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        try:
            event = json.loads(line)
        except ValueError:
            raise PreviewError(
                f"line {number} of the policy log is not JSON, so findings may be missing. Give the file that "
                "`PULUMI_DEBUG_COMMANDS=true pulumi preview --event-log FILE` wrote."
            ) from None
        if not isinstance(event, dict) or not (violation := event.get("policyEvent")):
            continue
        # The rule's description comes first, and then what it found.
        description, _, found = violation.get("message", "").strip().partition("\n")
        findings[
            Finding(
                mandatory=violation.get("enforcementLevel") in ("mandatory", "remediate"),
                rule=violation.get("policyName", ""),
                about=_about(violation.get("resourceUrn")) or "the stack",
                message=scrub(found.strip() or description),
            )
        ] = None
    return tuple(sorted(findings, key=lambda finding: (not finding.mandatory, finding.rule, finding.about)))


_KEYS = {"config", "steps", "diagnostics", "duration", "changeSummary"}
"""Of what `pulumi preview --json` prints (previewDigest of pkg/display/json.go); each is left out where it is empty."""


def _digest(text: str) -> dict[str, Any]:
    if not text.strip():
        return {}  # Pulumi ended before it could print one; its reason is in its standard error
    try:
        digest = json.loads(text)
    except ValueError:
        digest = None
    if not isinstance(digest, dict) or (digest and not _KEYS & set(digest)):
        raise PreviewError("is not JSON as `pulumi preview --json` prints it. Run it again, with --json.")
    return digest


def _is_told(step: Mapping[str, Any], steps: Sequence[Mapping[str, Any]]) -> bool:
    """Whether a step is about an object: not components, which are only names, nor parts of a replacement."""
    state = step.get("newState") or step.get("oldState") or {}
    if step.get("op") in _SILENT or not state.get("custom"):
        return False
    if step["op"] not in ("create-replacement", "delete-replaced"):
        return True
    whole = {"replace", "import-replacement"} | ({"create-replacement"} if step["op"] == "delete-replaced" else set())
    return not any(other["urn"] == step["urn"] and other.get("op") in whole for other in steps)


def _masked_state(state: Mapping[str, Any] | None) -> dict[str, Any]:
    if state is None:
        return {}
    kind = str(state.get("type", ""))
    return {part: masked(kind, state.get(part) or {}) for part in ("inputs", "outputs")}


def _step(step: Mapping[str, Any]) -> Step:
    _, _, types, name = step["urn"].split("::", 3)
    parent, _, kind = types.rpartition("$")
    old, new = _masked_state(step.get("oldState")), _masked_state(step.get("newState"))
    state = step.get("newState") or step.get("oldState") or {}
    parent_urn = str(state.get("parent", ""))
    return Step(
        operation=_OPERATIONS.get(step["op"], "other"),
        type=kind,
        component_type=parent.rpartition("$")[2] or None,
        urn_name=name,
        component=parent_urn.rpartition("::")[2] if parent else None,
        old=old.get("inputs", {}),
        new=new.get("inputs", {}),
        old_outputs=old.get("outputs", {}),
        differing=tuple(step.get("detailedDiff") or ()),
        replacing=tuple(step.get("replaceReasons") or ()),
    )


def _about(urn: str | None) -> str | None:
    """`Deployment chat` of a URN; None for the stack itself."""
    if not urn or ":pulumi:Stack::" in urn:
        return None
    types, _, name = urn.rpartition("::")
    return f"{types.rpartition('$')[2].rpartition(':')[2]} {name}"


def _plain(message: str) -> str:
    return message.strip().removeprefix("error: ").removeprefix("warning: ").strip()
