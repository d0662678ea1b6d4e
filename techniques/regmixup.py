"""RegMixup: mixed examples beside the plain ones, not in their place (Pinto et al., 2206.14502, equation 3).

    loss = L(x, y) + eta * L(share * x + (1 - share) * x', y and y' mixed by share),   share ~ Beta(a, a)

For regressions, whose mixed label is wrong when labels lie far apart, partners are those of C-Mixup (Yao et al.,
2210.05775, equation 6): P(j | i) ~ exp(-d(y_i, y_j)^2 / 2 s^2).

Departures. Both terms have their full weight: the authors' code averages over plain and mixed examples together, which
halves the gradient. Each example has a share of its own (theirs: one for a batch). Partners come from the same batch
(C-Mixup: from the whole set, whose distances need too much room), never the example itself, unless no other
one is admissible (distance inf: other lines); it is then "mixed" with itself, which is the plain example. s is by
default half the median of the positive distances in the batch. BatchNorm normalises mixed examples by themselves and
keeps its running statistics, which describe pictures that a car can see.

All floating inputs of an example are mixed by the same share, also those without a domain, such as a pose: domains say
what may be *perturbed*, but a mixed picture goes with the mixed pose. Inputs of integers or booleans stay the
example's own.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from techniques.batchnorm import statistics_kept
from techniques.errors import NonFiniteLoss, TechniqueOptionError
from techniques.task import Batch, Tensors
from techniques.technique import Gradient, Run, Technique

__all__ = ["PARTNERS", "RegMixup", "beta_shares", "mixed_inputs", "partner_chances", "partners"]

PARTNERS = ("c-mixup", "random")


def partner_chances(distance: Tensor, bandwidth: float | None = None) -> Tensor:
    """[batch, batch] chance that j is i's partner; rows sum to 1.

    Args:
        distance: [batch, batch] between labels, label units; inf where two must not be mixed.
        bandwidth: s, label units; None for half the median of the positive finite distances.

    Raises:
        TechniqueOptionError: a bandwidth that is not positive, or a distance that is NaN or negative.
    """
    if not bool((distance >= 0).all()) or (bandwidth is not None and not bandwidth > 0):
        raise TechniqueOptionError(
            f"needs distances of 0 or more and a positive bandwidth, got a least distance of {float(distance.min())} "
            f"and bandwidth {bandwidth}",
            where="partner_chances(distance, bandwidth)",
            remedy="give label distances, inf where two must not be mixed",
        )
    itself = torch.eye(len(distance), dtype=torch.bool, device=distance.device)
    distance = distance.detach().double().masked_fill(itself, torch.inf)
    known = distance[torch.isfinite(distance) & (distance > 0)]
    if bandwidth is None:
        bandwidth = 0.5 * float(known.median()) if len(known) else 1.0
    log_chance = -((distance / bandwidth) ** 2) / 2
    alone = torch.isinf(distance).all(1)
    log_chance = torch.where(alone[:, None], torch.where(itself, 0.0, -torch.inf), log_chance)
    return torch.softmax(log_chance, 1)


def partners(chances: Tensor, generator: torch.Generator) -> Tensor:
    """[batch] row number of each example's partner, drawn from the rows of `chances`; int64, on their device."""
    return torch.multinomial(chances.cpu(), 1, generator=generator)[:, 0].to(chances.device)


def beta_shares(count: int, alpha: float, generator: torch.Generator) -> Tensor:
    """[count] draws of Beta(alpha, alpha), float64."""
    seed = int(torch.randint(2**62, (), generator=generator))  # torch's Beta takes no generator
    return torch.from_numpy(np.random.default_rng(seed).beta(alpha, alpha, count))


def mixed_inputs(inputs: Tensors, others: Tensors, share: Tensor) -> Tensors:
    """share * inputs + (1 - share) * others, in each input's dtype; integers and booleans are the inputs' own.

    Args:
        inputs, others: each [batch, ...].
        share: [batch], in 0..1.
    """
    return tuple(
        _mixed(x, other, share) if x.is_floating_point() else x for x, other in zip(inputs, others, strict=True)
    )


@dataclass
class RegMixup(Technique):
    """Adds the loss on mixed examples, by default with partners whose labels lie close (RegMixup, C-Mixup).

    Args:
        alpha: of Beta(alpha, alpha); large values mix nearly half and half.
        eta: weight of the mixed loss.
        partners: "c-mixup" for close labels, "random" for any example (the RegMixup of classification).
        bandwidth: s of C-Mixup in label units; None for half the batch's median distance.
    """

    alpha: float = 10.0
    eta: float = 1.0
    partners: str = "c-mixup"
    bandwidth: float | None = None

    name: ClassVar[str] = "regmixup"

    def __post_init__(self) -> None:
        checks = {
            "alpha": (self.alpha > 0, "positive"),
            "eta": (self.eta > 0, "positive"),
            "partners": (self.partners in PARTNERS, f"one of {list(PARTNERS)}"),
            "bandwidth": (self.bandwidth is None or self.bandwidth > 0, "positive, or left out"),
        }
        for option, (holds, accepted) in checks.items():
            if not holds:
                raise TechniqueOptionError(
                    f"must be {accepted}, got {getattr(self, option)!r}",
                    where=f"[technique.regmixup] {option}",
                    remedy="change it",
                )

    def gradient(self, loop: Run, batch: Batch, inner: Gradient) -> Tensor:
        """The plain gradient, and eta times that of the mixed batch; twice the passes of a step."""
        loss = inner(batch)
        with statistics_kept(loop.model):
            mixed = self._mixed_loss(loop, batch)
            if not torch.isfinite(mixed):
                raise NonFiniteLoss(
                    f"the loss of mixed examples is {float(mixed.detach())}",
                    where=f"step {loop.step}, regmixup",
                    remedy="use a smaller rate",
                )
            (self.eta * mixed).backward()  # type: ignore[no-untyped-call]  # torch's stub
        return loss + self.eta * mixed.detach()

    def _mixed_loss(self, loop: Run, batch: Batch) -> Tensor:
        other = self._partners(loop, batch)
        share = beta_shares(len(batch), self.alpha, loop.generator).to(other.device, torch.float32)
        plain = tuple(x.detach() for x in batch.inputs)  # an attack around this one asks for the plain loss's gradient
        inputs = mixed_inputs(plain, tuple(x[other] for x in plain), share)
        with loop.autocast():
            outputs = loop.objective.outputs(loop.model, inputs)
            others = tuple(y[other] for y in batch.targets)
            return loop.objective.mixed_loss(outputs, batch.targets, others, share).mean()

    def _partners(self, loop: Run, batch: Batch) -> Tensor:
        if self.partners == "random":
            return torch.randperm(len(batch), generator=loop.generator).to(batch.inputs[0].device)
        return partners(partner_chances(loop.objective.distance(batch.targets), self.bandwidth), loop.generator)


def _mixed(x: Tensor, other: Tensor, share: Tensor) -> Tensor:
    weight = share.to(x.dtype).view(-1, *[1] * (x.dim() - 1))
    return other + weight * (x - other)  # exactly x where both are equal
