"""Is a policy calibrated: how often does a good candidate fail it, and what would it miss?

    calibrate([run_a, run_b, ...], policy) -> Calibration

scores  of every version, drive and rule how near it came to the limit
suite   the same cases again with the next version: versions are the sample
drives  other drives with the next version: drives and versions both vary
limits  limits that would hold 5 %, and the size of a fault that would be caught
plan    drives needed to see a defect, before anything is replayed
view    for the terminal
"""

from __future__ import annotations

from harness.calibrate.calibration import Calibration, calibrate
from harness.calibrate.plan import drives_needed
from harness.calibrate.view import render

__all__ = ["Calibration", "calibrate", "drives_needed", "render"]
