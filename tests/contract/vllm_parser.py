"""The argument parser of vLLM's own source, without PyTorch: a program of its own, which the tests start.

It imports vLLM the way that vLLM's documentation is built, with that build's stand-ins for torch and friends. Each line
of standard input is a question in JSON, which a line of standard output answers:

    "describe"     what the parser accepts, as planning/vllm_release.json has it
    "literals"     words that the engine takes where the parser takes any, by the name of their type
    ["m", "--x"]   null where `vllm serve m --x` would be followed, or what is wrong with it

Usage: python vllm_parser.py SOURCE PACKAGES, the unpacked source distribution and a folder with what it imports.
"""

from __future__ import annotations

import argparse
import ast
import contextlib
import io
import json
import os
import sys
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock, patch

KINDS = {
    "int": "int",
    "float": "float",
    "human_readable_int": "size",
    "human_readable_int_or_auto": "sizeOrAuto",
    "loads": "json",
    "parse_type(loads)": "json",
    "parse_dataclass": "mapping",
    "union_dict_and_str": "mappingOrText",
    "str": "text",
    "None": "text",
    "<lambda>": "text",
    "parse_reasoning_parser": "text",
}
"""By the name of the function that converts a value; one that is not here is new, and must be thought about."""

LITERALS = {
    "CacheDType": "vllm/config/cache.py",
    "ModelDType": "vllm/config/model.py",
    "QuantizationMethods": "vllm/model_executor/layers/quantization/__init__.py",
    "SpeculativeMethod": "vllm/config/speculative.py",
    "StructuredOutputsBackend": "vllm/config/structured_outputs.py",
}
"""Files that say what the engine takes, by the name of the type."""


