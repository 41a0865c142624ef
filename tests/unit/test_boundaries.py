"""Data flows one way: settings, planning, components, stack; policies see resources alone. This test is the arrow."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from toolchain.paths import REPOSITORY

KUBERNETES = {"pulumi_kubernetes", "kubernetes"}
PULUMI = {"pulumi", "pulumi_policy", "grpc", *KUBERNETES}
ABOVE_SETTINGS = {"planning", "components", "stack", "llm_policies", "policies", "cli", "lab", "plugins", "report"}

FORBIDDEN: dict[str, set[str]] = {
    "settings": ABOVE_SETTINGS | PULUMI,
    "planning": (ABOVE_SETTINGS | PULUMI | {"settings.loader"}) - {"planning"},
    "components": {"settings", "stack", "llm_policies", "policies", "cli", "lab", "plugins"},
    "stack.py": {"settings", "llm_policies", "policies", "cli", "lab", "plugins"},
    "policies": {"settings", "planning", "components", "stack", "cli", "lab", "plugins", "toolchain", *KUBERNETES},
    "report": {"settings", "components", "stack", "llm_policies", "policies", "cli", "lab", "plugins", *PULUMI},
    "cli": {"components", "stack", "plugins", *(PULUMI - {"kubernetes"})},
    "lab": {"settings", "planning", "components", "stack", "llm_policies", "cli", "pulumi", "pulumi_kubernetes"},
    "plugins": {"settings", "planning", "components", "stack", "llm_policies", "cli", "lab", "pulumi_kubernetes"},
    "toolchain": (ABOVE_SETTINGS | PULUMI | {"settings"}) - {"toolchain"},
}
"""What the files of a folder may not import."""

EXCEPTIONS = {
    # The one module that reads pulumi.Config.
    ("settings/loader.py", "pulumi"),
    ("settings/loader.py", "pulumi.runtime.config"),
}


def imports(file: Path) -> set[str]:
    """Modules that `file` imports, wherever in it."""
    found: set[str] = set()
    for statement in ast.walk(ast.parse(file.read_text())):
        if isinstance(statement, ast.Import):
            found |= {alias.name for alias in statement.names}
        elif isinstance(statement, ast.ImportFrom):
            assert statement.level == 0, f"{file}: relative imports are not looked at here"
            found.add(statement.module or "")
            found |= {f"{statement.module}.{alias.name}" for alias in statement.names}
    return found


def files(where: str) -> list[Path]:
    target = REPOSITORY / where
    return [target] if target.is_file() else sorted(target.rglob("*.py"))


def violations(file: Path, forbidden: set[str]) -> set[tuple[str, str]]:
    name = str(file.relative_to(REPOSITORY))
    against = {
        (name, module) for module in imports(file) for f in forbidden if module == f or module.startswith(f"{f}.")
    }
    # `from x import y` is seen as x and as x.y; an exception for x holds for what is taken from it.
    return {
        (name, module)
        for name, module in against
        if not {(name, module), (name, module.rpartition(".")[0])} & EXCEPTIONS
    }


@pytest.mark.parametrize("where", FORBIDDEN)
def test_nothing_is_imported_against_the_flow(where: str) -> None:
    found = files(where)
    assert found, f"{where} matched nothing: the guard itself is broken"
    assert {v for file in found for v in violations(file, FORBIDDEN[where])} == set()


@pytest.mark.parametrize(("file", "module"), sorted(EXCEPTIONS))
def test_every_exception_is_still_needed(file: str, module: str) -> None:
    assert module in imports(REPOSITORY / file)


def test_only_the_stack_joins_plan_and_components() -> None:
    joining = [
        file.relative_to(REPOSITORY).as_posix()
        for file in [*REPOSITORY.glob("*.py"), *(f for where in ("cli", "planning", "policies") for f in files(where))]
        if any(module.split(".")[0] == "components" for module in imports(file))
    ]
    assert joining == ["stack.py"]


def test_only_the_loader_reads_pulumis_configuration() -> None:
    readers = [
        file.relative_to(REPOSITORY).as_posix()
        for where in ("__main__.py", "stack.py", "settings", "planning", "components", "cli")
        for file in files(where)
        if "pulumi.Config(" in file.read_text() or any("runtime.config" in module for module in imports(file))
    ]
    assert readers == ["settings/loader.py"]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("import components.vllm_server", {"components.vllm_server"}),
        ("from settings import loader", {"settings", "settings.loader"}),
        ("def f():\n    import pulumi", {"pulumi"}),
    ],
)
def test_the_guard_sees_imports_of_every_form(tmp_path: Path, text: str, found: set[str]) -> None:
    file = tmp_path / "module.py"
    file.write_text(text)
    assert imports(file) == found
