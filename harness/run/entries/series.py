"""Measures of one line over time at one look-ahead: columns of series_metrics.parquet."""

from __future__ import annotations

from harness.run.entries.making import PRESENCE, series_entry
from harness.run.measure import Threshold

__all__ = ["ENTRIES"]

ENTRIES = (
    series_entry(
        "bias", "length", "bias", "Mean of the lateral offset at one look-ahead over the case, left positive.",
        "series_table:bias_of", signed=True, family="offset", has_floor=True,
        threshold=Threshold((0.10, 0.10, 0.20), (0.5, 0.5, 0.5), "w"),
    ),
    series_entry(
        "jitter", "length", "jitter",
        "RMS second difference of the offset from frame to frame / sqrt(6): the sigma of white noise that would shake "
        "as much. Constant bias and steady drift do not count.",
        "series_table:jitter_of", has_floor=True,
    ),
    series_entry(
        "sway_rms", "length", "sway", "RMS of the offset at one look-ahead between 0.3 and 2 Hz.",
        "series_table:sway_of", has_floor=True,
    ),
    series_entry(
        "swing_rate", "rate", "swing rate", "Swings of the candidate's own per minute.",
        group="", family="swing",
    ),
    series_entry(
        "swing_pp", "length", "swing",
        "Peak-to-peak left-right movement of the offset at one look-ahead between successive turning points, after a "
        "3 Hz low-pass.", family="swing", has_floor=True,
    ),
    series_entry(
        "lag_frames", "frames", "lag",
        "Frames by which the candidate follows the reference: a delay that explains their difference beyond chance, "
        "the same on all lines.",
        signed=True, optional=True, threshold=Threshold.same(0.5),
    ),
    series_entry(
        "toggles_per_min", "rate", "flicker",
        "Times per minute a line appears or disappears, in excess of the reference.",
        group=PRESENCE, family="flicker",
    ),
)  # fmt: skip
