"""Objects by dotted path (`package.module:attribute`), imported as if their own folder came first on sys.path.

Model cards bring code: a `network.py` beside the card, and another card has a `network.py` too. While a card's code is
imported or called, modules of the same names from elsewhere are set aside, and afterwards everyone has his own back.
A module whose file changed since it was imported is imported afresh, so that an export never carries old code.
"""

from __future__ import annotations

import importlib
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

from engines.errors import ModelLoadError
from engines.foreign import outside

__all__ = ["load_dotted", "modules_of", "source_files"]

_LOCK = threading.RLock()
_ASIDE: dict[Path, dict[str, ModuleType]] = {}  # a root's modules, while another owner has their names
_STAMPS: dict[Path, dict[str, tuple[int, int]]] = {}  # root -> module -> (mtime_ns, size) of its file when imported


def load_dotted(path: str, root: Path) -> Any:
    """Import the module under `root` (or from the environment) and return its attribute.

    Args:
        path: `package.module:attribute`, as cards write it.
        root: folder of the card.

    Raises:
        ModelLoadError: not written that way, no such module or attribute, or the module fails to import.
    """
    module_name, colon, attribute = path.partition(":")
    if not (colon and module_name and attribute.isidentifier()):
        raise ModelLoadError(
            f"{path!r} is not a dotted path", where=str(root), remedy="write it like 'network:build' or 'pkg.mod:Class'"
        )
    failed = f"cannot import {module_name!r}"
    place = f"dotted path {path!r} of {root}"
    remedy = f"put {module_name.partition('.')[0]}.py beside the card, or install what it needs"
    told = partial(ModelLoadError, where=place, remedy=remedy)
    with modules_of(root), outside(lambda cause: told(f"{failed}: {cause}")):
        module = importlib.import_module(module_name)
    try:
        return getattr(module, attribute)
    except AttributeError as error:
        defined = [name for name in vars(module) if not name.startswith("_")]
        raise ModelLoadError(
            f"module {module_name!r} has no {attribute!r}",
            where=f"dotted path {path!r} of {root}",
            remedy=f"it has {defined[:12]}",
        ) from error


def source_files(module_name: str, root: Path) -> tuple[Path, ...]:
    """Files of the card's own code imported so far, and of the package of `module_name` where it lives elsewhere."""
    top = module_name.partition(".")[0]
    with modules_of(root):
        found = {name for name in _STAMPS.get(root.resolve(), {}) if name in sys.modules}
        found |= {name for name in sys.modules if name.partition(".")[0] == top}
        files = {getattr(sys.modules[name], "__file__", None) for name in found}
    return tuple(sorted(Path(file) for file in files if file))


@contextmanager
def modules_of(root: Path) -> Iterator[None]:
    """Run with `root` first on sys.path and the names of its modules meaning its own modules."""
    root = root.resolve()
    with _LOCK:
        tops = _top_names(root)
        before = {
            name: module for name, module in sys.modules.items() if _top(name) in tops and not _owns(root, name, module)
        }
        for name in before:
            del sys.modules[name]
        sys.modules.update(_ASIDE.pop(root, {}))
        _forget_changed(root)
        loaded = set(sys.modules)
        writes_bytecode = sys.dont_write_bytecode
        sys.dont_write_bytecode = True  # the card's folder is the user's
        sys.path.insert(0, str(root))
        importlib.invalidate_caches()
        try:
            yield
        finally:
            sys.path.remove(str(root))
            sys.dont_write_bytecode = writes_bytecode
            _stamp_new(root, loaded)
            taken = {_top(name) for name in before}
            own = {name: module for name, module in sys.modules.items() if _top(name) in taken}
            for name in own:
                del sys.modules[name]
            if own:
                _ASIDE[root] = own
            sys.modules.update(before)


def _top(name: str) -> str:
    return name.partition(".")[0]


def _top_names(root: Path) -> set[str]:
    """Names that `import` could find in the folder, the standard library's aside."""
    try:
        entries = list(os.scandir(root))
    except OSError:
        return set()
    names = {entry.name.partition(".")[0] for entry in entries if entry.name.endswith((".py", ".so"))}
    for entry in entries:
        loaded = sys.modules.get(entry.name)
        regular = entry.is_dir() and Path(entry.path, "__init__.py").is_file()
        # a folder without __init__.py is only ever a namespace package, and yields to a regular one of its name
        if regular or (entry.is_dir() and loaded is not None and getattr(loaded, "__file__", None) is None):
            names.add(entry.name)
    return names - set(sys.stdlib_module_names)


def _owns(root: Path, name: str, module: ModuleType) -> bool:
    """Whether a loaded module is the one that `root` would give for its name."""
    file = getattr(module, "__file__", None)
    places = [file] if file else list(getattr(module, "__path__", []))
    stem = f"{root}{os.sep}{_top(name)}"
    return bool(places) and all(place.startswith((f"{stem}.", f"{stem}{os.sep}")) or place == stem for place in places)


def _forget_changed(root: Path) -> None:
    """Drop every module of the card's code if the file of any changed."""
    stamps = _STAMPS.get(root, {})
    if any(name in sys.modules and _stamp(sys.modules[name]) != stamp for name, stamp in stamps.items()):
        for name in stamps:
            sys.modules.pop(name, None)
        stamps.clear()


def _stamp_new(root: Path, loaded: set[str]) -> None:
    """Remember the files of the modules that were imported from `root` just now."""
    stamps = _STAMPS.setdefault(root, {})
    for name in set(sys.modules) - loaded:
        if _owns(root, name, sys.modules[name]):
            stamps[name] = _stamp(sys.modules[name])


def _stamp(module: ModuleType) -> tuple[int, int]:
    file = getattr(module, "__file__", None)
    if file is None:
        return (0, 0)
    try:
        status = Path(file).stat()
    except OSError:
        return (-1, -1)
    return (status.st_mtime_ns, status.st_size)
