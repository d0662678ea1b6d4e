"""The signatures in pybind's docstrings: parsed, and calls held against them.

A docstring begins `name(self: Class, a: int, b: str = None) -> Result`, or lists such lines by number where a function
is overloaded. One of another kind (of a function written in Python) has no signature: nothing is held against it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

HEAD = re.compile(r"^(?:\d+\. )?(\w+)\((.*)\) -> (.+)$")
OWN = "tensorrt_bindings.tensorrt."


@dataclass(frozen=True)
class Argument:
    name: str
    kind: str
    optional: bool


@dataclass(frozen=True)
class Signature:
    arguments: tuple[Argument, ...]
    returns: str

    def bind(self, positional: int, keywords: Sequence[str]) -> str | None:
        """Why a call with so many positional arguments and these keywords does not fit; None where it does."""
        names = [argument.name for argument in self.arguments]
        if positional > len(names):
            return f"takes {len(names)} arguments, got {positional}"
        if wrong := [key for key in keywords if key not in names[positional:]]:
            return f"has no argument {wrong[0]!r}, or has it twice: {names}"
        given = {*names[:positional], *keywords}
        if lacking := [a.name for a in self.arguments if not a.optional and a.name not in given]:
            return f"lacks argument {lacking[0]!r}"
        return None


@cache
def signatures(docstring: str) -> tuple[Signature, ...]:
    """Every overload of a method or function, without `self`."""
    lines = [line for line in docstring.splitlines() if line and not line.startswith(" ")]
    heads = [found for line in lines if (found := HEAD.match(line))]
    heads = [found for found in heads if found[2] != "*args, **kwargs"]
    return tuple(Signature(_arguments(found[2]), plain(found[3])) for found in heads)


def plain(kind: str) -> str:
    """A type without the name of its module."""
    return kind.replace(OWN, "").strip()


def misfit(docstring: str, positional: int, keywords: Sequence[str]) -> str | None:
    """Why a call fits no overload; None where it fits one, or where the docstring has no signature."""
    reasons = [signature.bind(positional, keywords) for signature in signatures(docstring)]
    return None if not reasons or None in reasons else "; ".join(str(reason) for reason in reasons)


def _arguments(text: str) -> tuple[Argument, ...]:
    found = []
    for part in _split(text):
        name, _, rest = part.partition(": ")
        kind, equals, _default = rest.partition(" = ")
        if name != "self":
            found.append(Argument(name.strip(), plain(kind), bool(equals)))
    return tuple(found)


def _split(text: str) -> list[str]:
    """Split at commas that stand in no brackets."""
    parts, depth, current = [], 0, ""
    for letter in text:
        depth += letter in "[(<"
        depth -= letter in "])>"
        if letter == "," and depth == 0:
            parts.append(current.strip())
            current = ""
        else:
            current += letter
    return [*parts, current.strip()] if current.strip() else parts
