"""What a perturbation is: one thing that may happen to a picture on its way to the network, of a given amount."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Literal, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from cases.case import Case
from cases.picture import Tick
from harness.sweep.lens import View

__all__ = ["SEVERITIES", "Draw", "Kind", "Moment", "Move", "Perturbation", "Points", "Rgb", "Timing"]

SEVERITIES = (1, 2, 3, 4, 5)

Kind = Literal["sensor", "optics", "colour", "codec", "geometry", "time"]
Rgb = NDArray[np.float32]
"""A picture, [height, width, 3], 0..255."""
Points = NDArray[np.float64]
"""[points, 2]: pixels (u, v) of the recorded picture, centres of pixels whole."""

Draw = Callable[[Rgb, float, np.random.Generator], Rgb]
"""(picture, amount, source of chance) -> picture; nothing in it moves."""


class Move(Protocol):
    """A change of where things lie in the picture."""

    def target(self, points: Points) -> Points:
        """Where pixels of the undisturbed picture lie in the disturbed one; NaN where nowhere."""
        ...

    def source(self, points: Points) -> Points:
        """The inverse."""
        ...


class Moment(NamedTuple):
    """A tick as the network gets it; not `fed`: the network does not run and its last lines stand."""

    tick: Tick
    fed: bool = True


Timing = Callable[[Case, Iterable[Tick], float, np.random.Generator], Iterator[Moment]]
"""(case, its ticks, amount, source of chance) -> what comes of them, one for each."""


@dataclass(frozen=True, slots=True)
class Perturbation:
    """One of `draw`, `move` and `timing`, and how much of it five severities are.

    Attributes:
        name: as options and tables write it.
        kind: what it belongs to.
        unit: of the amount.
        severities: amounts, least first.
        summary: what happens to the picture, in one line.
        neutral: the amount that changes nothing.
        signed: amounts on the other side of neutral make sense too.
        draw, move, timing: what it does; the others are None.
    """

    name: str
    kind: Kind
    unit: str
    severities: tuple[float, float, float, float, float]
    summary: str
    neutral: float = 0.0
    signed: bool = False
    draw: Draw | None = None
    move: Callable[[float, View], Move] | None = None
    timing: Timing | None = None

    def amount(self, severity: int) -> float:
        """The amount of a severity, 1 to 5."""
        return self.severities[severity - 1]

    def at(self, share: float) -> float:
        """The amount at a share of the way from neutral to severity 5; beyond neutral where the share is negative."""
        return self.neutral + share * (self.severities[-1] - self.neutral)
