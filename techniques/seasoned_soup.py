"""Seasoned soup: branches trained with one technique at several strengths, and the mix of them that serves best.

    th = sum_i w_i th_i,   w_i >= 0, sum w_i = 1,   w from a grid by the error on the selection set

th_i is a branch from one start (`techniques.branches`) trained with, say, `consistency` at weight 0, 1 and 4. One end
of the mix is accurate, the other one stable; what lies between costs no further training. Croce, Rebuffi, Shelhamer,
Gowal, "Seasoning Model Soups for Robustness to Adversarial and Natural Distribution Shifts", CVPR 2023, arXiv
2302.10164, where the ingredients are robust to different attacks and the mix is chosen on a few examples of the shift.

Departures: the ingredients differ in the strength of one technique; the grid has no negative shares; the error that
chooses is the mean of the plain pictures' and of their variants', where the task has some. BatchNorm statistics of a
mix are computed anew; a single ingredient keeps its own.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

from torch import Tensor

from techniques.errors import NonFiniteLoss, TechniqueConflict, TechniqueOptionError
from techniques.registry import build
from techniques.soups import LoopSoup, Measure, Repair, check_selection
from techniques.task import Batch, Tensors
from techniques.technique import Gradient, Run, Technique
from techniques.weights import State, average, check_alike, cloned
from techniques.wiseft import AllVariants

__all__ = ["Seasoned", "SeasonedSoup", "seasoned_soup", "shares_on_a_grid"]

STATELESS = ("after_step", "after_epoch", "finish", "state", "restore", "architecture")


@dataclass(frozen=True)
class Seasoned:
    """What the grid found.

    Attributes:
        state: weights of the mix; `error` was measured on exactly these.
        shares: of each ingredient.
        tried: mixes that were measured.
    """

    state: dict[str, Tensor]
    shares: tuple[float, ...]
    error: float
    tried: int


def shares_on_a_grid(count: int, parts: int) -> Iterator[tuple[float, ...]]:
    """Every way to deal `parts` equal shares of 1 / parts to `count` ingredients; whole ones first."""
    dealt = sorted(_dealt(count, parts), key=lambda whole: -max(whole))
    yield from (tuple(n / parts for n in whole) for whole in dealt)


def seasoned_soup(
    states: Sequence[State], error: Measure, *, parts: int = 4, repaired: Repair | None = None
) -> Seasoned:
    """The mix on the grid with the smallest error; of equal ones that with the largest single share.

    Args:
        error: of weights on the selection set; smaller is better.
        parts: shares are multiples of 1 / parts.
        repaired: weights with BatchNorm statistics of their own; called for every mix of two or more.

    Raises:
        ModelMismatch: the states differ in keys, shapes or dtypes, or there are none.
        NonFiniteLoss: no mix has a finite error.
    """
    check_alike(states)
    best: Seasoned | None = None
    tried = 0
    for shares in shares_on_a_grid(len(states), parts):
        state: State = average(states, shares)
        if repaired is not None and max(shares) < 1:
            state = repaired(state)
        value, tried = error(state), tried + 1
        if best is None or value < best.error or math.isnan(best.error):
            best = Seasoned(cloned(state), shares, value, tried)
    if best is None or math.isnan(best.error):
        raise NonFiniteLoss("no mix has a finite error", where="seasoned_soup(states)", remedy="train them again")
    return Seasoned(best.state, best.shares, best.error, tried)


@dataclass
class SeasonedSoup(LoopSoup):
    """Branches with one technique at several strengths, and the mix of them with the least error (seasoned soup).

    Args (besides those of the other soups; there are as many branches as strengths):
        of: name of the technique whose strength differs.
        option: its option that is the strength.
        strengths: one for each branch; 0 trains without the technique.
        parts: shares of the mix are multiples of 1 / parts.
    """

    name: ClassVar[str] = "seasoned-soup"

    branches: int = field(default=0, init=False)
    spread: float = 1.0
    of: str = "consistency"
    option: str = "weight"
    strengths: tuple[float, ...] = (0.0, 1.0, 4.0)
    parts: int = 4
    _seasoning: list[Technique | None] = field(default_factory=list, init=False, repr=False)

    def __post_init__(self) -> None:
        self.strengths = tuple(self.strengths)
        self.branches = len(self.strengths)
        if self.branches < 2 or not isinstance(self.parts, int) or self.parts < 1:
            raise self._wrong("strengths", f"needs two strengths and one part at least, got {self}", "change it")
        super().__post_init__()
        self._seasoning = [build(self.of, **{self.option: s}) if s else None for s in self.strengths]
        for technique in self._seasoning:
            if technique is not None and any(_overrides(technique, hook) for hook in STATELESS):
                raise self._wrong("of", f"{self.of} remembers something between steps", "name one that does not")

    def start(self, loop: Run) -> None:
        """Refuse a selection set that also judges, and a place that is taken; start every branch's technique."""
        super().start(loop)
        check_selection(loop, self.name)
        for technique in self._seasoning:
            if technique is None:
                continue
            rivals = [t.name for t in loop.techniques if technique.role is not None and t.role == technique.role]
            if rivals:
                raise TechniqueConflict(
                    f"{rivals[0]} and {technique.name} both are the run's {technique.role}",
                    where=f"[technique.{self.name}] of",
                    remedy="choose one of them",
                )
            technique.start(loop)

    def before_step(self, loop: Run, batch: Batch) -> Batch:
        """The rate of trunk or branch, and what the branch's technique makes of the batch."""
        batch = super().before_step(loop, batch)
        own = self._own()
        return batch if own is None else own.before_step(loop, batch)

    def gradient(self, loop: Run, batch: Batch, inner: Gradient) -> Tensor:
        """The branch's technique's."""
        own = self._own()
        return inner(batch) if own is None else own.gradient(loop, batch, inner)

    def loss(self, loop: Run, batch: Batch, outputs: Tensors, loss: Tensor) -> Tensor:
        """The branch's technique's."""
        own = self._own()
        return loss if own is None else own.loss(loop, batch, outputs, loss)

    def cooked(self, loop: Run) -> tuple[State, dict[str, Any]]:
        """The best mix of the grid."""
        found = seasoned_soup(
            self.ingredients,
            lambda s: self.error(loop, s),
            parts=self.parts,
            repaired=lambda s: self.repaired(loop, s),
        )
        return found.state, {"strengths": list(self.strengths), "shares": list(found.shares), "tried": found.tried}

    def error(self, loop: Run, state: State) -> float:
        """Mean of the errors on the selection set and on its variants, where it has some."""
        plain = super().error(loop, state)
        selection = loop.task.selection
        if not next(loop.batches(selection, limit=1)).variants:
            return plain
        return (plain + loop.mean_error(loop.model, AllVariants(selection, loop.task.domains))) / 2

    def _own(self) -> Technique | None:
        """The technique of the branch at work; None in the trunk, at strength 0, and when all are finished."""
        number = len(self.ingredients)
        return self._seasoning[number] if self._trunk is not None and number < self.branches else None

    def _wrong(self, option: str, what: str, remedy: str) -> TechniqueOptionError:
        return TechniqueOptionError(what, where=f"[technique.{self.name}] {option}", remedy=remedy)


def _dealt(count: int, parts: int) -> Iterator[tuple[int, ...]]:
    if count == 1:
        yield (parts,)
        return
    for first in range(parts, -1, -1):
        yield from ((first, *rest) for rest in _dealt(count - 1, parts - first))


def _overrides(technique: Technique, hook: str) -> bool:
    return getattr(type(technique), hook) is not getattr(Technique, hook)
