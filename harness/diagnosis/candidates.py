"""Which edits are tried: all of the car's pipeline, or those that can be told from two tensors alone."""

from __future__ import annotations

from harness.diagnosis.colour_edits import colour_edits
from harness.diagnosis.geometry_edits import geometry_edits
from harness.diagnosis.time_edits import time_edits
from harness.diagnosis.value_edits import value_edits

__all__ = ["WITH_RECORDING"]

WITH_RECORDING = (colour_edits, geometry_edits, value_edits, time_edits)
