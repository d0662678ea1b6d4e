"""FGSM: adversarial training with the fast gradient sign (Goodfellow, Shlens, Szegedy 2014, 1412.6572).

    x' = clip(x + eps * sign(grad_x J(x, y)))                      section 4
    loss = a * J(x, y) + (1 - a) * J(x', y),   a = 0.5             section 6

eps is in raw units whatever the normalisation, and x' stays in the raw range. In training, the gradient of x comes from
the clean pass: 4 passes a step, or 6 from a random start, where the attack has a pass of its own. Departures: labels
may be polylines; BatchNorm as techniques.adversarial says; `random_start` gives the variant of Wong, Rice and Kolter
(2020, 2001.03994): a uniform start and a step of 1.25 * eps, which puts off catastrophic overfitting. A network trained
with FGSM must be judged by PGD with restarts: it can learn to fool the single step.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import nn

from techniques.adversarial import AttackedTraining
from techniques.attack import label_score, training_attack
from techniques.ball import Ball
from techniques.task import Batch, Domain, Objective, Tensors

__all__ = ["FGSM", "fgsm"]


def fgsm(
    model: nn.Module,
    objective: Objective,
    batch: Batch,
    domains: Sequence[Domain | None],
    eps: float = 8 / 255,
    *,
    random_start: bool = False,
    generator: torch.Generator | None = None,
) -> Tensors:
    """Attacked inputs, each [batch, ...], normalised like `batch.inputs`; the network is left as it was.

    Args:
        domains: of each input, None for one that stays.
        eps: greatest change of a raw value.
        random_start: begin anywhere in the ball and step 1.25 * eps.
        generator: for the random start; on the CPU.

    Raises:
        TechniqueOptionError: eps does not fit the raw range, or nothing may be perturbed.
        NonFiniteLoss: the gradient is not finite.
    """
    score = label_score(model, objective, batch.targets)
    return training_attack(model, score, batch.inputs, domains, Ball(eps, random_start=random_start), generator)


@dataclass
class FGSM(AttackedTraining):
    """Train on clean inputs and on inputs moved by the sign of the loss's gradient.

    Args:
        eps: greatest change of a raw value, raw units.
        clean_share: weight of the clean loss, 0 <= a < 1.
        random_start: begin anywhere in the ball and step 1.25 * eps.
    """

    name: ClassVar[str] = "fgsm"

    random_start: bool = False

    def ball(self) -> Ball:
        """One step."""
        return Ball(self.eps, random_start=self.random_start)
