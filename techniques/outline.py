"""What a technique does and can be told, read from its source: loading one loads PyTorch, which takes seconds.

Only plain dataclasses are understood, as techniques are: fields with defaults that are values, arithmetic on them, or
constants of their module. tests/techniques/test_outline.py holds the outline of every technique against the class.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

__all__ = ["Outline", "outline_of"]

_FOLDER = Path(__file__).parent
_PACKAGE = __package__ or _FOLDER.name


@dataclass(frozen=True)
class Outline:
    """First line of the docstring, the place that only one technique of a run can have, and options with defaults."""

    summary: str
    role: str | None
    options: dict[str, Any]


def outline_of(module: str, kind: str) -> Outline:
    """The outline of a technique's class.

    Args:
        module: of this package, `techniques.fgsm`.
        kind: name of the class.
    """
    role: str | None = None
    options: dict[str, Any] = {}
    lineage = list(_lineage(module, kind))
    for home, body in reversed(lineage):
        for name, value in _assigned(body.body):
            if name == "role":
                role = _value(value, home)
        for statement in body.body:
            if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
                _add(options, statement, home)
    doc = next((ast.get_docstring(body) for _, body in lineage[:1]), None) or ""
    return Outline(doc.splitlines()[0] if doc else "", role, {k: v for k, v in options.items() if v is not _HIDDEN})


_HIDDEN = object()  # a field that is no option; a subclass may hide one of its base


def _add(options: dict[str, Any], field: ast.AnnAssign, module: str) -> None:
    assert isinstance(field.target, ast.Name)
    if field.value is None or "ClassVar" in ast.unparse(field.annotation):
        return
    options[field.target.id] = _default(field.value, module)


def _default(value: ast.expr, module: str) -> Any:
    """The default of a field, or that it is hidden."""
    if not (isinstance(value, ast.Call) and ast.unparse(value.func).endswith("field")):
        return _value(value, module)
    said = {keyword.arg: keyword.value for keyword in value.keywords}
    if "init" in said and _value(said["init"], module) is False:
        return _HIDDEN
    return _value(said["default"], module)


def _lineage(module: str, kind: str) -> Iterator[tuple[str, ast.ClassDef]]:
    """The class and its bases in this package, each with its module, the class first."""
    tree = _tree(module)
    body = next(n for n in tree.body if isinstance(n, ast.ClassDef) and n.name == kind)
    yield module, body
    here = {n.name for n in tree.body if isinstance(n, ast.ClassDef)}
    for base in (b.id for b in body.bases if isinstance(b, ast.Name)):
        if base in here:
            yield from _lineage(module, base)
        elif home := _imports(module).get(base):
            yield from _lineage(home, base)


def _value(node: ast.expr, module: str) -> Any:
    """What an expression of our own source stands for."""
    names = {n.id for n in ast.walk(node) if isinstance(n, ast.Name)}
    return eval(ast.unparse(node), {"__builtins__": {}}, {name: _constant(name, module) for name in names})


def _constant(name: str, module: str) -> Any:
    """A constant of a module, its own or imported from another of this package."""
    for found, value in _assigned(_tree(module).body):
        if found == name:
            return _value(value, module)
    return _constant(name, _imports(module)[name])


def _assigned(body: list[ast.stmt]) -> Iterator[tuple[str, ast.expr]]:
    for statement in body:
        targets = statement.targets if isinstance(statement, ast.Assign) else [getattr(statement, "target", None)]
        value = getattr(statement, "value", None)
        for target in targets:
            if isinstance(target, ast.Name) and isinstance(value, ast.expr):
                yield target.id, value


def _imports(module: str) -> dict[str, str]:
    """Name -> the module of this package that it comes from."""
    imports = [n for n in _tree(module).body if isinstance(n, ast.ImportFrom) and n.module]
    ours = [n for n in imports if n.module and n.module.startswith(f"{_PACKAGE}.")]
    return {alias.asname or alias.name: str(node.module) for node in ours for alias in node.names}


@cache
def _tree(module: str) -> ast.Module:
    return ast.parse((_FOLDER / f"{module.removeprefix(_PACKAGE + '.')}.py").read_text(encoding="utf-8"))
