"""The pack as Pulumi's engine asks it: its Analyzer service, on the stubs of Pulumi's own SDK.

Why not by the package pulumi-policy: it reads every object anew for each rule (half a second for 50 rules and a hundred
objects), knows one level for a rule instead of one for each finding, and leaves a rule out at the first unknown value.
"""

from __future__ import annotations

import copy
import datetime
import gc
import sys
import threading
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
from google.protobuf import empty_pb2  # type: ignore[import-untyped]  # its stubs lie in a namespace package
from pulumi.runtime.proto import analyzer_pb2, analyzer_pb2_grpc, plugin_pb2

from llm_policies.environment import PACK, Environment, PackSettingsError, read_environment
from llm_policies.judging import Finding, joined, judge, judge_stack
from llm_policies.objects import Object, Stack, of_pulumi
from llm_policies.remediation import Refused, apply
from llm_policies.rule import Rule
from llm_policies.values import Doubt

_LEVELS = {
    "advisory": analyzer_pb2.ADVISORY,
    "mandatory": analyzer_pb2.MANDATORY,
    "disabled": analyzer_pb2.DISABLED,
    "remediate": analyzer_pb2.REMEDIATE,
}
_LEVEL_NAMES = {number: name for name, number in _LEVELS.items()}
_SEVERITIES = {"error": analyzer_pb2.POLICY_SEVERITY_HIGH, "warn": analyzer_pb2.POLICY_SEVERITY_LOW}
# As Pulumi's SDK has it: objects may be as large as the engine's own messages.
_CHANNEL_OPTIONS = [("grpc.max_receive_message_length", 400 * 2**20), ("grpc.max_send_message_length", 400 * 2**20)]
_VERSION = "0.0.1"
"""Not told to anyone: the engine takes the version of PulumiPolicy.yaml."""


class Analyzer(analyzer_pb2_grpc.AnalyzerServicer):
    """Answers the engine."""

    def __init__(self, name: str, rules: Sequence[Rule], *, today: datetime.date) -> None:
        """A pack called `name` of `rules`; exceptions count until `today`."""
        self._name = name
        self._rules = rules
        self._today = today
        self._environment = Environment()

    def GetAnalyzerInfo(self, request: empty_pb2.Empty, context: object) -> analyzer_pb2.AnalyzerInfo:  # noqa: ARG002  # gRPC's own signature
        """What the pack has."""
        return analyzer_pb2.AnalyzerInfo(
            name=self._name,
            version=_VERSION,
            supportsConfig=True,
            policies=[_info(rule, self._environment) for rule in self._rules],
        )

    def GetPluginInfo(self, request: empty_pb2.Empty, context: object) -> plugin_pb2.PluginInfo:  # noqa: ARG002  # gRPC's own signature
        """The version of the plugin."""
        return plugin_pb2.PluginInfo(version=_VERSION)

    def ConfigureStack(
        self,
        request: analyzer_pb2.AnalyzerStackConfigureRequest,  # noqa: ARG002  # gRPC's own signature
        context: object,  # noqa: ARG002  # gRPC's own signature
    ) -> analyzer_pb2.AnalyzerStackConfigureResponse:
        """Of the stack nothing is needed: what depends on it is in the configuration."""
        return analyzer_pb2.AnalyzerStackConfigureResponse()

    def Configure(
        self, request: analyzer_pb2.ConfigureAnalyzerRequest, context: grpc.ServicerContext
    ) -> empty_pb2.Empty:
        """Take the levels and settings of `--policy-pack-config`."""
        written = {name: _plain(config.properties) for name, config in request.policyConfig.items()}
        pack = written.pop(PACK, {})
        known = {rule.name for rule in self._rules}
        rules = {
            name: {"level": _LEVEL_NAMES[config.enforcementLevel], **written.get(name, {})}
            for name, config in request.policyConfig.items()
            if name in known
        }
        try:
            self._environment = read_environment({**_said(pack), "rules": rules}, self._rules)
        except PackSettingsError as error:
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, f"the policy pack's configuration is wrong:\n{error}")
        return empty_pb2.Empty()

    def Analyze(self, request: analyzer_pb2.AnalyzeRequest, context: object) -> analyzer_pb2.AnalyzeResponse:  # noqa: ARG002  # gRPC's own signature
        """Judge one resource."""
        waits = request.options.customTimeouts
        objects = of_pulumi(
            request.type,
            _plain(request.properties),
            urn=request.urn,
            ignores_changes=request.options.ignoreChanges,
            # What is not set is 0.
            timeouts={name: value for name in ("create", "update") if (value := getattr(waits, name))},
        )
        return self._response(judge(self._rules, objects, self._environment, today=self._today))

    def AnalyzeStack(self, request: analyzer_pb2.AnalyzeStackRequest, context: object) -> analyzer_pb2.AnalyzeResponse:  # noqa: ARG002  # gRPC's own signature
        """Judge the resources of a stack together."""
        objects = [
            item
            for resource in request.resources
            for item in of_pulumi(
                resource.type,
                _plain(resource.properties),
                urn=resource.urn,
                ignores_changes=resource.options.ignoreChanges,
            )
        ]
        found = judge_stack(self._rules, Stack(objects=objects), self._environment, today=self._today)
        return self._response(found)

    def Remediate(self, request: analyzer_pb2.AnalyzeRequest, context: object) -> analyzer_pb2.RemediateResponse:  # noqa: ARG002  # gRPC's own signature
        """Mend what rules of the level `remediate` may mend; what they may not stays a violation."""
        properties = _plain(request.properties)
        ignored = request.options.ignoreChanges
        response = analyzer_pb2.RemediateResponse()
        for rule in self._rules:
            for item in of_pulumi(request.type, properties, urn=request.urn, ignores_changes=ignored):
                if (
                    rule.remediate is None
                    or not rule.looks_at(item.kind)
                    or item.properties.path
                    or self._environment.level(rule, item.namespace) != "remediate"
                    or not self._violates(item, rule)
                ):
                    continue
                mended = copy.deepcopy(properties)
                try:
                    changed = apply(mended, rule.remediate(item, self._environment.context(rule)))
                except (Doubt, Refused):
                    continue  # the violation is told by Analyze
                if changed:
                    properties = mended
                    response.remediations.append(self._remediation(rule, mended))
        return response

    def _violates(self, item: Object, rule: Rule) -> bool:
        alone = judge([rule], [item], self._environment, today=self._today)
        # What a rule tells of all objects together it tells of this one, too, where no other has to be seen for it.
        of_stack = judge_stack([rule], Stack(objects=[item]), self._environment, today=self._today)
        return any(finding.verdict == "violation" for finding in (*alone, *of_stack))

    def _remediation(self, rule: Rule, properties: Mapping[str, Any]) -> analyzer_pb2.Remediation:
        made = analyzer_pb2.Remediation(
            policyName=rule.name, policyPackName=self._name, policyPackVersion=_VERSION, description=rule.title
        )
        made.properties.update(properties)
        return made

    def _response(self, findings: Iterable[Finding]) -> analyzer_pb2.AnalyzeResponse:
        return analyzer_pb2.AnalyzeResponse(
            diagnostics=[
                analyzer_pb2.AnalyzeDiagnostic(
                    policyName=finding.rule.name,
                    policyPackName=self._name,
                    policyPackVersion=_VERSION,
                    description=finding.rule.title,
                    message=finding.message,
                    # A remediation that did not help leaves a violation.
                    enforcementLevel=_LEVELS["mandatory" if finding.level == "remediate" else finding.level],
                    urn=finding.item.urn,
                    severity=_SEVERITIES[finding.rule.severity],
                )
                for finding in joined(findings)
            ]
        )


