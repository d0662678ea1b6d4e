"""FreeLB: gradients averaged over the steps of an ascent (Zhu et al. 2020, 1909.11764, algorithm 1).

    d_0 random in the ball;  for t = 0 .. K-1:
        g <- g + 1/K * grad_theta J(x + d_t, y)          one backward pass gives this and the next line
        d_{t+1} = P(d_t + step * g_d / |g_d|_2)
    theta <- optimiser(theta, g)

so that the K attacked batches along the way are one K times larger batch. K = 3, Euclidean steps of 2.5 * eps / K. With
norm "linf" a step is step * g_d / max |g_d| (the authors' code), not a sign.

Dropout: all K passes of a batch have one mask, so that the ascent is over d alone, of one network (the paper's section
on dropout, `dp_masks` in the authors' code). PyTorch's own generator, from which dropout draws, is set back before
every pass but the first; whatever else draws from it repeats as well.

Departures: the paper moves word embeddings, here it is whatever input has a domain, in raw units and within the raw
range; the start is a random direction of uniformly random length (theirs: every value uniform, about eps / sqrt(3) in
all); BatchNorm as techniques.adversarial says.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from techniques.adversarial import gradient_in_shares, keep_clean_statistics, parameters
from techniques.attack import usable_gradients
from techniques.ball import Ball, check_domains, moved, started, watched
from techniques.batchnorm import statistics_kept
from techniques.task import Batch, Domain
from techniques.technique import Gradient, Run, Technique

__all__ = ["FreeLB", "freelb_gradient"]


def freelb_gradient(
    gradient: Gradient,
    trained: Sequence[nn.Parameter],
    batch: Batch,
    domains: Sequence[Domain | None],
    ball: Ball,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Add the mean of the gradients along an ascent to `.grad` of `trained`; returns the mean loss.

    Args:
        gradient: runs `backward` of the mean loss of a batch, returns that loss.
        trained: the parameters.
        batch: the clean batch, normalised.
        domains: of each input, None for one that stays.
        ball: radius, norm, K steps, random start; raw units.
        generator: for the random start; on the CPU.

    Raises:
        TechniqueOptionError: eps does not fit the raw range, or no gradient reaches an input.
        NonFiniteLoss: the input's gradient is not finite.
    """
    check_domains(batch.inputs, domains, ball)
    current = started(batch.inputs, domains, ball, generator)
    device = batch.inputs[0].device
    draws = _draws(device)

    def one_step() -> Tensor:
        nonlocal current
        _draw_again(device, draws)
        leaves = watched(current, domains)
        loss = gradient(batch.with_inputs(leaves))
        gradients = usable_gradients([x.grad for x in leaves], "freelb_gradient(gradient)")
        current = moved(current, gradients, batch.inputs, domains, ball)
        return loss

    return gradient_in_shares(trained, [(1 / ball.steps, one_step)] * ball.steps)


@dataclass
class FreeLB(Technique):
    """Average the gradient over every step of an ascent on the inputs.

    Args:
        eps: radius of the ball, raw units; Euclidean over a whole input for norm "l2".
        steps: K, passes forward and backward on a batch.
        step: length of one, raw units; None for 2.5 * eps / K.
        norm: "l2" or "linf".
    """

    name: ClassVar[str] = "freelb"
    role: ClassVar[str | None] = "attack"

    eps: float = 1.0
    steps: int = 3
    step: float | None = None
    norm: str = "l2"

    def __post_init__(self) -> None:
        self.ball()

    def ball(self) -> Ball:
        """As the options say."""
        return Ball(self.eps, self.norm, self.steps, self.step, random_start=True, signs=False)

    def gradient(self, loop: Run, batch: Batch, inner: Gradient) -> Tensor:
        """The mean over K attacked passes."""
        keep_clean_statistics(loop, batch)
        with statistics_kept(loop.model):
            return freelb_gradient(inner, parameters(loop), batch, loop.task.domains, self.ball(), loop.generator)


def _draws(device: torch.device) -> tuple[Tensor, Tensor | None]:
    """Where PyTorch's own generators stand: the CPU's, and the device's."""
    return torch.get_rng_state(), torch.cuda.get_rng_state(device) if device.type == "cuda" else None


def _draw_again(device: torch.device, draws: tuple[Tensor, Tensor | None]) -> None:
    """Put them back there: dropout draws the same masks once more."""
    torch.set_rng_state(draws[0])
    if draws[1] is not None:
        torch.cuda.set_rng_state(draws[1], device)
