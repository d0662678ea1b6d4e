"""What the adapter asks of TensorRT, read from its source: every name, and how it is called.

The adapter annotates TensorRT's objects with the aliases of engines/tensorrt/api.py, which carry TensorRT's class
names. From annotations, from what its own functions return and from what the bindings say their methods return, the
type of every receiver follows. A name asked of a TensorRT object of unknown type is an error here: annotate it.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from contract_signatures import signatures

MODULE = "<module>"
OPAQUE = "<opaque>"  # what a TensorRT method returned, of a type that its docstring does not name
HARMLESS = ("name", "split", "items")  # of enum members and strings


@dataclass(frozen=True)
class Use:
    """One name asked of a class or of the module: read, set, or called with arguments."""

    owner: str
    name: str
    kind: str  # get, set, call, base
    place: str
    positional: int = 0
    keywords: tuple[str, ...] = ()

    @property
    def dotted(self) -> str:
        return self.name if self.owner == MODULE else f"{self.owner}.{self.name}"


@dataclass
class Uses:
    found: list[Use] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)

    @property
    def names(self) -> set[str]:
        return {use.dotted for use in self.found}


def uses_of(files: Sequence[Path], surface: Mapping[str, Any]) -> Uses:
    """Every use in the adapter's files; `surface` gives what methods return."""
    trees = {path: ast.parse(path.read_text(encoding="utf-8")) for path in files}
    aliases = {name for tree in trees.values() for name in _aliases(tree)}
    returns = {name: kind for tree in trees.values() for name, kind in _returns(tree, aliases)}
    uses = Uses()
    for path, tree in trees.items():
        _Reader(path.name, aliases, returns, surface, uses).visit(tree)
    return uses


def _aliases(tree: ast.Module) -> Iterator[str]:
    for node in tree.body:
        if isinstance(node, ast.AnnAssign) and ast.unparse(node).endswith(": TypeAlias = Any"):
            yield ast.unparse(node.target)


def _returns(tree: ast.Module, aliases: set[str]) -> Iterator[tuple[str, str]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef) and node.returns is not None and ast.unparse(node.returns) in aliases:
            yield node.name, ast.unparse(node.returns)


