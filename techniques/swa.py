"""SWA: the mean of the weights along the last part of training.

Izmailov et al., "Averaging Weights Leads to Wider Optima and Better Generalization", 2018 (1803.05407), algorithm 1:

    w_swa <- (w_swa * n + w) / (n + 1)      every c steps, at a constant or a cyclic rate; then BatchNorm anew

The averaging is torch.optim.swa_utils.AveragedModel; `averaging` wraps it so that weights in half precision are
averaged in fp32 (an average kept in half precision stalls: what a step adds is less than half its spacing), counters
are copied instead of averaged, and a double average is not divided by an fp32 count. In a loop of one's own:

    average = averaging(model)
    ...after every c-th step:  add_to_average(average, model)
    ...at the end:             use_average(average, model); recompute_batchnorm(model, objective, batches)

Departures: the length of a run is a budget of passes, so `after` and `anneal` are shares of it, and c is in steps, not
an epoch (a short budget has few epochs). Until `after` the rate follows the run's own schedule, then over `anneal` a
cosine as in torch's SWALR, in progress instead of epochs. Nothing is averaged before the anneal ends.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_swa_multi_avg_fn

from techniques.errors import ModelMismatch, TechniqueOptionError
from techniques.task import Batch
from techniques.technique import Run, Technique

__all__ = [
    "SWA",
    "add_to_average",
    "annealed",
    "averaging",
    "cyclic_rate",
    "finish_with",
    "option_in",
    "use_average",
]

Update = Callable[[Any, Any, int], None]
_HALVES = (torch.float16, torch.bfloat16)


def averaging(model: nn.Module, update: Update | None = None) -> AveragedModel:
    """An average of nothing yet, of the model's parameters in fp32 or wider; buffers follow the model.

    Args:
        model: stays as it is.
        update: (averages, weights, how many are in it) -> None, in place; None for the plain mean.
    """
    rule = update or get_swa_multi_avg_fn()  # type: ignore[no-untyped-call]  # torch's stub

    def exact(averages: Any, weights: Any, count: Tensor | int) -> None:
        rule(averages, weights, int(count))

    average: AveragedModel = AveragedModel(model, multi_avg_fn=exact)
    _widen(average.module)
    return average.requires_grad_(False)


def add_to_average(average: AveragedModel, model: nn.Module) -> None:
    """One more model into the average.

    Raises:
        ModelMismatch: the average is of another network.
    """
    _check_same(average, model)
    halves = any(p.dtype in _HALVES for p in model.parameters())
    average.update_parameters(_widen(deepcopy(model)) if halves else model)


@torch.no_grad()
def use_average(average: AveragedModel, model: nn.Module) -> None:
    """Put the average into the model's parameters, in their dtype; buffers stay, BatchNorm must be computed anew.

    Raises:
        ModelMismatch: the average is of another network, or of nothing yet.
    """
    _check_same(average, model)
    if not int(average.n_averaged):
        raise ModelMismatch(
            "the average is of no model yet", where="use_average(average)", remedy="call add_to_average first"
        )
    for own, averaged in zip(model.parameters(), average.module.parameters(), strict=True):
        own.copy_(averaged)


def annealed(first: float, last: float, share: float) -> float:
    """The rate `share` (0 to 1) of the way along half a cosine from `first` to `last`: SWALR's "cos"."""
    t = (1 - math.cos(math.pi * min(max(share, 0.0), 1.0))) / 2
    return first + (last - first) * t


def cyclic_rate(step: int, every: int, high: float, low: float) -> float:
    """Rate of a step (0, 1, ...) in cycles of `every` steps, falling evenly to `low` at the last (section 3.2)."""
    t = (step % every + 1) / every
    return (1 - t) * high + t * low


