"""What the lines said against where the car went: columns of path_metrics.parquet."""

from __future__ import annotations

from harness.run.measure import Measure

__all__ = ["ENTRIES"]

ENTRIES = (
    Measure(
        "path_error", "path_metrics", "path_error", "length", "ego-path error",
        "Mean distance of what the ego lane's lines said at 40 m from what they say at 20 m when the car is there, up "
        "to the match gate, which a line costs that only one of the moments has. Without a value where the car's "
        "motion is not known.", "", has_reference=False, optional=True, of_case=True,
    ),
    Measure(
        "path_skill", "path_metrics", "path_skill", "share", "ego-path skill",
        "1 less the ego-path error over that of the best lines that never move: 1 is consistent, 0 a network that sees "
        "nothing. Without a value where the car's motion is not known, or its way hardly varies.", "",
        higher_is_worse=False, best=1.0, has_reference=False, optional=True, of_case=True, needs_eyes=True,
    ),
    Measure(
        "path_lag", "path_metrics", "path_lag", "duration", "ego-path lag",
        "How late the lines are: the delay, up to 1 s, that takes most of the ego-path error off; 0 where none takes a "
        "quarter of it. Without a value as the skill.", "", has_reference=False, optional=True, of_case=True,
    ),
)  # fmt: skip
