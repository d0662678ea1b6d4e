"""EMA: an exponential moving average of the weights, kept beside them from the first step on.

Polyak and Juditsky, "Acceleration of Stochastic Approximation by Averaging", 1992, in its exponential form:

    w_ema <- d * w_ema + (1 - d) * w      after every step;  w_ema = w after the first

The averaging is torch's AveragedModel with get_ema_multi_avg_fn, in fp32 even if the weights are in half precision
(techniques.swa): with d = .999 an average in bfloat16 stands still as soon as w is within a few times of it, because a
thousandth of the difference is less than half its spacing. BatchNorm is computed anew for the average.

Departure: d of the n-th update is min(decay, (1 + n) / (10 + n)) unless `warmup` is off. A run here often has fewer
steps than the 1 / (1 - d) = 1000 that .999 remembers, and the plain average would still be full of first weights.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from techniques.swa import add_to_average, averaging, finish_with, option_in
from techniques.technique import Run, Technique

__all__ = ["EMA", "decay_at", "moving_average"]


def decay_at(count: int, decay: float, *, warmup: bool = True) -> float:
    """Share that the average keeps when it has had `count` updates."""
    return min(decay, (1 + count) / (10 + count)) if warmup else decay


def moving_average(model: nn.Module, decay: float = 0.999, *, warmup: bool = True) -> AveragedModel:
    """An exponential average for `techniques.swa.add_to_average` and `use_average`, in any loop."""

    def update(averages: Any, weights: Any, count: int) -> None:
        rule = get_ema_multi_avg_fn(decay_at(count, decay, warmup=warmup))  # type: ignore[no-untyped-call]  # torch's
        rule(averages, weights, count)

    return averaging(model, update)


@dataclass
class EMA(Technique):
    """Exponential moving average of the weights after every step.

    Args:
        decay: share of the average that a step keeps; 1 / (1 - decay) steps are remembered.
        warmup: remember less in the beginning: min(decay, (1 + n) / (10 + n)).

    Raises:
        TechniqueOptionError: a decay that is not between 0 and 1.
    """

    name: ClassVar[str] = "ema"
    role: ClassVar[str | None] = "final weights"

    decay: float = 0.999
    warmup: bool = True
    _average: AveragedModel = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        option_in(self.name, "decay", self.decay, 0 <= self.decay < 1, "0 or more and less than 1")

    def start(self, loop: Run) -> None:
        """An average of nothing yet."""
        self._average = moving_average(loop.model, self.decay, warmup=self.warmup)

    def after_step(self, loop: Run) -> None:
        """The new weights into the average."""
        add_to_average(self._average, loop.model)

    def finish(self, loop: Run) -> None:
        """The average into the network, and BatchNorm anew."""
        finish_with(self._average, loop, self.name)

    def state(self) -> Mapping[str, Any]:
        """The average."""
        return {"average": dict(self._average.state_dict())}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take it up."""
        self._average.load_state_dict(state["average"])
