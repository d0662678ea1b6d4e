"""What run.json tells of preprocessing: both pipelines of every camera input, their differences, and warnings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Any

from cases.case import Case
from harness.feed.declared import Contradiction, contradictions
from harness.feed.preprocess.diff import Difference, differences
from harness.feed.preprocess.mixing import checked_steps
from harness.model.card import Card

__all__ = ["told_pipelines"]


def told_pipelines(card: Card, cases: Sequence[Case]) -> dict[str, Any]:
    """`pipelines` and `warnings` of run.json.

    Returns:
        pipelines: input -> {train, deploy: steps with their defaults; differences: [{step, option, train, deploy,
        words}]}, for every input from a camera. warnings: one sentence each.

    Raises:
        PreprocessError: a step is wrong.
    """
    against = contradictions(card, cases)
    pipelines = {}
    for spec in card.inputs:
        if spec.source.startswith("camera."):
            train, deploy = (
                checked_steps(card.preprocess.steps_of(spec.name, p), f"preprocess.{p}", card.root)
                for p in ("train", "deploy")
            )
            own = [c for c in against if c.input == spec.name]
            found = [asdict(_warned(d, own)) for d in differences(train, deploy)]
            pipelines[spec.name] = {"train": train, "deploy": deploy, "differences": found}
    return {"pipelines": pipelines, "warnings": [c.warning for c in against]}


def _warned(difference: Difference, against: Sequence[Contradiction]) -> Difference:
    """The difference with the recording's contradictions of its step and option first in its words."""
    said = [c.words for c in against if c.step == difference.step and difference.option in (c.option, "op")]
    return replace(difference, words="; ".join([*said, difference.words]))
