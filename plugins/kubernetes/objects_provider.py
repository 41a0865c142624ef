"""Create, Update, Read and Delete: what the engine asks of one object, and what the other modules answer."""

from __future__ import annotations

import secrets
import sys
import traceback
from typing import Any, NoReturn

import grpc
from google.protobuf import empty_pb2  # type: ignore[import-untyped]  # its stubs lie in a namespace package
from pulumi.runtime.proto import provider_pb2 as pb

from plugins._engine import INFO, WARNING, Status
from plugins._provider import Failure, InitFailure, Provider, rpc
from plugins._values import conceal, from_struct, has_unknown, reveal, to_struct
from plugins.kubernetes import checking, lost, state
from plugins.kubernetes.awaiting.loop import NotReady
from plugins.kubernetes.cluster import ApiError, Cancelled, Unreachable
from plugins.kubernetes.connection import NOT_CONFIGURED
from plugins.kubernetes.diffing import observed
from plugins.kubernetes.discovery import UnknownKind
from plugins.kubernetes.objects import (
    Object,
    identifier,
    is_patch_type,
    kind_of_token,
    name_of,
    parse_identifier,
    type_token,
)
from plugins.kubernetes.operations import Operations
from plugins.kubernetes.ownership import applied_by
from plugins.kubernetes.rendering import Renderer

_DELETED_OUTSIDE = pb.ReadResponse()
"""An answer without an id: the object is not there any more."""

SKIPPED = "Cluster is unreachable but skipUpdateUnreachable flag is set to true, skipping..."

_HINT_UNREACHABLE = (
    "If the cluster was deleted, you can remove this resource from Pulumi state by rerunning the operation with the "
    'PULUMI_K8S_DELETE_UNREACHABLE environment variable set to "true"'
)


