"""Functions named in a card by a dotted path `package.module:name`, imported with the card's folder on sys.path."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from harness.errors import HarnessError

__all__ = ["is_dotted", "load_dotted"]


def is_dotted(name: str) -> bool:
    """Whether a card means a dotted path and not a built-in name."""
    return ":" in name


def load_dotted(path: str, root: Path | None, *, error: type[HarnessError], where: str) -> Callable[..., Any]:
    """The callable at `package.module:name`.

    Args:
        path: the dotted path.
        root: folder searched first while importing; None leaves sys.path alone.
        error: class of the error to raise.
        where: file and key, for the message.

    Raises:
        HarnessError: (of the class `error`) the module does not import, or has no such callable.
    """
    module_name, _, attribute = path.partition(":")
    added = [str(root)] if root is not None and str(root) not in sys.path else []
    sys.path[:0] = added
    try:
        found: Any = importlib.import_module(module_name)
        for part in attribute.split("."):
            found = getattr(found, part)
    except (ImportError, AttributeError, ValueError) as reason:
        raise error(
            f"cannot import {path!r}: {reason}",
            where=where,
            remedy="write it package.module:function; the card's folder is searched first",
        ) from reason
    finally:
        for folder in added:
            sys.path.remove(folder)
    if not callable(found):
        raise error(f"{path!r} is no function but {type(found).__name__}", where=where, remedy="name a function")
    return found  # type: ignore[no-any-return]  # checked to be callable on the line above
