"""Whose `cases`, `engines`, `harness` and `techniques` Python would import: the names are generic, so ask first."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

import trueline
from harness.errors import UsageError

__all__ = ["PACKAGES", "check_ownership", "shadowed"]

PACKAGES = ("cases", "engines", "harness", "techniques")


def shadowed(packages: Sequence[str] = PACKAGES) -> dict[str, str]:
    """Packages that are not Trueline's, each with the file that would be imported instead (cheap: nothing is)."""
    home = Path(trueline.__file__).resolve().parent
    found = {name: _file_of(name) for name in packages}
    return {name: file or "missing" for name, file in found.items() if not file or _folder(file) != home / name}


def check_ownership() -> None:
    """Stop before somebody else's package is used as ours.

    Raises:
        UsageError: one of the packages is not ours.
    """
    foreign = shadowed()
    if foreign:
        told = ", ".join(f"package {name!r} is {file}" for name, file in foreign.items())
        raise UsageError(
            f"{told}, not Trueline's",
            where="sys.path",
            remedy="rename it, or start from another folder (with pytest: --import-mode=importlib)",
        )


def _file_of(package: str) -> str | None:
    """Where a package comes from: its __init__.py, its module file, or the folder of a namespace package."""
    try:
        spec = find_spec(package)
    except (ImportError, ValueError):
        return None
    if spec is None:
        return None
    return spec.origin or next(iter(spec.submodule_search_locations or ()), None)


def _folder(file: str) -> Path:
    path = Path(file).resolve()
    return path.parent if path.name == "__init__.py" else path
