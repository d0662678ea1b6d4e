"""What a difference would do to a car that follows the ego lane: columns of lane_metrics.parquet."""

from __future__ import annotations

from harness.run.entries.making import lane_entry

__all__ = ["ENTRIES"]

ENTRIES = (
    lane_entry(
        "lane_centre", "length", "lane centre",
        "Largest distance of the centre of the candidate's ego lane from the reference's, at the way of one second.",
    ),
    lane_entry(
        "lane_width", "length", "lane width", "Largest difference of the width of the ego lane, at the same place.",
    ),
    lane_entry(
        "curvature_demand", "curvature", "curvature demand",
        "Largest curvature that a car steering towards the centre of the candidate's ego lane drives in excess of one "
        "that follows the reference's (pure pursuit).",
    ),
    lane_entry(
        "lateral_accel", "acceleration", "lateral acceleration",
        "Largest lateral acceleration of that excess at the car's speed, after UN R79's low-pass of 0.5 Hz.",
    ),
    lane_entry(
        "lateral_jerk", "jerk", "lateral jerk",
        "Largest lateral jerk of that excess at the car's speed, averaged over half a second as UN R79 has it.",
    ),
)  # fmt: skip
