"""One number of a candidate, drive by drive; whether two candidates are told apart by it.

Clips of one drive resemble each other, so the drive is the unit: cases of a drive are averaged first. Two candidates
are compared on the drives that both have, by the differences: Student's t. With one drive nothing is told apart.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

__all__ = ["Column", "Interval", "compare", "of_drives"]

Side = Literal["better", "worse", "alike", "unknown"]


@dataclass(frozen=True, slots=True)
class Interval:
    """A mean with its two-sided interval; both ends NaN where there are too few drives to tell."""

    mean: float
    low: float
    high: float


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

    def interval(self, confidence: float) -> Interval:
        """Of the mean, by Student's t."""
        return interval_of(list(self.by_drive.values()), confidence)


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


def interval_of(values: list[float], confidence: float) -> Interval:
    """Mean and interval of independent values."""
    from scipy.special import stdtrit

    mean = float(np.mean(values)) if values else math.nan
    if len(values) < 2:
        return Interval(mean, math.nan, math.nan)
    half = float(stdtrit(len(values) - 1, (1 + confidence) / 2) * np.std(values, ddof=1) / math.sqrt(len(values)))
    return Interval(mean, mean - half, mean + half)


def compare(own: Column, other: Column, confidence: float) -> Side:
    """What the drives show of `own` against `other`; `unknown` where one has no number, or other drives."""
    if not own.by_drive or set(own.by_drive) != set(other.by_drive):
        return "unknown"
    found = interval_of([own.by_drive[drive] - other.by_drive[drive] for drive in own.by_drive], confidence)
    if found.high < 0:
        return "better"
    return "worse" if found.low > 0 else "alike"
