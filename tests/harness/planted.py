"""Runs made of lines, for planted examples: what two rungs drew goes through the real comparison into real tables.

`planted_run(folder, before, after)` is a finished run with one case, `after` against `before`, `planted_suite` one of
several. `drawn` makes lines from
lateral positions, NaN where a line is not.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import polars as pl

from harness.lines.chunk import Chunk, RungOutputs
from harness.lines.table import LineTable, concat
from harness.measures.compare import Comparer
from harness.model.grid import Grid, grid_to_json, vehicle_grid
from harness.run.folder import CaseParts, Run, write_tables
from harness.run.rungs import Rung
from tests.run_folders import finish_run

__all__ = ["CASE", "CHUNK_FRAMES", "ROOT", "RUNG", "X_M", "Drawn", "drawn", "planted_run", "planted_suite"]

ROOT, RUNG, CASE = "train/torch-fp32", "deploy/ort-fp32", "planted"
CHUNK_FRAMES = 64
X_M = np.arange(0, 81, 2.5)


def drawn(lateral_m: np.ndarray, x_m: np.ndarray = X_M, **columns: object) -> LineTable:
    """Lines from lateral positions [frames, lines, points]; NaN is no point, under 2 points no line."""
    frames, points = [], []
    for frame, lines in enumerate(lateral_m):
        for y in lines:
            has = np.isfinite(y)
            if has.sum() >= 2:
                frames.append(frame)
                points.append(np.stack([x_m[has], y[has]], axis=1))
    return LineTable.from_points(frames, points, **columns)


@dataclass(frozen=True)
class Drawn:
    """What the two rungs drew in one case, and what is known of it.

    Attributes:
        before, after: lines of the root and of the rung.
        frames: length of the case, also where nothing was drawn.
        truth: ground truth of every frame, None where there is none.
        motion: ego columns of frames.parquet, [frames] each.
        tags: of the case.
    """

    before: LineTable
    after: LineTable
    frames: int
    truth: LineTable | None = None
    motion: dict[str, np.ndarray] | None = None
    tags: tuple[str, ...] = ()


def planted_run(
    folder: Path,
    before: LineTable,
    after: LineTable,
    *,
    frames: int,
    fps: float = 20.0,
    grid: Grid | None = None,
    slots: int = 0,
    truth: LineTable | None = None,
    motion: dict[str, np.ndarray] | None = None,
    case: str = CASE,
) -> Run:
    """A finished run of one case: what the root drew, what another rung drew.

    Args:
        folder: where the run is written.
        before, after, frames, truth, motion: as in `Drawn`.
        fps: frames a second.
        grid: stations; metres by default.
        slots: of both decoders.
        case: id.
    """
    return planted_suite(folder, {case: Drawn(before, after, frames, truth, motion)}, fps=fps, grid=grid, slots=slots)


def planted_suite(
    folder: Path, cases: dict[str, Drawn], *, fps: float = 20.0, grid: Grid | None = None, slots: int = 0
) -> Run:
    """A finished run of several cases, by id; each is a drive of its own."""
    grid = grid or vehicle_grid()
    for case, said in cases.items():
        _measure(folder, case, said, fps, grid, slots)
    write_tables(folder, sorted(cases), {})
    return finish_run(folder, _meta(grid, cases, fps))


def _measure(folder: Path, case: str, said: Drawn, fps: float, grid: Grid, slots: int) -> None:
    number = np.arange(said.frames)
    time_ns = np.round(number * 1e9 / fps).astype(np.int64)
    card = SimpleNamespace(frame=grid.frame, grid=grid, state={}, length_unit=grid.unit)
    truth = said.truth
    the_case = SimpleNamespace(
        id=case,
        meta=SimpleNamespace(truth_frame=grid.frame),
        moments=pl.DataFrame({"frame": number, "timestamp_ns": time_ns, **(said.motion or {})}),
        frame_numbers=number,
        ego=lambda frames: {name: values[frames] for name, values in (said.motion or {}).items()},
        truth=lambda: None if truth is None else truth.to_polars(),
        labelled_frames=lambda: number if truth is not None else number[:0],
    )
    rungs = [Rung(*ROOT.split("/")), Rung(*RUNG.split("/"), ROOT, ("preprocess",))]
    with (
        CaseParts(folder / "parts", case) as parts,
        Comparer(card, the_case, rungs, {r.name: slots for r in rungs}, parts) as comparer,
    ):
        for first in range(0, said.frames, CHUNK_FRAMES):
            part = number[first : first + CHUNK_FRAMES]
            outputs = {name: _outputs(lines, part) for name, lines in ((ROOT, said.before), (RUNG, said.after))}
            comparer.add(Chunk(part, time_ns[part], outputs))
        comparer.finish()
        parts.commit()


def _outputs(lines: LineTable, frames: np.ndarray) -> RungOutputs:
    every = np.ones(len(frames), bool)
    return RungOutputs(every, every, {}, lines.take(np.isin(lines.frame, frames)))


def _meta(grid: Grid, cases: dict[str, Drawn], fps: float) -> dict[str, object]:
    rungs = [
        {"name": n, "preprocess": n.partition("/")[0], "engine": n.partition("/")[2], "parent": p, "factors": f,
         "status": "ok", "reason": "", "provenance": {}}
        for n, p, f in ((ROOT, None, []), (RUNG, ROOT, ["preprocess"]))
    ]  # fmt: skip
    return {
        "card": {"name": "planted", "length_unit": grid.unit, "grid": grid_to_json(grid)},
        "reference": ROOT,
        "rungs": rungs,
        "cases": [
            {"id": c, "frames": d.frames, "fps": fps, "tags": list(d.tags), "lossy": False, "digest": f"sha-{c}"}
            for c, d in cases.items()
        ],
        "finished": True,
    }


def joined(*tables: LineTable) -> LineTable:
    """Lines of several tables in frame order; within a frame in the order of the tables."""
    every = [(int(f), k, i) for k, t in enumerate(tables) for i, f in enumerate(t.frame)]
    parts = [tables[k].take([i]) for _, k, i in sorted(every)]
    return concat(parts)
