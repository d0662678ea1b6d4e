"""Runs made of lines, for planted examples: what two rungs drew goes through the real comparison into real tables.

`planted_run(folder, before, after)` is a finished run with one case, `after` against `before`. `drawn` makes lines from
lateral positions, NaN where a line is not.
"""

from __future__ import annotations

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

__all__ = ["CASE", "CHUNK_FRAMES", "ROOT", "RUNG", "X_M", "drawn", "planted_run"]

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
        before, after: lines of the root and of the rung.
        frames: length of the case, also where nothing was drawn.
        fps: frames a second.
        grid: stations; metres by default.
        slots: of both decoders.
        truth: ground truth of every frame, None where there is none.
        motion: ego columns of frames.parquet, [frames] each.
        case: id.
    """
    grid = grid or vehicle_grid()
    number = np.arange(frames)
    time_ns = np.round(number * 1e9 / fps).astype(np.int64)
    card = SimpleNamespace(frame=grid.frame, grid=grid, state={}, length_unit=grid.unit)
    the_case = SimpleNamespace(
        id=case,
        meta=SimpleNamespace(truth_frame=grid.frame),
        moments=pl.DataFrame({"frame": number, "timestamp_ns": time_ns, **(motion or {})}),
        frame_numbers=number,
        truth=lambda: None if truth is None else truth.to_polars(),
        labelled_frames=lambda: number if truth is not None else number[:0],
    )
    rungs = [Rung(*ROOT.split("/")), Rung(*RUNG.split("/"), ROOT, ("preprocess",))]
    with (
        CaseParts(folder / "parts", case) as parts,
        Comparer(card, the_case, rungs, {r.name: slots for r in rungs}, parts) as comparer,
    ):
        for first in range(0, frames, CHUNK_FRAMES):
            part = number[first : first + CHUNK_FRAMES]
            outputs = {name: _outputs(lines, part) for name, lines in ((ROOT, before), (RUNG, after))}
            comparer.add(Chunk(part, time_ns[part], outputs))
        comparer.finish()
        parts.commit()
    write_tables(folder, [case], {})
    return finish_run(folder, _meta(grid, case, frames, fps))


def _outputs(lines: LineTable, frames: np.ndarray) -> RungOutputs:
    every = np.ones(len(frames), bool)
    return RungOutputs(every, every, {}, lines.take(np.isin(lines.frame, frames)))


def _meta(grid: Grid, case: str, frames: int, fps: float) -> dict[str, object]:
    rungs = [
        {"name": n, "preprocess": n.partition("/")[0], "engine": n.partition("/")[2], "parent": p, "factors": f,
         "status": "ok", "reason": "", "provenance": {}}
        for n, p, f in ((ROOT, None, []), (RUNG, ROOT, ["preprocess"]))
    ]  # fmt: skip
    return {
        "card": {"name": "planted", "length_unit": grid.unit, "grid": grid_to_json(grid)},
        "reference": ROOT,
        "rungs": rungs,
        "cases": [{"id": case, "frames": frames, "fps": fps, "tags": [], "lossy": False, "digest": f"sha-{case}"}],
        "finished": True,
    }


def joined(*tables: LineTable) -> LineTable:
    """Lines of several tables in frame order; within a frame in the order of the tables."""
    every = [(int(f), k, i) for k, t in enumerate(tables) for i, f in enumerate(t.frame)]
    parts = [tables[k].take([i]) for _, k, i in sorted(every)]
    return concat(parts)
