"""JSON as we write it: plain values, and files that a reader sees old or new and never in between."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from collections.abc import Set as AbstractSet
from pathlib import Path
from typing import Any

from harness.errors import RunError
from trueline._drafts import replacing
from trueline._reading import json_of, read_file

__all__ = ["plain", "read_json", "write_json"]


def plain(value: Any, *, tell_infinity: bool = False, told: Callable[[str], str] = str) -> Any:
    """What JSON can hold: text keys, lists, NumPy values as Python's, null for numbers that are not finite, else text.

    Args:
        value: anything; provenance of third parties goes through here.
        tell_infinity: write infinities as the texts `inf` and `-inf`, where they are a result and not a gap.
        told: applied to every text, keys among them.
    """

    def inner(item: Any) -> Any:
        return plain(item, tell_infinity=tell_infinity, told=told)

    if type(value).__module__ == "numpy":
        value = value.tolist()
    if isinstance(value, Mapping):
        return {told(str(key)): inner(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [inner(item) for item in value]
    if isinstance(value, AbstractSet):
        return sorted((inner(item) for item in value), key=str)
    if isinstance(value, float):
        if tell_infinity and math.isinf(value):
            return str(value)
        return float(value) if math.isfinite(value) else None
    return value if value is None or isinstance(value, int) else told(str(value))


def write_json(path: Path, value: Any) -> None:
    """Write JSON so that a reader sees either the old file or the whole new one."""
    with replacing(path) as draft:
        text = json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
        draft.write_text(text, encoding="utf-8", errors="backslashreplace")  # names of files may be no text


def read_json(path: Path) -> Any:
    """Read JSON.

    Raises:
        RunError: missing or not JSON.
    """
    try:
        return json_of(read_file(path))
    except OSError as error:
        raise RunError(
            f"cannot read it: {error.strerror}", where=str(path), remedy="give a folder made by `trueline replay`"
        ) from error
    except ValueError as error:
        raise RunError(f"not JSON: {error}", where=str(path), remedy="replay again into a new folder") from error
