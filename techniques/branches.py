"""A training run that branches: a trunk, then several branches from the trunk's weights, all within one budget.

Ingredients of a soup must share their start ("What is being transferred in transfer learning?", 2008.11687: networks
fine-tuned from one start stay in one basin). Here the start is the run's first weights where those are trained ones, or
else a trunk, trained for a share of the budget with the run's schedule; each branch goes on from it with a fresh
optimiser, with examples in another order and at another rate, falling as a cosine to nothing. The branches share what
is left of the budget; each has at least one step.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from techniques.errors import TechniqueOptionError
from techniques.task import Batch
from techniques.technique import Run, Technique
from techniques.warm_start import check_warm
from techniques.weights import cloned

__all__ = ["Branched"]


@dataclass
class Branched(Technique):
    """Trains a trunk and branches; what becomes of the branches' weights is for a subclass.

    Args:
        branches: how many.
        trunk: share of the budget that the trunk has; 0 where the run's first weights are the trunk (a warm start).
        rate: of the branches: the middle one begins with this share of the run's rate.
        spread: the first branch begins with 1 / spread of that, the last one with spread times it.

    Raises:
        TechniqueOptionError: a value out of range.
    """

    branches: int = 4
    trunk: float = 0.5
    rate: float = 0.5
    spread: float = 2.0

    ingredients: list[dict[str, Any]] = field(default_factory=list, init=False, repr=False)
    _trunk: dict[str, Any] | None = field(default=None, init=False, repr=False)
    _begin: int = field(default=0, init=False, repr=False)

    def __post_init__(self) -> None:
        checks = {
            "branches": (self.branches >= 1, "at least 1"),
            "trunk": (0 <= self.trunk < 1, "0 or more and less than 1"),
            "rate": (self.rate > 0, "positive"),
            "spread": (self.spread >= 1, "at least 1"),
        }
        for option, (holds, accepted) in checks.items():
            if not holds:
                raise TechniqueOptionError(
                    f"must be {accepted}, got {getattr(self, option)!r}",
                    where=f"[technique.{self.name}] {option}",
                    remedy="change it",
                )

    @property
    def rates(self) -> list[float]:
        """What each branch begins with, as a share of the run's rate."""
        if self.branches == 1:
            return [self.rate]
        return [self.rate * self.spread ** (2 * i / (self.branches - 1) - 1) for i in range(self.branches)]

    def start(self, loop: Run) -> None:
        """The run's first weights are the trunk, where it has no share of the budget."""
        if self.trunk == 0:
            check_warm(loop, self.name, "trunk")
            self._trunk = _weights(loop)

    def training_passes(self, loop: Run) -> int:
        """What trunk and branches may use of the budget."""
        return loop.settings.budget_passes

    def branched(self, loop: Run) -> None:
        """Once, when the last branch is finished: what still costs passes."""

    def before_step(self, loop: Run, batch: Batch) -> Batch:
        """Set the rate of the trunk or of the branch."""
        begin, end = self._span(loop)
        progress = min((loop.passes.total - begin) / max(end - begin, 1), 1.0)
        if self._trunk is None:
            loop.set_rate(loop.scheduled_rate(progress))
        elif len(self.ingredients) < self.branches:
            share = self.rates[len(self.ingredients)]
            loop.set_rate(loop.settings.rate * share * max((1 + math.cos(math.pi * progress)) / 2, 1e-4))
        return batch

    def after_step(self, loop: Run) -> None:
        """At the end of trunk or branch, keep its weights and go back to the trunk's."""
        if len(self.ingredients) == self.branches or loop.passes.total < self._span(loop)[1]:
            return
        if self._trunk is None:
            self._trunk = _weights(loop)
        else:
            self.ingredients.append(cloned(loop.model.state_dict()))
            loop.model.load_state_dict(self._trunk["model"])
            loop.extra_modules.load_state_dict(self._trunk["extra"])
        loop.optimiser.state.clear()
        self._begin = loop.passes.total
        if len(self.ingredients) == self.branches:
            self.branched(loop)

    def check_complete(self, loop: Run) -> None:
        """Raises TechniqueOptionError when the budget ended before the last branch had a step."""
        if len(self.ingredients) < self.branches:
            raise TechniqueOptionError(
                f"{loop.settings.budget_passes} passes were enough for {len(self.ingredients)} of {self.branches} "
                f"branches",
                where=f"[technique.{self.name}] branches",
                remedy="give a larger budget, a shorter trunk or fewer branches",
            )

    def state(self) -> Mapping[str, Any]:
        """Trunk, finished branches, and where the present one began."""
        return {"trunk": self._trunk, "ingredients": self.ingredients, "begin": self._begin}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from `state`."""
        self._trunk, self._begin = state["trunk"], state["begin"]
        self.ingredients = list(state["ingredients"])

    def _span(self, loop: Run) -> tuple[float, float]:
        """Passes at which the present trunk or branch began and shall end; what one overran, the next ones lack."""
        budget = self.training_passes(loop)
        if self._trunk is None:
            return 0, self.trunk * budget
        return self._begin, self._begin + (budget - self._begin) / max(self.branches - len(self.ingredients), 1)


def _weights(loop: Run) -> dict[str, Any]:
    return {"model": cloned(loop.model.state_dict()), "extra": cloned(loop.extra_modules.state_dict())}
