"""The numbers of disturbed lines against the undisturbed ones, by the matching and the measures of every run.

`deviation` is the lateral cost that accuracy has against ground truth (harness/measures/accuracy.py), with the
undisturbed lines for truth: the mean |offset| over all stations, where a station that only one of them has costs the
match gate. So a line that is lost is no line that held still.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from cases.case import Case
from harness.lines.chunk import Chunk, Ints, RungOutputs
from harness.lines.table import LineTable, concat
from harness.measures.accuracy import accuracy_sums
from harness.measures.compare import Comparer
from harness.measures.match import match
from harness.measures.stations import resample
from harness.model.card import Card
from harness.model.grid import Grid, grid_to_json
from harness.run.catalogue import Statistic, find_measure
from harness.run.facts import read_facts
from harness.run.kept import KeptRows
from harness.run.question import Question
from harness.run.rungs import Rung
from harness.run.statistic import Asked, answers
from harness.run.tables import BANDS

__all__ = ["CaseMeasure", "deviation_of", "follow", "unmoved"]

# name of a number -> measure and statistic; those of bands have one for each
BY_BAND: Mapping[str, tuple[str, Statistic]] = {
    "offset_p50": ("offset_mean", "p50"),
    "offset_p99": ("offset_mean", "p99"),
    "bend_p50": ("bend", "p50"),
    "bend_p99": ("bend", "p99"),
    "jitter": ("jitter", "max"),
    "swing_pp": ("swing_pp", "max"),
}
WHOLE: Mapping[str, tuple[str, Statistic]] = {
    "missing": ("missing", "share"),
    "extra": ("extra", "share"),
    "swing_s": ("event.swing", "seconds"),
}
STILL = 1e-6  # of the match gate: lines that differ by no more are the same lines


@dataclass(frozen=True)
class Sides:
    """The two rungs of a comparison."""

    clean: Rung
    disturbed: Rung

    @classmethod
    def of(cls, engine: str) -> Sides:
        """Of one engine."""
        clean = Rung("clean", engine)
        return cls(clean, Rung("disturbed", engine, clean.name, ("disturbance",)))


class CaseMeasure:
    """Measures one case, chunk by chunk; use it with `with`.

    Args:
        card: the model.
        case: the case.
        engine: name of the engine.
        slots: of the decoder.
        clean: undisturbed lines of the whole case, as they are compared.
    """

    def __init__(self, card: Card, case: Case, engine: str, slots: int, clean: LineTable) -> None:
        self._card, self._case, self._clean = card, case, clean
        self._sides = Sides.of(engine)
        self._rows = KeptRows(case.id, _meta(card, case, self._sides))
        rungs = (self._sides.clean, self._sides.disturbed)
        self._comparer = Comparer(card, case, rungs, {r.name: slots for r in rungs}, self._rows)
        self._lines: list[LineTable] = []
        self._frames = 0

    def __enter__(self) -> Self:
        self._comparer.__enter__()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._comparer.__exit__(kind, error, at)

    def add(self, frames: Ints, timestamps_ns: Ints, disturbed: RungOutputs) -> None:
        """The next frames; lines of the disturbed picture are taken back already."""
        every = np.ones(len(frames), bool)
        clean = RungOutputs(every, every, {}, self._clean.take(np.isin(self._clean.frame, frames)))
        outputs = {self._sides.clean.name: clean, self._sides.disturbed.name: disturbed}
        self._comparer.add(Chunk(frames, timestamps_ns, outputs))
        self._lines.append(disturbed.lines)
        self._frames += len(frames)

    def numbers(self) -> dict[str, Any]:
        """All numbers of the case, in the card's unit; None where there is none. See the module and BY_BAND."""
        self._comparer.finish()
        asked = [Question(find_measure(m), s, (band,)) for m, s in BY_BAND.values() for band in BANDS]
        asked += [Question(find_measure(m), s) for m, s in WHOLE.values()]
        found = iter([_told(v) for v in self._answers(asked)])
        told: dict[str, Any] = {name: [next(found) for _ in BANDS] for name in BY_BAND}
        told |= {name: next(found) for name in WHOLE}
        deviation, stations = deviation_of(self._clean, concat(self._lines), self._card.grid, self._frames)
        return told | {"deviation": _told(deviation), "stations": stations, "frames": self._frames}

    def _answers(self, asked: list[Question]) -> list[float]:
        rung, root = self._sides.disturbed.name, self._sides.clean.name
        found = answers(self._rows, read_facts(self._rows.meta), [Asked(question, {rung: root}) for question in asked])
        return [one[rung, self._case.id].value if (rung, self._case.id) in one else math.nan for one in found]


def deviation_of(clean: LineTable, disturbed: LineTable, grid: Grid, frames: int) -> tuple[float, int]:
    """Mean lateral cost over the stations that either has, and how many these are; NaN without any."""
    sums, *_ = accuracy_sums(clean, disturbed, grid, frames)
    stations = int(sums.cost_stations.sum())
    return (float(sums.cost.sum() / stations) if stations else math.nan), stations


def unmoved(clean: LineTable, disturbed: LineTable, grid: Grid) -> bool:
    """Whether the disturbed picture gives the very lines of the undisturbed one."""
    same = len(clean) == len(disturbed) and np.array_equal(clean.frame, disturbed.frame)
    if not same or not np.array_equal(clean.start, disturbed.start):
        return False
    still = STILL * grid.thresholds.match_gate
    return all(
        np.allclose(a, b, rtol=0, atol=still, equal_nan=True)
        for a, b in ((clean.x, disturbed.x), (clean.y, disturbed.y))
    )


def follow(clean: LineTable, moved: LineTable, disturbed: LineTable, grid: Grid) -> float:
    """How much of the true movement lines make: 1 all of it, 0 none; NaN where nothing is to move.

    The least-squares slope of what stations of matched lines moved on what they were to move.

    Args:
        clean: lines of the undisturbed picture.
        moved: the same lines where the disturbed picture shows them.
        disturbed: what the model drew of it.
        grid: stations.
    """
    before, due, after = (resample(lines, grid.stations, grid.frame) for lines in (clean, moved, disturbed))
    as_they_were = match(clean, disturbed, grid, before, after)
    as_they_moved = match(moved, disturbed, grid, due, after)
    found = as_they_moved if len(as_they_moved) > len(as_they_were) else as_they_were
    wanted = (due - before)[found.reference]
    got = after[found.candidate] - before[found.reference]
    both: NDArray[np.bool_] = np.isfinite(wanted) & np.isfinite(got)
    size = float((wanted[both] ** 2).sum())
    return float((wanted[both] * got[both]).sum() / size) if size > 0 else math.nan


def _told(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None


def _meta(card: Card, case: Case, sides: Sides) -> dict[str, Any]:
    rungs = [{"name": r.name, "parent": r.parent, "factors": list(r.factors)} for r in (sides.clean, sides.disturbed)]
    return {
        "card": {"name": card.name, "length_unit": card.length_unit, "grid": grid_to_json(card.grid)},
        "reference": sides.clean.name,
        "rungs": rungs,
        "cases": [{"id": case.id, "frames": case.length, "fps": case.fps}],
    }
