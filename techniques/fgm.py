"""FGM: adversarial training with the normalised gradient (Miyato, Dai, Goodfellow 2016, 1605.07725).

    x' = clip(x + eps * g / |g|_2),   g = grad_x J(x, y)           equation 5
    loss = a * J(x, y) + (1 - a) * J(x', y),   a = 0.5

The norm is taken over all values of one example's input: every example moves by eps, however small its gradient (one
norm for a whole batch would let its worst example take all). eps is in raw units: a root mean square change of r per
value is eps = r * sqrt(values), so eps = 1 on 3 x 64 x 160 pictures is 1.5/255.

Departures: the paper moves normalised word embeddings, here it is whatever input has a domain; the two losses are
averaged, not added; x' stays in the raw range; BatchNorm as techniques.adversarial says. In training, g comes from the
clean pass: 4 passes a step. For hidden features, as near to word embeddings as a picture has, see
techniques.feature_fgm.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from torch import nn

from techniques.adversarial import AttackedTraining
from techniques.attack import label_score, training_attack
from techniques.ball import Ball
from techniques.task import Batch, Domain, Objective, Tensors

__all__ = ["FGM", "fgm"]


def fgm(
    model: nn.Module, objective: Objective, batch: Batch, domains: Sequence[Domain | None], eps: float = 1.0
) -> Tensors:
    """Attacked inputs, each [batch, ...], normalised like `batch.inputs`; the network is left as it was.

    Args:
        domains: of each input, None for one that stays.
        eps: Euclidean length of the change of one example's input, raw units; clipping to the range shortens it.

    Raises:
        TechniqueOptionError: eps does not fit the raw range, or nothing may be perturbed.
        NonFiniteLoss: the gradient is not finite.
    """
    score = label_score(model, objective, batch.targets)
    return training_attack(model, score, batch.inputs, domains, Ball(eps, "l2"))


@dataclass
class FGM(AttackedTraining):
    """Train on clean inputs and on inputs moved a fixed distance along the loss's gradient.

    Args:
        eps: Euclidean length of the change of one example's input, raw units.
        clean_share: weight of the clean loss, 0 <= a < 1.
    """

    name: ClassVar[str] = "fgm"

    eps: float = 1.0

    def ball(self) -> Ball:
        """One step of Euclidean length eps."""
        return Ball(self.eps, "l2")
