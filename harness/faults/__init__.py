"""Known deployment faults, planted on purpose, to see whether they are caught and blamed rightly (docs/faults.md).

protocol    what a fault is, and what planting one gives a replay
preprocess  faults of the deploy pipeline;  steps: the ops that some of them need
export      faults of the exported model;  modules: the networks that some of them export
car         faults of what the car records
controls    changes that are no faults
bed         replay faults and controls, explain, and compare with what was planted
"""

from __future__ import annotations

from harness.faults.bed import Outcome, TestBed
from harness.faults.controls import CONTROLS
from harness.faults.protocol import Control, Fault, Planted
from harness.faults.table import FAULTS

__all__ = ["CONTROLS", "FAULTS", "Control", "Fault", "Outcome", "Planted", "TestBed"]
