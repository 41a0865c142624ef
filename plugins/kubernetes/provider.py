"""The ResourceProvider service for Kubernetes: its own configuration, and what a plan is made from (Check, Diff)."""

from __future__ import annotations

import grpc
from pulumi.runtime.proto import provider_pb2 as pb

from plugins._engine import WARNING
from plugins._properties import diff_response
from plugins._provider import Refused, rpc
from plugins._values import UNKNOWN, conceal, from_struct, reveal, to_struct
from plugins.kubernetes import checking, config, state
from plugins.kubernetes.connection import connect
from plugins.kubernetes.diffing import changes
from plugins.kubernetes.immutable import immutable_fields
from plugins.kubernetes.objects import (
    AUTONAMED,
    annotation,
    is_patch_type,
    name_of,
    namespace_of,
    type_token,
)
from plugins.kubernetes.objects_provider import SKIPPED, ObjectProvider
from plugins.kubernetes.rendering import Renderer


class KubernetesProvider(ObjectProvider):
    """One configured provider: one cluster."""

    @rpc
    def CheckConfig(self, request: pb.CheckRequest, _context: grpc.ServicerContext) -> pb.CheckResponse:
        """Refuse options that are not done here, or that contradict each other."""
        failures = [
            pb.CheckFailure(property=name, reason=reason)
            for name, reason in config.problems(reveal(from_struct(request.news)))
        ]
        return pb.CheckResponse(inputs=request.news, failures=failures)

    @rpc
    def DiffConfig(self, request: pb.DiffRequest, _context: grpc.ServicerContext) -> pb.DiffResponse:
        """Another cluster replaces everything; anything else is an update of the provider alone."""
        olds, news = reveal(from_struct(request.olds)), reveal(from_struct(request.news))
        changed = sorted(name for name in olds.keys() | news.keys() if olds.get(name) != news.get(name))
        replaces = config.replacing_changes(olds, news) if changed else []
        some = pb.DiffResponse.DIFF_SOME if changed else pb.DiffResponse.DIFF_NONE
        return pb.DiffResponse(changes=some, diffs=changed, replaces=replaces)

    @rpc
    def Configure(self, request: pb.ConfigureRequest, _context: grpc.ServicerContext) -> pb.ConfigureResponse:
        """Connect; a cluster that cannot be reached is said once, and previews go on from the inputs."""
        self._connection = connect(reveal(from_struct(request.args)), self.cancelled)
        if self._connection.operations is not None:
            self._connection.operations.cluster.on_outage(lambda text: self.engine.log(WARNING, text))
        if self._connection.options.render_to:
            self._renderer = Renderer(self._connection.options.render_to, self.engine)
        if self._connection.unreachable and not self._renderer:
            self.engine.log(
                WARNING,
                f"configured Kubernetes cluster is unreachable: {self._connection.unreachable}. Previews are made from "
                "the inputs alone, unchecked by an API server; anything else will fail.",
            )
        return pb.ConfigureResponse(acceptSecrets=True, supportsPreview=True, supports_autonaming_configuration=True)

    @rpc
    def Check(self, request: pb.CheckRequest, _context: grpc.ServicerContext) -> pb.CheckResponse:
        """Complete the inputs: name, namespace, a Secret's data."""
        token = type_token(request.urn)
        checking.refuse(token)
        if self._connection.unreachable and self._connection.options.skip_update_unreachable:
            self.engine.log(WARNING, SKIPPED, request.urn)
            return pb.CheckResponse(inputs=request.olds)
        news = checking.dashed(from_struct(request.news))
        plain = reveal(news)
        patch = is_patch_type(token, plain.get("kind"))
        proposed = None
        if request.HasField("autonaming"):
            disabled = request.autonaming.mode == pb.CheckRequest.AutonamingOptions.DISABLE
            proposed = "" if disabled else request.autonaming.proposed_name
        name = request.name or request.urn.rpartition("::")[2]
        olds = checking.dashed(reveal(from_struct(request.olds)))
        plain = checking.with_name(
            checking.normalized(plain), olds, name=name, proposed=proposed, seed=request.randomSeed, patch=patch
        )
        checking.check_annotations(plain)
        if (
            plain["metadata"] is not UNKNOWN
            and not plain["metadata"].get("namespace")
            and self._connection.namespaced(plain)
        ):
            plain = {**plain, "metadata": {**plain["metadata"], "namespace": self._connection.options.namespace}}
        self._connection.learn(plain)
        # A Secret's data holds what was in stringData, and is secret whatever was said.
        checked = checking.concealed_secret(conceal(plain, news))
        if self._renderer:
            self._renderer.warn_of_secrets(request.urn, checked)
        return pb.CheckResponse(inputs=to_struct(checked))

    @rpc
    def Diff(self, request: pb.DiffRequest, _context: grpc.ServicerContext) -> pb.DiffResponse:
        """Compare the new inputs with those of the last time, which a refresh has set to what is there."""
        before = from_struct(request.olds)
        old = checking.normalized(state.old_inputs(before) or checking.dashed(reveal(from_struct(request.old_inputs))))
        new = checking.normalized(checking.dashed(reveal(from_struct(request.news))))
        old, new = self._connection.canonical(old), self._connection.canonical(new)
        patch = is_patch_type(type_token(request.urn), new.get("kind"))
        found = changes(old, new, immutable_fields(new, self._connection.options, patch=patch))
        live = state.old_live(before)
        same_object = name_of(new) == name_of(live) and (namespace_of(new) or "default") == (
            namespace_of(live) or "default"
        )
        fixed_name = name_of(new) != "" and annotation(new, AUTONAMED) != "true"
        replaced = any(change.replace for change in found)
        response = diff_response(found, delete_before_replace=replaced and fixed_name and same_object)
        if self._renderer and self._connection.options.always_render:
            response.changes = pb.DiffResponse.DIFF_SOME
        return response

    @rpc
    def Invoke(self, request: pb.InvokeRequest, _context: grpc.ServicerContext) -> pb.InvokeResponse:
        """Refused: YAML, Helm and Kustomize are rendered by the official provider alone."""
        raise Refused(request.tok)
