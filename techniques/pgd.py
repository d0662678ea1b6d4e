"""PGD: adversarial training against projected gradient ascent (Madry et al. 2018, 1706.06083).

    x_0 = x + U(-eps, eps);   x_{k+1} = P(x_k + step * sign(grad J(x_k, y)))        equation 2.2
    loss = J(x_K, y)                                                                 equation 2.1

with P onto the eps-ball and the raw range, K = 5 and step = 2.5 * eps / K unless told otherwise; with norm "l2" steps
and ball are Euclidean. Of several restarts the one with the largest loss counts, example by example.

Departures: eps and step are in raw units whatever the normalisation; `clean_share` mixes in the clean loss (0, as in
the paper); BatchNorm as techniques.adversarial says.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import nn

from techniques.adversarial import AttackedTraining, whole
from techniques.attack import label_score, training_attack
from techniques.ball import Ball, check_restarts
from techniques.task import Batch, Domain, Objective, Tensors
from techniques.technique import Run

__all__ = ["PGD", "pgd"]

DEFAULT_BALL = Ball(steps=5, random_start=True)


def pgd(
    model: nn.Module,
    objective: Objective,
    batch: Batch,
    domains: Sequence[Domain | None],
    ball: Ball = DEFAULT_BALL,
    *,
    restarts: int = 1,
    generator: torch.Generator | None = None,
) -> Tensors:
    """Attacked inputs, each [batch, ...], normalised like `batch.inputs`; the network is left as it was.

    Args:
        domains: of each input, None for one that stays.
        ball: radius, norm, steps, random start; raw units.
        restarts: how often to start anew; more than one needs a random start.
        generator: for random starts; on the CPU.

    Raises:
        TechniqueOptionError: eps does not fit the raw range, nothing may be perturbed, restarts that repeat themselves.
        NonFiniteLoss: the gradient is not finite.
    """
    score = label_score(model, objective, batch.targets)
    return training_attack(model, score, batch.inputs, domains, ball, generator, restarts=restarts)


@dataclass
class PGD(AttackedTraining):
    """Train on inputs that several projected gradient steps have made as bad as they get.

    Args:
        eps: radius of the ball, raw units; Euclidean over a whole input for norm "l2".
        clean_share: weight of the clean loss, 0 <= a < 1.
        steps: gradient steps of an attack.
        step: length of one, raw units; None for 2.5 * eps / steps.
        norm: "linf" or "l2".
        random_start: begin at a random point of the ball.
        restarts: attacks per batch of which the worst counts.
    """

    name: ClassVar[str] = "pgd"

    clean_share: float = 0.0
    steps: int = 5
    step: float | None = None
    norm: str = "linf"
    random_start: bool = True
    restarts: int = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        whole(self.name, "restarts", self.restarts, 1)
        check_restarts(self.restarts, self.ball())

    def ball(self) -> Ball:
        """As the options say."""
        return Ball(self.eps, self.norm, self.steps, self.step, self.random_start)

    def attacked(self, loop: Run, batch: Batch) -> Tensors:
        """By projected ascent."""
        return pgd(
            loop.model,
            loop.objective,
            batch,
            loop.task.domains,
            self.ball(),
            restarts=self.restarts,
            generator=loop.generator,
        )
