"""Run folders made by hand: a ladder, and sizes of events that a test writes down rung by rung."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl

from harness.model.grid import grid_to_json, vehicle_grid
from harness.run.folder import Run
from harness.run.rungs import build_tree
from harness.run.tables import TABLES
from tests.run_folders import finish_run

ROOT = "train/torch-fp32"
ENGINES = ("torch-fp32", "ort-fp32-none", "ort-fp32", "recorded")
LIMIT = 0.15


def make_run(
    path: Path,
    *,
    bend: Sequence[Mapping[str, Any]] = (),
    events: Sequence[Mapping[str, Any]] = (),
    engines: Sequence[str] = ENGINES,
    steps: Sequence[str] = ("colour", "resize"),
    preprocess: Sequence[str] = ("train", "deploy"),
    lossy: bool = False,
    change: Mapping[str, Mapping[str, Any]] | None = None,
    series: Sequence[Mapping[str, Any]] = (),
) -> Run:
    """Write a run of one case.

    Args:
        path: folder.
        bend: rows of line_metrics: rung, value, and what differs from frame 10, track 0, band far; rows at or over the
            limit become events too.
        events: rows of events, with what differs from a candidate's event in frames 10-12 against 0.2 m.
        engines, steps, preprocess: of the ladder.
        lossy: of the case.
        change: rung -> keys of run.json that differ.
        series: rows of series_metrics, with what differs from track 0 at 10 m.
    """
    path.mkdir(parents=True, exist_ok=True)
    lines = [{"frame": 10, "track": 0, "band": "far", **row} for row in bend]
    found = [
        {"kind": "bend", "frame_start": r["frame"], "frame_end": r["frame"], "frame": r["frame"],
         "value": r["value"], "threshold": LIMIT,
         **{k: r[k] for k in ("rung", "track", "band")}}
        for r in lines if r["value"] is not None and r["value"] > LIMIT
    ]  # fmt: skip
    found += list(events)
    default = {"frame_start": 10, "frame_end": 12, "frame": 11, "track": 0, "band": None, "threshold": 0.2, "unit": "m"}
    always = {"case": "c1", "reference": ROOT}
    _write(path, "events", [{"owner": "candidate", **default, **always, **e} for e in found])
    _write(
        path, "line_metrics", [{**always, **r, "bend": r["value"], "heading": 0.1 * (r["value"] or 0)} for r in lines]
    )
    seen = sorted({(r["rung"], r["frame"]) for r in lines})
    rows = [{**always, "rung": rung, "frame": frame, "lines": 1, "matched": 1, "missing": 0, "extra": 0, "nonfinite": 0}
            for rung, frame in seen]  # fmt: skip
    _write(path, "frame_metrics", rows)
    _write(path, "series_metrics", [{"track": 0, "station": 10.0, **always, **row} for row in series])
    ladder = build_tree(ROOT, engines, preprocess, steps)
    meta = {
        "reference": ROOT,
        "finished": True,
        "card": {"name": "toy", "length_unit": "m", "grid": grid_to_json(vehicle_grid())},
        "cases": [{"id": "c1", "frames": 100, "fps": 20.0, "lossy": lossy}],
        "rungs": [
            {"name": r.name, "preprocess": r.preprocess, "engine": r.engine, "parent": r.parent,
             "factors": list(r.factors), "status": "ok", "reason": "", **(change or {}).get(r.name, {})}
            for r in ladder
        ],
    }  # fmt: skip
    return finish_run(path, meta)


def _write(path: Path, table: str, rows: Sequence[Mapping[str, Any]]) -> None:
    schema = TABLES[table]
    full = [{name: row.get(name) for name in schema} for row in rows]
    pl.DataFrame(full, schema=schema).write_parquet(path / f"{table}.parquet")


def bends(sizes: Mapping[str, float | None], **where: Any) -> list[dict[str, Any]]:
    """Rows of `make_run(bend=...)` from rung -> size; rungs not named have size 0.

    Those without one step have the size of the first rung of deploy: no single step takes it away.
    """
    names = [r.name for r in build_tree(ROOT, ENGINES, ("train", "deploy"), ("colour", "resize"))[1:]]
    kept = sizes.get("deploy/torch-fp32", 0.0)
    default = {n: kept if n.startswith("deploy-") else 0.0 for n in names}
    return [{"rung": n, "value": sizes.get(n, default[n]), **where} for n in names]
