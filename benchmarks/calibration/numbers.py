"""Drives of a version through the comparison and the gate's questions: one number for each question and case.

Everything but the drawing is the harness: `Comparer` measures every case, `harness.run.statistic.answers` reduces its
tables. Bands are asked one by one, so that any policy's rules can be answered from what is kept (`suites`): the number
of several bands is the worst of theirs.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from benchmarks.calibration.drives import SPEED_MPS, X_M, Drawn, Version
from harness.lines.chunk import Chunk, RungOutputs
from harness.lines.table import OPEN, LineTable
from harness.measures.compare import Comparer
from harness.model.grid import grid_to_json, vehicle_grid
from harness.run.facts import RunFacts, read_facts
from harness.run.folder import Columns, rows_of_table
from harness.run.question import HOLD_S, Question
from harness.run.rungs import Rung
from harness.run.statistic import Asked, Measured, answers
from harness.run.tables import BANDS, TABLES, empty

__all__ = [
    "ROOT",
    "RUNG",
    "MemoryRun",
    "Numbers",
    "answers_of",
    "facts_of",
    "key_of",
    "measured_run",
    "numbers_of",
    "single_bands",
]

ROOT, RUNG = "train/torch-fp32", "deploy/torch-fp32"
GRID = vehicle_grid()
_UNUSED = ("lines",)  # nothing is asked of it, and it is most of the bytes


@dataclass(frozen=True)
class Numbers:
    """What the gate's questions got of every case.

    Attributes:
        keys: of the questions, one band each.
        value: float64 [questions, cases], base units; NaN where there is none.
        compared: int64 [questions, cases], values that a number was made of.
        open: bool [questions, cases], whether too much of what the reference has went unmeasured.
    """

    keys: tuple[str, ...]
    value: NDArray[np.float64]
    compared: NDArray[np.int64]
    open: NDArray[np.bool_]

    def of(self, key: str, case: int) -> Measured:
        """One of them, as the gate takes it."""
        row = self.keys.index(key)
        why = "a part of it has no value" if self.open[row, case] else ""
        return Measured(float(self.value[row, case]), int(self.compared[row, case]), unanswered=why)


def key_of(question: Question) -> str:
    """A question of at most one band in words."""
    hold = f" {question.hold_s:g} s" if question.statistic == "sustained" and question.hold_s != HOLD_S else ""
    return " ".join([question.measure.name, question.statistic, *question.band]) + hold


def single_bands(question: Question) -> list[Question]:
    """The same of every band that it looks at."""
    spec, bands = question.measure, question.band or (BANDS if question.measure.has_band else ())
    return [Question(spec, question.statistic, (b,), question.output, question.hold_s) for b in bands] or [question]


def numbers_of(version: Version, drawn: Drawn, questions: Sequence[Question]) -> Numbers:
    """Measure all cases of a version and ask.

    Args:
        version: which.
        drawn: what it and the lab draw.
        questions: of one band each (`single_bands`).
    """
    return answers_of(measured_run(version, drawn), questions)


def answers_of(run: MemoryRun, questions: Sequence[Question]) -> Numbers:
    """What the gate's questions get of a run."""
    facts = read_facts(run.meta)
    found = answers(run, facts, [Asked(q, {RUNG: ROOT}) for q in questions])
    none = Measured(math.nan, 0)
    rows = [[answer.get((RUNG, case), none) for case in facts.cases] for answer in found]
    return Numbers(
        tuple(key_of(q) for q in questions),
        np.array([[m.value for m in row] for row in rows]),
        np.array([[m.compared for m in row] for row in rows]),
        np.array([[bool(m.unanswered) for m in row] for row in rows]),
    )


class _Kept:
    """Rows of one case in memory, where a replay has its part files."""

    def __init__(self, case: str, rows: dict[str, list[Columns]]) -> None:
        self._case, self._rows = case, rows

    def add(self, table: str, rows: Columns) -> None:
        if table not in _UNUSED:
            self._rows[table].append({"case": self._case, **rows})


