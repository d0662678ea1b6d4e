"""Schemas of the tables in a run folder; each table is sorted by its first columns (docs/DESIGN.md section 3).

Lengths are in the model's `length_unit`, angles in radians. Lateral values are left positive in both frames: in the
image frame an offset is minus the difference of u.
"""

from __future__ import annotations

import polars as pl

__all__ = ["BANDS", "SORT_KEYS", "TABLES", "empty"]

BANDS = ("near", "mid", "far")

_F, _I, _S = pl.Float64, pl.Int64, pl.String

TABLES: dict[str, dict[str, pl.DataType | type[pl.DataType]]] = {
    "lines": {
        "case": _S, "frame": _I, "rung": _S, "line": pl.Int32, "timestamp_ns": _I, "slot": pl.Int16, "track": pl.Int32,
        "class": pl.Int16, "score": pl.Float32, "topology": pl.UInt8,
        "x": pl.List(pl.Float32), "y": pl.List(pl.Float32),
    },
    "line_metrics": {
        "case": _S, "frame": _I, "rung": _S, "track": pl.Int32, "band": _S, "reference": _S, "coverage": _F,
        "offset_mean": _F, "offset_max": _F, "heading": _F, "bend": _F, "bend_rms": _F, "kink": _F, "curvature_gap": _F,
        "chamfer": _F, "class_flip": pl.Boolean, "score_gap": _F,
    },
    "frame_metrics": {
        "case": _S, "frame": _I, "rung": _S, "reference": _S, "lines": pl.Int32, "matched": pl.Int32,
        "missing": pl.Int32, "extra": pl.Int32, "nonfinite": _I,
    },
    "tensor_metrics": {
        "case": _S, "frame": _I, "rung": _S, "output": _S, "reference": _S, "max_abs": _F, "mean_abs": _F,
        "p99_abs": _F, "rel_rms": _F, "cosine": _F, "snr_db": _F, "ulp_p99": _F, "nonfinite": _I,
    },
    "series_metrics": {
        "case": _S, "rung": _S, "track": pl.Int32, "station": _F, "reference": _S, "fps": _F, "frames": _I, "bias": _F,
        "jitter": _F, "sway_rms": _F, "swing_rate": _F, "swing_pp": _F, "swing_hz": _F, "lag_frames": _F,
        "toggles_per_min": _F,
    },
    "state_metrics": {
        "case": _S, "rung": _S, "signal": _S, "reference": _S, "fps": _F, "steps": _I, "early": _F, "late": _F,
        "growth": _F, "doubling_s": _F,
    },
    "events": {
        "case": _S, "rung": _S, "kind": _S, "frame_start": _I, "frame_end": _I, "track": pl.Int32, "band": _S,
        "reference": _S, "value": _F, "threshold": _F, "unit": _S, "owner": _S,
    },
    "floors": {
        "case": _S, "rung": _S, "probe": _S, "metric": _S, "band": _S, "value": _F, "count": _I,
    },
    "latency": {"case": _S, "rung": _S, "p50_ms": _F, "p99_ms": _F, "frames": _I},
    "accuracy": {
        "case": _S, "rung": _S, "band": _S, "lateral_mae": _F, "stations": _I,
        "f1_05": _F, "f1_10": _F, "f1_15": _F, "frames": _I,
    },
}  # fmt: skip

SORT_KEYS: dict[str, tuple[str, ...]] = {
    "lines": ("case", "frame", "rung", "line"),
    "line_metrics": ("case", "frame", "rung", "track", "band", "reference"),
    "frame_metrics": ("case", "frame", "rung", "reference"),
    "tensor_metrics": ("case", "frame", "rung", "output", "reference"),
    "series_metrics": ("case", "rung", "track", "station", "reference"),
    "state_metrics": ("case", "rung", "signal", "reference"),
    "events": ("case", "rung", "kind", "frame_start", "frame_end", "track", "band", "reference"),
    "floors": ("case", "rung", "probe", "metric", "band"),
    "latency": ("case", "rung"),
    "accuracy": ("case", "rung", "band"),
}


def empty(table: str) -> pl.DataFrame:
    """A table of that schema without rows."""
    return pl.DataFrame(schema=TABLES[table])
