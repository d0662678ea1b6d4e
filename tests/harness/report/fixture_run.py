"""A plausible run folder, deterministic, without a model: what the report's tests read.

The road bends gently and has `tracks` lines. Every rung adds its own disturbance to the lines of its parent: the deploy
preprocessing bows the far band in bursts, one engine swings the lines at 1 Hz, the rest is small noise. Metrics and
events are computed from those lines by the plain definitions of docs/DESIGN.md section 4.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from cases.case import open_case
from harness.model.grid import Grid, grid_to_json, image_grid, vehicle_grid
from harness.run.catalogue import find_measure
from harness.run.folder import Run
from harness.run.tables import SORT_KEYS, TABLES
from tests.run_folders import finish_run

LADDER: list[tuple[str, str | None, list[str]]] = [
    ("train/torch-fp32", None, []),
    ("deploy/torch-fp32", "train/torch-fp32", ["preprocess"]),
    ("deploy/ort-fp32-none", "deploy/torch-fp32", ["export"]),
    ("deploy/ort-fp32", "deploy/ort-fp32-none", ["graph-optimisation"]),
    ("train+resize/torch-fp32", "train/torch-fp32", ["preprocess:resize"]),
    ("train+colour/torch-fp32", "train/torch-fp32", ["preprocess:colour"]),
    ("deploy/emulated-fp16", "deploy/ort-fp32", ["precision:fp16"]),
    ("deploy/emulated-bf16", "deploy/ort-fp32", ["precision:bf16"]),
    ("deploy/emulated-tf32", "deploy/ort-fp32", ["precision:tf32"]),
    ("deploy/emulated-reorder", "deploy/ort-fp32", ["accumulation"]),
    ("deploy/openvino-fp32", "deploy/ort-fp32", ["runtime"]),
    ("deploy/recorded", "deploy/ort-fp32", ["car"]),
]
BOWED = {"deploy/torch-fp32": 1.0, "train+resize/torch-fp32": 0.8, "train+colour/torch-fp32": 0.1}
SWUNG = {"deploy/recorded": 0.5, "deploy/emulated-bf16": 0.2, "deploy/ort-fp32": 0.45}
NOISE = {"deploy/ort-fp32-none": 0.002, "deploy/emulated-fp16": 0.01}


@dataclass(frozen=True)
class Shape:
    """What the fixture run looks like."""

    cases: int = 3
    rungs: int = 6
    frames: int = 60
    tracks: int = 3
    frame: str = "vehicle"
    severity: float = 1.0
    fps: float = 20.0
    seed: int = 0
    swing: float = 1.0


def make_run(path: Path, shape: Shape | None = None, *, case_paths: Sequence[Path] = (), **meta: Any) -> Run:
    """Write a run folder and open it; `meta` overrides keys of run.json."""
    shape = shape or Shape()
    path.mkdir(parents=True, exist_ok=True)
    grid = _grid(shape)
    ladder = LADDER[: shape.rungs]
    paths = list(case_paths) + [path / f"gone_{i}" for i in range(len(case_paths), shape.cases)]
    cases = [_case_json(i, p, shape) for i, p in enumerate(paths[: shape.cases])]
    parts: dict[str, list[pl.DataFrame]] = {name: [] for name in TABLES}
    for number, case in enumerate(cases):
        for name, table in _case_tables(number, case["id"], Path(case["path"]), ladder, grid, shape).items():
            parts[name].append(table)
    for name, schema in TABLES.items():
        table = pl.concat(parts[name]) if parts[name] else pl.DataFrame(schema=schema)
        table.select(pl.col(c).cast(t) for c, t in schema.items()).sort(*SORT_KEYS[name]).write_parquet(
            path / f"{name}.parquet"
        )
    document = _meta(grid, ladder, cases) | meta
    return finish_run(path, document)


def _grid(shape: Shape) -> Grid:
    return vehicle_grid() if shape.frame == "vehicle" else image_grid(640, 360, (355, 205))


def _case_json(number: int, path: Path, shape: Shape) -> dict[str, Any]:
    names = ("highway_curve", "rain_at_dusk", "bridge_joint", "tunnel_exit", "construction_site")
    name = names[number] if number < len(names) else f"clip_{number:03d}"
    return {
        "id": name, "path": str(path), "digest": _digest(path, number), "frames": shape.frames, "fps": shape.fps,
        "lossy": number == 1, "tags": ["synthetic"],
    }  # fmt: skip


def _digest(path: Path, number: int) -> str:
    return open_case(path).digest() if path.is_dir() else f"{number:064x}"


def _meta(
    grid: Grid, ladder: Sequence[tuple[str, str | None, list[str]]], cases: list[dict[str, Any]]
) -> dict[str, Any]:
    rungs = [
        {
            "name": n, "preprocess": n.split("/")[0], "engine": n.split("/")[1], "parent": p, "factors": f,
            "status": "ok", "reason": "", "provenance": {"engine": n.split("/")[1], "version": "1.2.3", "threads": 1},
        }
        for n, p, f in ladder
    ]  # fmt: skip
    return {
        "schema": 1,
        "card": {
            "name": "roadlines", "path": "model.toml", "sha256": "ab" * 32, "files": {"weights.safetensors": "cd" * 32},
            "frame": grid.frame, "length_unit": grid.unit,
            "grid": grid_to_json(grid),
        },
        "reference": ladder[0][0], "rungs": rungs, "cases": cases, "settings": {"steps": True},
        "provenance": {"trueline": "0.1.0", "python": "3.11.2", "torch": "2.13.0"},
        "digest": "ef" * 32, "started": "2026-01-02T03:04:05+00:00", "ended": "2026-01-02T03:05:06+00:00",
        "finished": True,
    }  # fmt: skip


def _case_tables(
    number: int,
    case: str,
    path: Path,
    ladder: Sequence[tuple[str, str | None, list[str]]],
    grid: Grid,
    shape: Shape,
) -> dict[str, pl.DataFrame]:
    offsets = _offsets(number, ladder, grid, shape)
    base = _from_truth(path, grid, shape) if (path / "lines.parquet").exists() else _invented(grid, shape, number)
    reference = ladder[0][0]
    return {
        "lines": _lines(case, ladder, offsets, base, grid, shape),
        "line_metrics": pl.concat(
            [_line_metrics(case, r, reference, offsets[r], grid) for r, *_ in ladder[1:]] or [_none("line_metrics")]
        ),
        "frame_metrics": _frame_metrics(case, ladder, shape),
        "tensor_metrics": _tensor_metrics(case, ladder, shape),
        "series_metrics": pl.concat(
            [_series(case, r, reference, offsets[r], grid, shape) for r, *_ in ladder[1:]] or [_none("series_metrics")]
        ),
        "events": pl.concat([_events(case, r, reference, offsets[r], grid, shape) for r, *_ in ladder[1:]]
                            or [_none("events")]),
        "latency": pl.DataFrame(
            {"case": case, "rung": r, "p50_ms": 12.0 + i, "p99_ms": 15.0 + 2 * i, "frames": shape.frames}
            for i, (r, *_) in enumerate(ladder)
        ),
    }  # fmt: skip


def _none(table: str) -> pl.DataFrame:
    return pl.DataFrame(schema=TABLES[table])


def _offsets(
    number: int, ladder: Sequence[tuple[str, str | None, list[str]]], grid: Grid, shape: Shape
) -> dict[str, NDArray[np.float64]]:
    """d [frames, tracks, 51 stations] of every rung against the first, in the grid's unit."""
    rng = np.random.default_rng([shape.seed, number])
    t_s = np.arange(shape.frames) / shape.fps
    station = grid.stations.reshape(-1)
    along = (station - station[0]) / (station[-1] - station[0])
    scale = 1.0 if shape.frame == "vehicle" else 12.0
    found: dict[str, NDArray[np.float64]] = {}
    for name, parent, _ in ladder:
        base = found[parent] if parent else np.zeros((shape.frames, shape.tracks, 51))
        burst = np.exp(-(((t_s - t_s[-1] * (0.3 + 0.1 * number % 0.5)) / 0.4) ** 2))
        bow = 0.6 * BOWED.get(name, 0.0) * burst[:, None, None] * np.sin(np.pi * np.clip(along * 1.6 - 0.6, 0, 1))
        sway = 0.5 * SWUNG.get(name, 0.0) * shape.swing * np.sin(2 * np.pi * t_s)[:, None, None] * (0.5 + along)
        noise = rng.normal(0, NOISE.get(name, 0.001), (shape.frames, shape.tracks, 1)) if parent else 0.0
        weight = np.linspace(1, 0.6, shape.tracks)[None, :, None]
        found[name] = base + scale * shape.severity * (bow + sway) * weight / (1 + number * 0.4) + scale * noise
    return found


