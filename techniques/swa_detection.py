"""SWA for detection: after training, cosine cycles from the full rate down to a hundredth; the mean of their ends.

Zhang et al., "SWA Object Detection", 2020 (2012.12645): 12 further epochs of one cosine cycle each, the rate going from
the one that training began with to .01 of it, and the 12 networks at the ends of the cycles averaged. In cycle
progress u (0 to 1)

    rate(u) = low + (high - low) * (1 + cos(pi * u)) / 2,        w_swa = mean of the k weights at u = 1

Departures: the cycles are the last `share` of one budget instead of an addition to it, and the run's own schedule is
fitted into what comes before, so that a network is trained to its end there; a cycle is a k-th of that share, not an
epoch; detectors there have frozen BatchNorm, here layers that train get their statistics anew for the average.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from torch.optim.swa_utils import AveragedModel

from techniques.swa import add_to_average, annealed, averaging, finish_with, option_in
from techniques.task import Batch
from techniques.technique import Run, Technique

__all__ = ["SWADetection", "cycle_of"]


def cycle_of(progress: float, cycles: int, share: float) -> tuple[int, float]:
    """(finished cycles, progress within the next) at a progress of the whole budget; (-1, 0.0) before the first."""
    if progress >= 1:
        return cycles, 0.0
    position = round((progress - (1 - share)) / share * cycles, 9)  # an end of a cycle is met exactly
    return (-1, 0.0) if position < 0 else (math.floor(position), position % 1.0)


@dataclass
class SWADetection(Technique):
    """Mean of the weights at the ends of cosine cycles, which are the last part of the budget (the detection recipe).

    Args:
        cycles: how many, and how many weights are averaged.
        share: of the budget that they take; 12 of 12 + 24 epochs in the paper.
        high: rate at the beginning of a cycle, as a share of the run's.
        low: rate at its end, as a share of `high`.

    Raises:
        TechniqueOptionError: a value out of range.
    """

    name: ClassVar[str] = "swa-detection"
    role: ClassVar[str | None] = "final weights"

    cycles: int = 12
    share: float = 1 / 3
    high: float = 1.0
    low: float = 0.01
    _average: AveragedModel = field(init=False, repr=False, compare=False)
    _ended: int = field(default=0, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        option_in(self.name, "cycles", self.cycles, self.cycles >= 1, "at least 1")
        option_in(self.name, "share", self.share, 0 < self.share < 1, "more than 0 and less than 1")
        option_in(self.name, "high", self.high, self.high > 0, "a positive share of the run's rate")
        option_in(self.name, "low", self.low, 0 < self.low <= 1, "more than 0 and at most 1")

    def start(self, loop: Run) -> None:
        """An average of nothing yet."""
        self._average, self._ended = averaging(loop.model), 0

    def before_step(self, loop: Run, batch: Batch) -> Batch:
        """The rate: the run's schedule in less time, then the cycles."""
        cycle, within = cycle_of(loop.progress, self.cycles, self.share)
        if cycle < 0:
            loop.set_rate(loop.scheduled_rate(loop.progress / (1 - self.share)))
        else:
            high = self.high * loop.settings.rate
            loop.set_rate(annealed(high, self.low * high, within))
        return batch

    def after_step(self, loop: Run) -> None:
        """The weights into the average where a cycle ended."""
        ended, _ = cycle_of(loop.progress, self.cycles, self.share)
        if ended > self._ended:
            add_to_average(self._average, loop.model)
            self._ended = ended

    def finish(self, loop: Run) -> None:
        """The average into the network, and BatchNorm anew."""
        finish_with(self._average, loop, self.name)

    def state(self) -> Mapping[str, Any]:
        """The average, and how many cycles have ended."""
        return {"average": dict(self._average.state_dict()), "ended": self._ended}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take both up."""
        self._average.load_state_dict(state["average"])
        self._ended = state["ended"]
