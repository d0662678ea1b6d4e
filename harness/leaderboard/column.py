"""One number of a candidate, drive by drive; whether two candidates are told apart by it.

Clips of one drive resemble each other, so the drive is the unit: cases of a drive are averaged first. Two candidates
are compared on the drives that both have, by the sign test (harness/gate/pairs.py): what a few drives have in the mean
holds for no other drives where differences are skewed (docs/decisions/0017, 0030).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

from harness.gate.pairs import paired

__all__ = ["Column", "compare", "drives_needed", "of_drives"]

Side = Literal["better", "worse", "alike", "unknown"]


@dataclass(frozen=True)
class Column:
    """A number that is better the lower it is.

    Attributes:
        by_drive: drive -> value; empty where the candidate has none.
        why: why it has none, or what a reader must know of it.
    """

    by_drive: Mapping[str, float]
    why: str = ""

    @property
    def mean(self) -> float:
        """Over drives; NaN without any."""
        return float(np.mean(list(self.by_drive.values()))) if self.by_drive else math.nan

    @property
    def ends(self) -> tuple[float, float]:
        """The best and the worst drive; NaN without any."""
        values = self.by_drive.values()
        return (min(values), max(values)) if values else (math.nan, math.nan)


def of_drives(by_case: Mapping[str, float], drives: Mapping[str, str], why: str = "") -> Column:
    """A column of cases; cases without a finite value are left out.

    Args:
        by_case: case -> value.
        drives: case -> drive.
        why: see `Column`.
    """
    of: dict[str, list[float]] = {}
    for case, value in by_case.items():
        if math.isfinite(value):
            of.setdefault(drives[case], []).append(value)
    return Column({drive: float(np.mean(values)) for drive, values in sorted(of.items())}, why)


def drives_needed(confidence: float) -> int:
    """Drives that must all agree before the sign test tells two candidates apart."""
    return math.ceil(math.log2(2 / (1 - confidence)) - 1e-9)


def compare(own: Column, other: Column, confidence: float) -> Side:
    """What the drives show of `own` against `other`; `unknown` where one has no number, or other drives."""
    if not own.by_drive or set(own.by_drive) != set(other.by_drive):
        return "unknown"
    found = paired([own.by_drive[drive] - other.by_drive[drive] for drive in own.by_drive])
    if found.chance > 1 - confidence:
        return "alike"
    return "better" if found.better > found.worse else "worse"
