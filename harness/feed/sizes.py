"""Whether every step of a swapped pipeline sees pictures of the size that its options are meant for.

A crop of [8, 0, 64, 66] cuts something else out of the recorded picture than out of a resized one, and a second resize
undoes nothing and hides the first. Such a swap gives the network its shape and still says nothing about the step.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from harness.feed.preprocess.mixing import by_name, same_step
from harness.feed.preprocess.ops import meant_for
from harness.feed.preprocess.pipeline import Size

__all__ = ["Seen", "out_of_place"]

Step = Mapping[str, Any]


@dataclass(frozen=True)
class Seen:
    """A pipeline on one picture: its checked steps, and the size of what reaches each, as far as they ran."""

    steps: Sequence[dict[str, Any]]
    sizes: Mapping[str, Size]


def out_of_place(swapped: Seen, pipelines: Sequence[Seen]) -> str:
    """The first step that sees a picture of another size than it is meant for, in words; empty where none does.

    Args:
        swapped: the pipeline with swapped steps.
        pipelines: those that the steps come from.
    """
    for step in swapped.steps:
        name, meant = str(step["step"]), [s for one in pipelines for s in _meant_sizes(step, one)]
        got = swapped.sizes.get(name)
        if meant and got is not None and got not in meant:
            return f"step {name!r} would see {_written(got)} pixels, it is meant for {_written(meant[0])}"
    return ""


def _meant_sizes(step: Step, pipeline: Seen) -> list[Size]:
    """The size that the step sees in a pipeline, where that is a size its options are meant for."""
    name, kind = str(step["step"]), meant_for(str(step["op"]))
    there = by_name(pipeline.steps).get(name)
    known = kind != "any" and there is not None and name in pipeline.sizes
    return [pipeline.sizes[name]] if known and (kind == "either" or same_step(step, there)) else []


def _written(size: Size) -> str:
    return "x".join(str(n) for n in reversed(size))
