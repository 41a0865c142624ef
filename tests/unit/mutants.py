"""Small faults put into a rule's module, one at a time, to see whether the rule's cases notice them."""

from __future__ import annotations

import ast
import re
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any

_OPPOSITE: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
}
_RULES_OWN = {"kinds", "settings"}
"""What of a Rule(...) decides anything; the rest is its page."""

_MESSAGES = (ast.JoinedStr, ast.Raise)
_NEVER = "(?!)"
"""A regular expression that matches nothing."""


@dataclass(frozen=True)
class Mutant:
    """A module with one fault."""

    id: str
    """`module.function: before -> after`, the same while other lines of the file move."""

    line: int
    code: tuple[CodeType, ...]
    """Of each statement of the module: all but one are the same for all mutants, and compiled once."""


def mutants_of(module: ModuleType) -> Iterator[Mutant]:
    """Every mutant of a module: comparisons, boolean operators, conditions, constants, returns, yields, members."""
    path = str(module.__file__)
    tree = ast.parse(Path(path).read_text())
    seen: Counter[str] = Counter()
    name = module.__name__.rpartition(".")[2]
    whole = [_compiled(statement, path) for statement in tree.body]
    for index, place, holder, key, old, new in list(_changes(tree)):
        line = (old.target if isinstance(old, ast.comprehension) else old).lineno
        change = f"{name}.{place}: {_shown(old)} -> {_shown(new)}"
        seen[change] += 1
        id_ = change if seen[change] == 1 else f"{change} #{seen[change]}"
        _put(holder, key, ast.fix_missing_locations(ast.copy_location(new, old)))
        changed = _compiled(tree.body[index], path)
        _put(holder, key, old)
        yield Mutant(id_, line, (*whole[:index], changed, *whole[index + 1 :]))


def _compiled(statement: ast.stmt, path: str) -> CodeType:
    module = ast.Module(body=[statement], type_ignores=[])
    code: CodeType = compile(module, f"mutant of {path}", "exec", flags=annotations.compiler_flag, dont_inherit=True)
    return code


def executed(mutant: Mutant, like: ModuleType) -> ModuleType:
    """The mutant as a module of its own, beside the one that it is `like`."""
    made = ModuleType(like.__name__)
    made.__file__ = like.__file__
    original = sys.modules[like.__name__]
    sys.modules[like.__name__] = made  # dataclasses look for their module there
    try:
        for code in mutant.code:
            exec(code, made.__dict__)  # noqa: S102  # our own source with one change
    finally:
        sys.modules[like.__name__] = original
    return made


def _changes(tree: ast.Module) -> Iterator[tuple[int, str, Any, Any, Any, Any]]:
    """The statement's place, its name, and a change in it: holder, key, node and what takes its place."""
    for index, statement in enumerate(tree.body):
        match statement:
            case ast.FunctionDef() | ast.ClassDef():
                found = _within(statement, statement.name)
            case ast.Assign(targets=[ast.Name(id=name)], value=ast.expr() as value) if name != "RULES":
                found = _of_value(statement, name, value)
            case ast.AnnAssign(target=ast.Name(id=name), value=ast.expr() as value):
                found = _of_value(statement, name, value)
            case _:
                continue
        yield from ((index, *change) for change in found)


def _of_value(statement: ast.AST, name: str, value: ast.expr) -> Iterator[tuple[str, Any, Any, Any, Any]]:
    """Changes of a module's constant."""
    match value:
        case ast.Call(func=ast.Name(id="Rule"), keywords=keywords):
            for keyword in keywords:
                if keyword.arg in _RULES_OWN:
                    yield from _within(keyword, name, texts=False)
        case ast.Call(func=ast.Attribute(attr="compile"), args=[ast.Constant(value=str()) as pattern, *_]):
            yield name, value.args, 0, pattern, ast.Constant(_NEVER)
            yield from _alternatives(name, value.args, pattern)
        case ast.Constant(value=str()) | ast.JoinedStr():
            return  # a manifest or a part of a message
        case _:
            yield from _around(name, statement, "value", value, texts=False)
            yield from _within(value, name, texts=False)


def _alternatives(name: str, holder: list[ast.expr], pattern: ast.Constant) -> Iterator[tuple[str, Any, Any, Any, Any]]:
    """A regular expression without one of the alternatives between its bars, where it still is one."""
    text = str(pattern.value)
    for bar in re.finditer(r"[\w.-]+\|", text):
        fewer = text[: bar.start()] + text[bar.end() :]
        try:
            re.compile(fewer)
        except re.error:
            continue
        yield name, holder, 0, pattern, ast.Constant(fewer)


