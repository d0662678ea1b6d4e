"""How much a disturbance changes what the network gets, in steps of an 8-bit picture.

A pipeline scales and shifts values (normalise, dtype), so a step of the recorded picture is some number in the tensor.
Which, is measured: the pipeline is given two grey pictures. Where it answers with nothing, as in a letterbox's border,
nothing counts.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from cases.case import Case
from cases.picture import Picture, Tick
from engines.protocol import Tensors
from harness.feed.inputs import InputBuilder, cameras_of
from harness.model.card import Card
from trueline import TruelineError

__all__ = ["InputChange", "Steps", "eight_bit_steps"]

Steps = Mapping[str, NDArray[np.float64]]
"""Camera input -> what one 8-bit step of the picture is in each of its elements."""

DARK, BRIGHT = 96, 160  # grey pictures, well within both ranges
FRAMES = 16  # of a case that are looked at


class InputChange:
    """Compares tensors of disturbed pictures with those of the pictures as they are, on some frames of a case.

    Args:
        card: the model.
        case: the case.
        pipeline: `train` or `deploy`.
        steps: of the case's tensors (`eight_bit_steps`).
    """

    def __init__(self, card: Card, case: Case, pipeline: str, steps: Steps) -> None:
        self._clean, self._steps = InputBuilder(card, case, pipeline), steps
        at = np.unique(np.linspace(0, case.length - 1, min(FRAMES, case.length)).round().astype(int))
        self._frames = frozenset(case.frame_numbers[at].tolist())
        self._square, self._count = 0.0, 0

    def add(self, tick: Tick, disturbed: Tensors) -> None:
        """Take a moment as it is, and what the network gets of it."""
        if tick.frame not in self._frames:
            return
        clean = self._clean(tick)
        for name, step in self._steps.items():
            counted = step != 0
            delta = (disturbed[name].astype(np.float64) - clean[name].astype(np.float64))[counted] / step[counted]
            self._square += float((delta**2).sum())
            self._count += delta.size

    @property
    def rms(self) -> float:
        """8-bit steps; NaN where no frame was looked at, or the size of a step is not known."""
        return math.sqrt(self._square / self._count) if self._count else math.nan


def eight_bit_steps(card: Card, case: Case, pipeline: str) -> Steps:
    """What one 8-bit step is in each element of the camera inputs; none where the pipeline takes no grey picture."""
    try:
        dark, bright = (InputBuilder(card, case, pipeline)(_grey(card, case, value)) for value in (DARK, BRIGHT))
    except TruelineError:
        return {}
    cameras = [i.name for i in card.inputs if i.source.startswith("camera.")]
    return {n: (bright[n].astype(np.float64) - dark[n].astype(np.float64)) / (BRIGHT - DARK) for n in cameras}


def _grey(card: Card, case: Case, value: int) -> Tick:
    """A moment of the case whose pictures are all of one grey."""
    tick = next(case.ticks(cameras_of(card), 0, 1))
    pictures = {}
    for name, picture in tick.pictures.items():
        data = np.full((picture.height, picture.width, 3), value, np.uint8)
        pictures[name] = Picture(data, "rgb24", picture.width, picture.height)
    return Tick(tick.frame, tick.timestamp_ns, pictures, tick.ego)
