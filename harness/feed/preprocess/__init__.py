"""Preprocessing: from a recorded picture to an input tensor, by a list of named steps of the model card.

`build_pipeline` makes one pipeline, `differences` tells two apart in words, `differing_steps` and `mixed_steps` make
the rungs that swap some steps. Every built-in op is a row of the table in `harness/feed/preprocess/ops.py`;
docs/cards.md lists their options.
"""

from __future__ import annotations

from harness.feed.preprocess.diff import Difference, differences
from harness.feed.preprocess.mixing import differing_steps, mixed_steps
from harness.feed.preprocess.pipeline import Pipeline, build_pipeline
from harness.feed.preprocess.shared import SharedSteps

__all__ = ["Difference", "Pipeline", "SharedSteps", "build_pipeline", "differences", "differing_steps", "mixed_steps"]
