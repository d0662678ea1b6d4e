"""What the report's modules hand to one another: a run's tables, and one frame worth looking at."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import polars as pl

from harness.ladder import Step

__all__ = ["Tables", "WorstFrame"]


class Tables(Protocol):
    """What the report needs of a run: its tables, lazily."""

    def table(self, name: str) -> pl.LazyFrame:
        """One table of the run folder."""
        ...


@dataclass(frozen=True, slots=True)
class WorstFrame:
    """One frame to show and why.

    Attributes:
        case, frame, rung: where.
        kind: measure of the finding, or `largest_bend` / `largest_offset` / `first` where the case has none.
        track, band: of the finding; None where it has none.
        value, threshold, unit: of the finding, in base units; NaN where there is no value.
        frame_start, frame_end: its frames, both included.
        severity: how bad, over kinds; 1 is at the threshold.
        also: other rungs that have it, in ladder order.
        sentence: the finding in one line; empty where there is none.
        first: the rung at which it begins; empty where there is none.
        stage: of the deployment chain that is blamed; empty where none is.
        steps: its size on each rung of its path (`harness.ladder.Step`).
    """

    case: str
    frame: int
    rung: str
    kind: str
    track: int | None
    band: str | None
    value: float
    threshold: float
    unit: str
    frame_start: int
    frame_end: int
    severity: float = 0.0
    also: tuple[str, ...] = ()
    sentence: str = ""
    first: str = ""
    stage: str = ""
    steps: tuple[Step, ...] = ()
