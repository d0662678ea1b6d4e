"""Known deployment faults, planted on purpose, to see whether they are caught and blamed rightly (docs/faults.md).

protocol     what a fault is, and what planting one gives a replay
preprocess   faults of the deploy pipeline;  steps: the ops that some of them need
graphs       editing an ONNX file;  openers: which engines a fault takes hold of
export       faults of the exported file;  modules: the networks that some of them export
numerics     what fp32 does not notice and fp16 does
runtime      faults of the engine
car          faults of what the car records;  moving: lines moved within outputs
decoding     faults of the car's decoder and of fed-back states
controls     changes that are no faults
table        all of them
harm         whether a fault is harmful, apart from the gate
bench        model, cases, policy and the clean run;  recordings: copies of cases
trial        one fault on the bench
selftest     all of them, in parallel;  score: what came of it;  view: for the terminal
"""

from __future__ import annotations

from harness.faults.bench import Bench
from harness.faults.controls import CONTROLS
from harness.faults.protocol import Control, Fault, Planted, Site
from harness.faults.table import FAULTS, all_faults
from harness.faults.trial import Outcome, try_control, try_fault

__all__ = [
    "CONTROLS", "FAULTS", "Bench", "Control", "Fault", "Outcome", "Planted", "Site", "all_faults", "try_control",
    "try_fault",
]  # fmt: skip
