"""Cases of the policy pack's rules, and what the rules say of them."""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import yaml
from llm_policies.environment import Environment
from llm_policies.judging import Finding, judge, judge_stack
from llm_policies.objects import Object, Stack, of_manifest, of_pulumi
from llm_policies.pack import RULES
from llm_policies.pools import read_pools
from llm_policies.rule import Rule
from on_mocks import Raw

from toolchain.paths import REPOSITORY

FOLDER = REPOSITORY / "tests/unit/policy_cases"
TODAY = datetime.date(2026, 11, 21)
BY_NAME = {rule.name: rule for rule in RULES}


@dataclass(frozen=True, kw_only=True)
class Case:
    """Objects, and what a rule says of them: nothing where they are good."""

    id: str
    objects: Sequence[Raw]
    """Manifests."""

    settings: Raw = field(default_factory=dict)
    pools: Raw | None = None
    says: tuple[str, ...] = ()
    """Messages, those of a stack rule with the object's id before."""

    remediated: Raw | None = None
    """The object after the rule's remediation; not looked at where it is None."""

    then: tuple[str, ...] = ()
    """What the rule still says of the remediated object."""


def cases_of(rule: str) -> list[Case]:
    """The cases of one file, and the manifests of the rule's own page."""
    written = yaml.safe_load((FOLDER / f"{rule}.yaml").read_text()) if (FOLDER / f"{rule}.yaml").exists() else []
    return [
        Case(
            id=row["id"],
            objects=row["objects"] if "objects" in row else [row["object"]],
            settings=row.get("settings", {}),
            pools=row.get("pools"),
            says=tuple(row.get("says", ())),
            remediated=row.get("remediated"),
            then=tuple(row.get("then", ())),
        )
        for row in written
    ]


def documents(manifest: str) -> list[Raw]:
    """The objects of a manifest."""
    return [document for document in yaml.safe_load_all(manifest) if document]


def as_sent(value: Any) -> Any:
    """`value` as the engine sends it: every number a float."""
    if isinstance(value, Mapping):
        return {key: as_sent(item) for key, item in value.items()}
    if isinstance(value, list):
        return [as_sent(item) for item in value]
    return float(value) if isinstance(value, int) and not isinstance(value, bool) else value


def resource_type(document: Mapping[str, Any]) -> str:
    """The type of the Pulumi resource that makes `document`."""
    version = str(document.get("apiVersion", "v1"))
    return f"kubernetes:{version if '/' in version else f'core/{version}'}:{document.get('kind', '')}"


def objects_of(manifests: Iterable[Raw], *, pulumi: bool) -> list[Object]:
    """The objects, from a manifest or as Pulumi's engine sends them."""
    if not pulumi:
        return [item for document in manifests for item in of_manifest(document)]
    return [
        item for document in manifests for item in of_pulumi(resource_type(document), as_sent(document), urn="urn:x")
    ]


def findings(
    rule: Rule, objects: Sequence[Object], settings: Raw | None = None, pools: Raw | None = None
) -> list[Finding]:
    """What `rule` alone finds."""
    environment = Environment(settings={rule.name: settings or {}}, pools=None if pools is None else read_pools(pools))
    single = judge([rule], objects, environment, today=TODAY)
    together = judge_stack([rule], Stack(objects=objects), environment, today=TODAY)
    return [*single, *together]


def said(rule: Rule, case: Case, *, pulumi: bool) -> list[str]:
    """Messages of `rule`."""
    found = findings(rule, objects_of(case.objects, pulumi=pulumi), case.settings, case.pools)
    return [f"{f.item.id}: {f.message}" if rule.of_stack else f.message for f in found]
