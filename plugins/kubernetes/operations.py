"""What is done to objects on the API server: create, apply, delete, release; no waiting for what comes of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from plugins._engine import WARNING, Status
from plugins._provider import Failure
from plugins.kubernetes.cluster import APPLY, JSON_PATCH, ApiError, Cancelled, Cluster
from plugins.kubernetes.discovery import Discovery, UnknownKind
from plugins.kubernetes.kinds import is_definition
from plugins.kubernetes.objects import (
    DELETION_PROPAGATION,
    PATCH_FORCE,
    Object,
    annotation,
    name_of,
    namespace_of,
    pluck,
)
from plugins.kubernetes.ownership import CREATOR, apply_ignored, as_applied, managed_fields, was_written

ALREADY_EXISTS = """{error}

The resource already exists in the cluster. This can happen when:

  - Renaming a Pulumi resource: use an alias to preserve the identity,
    or use deleteBeforeReplace if the resource needs replacement.
  - Managing an existing resource: use a Patch resource (e.g. NamespacePatch)
    to manage specific fields without owning the resource lifecycle.
  - Adopting a resource into Pulumi: use `pulumi import`. Note that
    protected resources (e.g. kube-system) cannot be deleted on destroy.
  - Intentional upsert: set upsertExistingObjects on the provider to allow
    server-side apply to update existing objects on create."""

CONFLICT = """server-side apply field conflict detected, see https://www.pulumi.com/registry/packages/kubernetes/\
how-to-guides/managing-resources-with-server-side-apply/#handle-field-conflicts-on-existing-resources for \
troubleshooting help
The resource managed by field manager "{manager}" had an apply conflict: {error}"""

# A namespace or a CRD that was created a moment ago may not be there yet: 1 + 2 + 4 + 8 + 16 s in all.
_NOT_THERE_YET_SECONDS = (1.0, 2.0, 4.0, 8.0, 16.0)


@dataclass(frozen=True)
class Operations:
    """Changes to objects of one cluster."""

    cluster: Cluster
    discovery: Discovery
    patch_force: bool
    """Whether conflicts are always won: the provider's enablePatchForce."""

    def create(self, inputs: Object, *, manager: str, apply: bool, preview: bool, status: Status) -> Object:
        """Create the object, or apply it if it may be there already (`apply`: Patch resources, upsert).

        A namespace or a kind that is not there is waited for shortly, except in a preview.

        Raises:
            Failure: it is there already, or others hold its fields.
            ApiError, UnknownKind, Unreachable, Cancelled: as they are.
        """
        for attempt, pause in enumerate((*_NOT_THERE_YET_SECONDS, None)):
            try:
                if apply:
                    force = preview or self._forced(inputs)
                    return self._apply(inputs, name_of(inputs), manager, force=force, preview=preview, status=status)
                path = self.discovery.of(inputs).path(inputs)
                query = {"fieldManager": CREATOR, "fieldValidation": "Warn", **_dry(preview)}
                warn = _warner(status, preview=preview)
                return self.cluster.request("POST", path, body=inputs, query=query, on_warning=warn)
            except (ApiError, UnknownKind) as error:
                if isinstance(error, ApiError) and error.already_exists and not preview:
                    raise Failure(ALREADY_EXISTS.format(error=error)) from error
                absent = isinstance(error, UnknownKind) or error.not_found
                if preview or not absent or pause is None:
                    raise
                status.show(f"Retry #{attempt}; creation failed: {error}")
                if self.cluster.cancelled.wait(pause):
                    raise Cancelled from error
        raise AssertionError("the last attempt returns or raises")

    def read(self, obj: Object, name: str = "") -> Object:
        """The object as it is now. Raises ApiError, UnknownKind, Unreachable, Cancelled."""
        return self.cluster.get(self.discovery.of(obj).item_path(obj, name))

    def update(
        self,
        inputs: Object,
        live: Object,
        *,
        manager: str,
        ignored: list[str],
        preview: bool,
        patch: bool,
        status: Status,
    ) -> Object:
        """Apply new inputs to the object `live`.

        Raises:
            Failure: others hold its fields.
            ApiError, UnknownKind, Unreachable, Cancelled: as they are.
        """
        if is_definition(inputs.get("apiVersion"), inputs.get("kind")) and not patch:
            return self._replace(inputs, live, manager, preview=preview, status=status)
        force = self._forced(inputs) or not managed_fields(live)
        if preview:
            # The fields of the creation are ours, but become so only by a write.
            force = force or was_written(live)
        elif not patch:
            live = self._take_ownership(live, manager)
        applied = apply_ignored(inputs, live, ignored, manager) if ignored else inputs
        return self._apply(applied, name_of(live), manager, force=force, preview=preview, status=status)

    def delete(self, obj: Object, inputs: Object) -> None:
        """Ask for the object's deletion; it is fine if it is gone, and another one in its place stays.

        Raises:
            ApiError, Unreachable, Cancelled: as they are.
        """
        wanted = annotation(inputs, DELETION_PROPAGATION).lower()
        policy = {"orphan": "Orphan", "background": "Background"}.get(wanted, "Foreground")
        options: Object = {"kind": "DeleteOptions", "apiVersion": "v1", "propagationPolicy": policy}
        uid = pluck(obj, "metadata", "uid")
        if uid:  # a request that is tried again for a minute may come upon a successor
            options["preconditions"] = {"uid": uid}
        try:
            self.cluster.request("DELETE", self.discovery.of(obj).item_path(obj), body=options)
        except UnknownKind:
            return
        except ApiError as error:
            if not error.not_found and not (uid and error.conflict):
                raise

    def release(self, obj: Object, manager: str) -> None:
        """Give up all fields that `manager` holds: what only it has set goes. Fine if the object is gone.

        Raises:
            Failure: a field that the object must have would go.
            ApiError, Unreachable, Cancelled: as they are.
        """
        metadata = {"name": name_of(obj)} | ({"namespace": namespace_of(obj)} if namespace_of(obj) else {})
        minimal = {"apiVersion": obj["apiVersion"], "kind": obj["kind"], "metadata": metadata}
        try:
            path = self.discovery.of(obj).item_path(obj)
            self.cluster.get(path)  # an apply to an object that is gone would make it
            self.cluster.request("PATCH", path, body=minimal, content_type=APPLY, query={"fieldManager": manager})
        except UnknownKind:
            return
        except ApiError as error:
            if error.not_found:
                return
            required = [
                c.get("field", "") for c in error.details.get("causes", []) if c.get("reason") == "FieldValueRequired"
            ]
            if error.code == 422 and required:
                raise Failure(
                    "this Patch resource is currently managing a required field, so it can't be deleted directly. "
                    "Either set the `retainOnDelete` resource option, or transfer ownership of the field before "
                    "deleting: "
                    f"{', '.join(required)}"
                ) from error
            raise

    def _forced(self, inputs: Object) -> bool:
        return self.patch_force or annotation(inputs, PATCH_FORCE) == "true"

    def _apply(self, inputs: Object, name: str, manager: str, *, force: bool, preview: bool, status: Status) -> Object:
        query = {"fieldManager": manager, "force": str(force).lower(), "fieldValidation": "Warn", **_dry(preview)}
        path = self.discovery.of(inputs).item_path(inputs, name)
        try:
            return self.cluster.request(
                "PATCH", path, body=inputs, content_type=APPLY, query=query, on_warning=_warner(status, preview=preview)
            )
        except ApiError as error:
            if error.conflict:
                raise Failure(CONFLICT.format(manager=manager, error=error)) from error
            raise

    def _replace(self, inputs: Object, live: Object, manager: str, *, preview: bool, status: Status) -> Object:
        """Put a definition as a whole: its versions are one list, and objects of its kind stay."""
        version = live["metadata"]["resourceVersion"]
        body = {**inputs, "metadata": {**inputs["metadata"], "resourceVersion": version}}
        query = {"fieldManager": manager, "fieldValidation": "Warn", **_dry(preview)}
        warn = _warner(status, preview=preview)
        path = self.discovery.of(live).item_path(live)
        return self.cluster.request("PUT", path, body=body, query=query, on_warning=warn)

    def _take_ownership(self, live: Object, manager: str) -> Object:
        entries = as_applied(live, manager)
        if entries is None:
            return live
        patch = [
            # The server refuses if the object has changed since it was read, rather than mixing up the owners.
            {"op": "test", "path": "/metadata/resourceVersion", "value": live["metadata"]["resourceVersion"]},
            {"op": "replace", "path": "/metadata/managedFields", "value": entries},
        ]
        path = self.discovery.of(live).item_path(live)
        for _ in range(5):
            try:
                return self.cluster.request("PATCH", path, body=patch, content_type=JSON_PATCH)
            except ApiError as error:
                if error.code not in (409, 422):
                    raise
            live = self.cluster.get(path)
            entries = as_applied(live, manager)
            if entries is None:
                return live
            patch[0]["value"], patch[1]["value"] = live["metadata"]["resourceVersion"], entries
        return live


def _dry(preview: bool) -> dict[str, str]:
    return {"dryRun": "All"} if preview else {}


def _warner(status: Status, *, preview: bool) -> Callable[[str], None] | None:
    """Shows the server's warnings (unknown fields, deprecated versions) in the preview, where they can be mended."""
    if not preview:
        return None
    return lambda text: status.log(WARNING, text)
