"""Functions a card names by a dotted path `package.module:name`; its folder comes first on the path."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from engines.dotted import load_dotted as load_object
from engines.errors import ModelLoadError
from harness.errors import HarnessError

__all__ = ["is_dotted", "load_dotted"]


def is_dotted(name: str) -> bool:
    """Whether a card means a dotted path and not a built-in name."""
    return ":" in name


def load_dotted(path: str, root: Path | None, *, error: type[HarnessError], where: str) -> Callable[..., Any]:
    """The callable at `package.module:name`.

    Args:
        path: the dotted path.
        root: folder searched first; None for the current one.
        error: class of the error to raise.
        where: file and key, for the message.

    Raises:
        HarnessError: (of the class `error`) the module does not import, or has no such callable.
    """
    try:
        found = load_object(path, root or Path.cwd())
    except ModelLoadError as reason:
        raise error(reason.what, where=f"{where}, {reason.where}", remedy=reason.remedy) from reason
    if not callable(found):
        raise error(f"{path!r} is no function but {type(found).__name__}", where=where, remedy="name a function")
    return found  # type: ignore[no-any-return]  # checked to be callable on the line above