def _lines(
    case: str,
    ladder: Sequence[tuple[str, str | None, list[str]]],
    offsets: dict[str, NDArray[np.float64]],
    base: NDArray[np.float64],
    grid: Grid,
    shape: Shape,
) -> pl.DataFrame:
    station = grid.stations.reshape(-1)
    rows: list[dict[str, Any]] = []
    for name, *_ in ladder:
        for frame in range(shape.frames):
            for track in range(shape.tracks):
                d, lateral = offsets[name][frame, track], base[frame, track]
                x, y = (station, lateral + d) if shape.frame == "vehicle" else (lateral - d, station)
                rows.append(
                    {
                        "case": case, "frame": frame, "rung": name, "line": track,
                        "timestamp_ns": int(frame / shape.fps * 1e9), "slot": track, "track": track, "class": 0,
                        "score": 0.9, "topology": 0, "x": x.astype(np.float32), "y": y.astype(np.float32),
                    }
                )  # fmt: skip
    return pl.DataFrame(rows, schema=TABLES["lines"])


def _from_truth(path: Path, grid: Grid, shape: Shape) -> NDArray[np.float64]:
    """The reference's lines of a case folder with ground truth: y in metres, [frames, tracks, stations]."""
    truth = pl.read_parquet(path / "lines.parquet")
    station = grid.stations.reshape(-1)
    lines = truth.filter(pl.col("line") < shape.tracks, pl.col("frame") < shape.frames).sort("frame", "line")
    y = [np.interp(station, row["x"], row["y"]) for row in lines.iter_rows(named=True)]
    return np.reshape(y, (shape.frames, shape.tracks, len(station)))


