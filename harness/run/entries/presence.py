"""Measures of a frame's lines as a whole: columns of frame_metrics.parquet."""

from __future__ import annotations

import math

from harness.run.entries.making import NONFINITE, PRESENCE
from harness.run.measure import Measure

__all__ = ["ENTRIES"]

ENTRIES = (
    Measure(
        "lines", "frame_metrics", "lines", "count", "lines", "Lines that the rung draws in a frame.", "", "counter",
        higher_is_worse=False, best=math.inf, has_reference=False,
    ),
    Measure(
        "reach", "frame_metrics", "reach", "length", "reach of the lines",
        "How far ahead the lines of a frame reach from the nearest station, in the mean over them.", "",
        higher_is_worse=False, best=math.inf, has_reference=False,
    ),
    Measure(
        "missing", "frame_metrics", "missing", "count", "missing lines",
        "Lines of the reference without a partner, per frame.", PRESENCE, "counter", has_floor=True, noise="missing",
    ),
    Measure(
        "extra", "frame_metrics", "extra", "count", "extra lines",
        "Lines of the candidate without a partner, per frame.", PRESENCE, "counter", has_floor=True, noise="extra",
    ),
    Measure(
        "frame_metrics.nonfinite", "frame_metrics", "nonfinite", "count", "non-finite numbers", NONFINITE, PRESENCE,
        "counter", family="nonfinite", noise="frame_metrics.nonfinite",
    ),
)  # fmt: skip
