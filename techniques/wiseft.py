"""WiSE-FT: a network between a broad one and the same one fine-tuned (Wortsman et al., 2109.01903, section 3).

    th(a) = (1 - a) * th_0 + a * th_1

th_0 knows a broad distribution, th_1 was fine-tuned from it on the narrow one that counts. On the path accuracy under
shift often rises above both ends while the narrow error hardly changes. The ends are the two networks bit for bit;
between them BatchNorm statistics are computed anew for every a, because an average of statistics belongs to no network.

With a warm start (`[training] initial`) and `broad = 0` the run's first weights are th_0, as in the paper, whose th_0
is CLIP. Without one there is no broad network to begin with, so one is trained first: on randomised preprocessing (each
example as one of the pipelines of `Batch.variants`, or as it is), or on Gaussian noise where there are no variants.
That is the departure. a is an option, .5 as the paper advises when nothing is known of the shift; the report has the
errors along the whole path on the selection set, which may be used to choose another one.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
from torch import Tensor

from techniques.errors import EmptyData, TechniqueOptionError
from techniques.gaussian import noisy
from techniques.task import Batch, Domain, Examples
from techniques.technique import Run, Technique
from techniques.warm_start import check_warm
from techniques.weights import State, cloned, interpolate

__all__ = ["AllVariants", "WiSEFT", "broadened", "path_errors", "point_on_path"]

Repair = Callable[[State], State]


def point_on_path(start: State, end: State, alpha: float, *, repaired: Repair | None = None) -> State:
    """Weights at `alpha`; 0 is `start` and 1 is `end`, bit for bit.

    Args:
        repaired: weights with BatchNorm statistics of their own; not called at the ends.

    Raises:
        ModelMismatch: the states differ in keys, shapes or dtypes.
        TechniqueOptionError: alpha outside 0..1.
    """
    state = interpolate(start, end, alpha)
    return state if repaired is None or alpha in (0, 1) else repaired(state)


def path_errors(
    start: State,
    end: State,
    alphas: Sequence[float],
    error: Callable[[State], float],
    *,
    repaired: Repair | None = None,
) -> list[float]:
    """Error of the network at each alpha."""
    return [error(point_on_path(start, end, alpha, repaired=repaired)) for alpha in alphas]


def broadened(batch: Batch, domains: Sequence[Domain | None], noise: float, generator: torch.Generator) -> Batch:
    """The batch as a broad distribution would have it.

    Each example is one of its variants or itself, all equally likely; without variants, it has Gaussian noise of
    standard deviation `noise`, raw units, on inputs that have a domain.
    """
    if not batch.variants:
        return batch.with_inputs(noisy(batch.inputs, domains, noise, generator, random=False))
    pipelines = (batch.inputs, *batch.variants)
    chosen = torch.randint(len(pipelines), (len(batch),), generator=generator).to(batch.inputs[0].device)
    rows = torch.arange(len(batch), device=chosen.device)
    return batch.with_inputs(tuple(torch.stack(versions)[chosen, rows] for versions in zip(*pipelines, strict=True)))


@dataclass
class WiSEFT(Technique):
    """Broad training, fine-tuning, and a network between the two (WiSE-FT).

    Args:
        alpha: of the final network; 0 is the broad one, 1 the fine-tuned one.
        broad: share of the budget for broad training; 0 where the run begins with broad weights (a warm start).
        rate: fine-tuning begins with this share of the run's rate and falls as a cosine.
        noise: standard deviation in broad training without variants, raw units.
        points: alphas in the report, from 0 to 1.
    """

    alpha: float = 0.5
    broad: float = 0.5
    rate: float = 0.3
    noise: float = 0.1
    points: int = 11

    name: ClassVar[str] = "wise-ft"
    role: ClassVar[str | None] = "final weights"
    _broad_network: dict[str, Tensor] | None = field(default=None, init=False, repr=False)
    _began: int = field(default=0, init=False, repr=False)

    def __post_init__(self) -> None:
        checks = {
            "alpha": (0 <= self.alpha <= 1, "in 0..1"),
            "broad": (0 <= self.broad < 1, "0 or more and less than 1"),
            "rate": (self.rate > 0, "positive"),
            "noise": (self.noise > 0, "positive"),
            "points": (self.points >= 2, "at least 2"),
        }
        for option, (holds, accepted) in checks.items():
            if not holds:
                raise TechniqueOptionError(
                    f"must be {accepted}, got {getattr(self, option)!r}",
                    where=f"[technique.wise-ft] {option}",
                    remedy="change it",
                )

    def start(self, loop: Run) -> None:
        """The run's first weights are the broad network, where its training has no share of the budget."""
        if self.broad == 0:
            check_warm(loop, self.name, "broad")
            self._broad_network = cloned(loop.model.state_dict())

    def before_step(self, loop: Run, batch: Batch) -> Batch:
        """Broad inputs at first, and the phase's rate."""
        budget, used = loop.settings.budget_passes, loop.passes.total
        if self._broad_network is None:
            loop.set_rate(loop.scheduled_rate(min(used / (self.broad * budget), 1.0)))
            return broadened(batch, loop.task.domains, self.noise, loop.generator)
        progress = min((used - self._began) / max(budget - self._began, 1), 1.0)
        loop.set_rate(loop.settings.rate * self.rate * max((1 + math.cos(math.pi * progress)) / 2, 1e-4))
        return batch

    def after_step(self, loop: Run) -> None:
        """At the end of the broad phase, keep its network; fine-tuning has an optimiser of its own."""
        if self._broad_network is None and loop.passes.total >= self.broad * loop.settings.budget_passes:
            self._broad_network, self._began = cloned(loop.model.state_dict()), loop.passes.total
            loop.optimiser.state.clear()

    def finish(self, loop: Run) -> None:
        """Load the network at alpha; report the path's errors on the selection set, plain and broad."""
        start, end = self._ends(loop)
        alphas = [i / (self.points - 1) for i in range(self.points)]
        sets = {"plain": loop.task.selection, "broad": AllVariants(loop.task.selection, loop.task.domains, self.noise)}
        errors: dict[str, list[float]] = {name: [] for name in sets}
        for alpha in alphas:
            loop.model.load_state_dict(self._at(loop, start, end, alpha))
            for name, examples in sets.items():
                errors[name].append(loop.mean_error(loop.model, examples))
        loop.model.load_state_dict(self._at(loop, start, end, self.alpha))
        loop.reports[self.name] = {"alpha": self.alpha, "alphas": alphas, **errors}

    def state(self) -> Mapping[str, Any]:
        """The broad network, and where fine-tuning began."""
        return {"broad": self._broad_network, "began": self._began}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from `state`."""
        self._broad_network, self._began = state["broad"], state["began"]

    def _ends(self, loop: Run) -> tuple[State, State]:
        if self._broad_network is None or loop.passes.total <= self._began:
            raise TechniqueOptionError(
                f"{loop.settings.budget_passes} passes left no step for fine-tuning",
                where="[technique.wise-ft] broad",
                remedy="give a larger budget or a shorter broad phase",
            )
        if not len(loop.task.selection):
            raise EmptyData("there is nothing to measure on", where="Task.selection", remedy="give it examples")
        return self._broad_network, cloned(loop.model.state_dict())

    def _at(self, loop: Run, start: State, end: State, alpha: float) -> State:
        def repaired(state: State) -> State:
            loop.model.load_state_dict(state)
            loop.recompute_batchnorm(loop.model)
            return cloned(loop.model.state_dict())

        return point_on_path(start, end, alpha, repaired=repaired)


@dataclass(frozen=True)
class AllVariants:
    """Examples as all their variants, one after another; noisy ones where there are none.

    Args:
        noise: standard deviation where there are no variants, raw units.
    """

    examples: Examples
    domains: Sequence[Domain | None]
    noise: float = 0.1

    def __len__(self) -> int:
        return len(self.examples)

    def batch(self, rows: Tensor, generator: torch.Generator) -> Batch:
        """As many times the rows as there are variants."""
        plain = self.examples.batch(rows, generator)
        if not plain.variants:
            return plain.with_inputs(noisy(plain.inputs, self.domains, self.noise, generator, random=False))
        count = len(plain.variants)
        inputs = tuple(torch.cat(versions) for versions in zip(*plain.variants, strict=True))
        targets = tuple(torch.cat([y] * count) for y in plain.targets)
        return Batch(inputs, targets)