class _Reader(ast.NodeVisitor):
    """Walks one file; `_scopes` maps names of variables to TensorRT's classes."""

    def __init__(
        self, place: str, aliases: set[str], returns: Mapping[str, str], surface: Mapping[str, Any], uses: Uses
    ) -> None:
        self._place, self._aliases, self._returns, self._surface, self._uses = place, aliases, returns, surface, uses
        self._scopes: list[dict[str, str]] = [{}]
        self._called: dict[int, ast.Call] = {}

    # scopes

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        self._scopes.append({})
        for argument in (*node.args.args, *node.args.kwonlyargs):
            self._annotate(argument.arg, argument.annotation)
        self.generic_visit(node)
        self._scopes.pop()

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        for base in node.bases:
            kind = self._class_of(base)
            for method in node.body if kind else ():
                if isinstance(method, ast.FunctionDef) and not method.name.startswith("_"):
                    names = tuple(argument.arg for argument in method.args.args[1:])
                    self._note(Use(str(kind), method.name, "base", self._where(method), 0, names))
        self.generic_visit(node)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        self._annotate(ast.unparse(node.target), node.annotation)
        self.generic_visit(node)

    def visit_Assign(self, node: ast.Assign) -> None:
        for target in node.targets:
            pairs = [(target, node.value)]
            if isinstance(target, ast.Tuple) and isinstance(node.value, ast.Tuple):
                pairs = list(zip(target.elts, node.value.elts, strict=True))
            for one, value in pairs:
                if (kind := self._type(value)) is not None and isinstance(one, ast.Name):
                    self._scopes[-1][one.id] = kind
        self.generic_visit(node)

    def _bind(self, node: ast.comprehension) -> None:
        kind = self._type(node.iter)
        if kind is not None and kind.startswith("list:") and isinstance(node.target, ast.Name):
            self._scopes[-1][node.target.id] = kind.removeprefix("list:")

    def visit_ListComp(self, node: ast.ListComp) -> None:
        self._comprehension(node)

    def visit_DictComp(self, node: ast.DictComp) -> None:
        self._comprehension(node)

    def visit_GeneratorExp(self, node: ast.GeneratorExp) -> None:
        self._comprehension(node)

    def _comprehension(self, node: ast.ListComp | ast.DictComp | ast.GeneratorExp) -> None:
        for generator in node.generators:  # before the element, which uses its names
            self._bind(generator)
        self.generic_visit(node)

    # uses

    def visit_Call(self, node: ast.Call) -> None:
        self._called[id(node.func)] = node
        self.generic_visit(node)

    def visit_Attribute(self, node: ast.Attribute) -> None:
        owner = self._type(node.value)
        if owner is not None and not node.attr.startswith("__") and not owner.startswith("list:"):
            self._ask(owner, node)
        self.generic_visit(node)

    def _ask(self, owner: str, node: ast.Attribute) -> None:
        if owner == OPAQUE or (owner not in self._aliases and owner != MODULE and owner not in self._surface["enums"]):
            if node.attr not in HARMLESS:
                self._uses.unknown.append(f"{self._where(node)}: .{node.attr} of an object of unknown type")
            return
        if owner in self._surface["enums"] and node.attr in HARMLESS:
            return
        call = self._called.get(id(node))
        if call is None:
            self._note(Use(owner, node.attr, "set" if isinstance(node.ctx, ast.Store) else "get", self._where(node)))
            return
        starred = any(isinstance(argument, ast.Starred) for argument in call.args)
        if starred or any(keyword.arg is None for keyword in call.keywords):
            self._uses.unknown.append(f"{self._where(node)}: a call whose arguments cannot be read")
        keywords = tuple(str(keyword.arg) for keyword in call.keywords)
        self._note(Use(owner, node.attr, "call", self._where(node), len(call.args), keywords))

    # types

    def _type(self, node: ast.expr) -> str | None:
        """TensorRT's class of an expression; MODULE for the module, None where it is not TensorRT's."""
        text = ast.unparse(node)
        if text == "trt" or text.endswith(".trt"):
            return MODULE
        for scope in reversed(self._scopes):
            if text in scope:
                return scope[text]
        if isinstance(node, ast.Attribute) and self._type(node.value) == MODULE:
            return node.attr if node.attr in self._surface["enums"] else None
        if isinstance(node, ast.Attribute) and self._type(node.value) in self._surface["enums"]:
            return self._type(node.value)
        if isinstance(node, ast.Call):
            return self._returned(node.func)
        return None

    def _returned(self, function: ast.expr) -> str | None:
        if isinstance(function, ast.Name):
            return self._returns.get(function.id)
        if not isinstance(function, ast.Attribute):
            return None
        owner = self._type(function.value)
        if owner == MODULE:
            return function.attr if function.attr in self._surface["classes"] else OPAQUE
        if owner not in self._surface["classes"]:
            return None
        documented = signatures(self._surface["classes"][owner]["methods"].get(function.attr, ""))
        kind = documented[0].returns if documented else OPAQUE
        if kind in ("int", "bool", "str", "None", "Dims") or kind.lower().startswith("list["):
            return None
        return kind if kind in self._surface["classes"] or kind in self._surface["enums"] else OPAQUE

    def _class_of(self, base: ast.expr) -> str | None:
        """TensorRT's class that a class statement names: `trt.ILogger`, or a variable annotated `type[Alias]`."""
        if isinstance(base, ast.Attribute) and self._type(base.value) == MODULE:
            return base.attr
        kind = self._type(base)
        return kind.removeprefix("list:") if kind else None

    def _annotate(self, name: str, annotation: ast.expr | None) -> None:
        text = ast.unparse(annotation) if annotation is not None else ""
        for alias in self._aliases:
            if text in (alias, f"{alias} | None"):
                self._scopes[-1][name] = alias
            elif text in (f"list[{alias}]", f"Sequence[{alias}]", f"type[{alias}]"):
                self._scopes[-1][name] = f"list:{alias}"

    def _note(self, use: Use) -> None:
        self._uses.found.append(use)

    def _where(self, node: ast.AST) -> str:
        return f"{self._place}:{getattr(node, 'lineno', 0)}"
