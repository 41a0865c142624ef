"""Objects as YAML files below a folder instead of in a cluster: the provider's renderYamlToDirectory.

    <folder>/0-crd/       CustomResourceDefinitions, so that `kubectl apply -f` of this folder can come first
    <folder>/1-manifest/  everything else

Secrets stand there in plain text, as in any manifest: folders and files are for their owner alone.
"""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import Any

import yaml
from google.protobuf import struct_pb2  # type: ignore[import-untyped]  # its stubs lie in a namespace package
from pulumi.runtime.proto import provider_pb2 as pb

from plugins._engine import WARNING, Engine, Status
from plugins._provider import Failure
from plugins._values import from_struct, has_secret, reveal, to_struct
from plugins.kubernetes import checking, state
from plugins.kubernetes.kinds import is_definition
from plugins.kubernetes.objects import Object, identifier, name_of, namespace_of

_DEFINITIONS, _MANIFESTS = "0-crd", "1-manifest"
# Other YAML parsers take these for numbers or booleans (kubectl's: `y`, `1e3`), PyYAML's own dumper does not.
_NUMBERS_BEGIN, _BOOLEANS = "0123456789+-.", frozenset({"y", "n"})


class _Dumper(yaml.SafeDumper):
    """Texts of several lines as blocks, and quotes around whatever another parser could take for something else."""


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    style = None
    if "\n" in text:
        style = "|"
    elif text[:1] in _NUMBERS_BEGIN or text.lower() in _BOOLEANS:
        style = '"'
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _text)
_Dumper.ignore_aliases = lambda _self, _data: True  # type: ignore[method-assign, assignment]  # no anchors in manifests


def path_of(obj: Object, folder: str) -> Path:
    """The file of an object: `v1-configmap-<namespace>-<name>.yaml`, with `default` where it has no namespace."""
    api_version = str(obj.get("apiVersion"))
    of_kind = _DEFINITIONS if is_definition(api_version, obj.get("kind")) else _MANIFESTS
    version = api_version.replace("/", "_").replace(":", "_")
    namespace = namespace_of(obj) or "default"
    return Path(folder) / of_kind / f"{version}-{str(obj.get('kind')).lower()}-{namespace}-{name_of(obj)}.yaml"


def write(obj: Object, folder: str) -> Path:
    """Write the object, with secrets laid open, and give its file.

    Raises:
        Failure: the folder or the file cannot be written.
    """
    path = path_of(obj, folder)
    content: Any = yaml.dump(obj, Dumper=_Dumper, sort_keys=True, default_flow_style=False, width=float("inf"))
    try:
        for name in (_DEFINITIONS, _MANIFESTS):
            below = Path(folder) / name
            below.mkdir(mode=0o700, parents=True, exist_ok=True)
            below.chmod(0o700)  # also where it was there
        path.touch(mode=0o600)
        path.chmod(0o600)
        path.write_text(content)
    except OSError as error:
        raise Failure(f'failed to write YAML file: "{path}": {error}') from error
    return path


def remove(obj: Object, folder: str) -> Path:
    """Take the object's file away, which may be gone, and give its path.

    Raises:
        Failure: the file is there and cannot be removed.
    """
    path = path_of(obj, folder)
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise Failure(f'failed to delete YAML file: "{path}": {error}') from error
    return path


class Renderer:
    """What the provider does where it renders: no cluster is asked, and a preview writes nothing."""

    def __init__(self, folder: str, engine: Engine) -> None:
        self._folder = folder
        self._engine = engine

    def warn_of_secrets(self, urn: str, checked: Object) -> None:
        """Say in the preview already that a secret will stand in a file."""
        if has_secret(checked):
            self._engine.log(WARNING, "rendered YAML will contain a secret value in plaintext", urn)

    def create(self, request: pb.CreateRequest) -> pb.CreateResponse:
        """Write the object's file."""
        if request.preview:
            return pb.CreateResponse(properties=request.properties)
        manager = f"pulumi-kubernetes-{secrets.token_hex(4)}"
        return pb.CreateResponse(
            id=identifier(reveal(from_struct(request.properties))),
            properties=self._rendered(request.urn, request.properties, {}, manager),
        )

    def update(self, request: pb.UpdateRequest) -> pb.UpdateResponse:
        """Write the object's file again."""
        if request.preview:
            return pb.UpdateResponse(properties=request.news)
        before = from_struct(request.olds)
        manager = state.field_manager(before, {})
        return pb.UpdateResponse(properties=self._rendered(request.urn, request.news, before, manager))

    def delete(self, request: pb.DeleteRequest) -> None:
        """Take the object's file away."""
        path = remove(state.old_live(from_struct(request.properties)), self._folder)
        Status(self._engine, request.urn).show(f"deleted {path}")

    def _rendered(self, urn: str, inputs: struct_pb2.Struct, before: dict[str, Any], manager: str) -> struct_pb2.Struct:
        kept = checking.dashed(from_struct(inputs))
        obj = checking.normalized(reveal(kept))
        path, status = write(obj, self._folder), Status(self._engine, urn)
        if has_secret(kept):
            status.log(WARNING, f"rendered file {path} contains a secret value in plaintext")
        status.show(f"rendered {path}")
        manager = state.field_manager({}, obj) or manager
        api_version = state.initial_api_version(before, obj)
        return to_struct(state.checkpoint(inputs=kept, live=obj, api_version=api_version, field_manager=manager))
