"""Other modules' results as plain JSON values: the report knows their words, not their classes.

Verdicts and explanations arrive as objects with `to_json`, as dataclasses, or as the mapping that was read back from a
file; all three read the same here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, is_dataclass
from typing import Any

from harness.errors import ReportError

__all__ = ["as_mapping", "finite"]


def as_mapping(value: Any, what: str) -> dict[str, Any] | None:
    """The value as a dict; None stays None.

    Args:
        value: has `to_json`, is a dataclass or a mapping, or is None.
        what: names the value in an error.

    Raises:
        ReportError: it is none of these.
    """
    if value is None:
        return None
    if callable(getattr(value, "to_json", None)):
        value = value.to_json()
    elif is_dataclass(value) and not isinstance(value, type):
        value = asdict(value)
    if not isinstance(value, Mapping):
        raise ReportError(
            f"{what} is {type(value).__name__}, not something with keys",
            where=f"write_report({what})",
            remedy="give what the gate or the ladder returned, or the JSON object they wrote",
        )
    return dict(value)


def finite(value: Any) -> float | None:
    """A number, or None where there is none; the words `inf` and `-inf` are numbers."""
    if value is None or isinstance(value, bool):
        return None
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number if number == number else None
