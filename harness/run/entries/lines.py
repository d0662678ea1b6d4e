"""Measures of matched lines, frame by frame: columns of line_metrics.parquet.

The finding thresholds are those at which a lane-keeping function would notice: docs/DESIGN.md section 4.
"""

from __future__ import annotations

import math

from harness.run.entries.making import PRESENCE, SHAPE, line_entry
from harness.run.measure import Threshold

__all__ = ["ENTRIES"]

DEGREE = math.pi / 180

ENTRIES = (
    line_entry(
        "offset_mean", "length", "mean offset",
        "Mean lateral distance of the candidate's line from the reference's in one band, left positive.",
        "offset:offset_mean_of", signed=True, family="offset",
        threshold=Threshold((0.10, 0.10, 0.20), (0.5, 0.5, 0.5), "w"),
    ),
    line_entry(
        "offset_max", "length", "offset",
        "Largest lateral distance of the candidate's line from the reference's along one band.",
        "offset:offset_max_of", signed=True, family="offset", group=SHAPE,
        threshold=Threshold((0.15, 0.15, 0.30), (0.75, 0.75, 0.75), "w"),
    ),
    line_entry(
        "heading", "angle", "heading",
        "Slope of the lateral offset along the band: how far the line is turned as a whole.",
        "offset:heading_of", signed=True, group=SHAPE, whole_band=True, family="offset",
        threshold=Threshold((0.4 * DEGREE,) * 3, (3 * DEGREE,) * 3, over="band"),
    ),
    line_entry(
        "bend", "length", "bend",
        "Largest distance of the lateral offset from any of its own chords within one band: a shifted or turned line "
        "has bend 0, a bow of 0.2 m reads 0.2 m.",
        "bend:bend_of", group=SHAPE, threshold=Threshold((0.15, 0.15, 0.30), (0.5, 0.5, 0.5), "h"),
    ),
    line_entry(
        "bend_rms", "length", "RMS bend", "RMS of the lateral offset about its straight line within one band.",
        "bend:bend_rms_of", family="bend",
    ),
    line_entry(
        "kink", "angle", "kink",
        "Largest change of direction of the offset over a fixed length: a corner in the line.",
        "kink:kink_of", group=SHAPE, only_bands="bands_with_kink",
        threshold=Threshold((3 * DEGREE,) * 3, (3 * DEGREE,) * 3, over="kink"),
    ),
    line_entry(
        "curvature_gap", "curvature", "curvature gap",
        "Largest difference of curvature between the candidate's line and the reference's over half a band.",
        "curvature:curvature_gap_of", signed=True, group=SHAPE, whole_band=True,
    ),
    line_entry(
        "chamfer", "length", "outline distance",
        "Distance between two outlines, for closed lines and lines across the road.",
        has_band=False, family="offset", optional=True, threshold=Threshold((0.15,) * 3, (0.75,) * 3, "w"),
    ),
    line_entry(
        "reach_gap", "length", "reach",
        "How much farther the candidate's line reaches than the reference's, along the road; negative: it ends sooner.",
        has_band=False, has_floor=False, signed=True, group=PRESENCE, noise="", optional=True,
        threshold=Threshold((10.0,) * 3, (5.0,) * 3, "h", along=True),
    ),
    line_entry(
        "coverage", "share", "coverage",
        "Share of the reference's stations in a band that the candidate's line has too; below 80 % the band is not "
        "measured.",
        higher_is_worse=False, best=1.0, group=PRESENCE, has_floor=False,
    ),
    line_entry(
        "class_flip", "share", "class flip", "The matched line has another class than the reference's.",
        has_floor=False, kind="flag", noise="", has_band=False,
    ),
    line_entry(
        "score_gap", "number", "score gap",
        "Change of the margin between a line's score and the threshold it must pass.", signed=True, has_band=False,
    ),
)  # fmt: skip