def _invented(grid: Grid, shape: Shape, number: int) -> NDArray[np.float64]:
    """A road that bends: y in metres, or u in pixels, [frames, tracks, stations]."""
    station = grid.stations.reshape(-1)
    frame, track = np.arange(shape.frames)[:, None, None], np.arange(shape.tracks)[None, :, None]
    if shape.frame == "vehicle":
        return (1 - track) * 3.6 + 1.75 + 4e-4 * (1 + number) * np.cos(frame / 40) * station**2
    lane = (track - 1) * 3.6 - 1.0
    return 320 + lane * (station - 190) * 1.1 + 8e-4 * (360 - station) ** 2 + 0.0 * frame


def _line_metrics(case: str, rung: str, reference: str, d: NDArray[np.float64], grid: Grid) -> pl.DataFrame:
    rows = []
    for index, band in enumerate(("near", "mid", "far")):
        part = d[:, :, 17 * index : 17 * index + 17]
        s = grid.stations[index]
        bend = _bend(part, s)
        slope = np.polynomial.polynomial.polyfit(s, part.reshape(-1, 17).T, 1)[1].reshape(part.shape[:2])
        for frame, track in np.ndindex(*part.shape[:2]):
            values = part[frame, track]
            rows.append(
                {
                    "case": case, "frame": frame, "rung": rung, "track": track, "band": band, "reference": reference,
                    "coverage": 1.0, "offset_mean": values.mean(), "offset_max": values[np.abs(values).argmax()],
                    "heading": slope[frame, track], "bend": bend[frame, track], "bend_rms": bend[frame, track] / 3,
                    "kink": bend[frame, track] / (s[-1] - s[0]), "curvature_gap": bend[frame, track] / 500,
                    "chamfer": None, "class_flip": False, "score_gap": 0.01, "reach_gap": 0.0,
                }
            )  # fmt: skip
    return pl.DataFrame(rows, schema=TABLES["line_metrics"])


def _bend(d: NDArray[np.float64], s: NDArray[np.float64]) -> NDArray[np.float64]:
    """The definition, station by station."""
    worst = np.zeros(d.shape[:2])
    for i, j, k in combinations(range(0, 17, 2), 3):
        w = (s[j] - s[i]) / (s[k] - s[i])
        worst = np.maximum(worst, np.abs(d[..., j] - (1 - w) * d[..., i] - w * d[..., k]))
    return worst