def _info(rule: Rule, environment: Environment) -> analyzer_pb2.PolicyInfo:
    info = analyzer_pb2.PolicyInfo(
        name=rule.name,
        displayName=rule.title,
        description=f"{rule.title} {rule.description} {rule.remediation}",
        enforcementLevel=_LEVELS[environment.level(rule, "")],
        policy_type=analyzer_pb2.POLICY_TYPE_STACK if rule.of_stack else analyzer_pb2.POLICY_TYPE_RESOURCE,
        severity=_SEVERITIES[rule.severity],
        tags=rule.references,
        remediation_steps=rule.remediation,
    )
    if rule.settings:
        info.configSchema.properties.update({name: setting.schema() for name, setting in rule.settings.items()})
    return info


def _plain(properties: Any) -> dict[str, Any]:
    """A Struct as plain data, secrets as the engine marks them.

    Not by json_format: it refuses numbers that JSON does not have, and a rule tells of them better.
    """
    return {key: _value(value) for key, value in properties.fields.items()}


def _value(value: Any) -> Any:
    match value.WhichOneof("kind"):
        case "string_value":
            return value.string_value
        case "struct_value":
            return _plain(value.struct_value)
        case "list_value":
            return [_value(item) for item in value.list_value.values]
        case "number_value":
            number: float = value.number_value
            return int(number) if number.is_integer() else number
        case "bool_value":
            return value.bool_value
    return None


def _said(pack: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of the pack that somebody has set; the engine fills the others with their defaults."""
    return {key: value for key, value in pack.items() if value not in (None, {}, [])}


def serve(name: str, rules: Sequence[Rule]) -> None:
    """Serve until the engine ends the process; the port is the first line of standard output."""
    gc.freeze()  # modules and rules stay: to look through them again and again takes a fifth of the time
    server = grpc.server(ThreadPoolExecutor(4), options=_CHANNEL_OPTIONS)
    analyzer_pb2_grpc.add_AnalyzerServicer_to_server(Analyzer(name, rules, today=datetime.date.today()), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    sys.stdout.buffer.write(f"{port}\n".encode())
    sys.stdout.buffer.flush()
    threading.Event().wait()
