"""Whose `cases`, `engines`, `harness` and `techniques` Python would import: the names are generic, so ask first.

A folder of recordings called `cases/` is no rival: Python prefers a package to a bare folder wherever on the path
either is. Only an editable install is found too late for that, so `check_ownership` restores the order.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from pathlib import Path

import trueline
from harness.errors import UsageError

__all__ = ["PACKAGES", "check_ownership", "shadowed"]

PACKAGES = ("cases", "engines", "harness", "techniques")


def shadowed(packages: Sequence[str] = PACKAGES) -> dict[str, str]:
    """Packages that are not Trueline's, each with the file that would be imported instead (cheap: nothing is)."""
    home = Path(trueline.__file__).resolve().parents[1]
    found = {name: _file_of(name) for name in packages}
    return {name: file or "missing" for name, file in found.items() if not file or _folder(file) != home / name}


def check_ownership() -> None:
    """Stop before somebody else's package is used as ours.

    Raises:
        UsageError: one of the packages is not ours.
    """
    _prefer_packages_to_bare_folders()
    foreign = shadowed()
    if foreign:
        told = ", ".join(f"package {name!r} is {file}" for name, file in foreign.items())
        raise UsageError(
            f"{told}, not Trueline's",
            where="sys.path",
            remedy="rename it, or start from another folder (with pytest: --import-mode=importlib)",
        )


def _prefer_packages_to_bare_folders() -> None:
    """Load our package where an import finds, or found, a folder without __init__.py instead."""
    home = Path(trueline.__file__).resolve().parents[1]
    for name in PACKAGES:
        if (home / name / "__init__.py").is_file() and _is_bare_folder(name) and not _used_by_others(name, home):
            _load(name, home / name)


def _load(name: str, folder: Path) -> None:
    """Import the package in `folder`, into the module of that name if there is one already."""
    spec = spec_from_file_location(name, folder / "__init__.py", submodule_search_locations=[str(folder)])
    assert spec is not None  # a .py file always has one
    assert spec.loader is not None  # as above
    fresh = module_from_spec(spec)
    module = sys.modules.setdefault(name, fresh)
    vars(module).update({k: v for k, v in vars(fresh).items() if k.startswith("__")})
    spec.loader.exec_module(module)


def _used_by_others(package: str, home: Path) -> bool:
    """Whether a module of that package, but not of ours, is loaded."""
    files = (
        getattr(module, "__file__", None) for name, module in sys.modules.items() if name.startswith(f"{package}.")
    )
    return any(file and home / package not in Path(file).resolve().parents for file in files)


def _is_bare_folder(package: str) -> bool:
    spec = find_spec(package)
    return spec is not None and spec.origin is None and spec.submodule_search_locations is not None


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
