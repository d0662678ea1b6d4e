"""What adversarial trainings share: gradients in shares, BatchNorm's statistics, and the frame of FGSM, FGM and PGD.

    gradient = a * grad J(x) + (1 - a) * grad J(x'),   x' = attack(x)

Gradients are mixed rather than losses, so that whatever other techniques add to a loss is mixed with it, and a pass may
be as large as memory allows.

An attack of a single step from the clean input needs no pass of its own: one backward pass through J(x) gives the
parameters' gradient and the input's. Such a training costs 4 passes a step (clean and attacked, forward and backward),
others 2 for every step of the attack besides. The direction is then that of the loss that is trained, whatever other
techniques inside add to it, and BatchNorm normalises by the batch; attacks with passes of their own see its running
statistics.

Departure from the papers: running statistics of BatchNorm describe clean pictures, because the network drives on those.
Passes over attacked inputs normalise by their own batch and leave the running statistics alone; a technique without a
clean pass makes one without gradient, and only for networks that have BatchNorm.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from techniques.attack import label_score, training_attack, usable_gradients
from techniques.ball import Ball, check_domains, moved, watched
from techniques.batchnorm import batchnorms, statistics_kept
from techniques.errors import TechniqueOptionError
from techniques.task import Batch, Tensors
from techniques.technique import Gradient, Run, Technique

__all__ = [
    "AttackedTraining",
    "check_clean_share",
    "gradient_in_shares",
    "keep_clean_statistics",
    "parameters",
    "whole",
]


def gradient_in_shares(trained: Sequence[nn.Parameter], parts: Sequence[tuple[float, Callable[[], Tensor]]]) -> Tensor:
    """Add sum of share * gradient to `.grad` of `trained`; returns the loss in the same shares.

    Args:
        trained: parameters whose gradients count.
        parts: (share, function that fills `.grad` and returns its loss); called in order, each with empty gradients.
    """
    sums = [p.grad for p in trained]
    losses = []
    for share, fill in parts:
        for parameter in trained:
            parameter.grad = None
        losses.append(share * fill().detach())
        sums = [_sum(total, share, p.grad) for total, p in zip(sums, trained, strict=True)]
    for parameter, total in zip(trained, sums, strict=True):
        parameter.grad = total
    return torch.stack(losses).sum()


def parameters(loop: Run) -> list[nn.Parameter]:
    """All that the run trains: the network's and those of auxiliary heads."""
    return [*loop.model.parameters(), *loop.extra_modules.parameters()]


def keep_clean_statistics(loop: Run, batch: Batch) -> None:
    """One pass of clean inputs without gradient, for BatchNorm's running statistics; nothing if there are none."""
    if any(layer.training for layer in batchnorms(loop.model)):
        with torch.no_grad():
            loop.outputs(batch.inputs)


def whole(name: str, option: str, value: int, least: int) -> None:
    """Nothing if the option is a whole number of at least `least`.

    Raises:
        TechniqueOptionError: it is not.
    """
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise TechniqueOptionError(
            f"must be a whole number of at least {least}, got {value!r}",
            where=f"[technique.{name}] {option}",
            remedy="change it",
        )


def check_clean_share(name: str, share: object) -> None:
    """Nothing if it is a share that leaves something to the attack.

    Raises:
        TechniqueOptionError: it is not.
    """
    if not isinstance(share, int | float) or not 0 <= share < 1:
        raise TechniqueOptionError(
            f"must be at least 0 and less than 1, got {share!r}",
            where=f"[technique.{name}] clean_share",
            remedy="0 trains on attacked inputs only, 0.5 on both alike",
        )


@dataclass
class AttackedTraining(Technique, ABC):
    """Trains on clean and attacked inputs in fixed shares; a subclass says how to attack.

    Args:
        eps: radius of the attack, raw units.
        clean_share: weight of the clean loss, 0 <= a < 1.
    """

    role: ClassVar[str | None] = "attack"

    eps: float = 8 / 255
    clean_share: float = 0.5

    def __post_init__(self) -> None:
        check_clean_share(self.name, self.clean_share)
        self.ball()

    @abstractmethod
    def ball(self) -> Ball:
        """Where the attack may go."""

    def attacked(self, loop: Run, batch: Batch) -> Tensors:
        """The attacked inputs, in the run's precision, where the attack has passes of its own."""
        score = label_score(loop.model, loop.objective, batch.targets)
        return training_attack(loop.model, score, batch.inputs, loop.task.domains, self.ball(), loop.generator)

    def gradient(self, loop: Run, batch: Batch, inner: Gradient) -> Tensor:
        """Attack the network as it is, then mix both gradients."""
        ball = self.ball()
        if ball.steps == 1 and not ball.random_start:
            return self._by_one_backward_pass(loop, batch, inner)
        with loop.autocast():
            hostile = batch.with_inputs(self.attacked(loop, batch))
        if not self.clean_share:
            keep_clean_statistics(loop, batch)
            return _apart(loop, hostile, inner)
        parts = [
            (self.clean_share, lambda: inner(batch)),
            (1 - self.clean_share, lambda: _apart(loop, hostile, inner)),
        ]
        return gradient_in_shares(parameters(loop), parts)

    def _by_one_backward_pass(self, loop: Run, batch: Batch, inner: Gradient) -> Tensor:
        """The clean pass gives the direction of the attack as well."""
        domains, ball = loop.task.domains, self.ball()
        check_domains(batch.inputs, domains, ball)
        leaves = watched(batch.inputs, domains)

        def on_hostile() -> Tensor:
            gradients = usable_gradients([x.grad for x in leaves], f"technique {self.name}")
            hostile = batch.with_inputs(moved(batch.inputs, gradients, batch.inputs, domains, ball))
            return _apart(loop, hostile, inner)

        parts = [
            (self.clean_share, lambda: inner(batch.with_inputs(leaves))),
            (1 - self.clean_share, on_hostile),
        ]
        return gradient_in_shares(parameters(loop), parts)


def _apart(loop: Run, batch: Batch, inner: Gradient) -> Tensor:
    """The gradient on attacked inputs; running statistics stay as they are."""
    with statistics_kept(loop.model):
        return inner(batch)


def _sum(total: Tensor | None, share: float, gradient: Tensor | None) -> Tensor | None:
    if gradient is None:
        return total
    return share * gradient if total is None else total + share * gradient