class ObjectProvider(Provider):
    """The half of the provider that works on objects, once `Configure` has set the connection."""

    def __init__(self, version: str, engine: str) -> None:
        super().__init__("kubernetes", version, engine)
        self._connection = NOT_CONFIGURED
        self._renderer: Renderer | None = None
        """Writes files instead of anything in a cluster, where the options say so."""

    @rpc
    def Create(self, request: pb.CreateRequest, _context: grpc.ServicerContext) -> pb.CreateResponse:
        """Create the object and wait for it; a preview asks the API server by a dry run."""
        if self._renderer:
            return self._renderer.create(request)
        kept = checking.dashed(from_struct(request.properties))
        inputs = reveal(kept)
        patch = is_patch_type(type_token(request.urn), inputs.get("kind"))
        unchecked = pb.CreateResponse(properties=request.properties)
        if request.preview and (self._connection.unreachable or has_unknown(inputs) or patch):
            return unchecked
        operations, awaiter = self._connection.connected()
        status = Status(self.engine, request.urn)
        manager = state.field_manager({}, inputs) or f"pulumi-kubernetes-{secrets.token_hex(4)}"
        api_version = str(inputs["apiVersion"])

        def kept_state(live: Object) -> dict[str, Any]:
            return state.checkpoint(inputs=kept, live=live, api_version=api_version, field_manager=manager)

        try:
            inputs = self._connection.placed(inputs)
            if patch:
                operations.read(inputs)  # a Patch changes what is there; it must not make a half-empty object
            live = operations.create(
                inputs,
                manager=manager,
                apply=patch or self._connection.options.upsert,
                preview=request.preview,
                status=status,
            )
        except (ApiError, Unreachable, Cancelled, UnknownKind, Failure) as error:
            if isinstance(error, ApiError | Unreachable | Cancelled) and error.maybe_done:
                reason = _text(error)
                raise InitFailure(
                    f'resource "{request.urn}" may have been created: {reason}',
                    id_=identifier(inputs),
                    state=kept_state(lost.uncertain(inputs)),
                    reasons=[reason, lost.REASON],
                ) from error
            if request.preview and isinstance(error, ApiError | UnknownKind) and _not_previewable(error):
                return unchecked
            if isinstance(error, UnknownKind):
                raise Failure(
                    f'creation of resource "{request.urn}" with kind {inputs["apiVersion"]}/{inputs["kind"]} failed '
                    "because the Kubernetes API server reported that the apiVersion for this resource does not exist. "
                    f"Verify that any required CRDs have been created: {error}"
                ) from error
            _fail(f'resource "{request.urn}" was not successfully created by the Kubernetes API server', error)

        if request.preview:
            live.pop("status", None)
            return pb.CreateResponse(properties=to_struct(kept_state(live)))
        try:
            live = awaiter.ready(live, None, inputs, timeout=request.timeout, status=status)
        except NotReady as problem:
            raise InitFailure(
                f'resource "{request.urn}" was successfully created, but the Kubernetes API server reported that it '
                f"failed to fully initialize or become live: {problem}",
                id_=identifier(problem.live),
                state=kept_state(problem.live),
                reasons=[str(problem), *problem.reasons],
            ) from problem
        except Exception as error:  # whatever it is: the object is there, and without this the state would not have it
            raise InitFailure(
                f'resource "{request.urn}" was created, but could not be waited for: {_told(error)}',
                id_=identifier(live),
                state=kept_state(live),
                reasons=[_text(error)],
            ) from error
        status.clear()
        return pb.CreateResponse(id=identifier(live), properties=to_struct(kept_state(live)))

    @rpc
    def Update(self, request: pb.UpdateRequest, _context: grpc.ServicerContext) -> pb.UpdateResponse:
        """Apply the new inputs and wait; a preview asks the API server by a dry run."""
        if self._renderer:
            return self._renderer.update(request)
        kept = checking.dashed(from_struct(request.news))
        inputs = checking.normalized(reveal(kept))
        unchecked = pb.UpdateResponse(properties=request.news)
        if request.preview and (self._connection.unreachable or has_unknown(inputs)):
            return unchecked
        operations, awaiter = self._connection.connected()
        before = from_struct(request.olds)
        was = state.old_live(before)
        status = Status(self.engine, request.urn)
        old_manager = state.field_manager(before, state.old_inputs(before))
        manager = state.field_manager(before, inputs)
        patch = is_patch_type(type_token(request.urn), inputs.get("kind"))
        api_version = state.initial_api_version(before, inputs)

        def kept_state(live: Object) -> dict[str, Any]:
            return state.checkpoint(inputs=kept, live=live, api_version=api_version, field_manager=manager)

        def half_done(live: Object, error: Exception, reasons: list[str]) -> InitFailure:
            id_ = identifier(live)
            text = f'the Kubernetes API server reported that "{id_}" failed to fully initialize or become live: {error}'
            return InitFailure(text, id_=id_, state=kept_state(live), reasons=reasons)

        last = None
        try:
            inputs = self._connection.placed(inputs)
            upsert = self._connection.options.upsert
            if patch:
                last = operations.read(inputs, name_of(was))
            else:
                last = lost.found(operations, inputs, was, manager, anyones=upsert)
            if last is None:
                live = operations.create(inputs, manager=manager, apply=upsert, preview=request.preview, status=status)
            else:
                live = operations.update(
                    inputs,
                    last,
                    manager=manager,
                    ignored=list(request.ignoreChanges),
                    preview=request.preview,
                    patch=patch,
                    status=status,
                )
            if old_manager and old_manager != manager and not request.preview:
                operations.release(live, old_manager)
        except (ApiError, UnknownKind, Failure, Unreachable, Cancelled) as error:
            if request.preview and isinstance(error, ApiError | UnknownKind) and _not_previewable(error):
                return unchecked
            if last is not None and isinstance(error, ApiError | Failure):
                # It counts as updated, with an error that makes the next run try again: as with the official provider.
                raise half_done(_reread(operations, last), error, [str(error)]) from error
            if last is None and isinstance(error, ApiError | Unreachable | Cancelled) and error.maybe_done:
                raise half_done(lost.uncertain(inputs), error, [_text(error), lost.REASON]) from error
            _fail(f'update of resource "{request.urn}" failed', error)
        if request.preview:
            return pb.UpdateResponse(properties=to_struct(kept_state(live)))
        try:
            live = awaiter.ready(live, last, inputs, timeout=request.timeout, status=status)
        except NotReady as problem:
            raise half_done(problem.live, problem, [str(problem), *problem.reasons]) from problem
        except Exception as error:  # whatever it is: the object is changed, and the state is to have it as it is now
            _told(error)
            raise half_done(live, error, [_text(error)]) from error
        status.clear()
        return pb.UpdateResponse(properties=to_struct(kept_state(live)))

    @rpc
    def Read(self, request: pb.ReadRequest, _context: grpc.ServicerContext) -> pb.ReadResponse:
        """The object as it is, for a refresh or an import."""
        as_it_was = pb.ReadResponse(id=request.id, properties=request.properties, inputs=request.inputs)
        if self._renderer:
            return as_it_was
        if self._connection.unreachable:
            if self._say_unreachable(request.urn):
                return _DELETED_OUTSIDE
            if self._connection.options.skip_update_unreachable:
                self.engine.log(WARNING, SKIPPED, request.urn)
                return as_it_was
            raise Failure(f"failed to read resource state due to unreachable cluster. {_HINT_UNREACHABLE}")
        operations, awaiter = self._connection.connected()
        before = from_struct(request.properties)
        kept = checking.dashed(from_struct(request.inputs))
        inputs = checking.normalized(reveal(kept))
        importing = not inputs
        namespace, name = parse_identifier(request.id)
        wanted = inputs or state.old_live(before) or kind_of_token(type_token(request.urn))
        metadata = {"name": name} | ({"namespace": namespace} if namespace else {})
        try:
            live = operations.read({**wanted, "metadata": metadata})
        except UnknownKind:
            return _DELETED_OUTSIDE
        except ApiError as error:
            if error.not_found:
                return _DELETED_OUTSIDE
            raise Failure(f"{request.id} could not be read: {error}") from error
        except (Unreachable, Cancelled) as error:
            _fail(f"{request.id} could not be read", error)
        found = state.imported(live) if importing else observed(inputs, live)
        found = checking.concealed_secret(conceal(found, kept))
        patch = is_patch_type(type_token(request.urn), wanted.get("kind"))
        manager = state.field_manager(before, inputs) or applied_by(live, inputs if patch else None)
        if patch and not manager and not importing:
            return _DELETED_OUTSIDE  # it was begun by a run that was cut off, and never applied
        if not importing and not patch and self._is_anothers(live, state.old_live(before), manager):
            return _DELETED_OUTSIDE
        manager = manager or f"pulumi-kubernetes-{secrets.token_hex(4)}"
        kept_state = state.checkpoint(
            inputs=found,
            live=live,
            api_version=state.initial_api_version(before, found),
            field_manager=manager,
        )
        try:
            problems = None if importing else awaiter.problems(live, inputs)
        except (ApiError, UnknownKind, Unreachable, Cancelled) as error:
            _fail(f"{request.id} could not be read", error)
        if problems is not None:
            text = f"Resource '{name}' was created but failed to initialize"
            raise InitFailure(text, id_=request.id, state=kept_state, reasons=[text, *problems], inputs=found)
        return pb.ReadResponse(id=request.id, properties=to_struct(kept_state), inputs=to_struct(found))

    @rpc
    def Delete(self, request: pb.DeleteRequest, _context: grpc.ServicerContext) -> empty_pb2.Empty:
        """Delete the object and wait until it is gone; a Patch resource only gives its fields up."""
        if self._renderer:
            self._renderer.delete(request)
            return empty_pb2.Empty()
        if self._connection.unreachable:
            if self._say_unreachable(request.urn):
                return empty_pb2.Empty()
            raise Failure(
                f"configured Kubernetes cluster is unreachable: {self._connection.unreachable}. {_HINT_UNREACHABLE}"
            )
        operations, awaiter = self._connection.connected()
        before = from_struct(request.properties)
        inputs, was = state.old_inputs(before), state.old_live(before)
        live = was
        manager = state.field_manager(before, inputs)
        status = Status(self.engine, request.urn)
        try:
            if is_patch_type(type_token(request.urn), live.get("kind")):
                operations.release(live, manager)
                return empty_pb2.Empty()
            if lost.is_uncertain(was):
                live = operations.read(was)
                if self._is_anothers(live, was, manager):
                    return empty_pb2.Empty()
            operations.delete(live, inputs)
            awaiter.gone(live, inputs, timeout=request.timeout, status=status)
        except NotReady as problem:
            kept_state = state.checkpoint(
                inputs=inputs,
                live=problem.live,
                api_version=state.initial_api_version(before, inputs),
                field_manager=manager,
            )
            raise InitFailure(
                str(problem), id_=request.id, state=kept_state, reasons=[str(problem), *problem.reasons]
            ) from problem
        except UnknownKind:
            return empty_pb2.Empty()  # its kind is gone, and all objects with it
        except (ApiError, Failure, Unreachable, Cancelled) as error:
            if isinstance(error, ApiError) and error.not_found and lost.is_uncertain(was):
                return empty_pb2.Empty()
            _fail(f"{request.id} could not be deleted", error)
        status.clear()
        return empty_pb2.Empty()

    def _is_anothers(self, live: Object, was: Object, manager: str) -> bool:
        """Whether the state's object `was` is uncertain, and `live`, which bears its name, is not what became of it."""
        operations, _ = self._connection.connected()
        return lost.is_uncertain(was) and not lost.is_ours(live, was, manager, operations.cluster.retry_seconds)

    def _say_unreachable(self, urn: str) -> bool:
        """Whether the resource is to be taken as gone with its cluster."""
        if self._connection.options.delete_unreachable:
            self.engine.log(
                INFO,
                "configured Kubernetes cluster is unreachable and the `deleteUnreachable` option is enabled. Deleting "
                "the unreachable resource from Pulumi state",
                urn,
            )
        return self._connection.options.delete_unreachable


def _not_previewable(error: ApiError | UnknownKind) -> bool:
    """Whether a dry run fails for a reason that will not be there at the real run, or is not the program's."""
    if isinstance(error, UnknownKind):
        return True
    dry_run = "dry run" in error.message and error.code == 400
    return error.namespace_not_found or error.already_exists or error.code == 403 or dry_run


def _reread(operations: Operations, last: Object) -> Object:
    """The object as it is now, or as it was if that cannot be said."""
    try:
        return operations.read(last)
    except (ApiError, UnknownKind, Unreachable, Cancelled):
        return last


def _fail(what: str, error: Exception) -> NoReturn:
    raise Failure(f"{what}: {_text(error)}") from error


def _text(error: Exception) -> str:
    return str(error) or ("cancelled" if isinstance(error, Cancelled) else repr(error))


def _told(error: Exception) -> str:
    """The error's text; its traceback goes to the user where it is a defect of ours, and not the server's answer."""
    if not isinstance(error, ApiError | UnknownKind | Unreachable | Cancelled):
        traceback.print_exception(error, file=sys.stderr)
    return _text(error)
