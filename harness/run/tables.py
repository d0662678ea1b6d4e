"""Schemas of the tables in a run folder; each table is sorted by its first columns (docs/DESIGN.md section 3).

Lengths are in the model's `length_unit`, angles in radians. Lateral values are left positive in both frames: in the
image frame an offset is minus the difference of u.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import polars as pl

from harness.run.catalogue import columns_of

__all__ = ["BANDS", "SORT_KEYS", "TABLES", "Schema", "empty"]

BANDS = ("near", "mid", "far")

Schema = dict[str, pl.DataType | type[pl.DataType]]

_F, _I, _S = pl.Float64, pl.Int64, pl.String

# columns besides the measures of harness/run/catalogue.py, which follow them in its order
_FIXED: dict[str, Schema] = {
    "lines": {
        "case": _S, "frame": _I, "rung": _S, "line": pl.Int32, "timestamp_ns": _I, "slot": pl.Int16, "track": pl.Int32,
        "class": pl.Int16, "score": pl.Float32, "topology": pl.UInt8,
        "x": pl.List(pl.Float32), "y": pl.List(pl.Float32),
    },
    "line_metrics": {"case": _S, "frame": _I, "rung": _S, "track": pl.Int32, "band": _S, "reference": _S},
    "frame_metrics": {
        "case": _S, "frame": _I, "rung": _S, "reference": _S, "lines": _I, "matched": pl.Int32,
    },
    "tensor_metrics": {"case": _S, "frame": _I, "rung": _S, "output": _S, "reference": _S},
    "series_metrics": {
        "case": _S, "rung": _S, "track": pl.Int32, "station": _F, "reference": _S, "fps": _F, "frames": _I,
        "reference_frames": _I, "reference_run_s": _F, "swing_hz": _F,
    },
    "lane_metrics": {"case": _S, "rung": _S, "reference": _S, "frames": _I},
    "state_metrics": {
        "case": _S, "rung": _S, "signal": _S, "reference": _S, "fps": _F, "steps": _I, "early": _F, "late": _F,
        "doubling_s": _F,
    },
    "events": {
        "case": _S, "rung": _S, "kind": _S, "frame_start": _I, "frame_end": _I, "frame": _I, "track": pl.Int32,
        "band": _S, "reference": _S, "value": _F, "threshold": _F, "unit": _S, "owner": _S,
    },
    "path_metrics": {"case": _S, "rung": _S, "looks": _I},
    "floors": {"case": _S, "rung": _S, "probe": _S, "metric": _S, "band": _S, "value": _F, "count": _I},
    "latency": {"case": _S, "rung": _S, "frames": _I},
    "accuracy": {"case": _S, "rung": _S, "band": _S, "stations": _I, "frames": _I},
}  # fmt: skip
_TYPES: dict[str, pl.DataType | type[pl.DataType]] = {"value": _F, "counter": _I, "flag": pl.Boolean}


class _Tables(Mapping[str, Schema]):
    """Table -> column -> type, as the catalogue is at the moment one asks."""

    def __getitem__(self, table: str) -> Schema:
        return _FIXED[table] | {column: _TYPES[kind] for column, kind in columns_of(table).items()}

    def __iter__(self) -> Iterator[str]:
        return iter(_FIXED)

    def __len__(self) -> int:
        return len(_FIXED)


TABLES: Mapping[str, Schema] = _Tables()

SORT_KEYS: dict[str, tuple[str, ...]] = {
    "lines": ("case", "frame", "rung", "line"),
    "line_metrics": ("case", "frame", "rung", "track", "band", "reference"),
    "frame_metrics": ("case", "frame", "rung", "reference"),
    "tensor_metrics": ("case", "frame", "rung", "output", "reference"),
    "series_metrics": ("case", "rung", "track", "station", "reference"),
    "lane_metrics": ("case", "rung", "reference"),
    "state_metrics": ("case", "rung", "signal", "reference"),
    "events": ("case", "rung", "kind", "frame_start", "frame_end", "track", "band", "reference"),
    "path_metrics": ("case", "rung"),
    "floors": ("case", "rung", "probe", "metric", "band"),
    "latency": ("case", "rung"),
    "accuracy": ("case", "rung", "band"),
}


def empty(table: str) -> pl.DataFrame:
    """A table of that schema without rows."""
    return pl.DataFrame(schema=TABLES[table])