class Parser:
    """vLLM's parser of `vllm serve`."""

    def __init__(self, source: Path, packages: Path) -> None:
        self.source = source
        sys.path.insert(0, str(packages))
        os.environ["VLLM_TARGET_DEVICE"] = "cpu"  # without a device vLLM's configuration cannot be imported
        file = source / "docs/mkdocs/gen_files/generate_argparse.py"
        mocks, separator, _ = file.read_text().partition("\nbench_forward = auto_mock(")
        if not separator:
            raise SystemExit(f"{file} is not what it was: the stand-ins for torch end nowhere.")
        sys.modules["mkdocs_gen_files"] = MagicMock()  # which writes the pages of the documentation
        names: dict[str, Any] = {"__name__": "vllm_mocks", "__file__": str(file)}
        exec(compile(mocks, str(file), "exec"), names)  # noqa: S102  # vLLM's own code, whose hash is pinned
        self._auto_mock, self._mock = names["auto_mock"], names["PydanticMagicMock"]
        self.cli_args = self._auto_mock("vllm.entrypoints.common", "cli_args")
        flexible = self._auto_mock("vllm.utils.argparse_utils", "FlexibleArgumentParser")
        self.program, self.serve = self._made(flexible)

    def _made(self, flexible: Any) -> tuple[Any, Any]:
        """`vllm` and its `serve`; modules that are imported only now are replaced as they are asked for."""
        while True:
            program = flexible(prog="vllm", add_json_tip=False)
            serve = program.add_subparsers(dest="subparser").add_parser("serve")
            try:
                with patch("vllm.config.DeviceConfig.__post_init__"):
                    return program, self.cli_args.make_arg_parser(serve)
            except ModuleNotFoundError as error:
                if error.name is None or error.name in sys.modules:
                    raise
                sys.modules[error.name] = self._mock(name=error.name)

    def refusal(self, arguments: list[str]) -> str | None:
        """Why vLLM would not start with `arguments`; None where its parser takes them, each option by its full name."""
        told = io.StringIO()
        with contextlib.redirect_stderr(told):
            try:
                parsed = self.program.parse_args(["serve", *arguments])
                self.cli_args.validate_parsed_serve_args(parsed)
            except SystemExit:
                return told.getvalue().strip().splitlines()[-1]
            except (TypeError, ValueError) as error:
                return str(error)
        for argument in arguments:
            name = argument.partition("=")[0]
            if name.startswith("--") and name not in self.serve._option_string_actions:
                return f"{name} is an abbreviation"  # it passes here, and breaks with the next flag of that beginning
        return None

    def describe(self) -> dict[str, Any]:
        """What the release accepts."""
        return {
            "flags": dict(sorted(self._flags().items())),
            "toolCallParsers": self._keys("vllm/tool_parsers/__init__.py"),
            "reasoningParsers": self._keys("vllm/reasoning/__init__.py"),
            "attentionBackends": self._members("vllm/v1/attention/backends/registry.py", "AttentionBackendEnum"),
            "environment": [name for name in self._keys("vllm/envs.py") if name.startswith("VLLM_")],
        }

    def literals(self) -> dict[str, list[str]]:
        """Words that the engine takes."""
        return {name: self._words(file, name) for name, file in LITERALS.items()}

    def _flags(self) -> dict[str, dict[str, Any]]:
        found: dict[str, dict[str, Any]] = {}
        for action in self.serve._actions:
            names = [name.removeprefix("--") for name in action.option_strings if name.startswith("--")]
            if not names or isinstance(action, argparse._HelpAction):
                continue
            flag: dict[str, Any] = {"kind": self._kind(action)}
            if flag["kind"] == "bool":
                flag["off"] = next(name for name in names if f"--{name}" in action.negative_option_strings)
            elif len(names) > 1:
                flag["aliases"] = names[1:]
            if action.nargs in ("+", "*"):
                flag["many"] = True
            if action.choices:
                flag["choices"] = sorted(choice for choice in action.choices if choice is not None)
            found[names[0]] = flag
        return found

    def _kind(self, action: Any) -> str:
        match type(action).__name__:
            case "_StoreTrueAction":
                return "switch"
            case "EnableDisableAction" | "BooleanOptionalAction":
                return "bool"
        convert = action.type
        while (inner := _inner(convert)) is not None:
            convert = inner
        return KINDS[getattr(convert, "__name__", str(convert))]

    def _keys(self, file: str) -> list[str]:
        """Names under which the package at `file` registers parsers: keys of the dictionaries of its top level."""
        tree = ast.parse((self.source / file).read_text())
        dictionaries = [
            node.value
            for node in tree.body
            if isinstance(node, ast.Assign | ast.AnnAssign) and isinstance(node.value, ast.Dict)
        ]
        return sorted({str(key.value) for found in dictionaries for key in found.keys if isinstance(key, ast.Constant)})

    def _words(self, file: str, name: str) -> list[str]:
        """All words of the type `name`, and of the types that it is made of, in the same file."""
        types = {
            node.targets[0].id: node.value
            for node in ast.parse((self.source / file).read_text()).body
            if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name)
        }
        words: list[str] = []
        for node in ast.walk(types[name]):
            if isinstance(node, ast.Constant):
                words.append(str(node.value))
            elif isinstance(node, ast.Name) and node.id in types:
                words += self._words(file, node.id)
        return words

    def _members(self, file: str, name: str) -> list[str]:
        """Names of the members of the enumeration `name`, but for those of processors that are no NVIDIA GPUs."""
        tree = ast.parse((self.source / file).read_text())
        [found] = [node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == name]
        targets = [node.targets[0] for node in found.body if isinstance(node, ast.Assign)]
        names = [target.id for target in targets if isinstance(target, ast.Name) and target.id.isupper()]
        return sorted(name for name in names if not name.startswith(("AMX_", "CPU_", "ROCM_", "XPU_")))


def _inner(convert: Any) -> Any:
    """What `optional_type(x)` and `parse_type(x)` of vLLM wrap; None where `convert` is neither."""
    if getattr(convert, "__name__", "") not in ("_optional_type", "_parse_type"):
        return None
    [cell] = convert.__closure__
    return cell.cell_contents


def main() -> None:
    """Answer what standard input asks, until it ends."""
    out, sys.stdout = sys.stdout, sys.stderr  # vLLM logs where it likes
    parser = Parser(Path(sys.argv[1]), Path(sys.argv[2]))
    for line in sys.stdin:
        asked = json.loads(line)
        answers = {"describe": parser.describe, "literals": parser.literals}
        answer = answers[asked]() if isinstance(asked, str) else parser.refusal(asked)
        print(json.dumps(answer), file=out, flush=True)


if __name__ == "__main__":
    main()
