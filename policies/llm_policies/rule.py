"""One rule is one frozen value: what is wrong, why it matters, what to do."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from pulumi_policy import (
    EnforcementLevel,
    PolicyConfigSchema,
    ReportViolation,
    ResourceValidationArgs,
    ResourceValidationPolicy,
)

PolicyConfigSchemaProperty = dict[str, Any]
Severity = Literal["error", "warn"]
Properties = Mapping[str, Any]
Check = Callable[[str, Properties, Properties], Iterable[str]]
"""(resource type, its properties, the rule's settings) -> one message for each violation."""


@dataclass(frozen=True, kw_only=True)
class Setting:
    """What an environment may tell a rule: a number, or numbers by name."""

    default: int | Mapping[str, int]
    description: str

    def schema(self) -> PolicyConfigSchemaProperty:
        """Its JSON schema, by which the engine checks an environment's value."""
        if isinstance(self.default, int):
            return {"type": "integer", "default": self.default, "description": self.description}
        return {
            "type": "object",
            "additionalProperties": {"type": "integer"},
            "default": dict(self.default),
            "description": self.description,
        }


@dataclass(frozen=True, kw_only=True)
class Rule:
    """A rule over single resources. Messages give the fact and its consequence; `remediation` the repair."""

    name: str
    title: str
    description: str
    remediation: str
    severity: Severity
    references: tuple[str, ...]
    check: Check
    settings: Mapping[str, Setting] = field(default_factory=dict)

    @property
    def level(self) -> EnforcementLevel:
        """Level where an environment sets none: what is an error is mandatory."""
        return EnforcementLevel.MANDATORY if self.severity == "error" else EnforcementLevel.ADVISORY

    def policy(self) -> ResourceValidationPolicy:
        """The rule as Pulumi runs it."""

        def validate(args: ResourceValidationArgs, report: ReportViolation) -> None:
            given = args.get_config()
            # The engine fills defaults in from the schema; called without an engine, there are none.
            settings = {name: given.get(name, setting.default) for name, setting in self.settings.items()}
            try:
                for message in self.check(args.resource_type, args.props, settings):
                    report(message, None)
            except ValueError as error:
                # An exception would end the whole run, and a field that the rule cannot read must not pass it.
                report(f"cannot be judged: {error}. Correct the field.", None)

        return ResourceValidationPolicy(
            name=self.name,
            description=f"{self.title} {self.description} {self.remediation}",
            validate=validate,
            enforcement_level=self.level,
            config_schema=self._schema() if self.settings else None,
        )

    def _schema(self) -> PolicyConfigSchema:
        return PolicyConfigSchema(properties={name: setting.schema() for name, setting in self.settings.items()})
