"""What folders are called beside one another."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

__all__ = ["told_apart"]


def told_apart(paths: Sequence[Path]) -> list[str]:
    """Names of the folders, with as much of their paths as tells them apart; numbered where they are the same."""
    for depth in range(1, max((len(p.parts) for p in paths), default=0) + 1):
        names = ["/".join(p.parts[-depth:]) for p in paths]
        if len(set(names)) == len(names):
            return names
    return [f"{p.name} ({i + 1})" for i, p in enumerate(paths)]