def _frame_metrics(case: str, ladder: Sequence[tuple[str, str | None, list[str]]], shape: Shape) -> pl.DataFrame:
    rows = [
        {
            "case": case, "frame": f, "rung": r, "reference": ladder[0][0], "lines": shape.tracks,
            "matched": shape.tracks - (f % 17 == 3 and i == 1), "missing": int(f % 17 == 3 and i == 1), "extra": 0,
            "nonfinite": 0,
        }
        for i, (r, *_) in enumerate(ladder[1:])
        for f in range(shape.frames)
    ]  # fmt: skip
    return pl.DataFrame(rows, schema=TABLES["frame_metrics"])


def _tensor_metrics(case: str, ladder: Sequence[tuple[str, str | None, list[str]]], shape: Shape) -> pl.DataFrame:
    rows = [
        {
            "case": case, "frame": f, "rung": r, "output": "lines", "reference": ladder[0][0], "max_abs": 0.1 * i,
            "mean_abs": 0.01 * i, "p99_abs": 0.08 * i, "rel_rms": 1e-3 * i + 1e-4 * f / shape.frames, "cosine": 0.999,
            "snr_db": 60.0 - i, "ulp_p99": 100.0 * i, "nonfinite": 0,
        }
        for i, (r, *_) in enumerate(ladder[1:], start=1)
        for f in range(shape.frames)
    ]  # fmt: skip
    return pl.DataFrame(rows, schema=TABLES["tensor_metrics"])


def _series(case: str, rung: str, reference: str, d: NDArray[np.float64], grid: Grid, shape: Shape) -> pl.DataFrame:
    rows = []
    for band, station in enumerate(grid.look_ahead):
        for track in range(d.shape[1]):
            series = d[:, track, 17 * band + 8]
            wobble = np.diff(series, n=2)
            swing_pp = float(np.ptp(series)) if len(series) > 1 else None
            rows.append(
                {
                    "case": case, "rung": rung, "track": track, "station": station, "reference": reference,
                    "fps": shape.fps, "frames": len(series), "bias": series.mean(),
                    "jitter": float(np.sqrt(np.mean(wobble**2) / 6)) if len(wobble) else None,
                    "sway_rms": float(series.std()), "swing_rate": 0.0, "swing_pp": swing_pp, "swing_hz": 1.0,
                    "lag_frames": 0.0, "toggles_per_min": 0.0,
                }
            )  # fmt: skip
    return pl.DataFrame(rows, schema=TABLES["series_metrics"])


def _events(case: str, rung: str, reference: str, d: NDArray[np.float64], grid: Grid, shape: Shape) -> pl.DataFrame:
    rows = []
    thresholds = find_measure("bend").threshold
    assert thresholds is not None
    for index, band in enumerate(("near", "mid", "far")):
        bend = _bend(d[:, :, 17 * index : 17 * index + 17], grid.stations[index])
        limit = thresholds.of(grid)[index]
        for track in range(d.shape[1]):
            over = np.flatnonzero(bend[:, track] > limit)
            if len(over):
                worst = over[bend[over, track].argmax()]
                rows.append(_event(case, rung, reference, "bend", over[0], over[-1], worst, track, band,
                                   bend[over, track].max(), limit, grid.unit))  # fmt: skip
            series = d[:, track, 17 * index + 8]
            swing = np.ptp(series) if SWUNG.get(rung) else 0.0
            if swing >= grid.thresholds.swing[index]:
                rows.append(_event(case, rung, reference, "swing", 5, shape.frames - 1, 5, track, band, swing,
                                   grid.thresholds.swing[index], grid.unit))  # fmt: skip
    return pl.DataFrame(rows, schema=TABLES["events"])


def _event(
    case: str, rung: str, reference: str, kind: str, start: int, end: int, worst: int, track: int, band: str,
    value: float, threshold: float, unit: str,
) -> dict[str, Any]:  # fmt: skip
    return {
        "case": case, "rung": rung, "kind": kind, "frame_start": int(start), "frame_end": int(end),
        "frame": int(worst), "track": track,
        "band": band, "reference": reference, "value": float(value), "threshold": threshold, "unit": unit,
        "owner": "candidate",
    }  # fmt: skip
