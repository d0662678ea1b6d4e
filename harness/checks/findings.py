"""One thing that `trueline model check` found."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

__all__ = ["SHOWN", "Finding", "some"]

SHOWN = 4  # nodes that a finding names: what goes wrong further on does so because of them


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing found.

    `ok` says what was tried; `note` what an engine does with any such model, or what was done to this one; `warning`
    what goes wrong somewhere, `error` what stops the card, both with what to do.
    """

    level: Literal["ok", "note", "warning", "error"]
    what: str
    where: str
    remedy: str = ""


def some(names: Sequence[str]) -> str:
    """The first names, and how many more there are."""
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more