@dataclass(frozen=True)
class MemoryRun:
    """Tables of a run that was never written."""

    meta: Mapping[str, Any]
    tables: Mapping[str, pl.DataFrame]

    def table(self, name: str) -> pl.LazyFrame:
        """One of them."""
        return self.tables[name].lazy()


def measured_run(version: Version, drawn: Drawn) -> MemoryRun:
    """All cases of a version as a run."""
    rows: dict[str, list[Columns]] = {table: [] for table in TABLES}
    for case, name in enumerate(_names(version)):
        _measure(version, drawn, case, name, rows)
    tables = {t: rows_of_table(t, blocks) if blocks else empty(t) for t, blocks in rows.items()}
    return MemoryRun(_meta(version), tables)


def facts_of(version: Version) -> RunFacts:
    """What run.json would say of such a run."""
    return read_facts(_meta(version))


def _names(version: Version) -> list[str]:
    return [f"case_{k:04d}" for k in range(version.cases)]


def _measure(version: Version, drawn: Drawn, case: int, name: str, rows: dict[str, list[Columns]]) -> None:
    frames = np.arange(version.frames)
    times_ns = np.round(frames * 1e9 / version.fps).astype(np.int64)
    moments = pl.DataFrame({
        "frame": frames, "timestamp_ns": times_ns, "speed_mps": np.full(len(frames), SPEED_MPS),
        "yaw_rate_radps": drawn.yaw_rate_radps[case],
    })  # fmt: skip
    card = SimpleNamespace(frame=GRID.frame, grid=GRID, state={}, length_unit=GRID.unit)
    recorded = SimpleNamespace(
        id=name, meta=SimpleNamespace(truth_frame=GRID.frame), moments=moments, frame_numbers=frames,
        truth=lambda: None, labelled_frames=lambda: frames[:0],
        ego=lambda at: {name: moments[name].to_numpy()[at] for name in ("speed_mps", "yaw_rate_radps")},
    )  # fmt: skip
    rungs = [Rung(*ROOT.split("/")), Rung(*RUNG.split("/"), ROOT, ("preprocess",))]
    every = np.ones(len(frames), bool)
    drawn_by = {ROOT: drawn.reference[case], RUNG: drawn.candidate[case]}
    outputs = {rung: RungOutputs(every, every, {}, _lines(y)) for rung, y in drawn_by.items()}
    slots = dict.fromkeys(outputs, drawn.reference.shape[2])
    with Comparer(card, recorded, rungs, slots, _Kept(name, rows)) as comparer:  # type: ignore[arg-type]  # all it asks
        comparer.add(Chunk(frames, times_ns, outputs))
        comparer.finish()


def _lines(y: NDArray[np.float32]) -> LineTable:
    """Lines in slots from lateral positions [frames, lines, points]; under two points there is no line."""
    has = np.isfinite(y)
    frame, slot = np.nonzero(has.sum(axis=2) >= 2)
    own = has[frame, slot]
    count = len(frame)
    return LineTable(
        frame.astype(np.int64), slot.astype(np.int16), np.zeros(count, np.int16), np.ones(count, np.float32),
        np.full(count, OPEN, np.uint8), np.concatenate([[0], np.cumsum(own.sum(axis=1))]).astype(np.int64),
        np.broadcast_to(X_M, own.shape)[own].astype(np.float32), y[frame, slot][own],
    )  # fmt: skip


def _meta(version: Version) -> dict[str, Any]:
    rungs = [
        {"name": n, "preprocess": n.partition("/")[0], "engine": n.partition("/")[2], "parent": p, "factors": f}
        for n, p, f in ((ROOT, None, []), (RUNG, ROOT, ["preprocess"]))
    ]
    return {
        "card": {"name": "simulated", "length_unit": GRID.unit, "grid": grid_to_json(GRID)},
        "reference": ROOT,
        "rungs": rungs,
        "cases": list(_cases(version)),
        "finished": True,
    }


def _cases(version: Version) -> Iterator[dict[str, Any]]:
    for name, drive in zip(_names(version), version.drives.tolist(), strict=True):
        yield {
            "id": name, "frames": version.frames, "fps": version.fps, "tags": [], "lossy": False, "digest": name,
            "drive": f"drive_{drive:04d}",
        }  # fmt: skip
