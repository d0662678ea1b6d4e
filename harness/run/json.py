"""JSON files of a run folder, written so that a reader sees the old file or the whole new one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from harness.errors import RunError

__all__ = ["read_json", "write_json"]


def write_json(path: Path, value: Any) -> None:
    """Write JSON so that a reader sees either the old file or the whole new one."""
    temporary = path.with_name(path.name + ".tmp")
    temporary.write_text(json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False) + "\n", encoding="utf-8")
    temporary.replace(path)


def read_json(path: Path) -> Any:
    """Read JSON.

    Raises:
        RunError: missing or not JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise RunError(
            f"cannot read it: {error.strerror}", where=str(path), remedy="give a folder made by `trueline replay`"
        ) from error
    except ValueError as error:
        raise RunError(f"not JSON: {error}", where=str(path), remedy="replay again into a new folder") from error