def _within(node: ast.AST, place: str, *, texts: bool = True) -> Iterator[tuple[str, Any, Any, Any, Any]]:
    """Changes of all that is in `node`, each place once, annotations and docstrings left alone."""
    for field, value in ast.iter_fields(node):
        if field in ("annotation", "returns", "decorator_list", "type_params"):
            continue
        children = value if isinstance(value, list) else [value]
        for index, child in enumerate(children):
            if not isinstance(child, ast.AST) or _is_docstring(child) or isinstance(child, _MESSAGES):
                continue
            holder, key = (value, index) if isinstance(value, list) else (node, field)
            yield from _around(place, holder, key, child, texts=texts)
            # The keywords of Setting(...): its description decides nothing.
            if isinstance(child, ast.keyword) and child.arg == "description":
                continue
            yield from _within(child, place, texts=texts)


def _around(
    place: str, holder: Any, key: Any, node: ast.AST, *, texts: bool
) -> Iterator[tuple[str, Any, Any, Any, Any]]:
    for new in _instead(node, texts=texts):
        yield place, holder, key, node, new


def _instead(node: ast.AST, *, texts: bool) -> Iterator[ast.AST]:
    match node:
        case ast.Compare(left=left, ops=[op, *more], comparators=comparators):
            yield ast.Compare(left=left, ops=[_OPPOSITE[type(op)](), *more], comparators=comparators)
            if isinstance(op, ast.Lt | ast.LtE | ast.Gt | ast.GtE):
                yield ast.UnaryOp(op=ast.Not(), operand=node)
        case ast.BoolOp(values=values):
            for index in range(len(values)):
                rest = [*values[:index], *values[index + 1 :]]
                yield rest[0] if len(rest) == 1 else ast.BoolOp(op=node.op, values=rest)
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            yield operand
        case ast.IfExp(test=test, body=body, orelse=orelse):
            yield ast.IfExp(test=test, body=orelse, orelse=body)
        case ast.If(test=test, body=body, orelse=orelse):
            yield ast.If(test=ast.Constant(True), body=body, orelse=orelse)
            yield ast.If(test=ast.Constant(False), body=body, orelse=orelse)
        case ast.comprehension(target=target, iter=iterated, ifs=ifs) if ifs:
            for index in range(len(ifs)):
                rest = [*ifs[:index], *ifs[index + 1 :]]
                yield ast.comprehension(target=target, iter=iterated, ifs=rest, is_async=0)
        case ast.Return() | ast.Continue() | ast.Break() | ast.Expr(value=ast.Yield() | ast.YieldFrom()):
            # A generator stays one: `return` and the only `yield` go, what they are in does not.
            yield ast.If(test=ast.Constant(False), body=[node], orelse=[])
        case (
            ast.Set(elts=elements) | ast.Tuple(elts=elements, ctx=ast.Load()) | ast.List(elts=elements, ctx=ast.Load())
        ):
            if len(elements) > 1 and all(isinstance(element, ast.Constant) for element in elements):
                for index in range(len(elements)):
                    yield _without(node, index)
        case ast.Constant(value=bool() as value):
            yield ast.Constant(not value)
        case ast.Constant(value=int() | float() as value):
            yield ast.Constant(value + 1)
        case ast.Constant(value=str() as value) if texts and value:
            # An option with something behind it is still the same to who takes options cut short.
            yield ast.Constant(f"~{value}" if value.startswith("-") else f"{value}~")


def _without(node: ast.AST, index: int) -> ast.AST:
    """A set, tuple or list without one element."""
    match node:
        case ast.Set(elts=elements):
            return ast.Set(elts=[*elements[:index], *elements[index + 1 :]])
        case ast.Tuple(elts=elements):
            return ast.Tuple(elts=[*elements[:index], *elements[index + 1 :]], ctx=ast.Load())
        case ast.List(elts=elements):
            return ast.List(elts=[*elements[:index], *elements[index + 1 :]], ctx=ast.Load())
    raise TypeError(node)


def _is_docstring(node: ast.AST) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


def _put(holder: Any, key: Any, node: ast.AST) -> None:
    if isinstance(holder, list):
        holder[key] = node
    else:
        setattr(holder, key, node)


def _shown(node: ast.AST) -> str:
    """A node in one line; of a long one the beginning, and of an `if` its condition."""
    if isinstance(node, ast.If):
        return f"if {ast.unparse(node.test)}"
    if isinstance(node, ast.comprehension):
        return f"for {ast.unparse(node.target)} if {' if '.join(map(ast.unparse, node.ifs))}"
    text = " ".join(ast.unparse(node).split())
    return text if len(text) <= 90 else f"{text[:90]}..."
