"""The user's code that a replay runs: every module behind a dotted path of the card, and all they import.

Imports are followed in the source, not by running it. A module is the user's where it lies beside the card, or where
Python would find it outside its own library, installed packages and Trueline. What only a string names at run time is
not seen; installed packages are told by their versions.
"""

from __future__ import annotations

import ast
import hashlib
import re
import sys
import sysconfig
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Any

__all__ = ["code_of", "dotted_paths", "packages_of"]

_DOTTED = re.compile(r"^[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*$")
_OURS = {"cases", "engines", "harness", "techniques", "trueline"}


def code_of(card: Mapping[str, Any], root: Path) -> dict[str, str]:
    """Module -> SHA-256 of its file, for all code of the user's that the card leads to.

    Args:
        card: the card, as plain values; every string `module:attribute` in it is followed.
        root: folder of the card.
    """
    files = _followed(card, root)
    return {name: hashlib.sha256(f.read_bytes()).hexdigest() for name, f in sorted(files.items()) if f is not None}


def packages_of(card: Mapping[str, Any], root: Path) -> dict[str, str]:
    """Installed package -> version, for all packages that this code imports.

    Args:
        card: as above.
        root: folder of the card.
    """
    tops = {name.partition(".")[0] for name, file in _followed(card, root).items() if file is None}
    tops -= _OURS | sys.stdlib_module_names
    owners = _owners(tuple(sys.path)) if tops else {}
    return {owner: metadata.version(owner) for top in sorted(tops) for owner in owners.get(top, ())}


@lru_cache(maxsize=1)
def _owners(_path: tuple[str, ...]) -> Mapping[str, Sequence[str]]:
    """Top-level module -> packages on this path that bring it; a second of reading where many are installed."""
    return metadata.packages_distributions()


def _followed(card: Mapping[str, Any], root: Path) -> dict[str, Path | None]:
    """Every module that the card leads to, with the user's file of it; None for a module of anybody else."""
    waiting = [path.partition(":")[0] for path in dotted_paths(card)]
    seen: dict[str, Path | None] = {}
    while waiting:
        name = waiting.pop()
        if name in seen:
            continue
        seen[name] = file = _file_of(name, root)
        if file is not None:
            waiting += _imported(name, file)
    return seen


def dotted_paths(value: Any) -> Iterator[str]:
    """Every string in plain values that is written as a dotted path."""
    if isinstance(value, str):
        if _DOTTED.match(value):
            yield value
    elif isinstance(value, Mapping):
        for inner in value.values():
            yield from dotted_paths(inner)
    elif isinstance(value, Sequence):
        for inner in value:
            yield from dotted_paths(inner)


def _file_of(name: str, root: Path) -> Path | None:
    """The user's file of a module; None for a module of anybody else, and for one that is not there."""
    if name.partition(".")[0] in _OURS | sys.stdlib_module_names:
        return None
    beside = root.joinpath(*name.split("."))
    for file in (beside.with_suffix(".py"), beside / "__init__.py"):
        if file.is_file():
            return file
    return _elsewhere(name)


def _elsewhere(name: str) -> Path | None:
    """A module that Python finds outside its library and installed packages; parents are not imported to look."""
    top, *inner = name.split(".")
    try:
        spec = find_spec(top)
    except (ImportError, ValueError):
        return None
    if spec is None or any(_below(place) for place in (spec.origin, *(spec.submodule_search_locations or ()))):
        return None
    folders = [Path(place) for place in spec.submodule_search_locations or ()]
    candidates = [f.joinpath(*inner) for f in folders] if inner else []
    files = [c.with_suffix(".py") for c in candidates] + [c / "__init__.py" for c in candidates]
    if not inner and spec.origin:
        files = [Path(spec.origin)]
    return next((f for f in files if f.suffix == ".py" and f.is_file()), None)


def _below(place: str | None) -> bool:
    """Whether a file is of Python itself or of an installed package."""
    if place is None or not Path(place).is_absolute():
        return place is not None
    homes = {Path(sysconfig.get_path(kind)) for kind in ("stdlib", "platstdlib", "purelib", "platlib")}
    return any(Path(place).is_relative_to(home) for home in homes) or "site-packages" in Path(place).parts


def _imported(name: str, file: Path) -> Iterable[str]:
    """Modules that a file imports, nested imports too, and the packages around each; none of a broken file."""
    package = name.split(".") if file.name == "__init__.py" else name.split(".")[:-1]
    return _named_in(file.read_bytes(), tuple(package))


@lru_cache(maxsize=512)
def _named_in(source: bytes, package: tuple[str, ...]) -> tuple[str, ...]:
    try:
        nodes = ast.walk(ast.parse(source))
    except (SyntaxError, ValueError):
        return ()
    found: list[str] = []
    for node in nodes:
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            stem = ".".join([*base, *([node.module] if node.module else [])])
            found += [stem, *(f"{stem}.{alias.name}".lstrip(".") for alias in node.names)]
    parents = [".".join(one.split(".")[:n]) for one in found for n in range(1, one.count(".") + 1)]
    return tuple(one for one in (*found, *parents) if one)