@dataclass
class SWA(Technique):
    """Mean of the weights every few steps of the run's last part, at a constant or cyclic rate.

    Args:
        after: share of the budget after which the rate goes to its own value.
        rate: greatest rate from there on, as a share of the run's; .01 / .05 in the paper.
        every: steps between two weights that are averaged, and of a cycle.
        anneal: share of the budget in which the rate gets there; averaging begins after it.
        cyclic: the rate falls to `low` within every cycle.
        low: least rate of a cycle, as a share of the greatest.

    Raises:
        TechniqueOptionError: a value out of range.
    """

    name: ClassVar[str] = "swa"
    role: ClassVar[str | None] = "final weights"

    after: float = 0.5
    rate: float = 0.2
    every: int = 10
    anneal: float = 0.05
    cyclic: bool = False
    low: float = 0.01
    _average: AveragedModel = field(init=False, repr=False, compare=False)
    _averaged_part: bool = field(default=False, init=False, repr=False, compare=False)
    _steps: int = field(default=0, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        option_in(self.name, "after", self.after, 0 <= self.after < 1, "0 or more and less than 1")
        option_in(self.name, "rate", self.rate, self.rate > 0, "a positive share of the run's rate")
        option_in(self.name, "every", self.every, self.every >= 1, "a positive number of steps")
        room = 0 <= self.anneal < 1 - self.after
        option_in(self.name, "anneal", self.anneal, room, f"0 or more and less than 1 - after = {1 - self.after:g}")
        option_in(self.name, "low", self.low, 0 < self.low <= 1, "more than 0 and at most 1")

    def start(self, loop: Run) -> None:
        """An average of nothing yet."""
        self._average, self._steps = averaging(loop.model), 0

    def before_step(self, loop: Run, batch: Batch) -> Batch:
        """The rate."""
        self._averaged_part = loop.progress >= self.after + self.anneal
        if loop.progress >= self.after:
            loop.set_rate(self._rate_at(loop))
        return batch

    def after_step(self, loop: Run) -> None:
        """The weights into the average, every few steps."""
        if not self._averaged_part:
            return
        self._steps += 1
        if self._steps % self.every == 0:
            add_to_average(self._average, loop.model)

    def finish(self, loop: Run) -> None:
        """The average into the network, and BatchNorm anew; of a run too short for any average, the last weights."""
        finish_with(self._average, loop, self.name)

    def state(self) -> Mapping[str, Any]:
        """The average, and steps since averaging began."""
        return {"average": dict(self._average.state_dict()), "steps": self._steps}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take both up."""
        self._average.load_state_dict(state["average"])
        self._steps = state["steps"]

    def _rate_at(self, loop: Run) -> float:
        high = self.rate * loop.settings.rate
        if not self._averaged_part:
            return annealed(loop.scheduled_rate(self.after), high, (loop.progress - self.after) / self.anneal)
        return cyclic_rate(self._steps, self.every, high, self.low * high) if self.cyclic else high


def finish_with(average: AveragedModel, loop: Run, name: str) -> None:
    """End a run with an average: weights, BatchNorm, report; shared by the techniques that average."""
    count = int(average.n_averaged)
    if not count:
        add_to_average(average, loop.model)
    use_average(average, loop.model)
    loop.recompute_batchnorm(loop.model)
    loop.reports[name] = {"averaged": count}


def option_in(name: str, option: str, value: object, holds: bool, accepted: str) -> None:
    """Raise TechniqueOptionError unless `holds`."""
    if not holds:
        raise TechniqueOptionError(
            f"must be {accepted}, got {value!r}", where=f"[technique.{name}] {option}", remedy="change it"
        )


def _widen(model: nn.Module) -> nn.Module:
    """In place: parameters in half precision become fp32; wider ones, and buffers, stay."""
    for parameter in model.parameters():
        if parameter.dtype in _HALVES:
            parameter.data = parameter.data.float()
    return model


def _check_same(average: AveragedModel, model: nn.Module) -> None:
    own = {k: tuple(p.shape) for k, p in model.named_parameters()}
    averaged = {k: tuple(p.shape) for k, p in average.module.named_parameters()}
    if own != averaged:
        differing = sorted(k for k in own.keys() | averaged.keys() if own.get(k) != averaged.get(k))
        raise ModelMismatch(
            f"{len(differing)} parameters differ in name or shape, among them {differing[:3]}",
            where="average, model",
            remedy="average networks of one architecture",
        )
