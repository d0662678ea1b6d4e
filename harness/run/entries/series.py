"""Measures of one line over time at one look-ahead: columns of series_metrics.parquet."""

from __future__ import annotations

from harness.run.entries.making import PRESENCE, series_entry
from harness.run.measure import Threshold

__all__ = ["ENTRIES"]

ENTRIES = (
    series_entry(
        "bias", "length", "bias", "Mean of the lateral offset at one look-ahead over the case, left positive; of lines "
        "that live a second or more.",
        "drift:bias_of", signed=True, family="offset", has_floor=True, pooled="mean",
        threshold=Threshold((0.10, 0.10, 0.20), (0.5, 0.5, 0.5), "w"),
    ),
    series_entry(
        "drift", "length", "drift", "Largest mean of the lateral offset over any 5 s at one look-ahead.",
        "drift:drift_of", family="offset", has_floor=True, optional=True,
        threshold=Threshold((0.10, 0.10, 0.20), (0.5, 0.5, 0.5), "w"),
    ),
    series_entry(
        "wander", "length", "wander",
        "Peak-to-peak left-right movement too slow for swing: below 1 Hz, turning points up to 5.5 s apart, beyond "
        "what a delay or the road's curvature explains; below the threshold, of what turns as often with smaller legs.",
        "wander:wander_of", family="swing", optional=True,
        threshold=Threshold((0.30, 0.30, 0.60), (1.05, 1.05, 2.1), "h"),
    ),
    series_entry(
        "frozen", "duration", "frozen line",
        "Seconds, half a second at least, in which the candidate's line stands still while the reference's moves.",
        "frozen:frozen_of", optional=True, threshold=Threshold.same(0.45),
    ),
    series_entry(
        "jitter", "length", "jitter",
        "How much the candidate's line shakes from frame to frame beyond the reference's, in the worst 2 s: the sigma "
        "of white noise that would shake as much, from the 80 % point of the second difference. Constant bias, steady "
        "drift and single frames that are far off do not count.",
        "jitter:jitter_of", has_floor=True, per_rate=True, needs_s=2.5,
        threshold=Threshold((0.06, 0.06, 0.12), (0.3, 0.3, 0.3), "w"),
    ),
    series_entry(
        "tremble", "length", "tremble",
        "RMS of the offset from 3 to 8 Hz in the worst 2 s, beyond what the reference does by itself.",
        "tremble:tremble_of", has_floor=True, per_rate=True, family="jitter", needs_s=2.0,
        threshold=Threshold((0.045, 0.045, 0.09), (0.225, 0.225, 0.225), "w"),
    ),
    series_entry(
        "glitch", "length", "glitch",
        "Distance of one or two frames from the median of the half second around them.",
        "jumps:glitch_of", needs_s=1.0, threshold=Threshold((0.30, 0.30, 0.60), (1.5, 1.5, 1.5), "w"),
    ),
    series_entry(
        "step", "length", "step",
        "Lasting change of the offset within two frames: from the median of the half second before to the medians of "
        "both half seconds after.",
        "jumps:step_of", needs_s=2.0, threshold=Threshold((0.15, 0.15, 0.30), (0.75, 0.75, 0.75), "w"),
    ),
    series_entry(
        "sway_rms", "length", "sway", "RMS of the offset at one look-ahead between 0.3 and 2 Hz.",
        "series_table:sway_of", has_floor=True, needs_s=2.0, pooled="rms",
    ),
    series_entry(
        "swing_rate", "rate", "swing rate", "Swings of the candidate's own per minute.",
        group="", needs_s=1.0, family="swing",
    ),
    series_entry(
        "swing_pp", "length", "swing",
        "Peak-to-peak left-right movement of the offset at one look-ahead between successive turning points, after a "
        "3 Hz low-pass; below the threshold of a swing, of what turns as often with smaller legs.",
        family="swing", has_floor=True, needs_s=1.0,
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
