"""SAM: gradients taken where the loss is worst nearby (Foret et al., 2010.01412).

    e = rho * g / |g|_2,  g = grad L(w);      the step uses grad L(w + e)           (equations 2 and 4)

over the whole vector of parameters, dropping second-order terms as the paper does. Both gradients are of the same
batch. BatchNorm normalises by the batch both times, but its running statistics are of the network that will drive:
the second pass leaves them as they were. The weights are put back from copies, bit for bit, not by subtracting e.

Two gradients a step: half the steps for the same budget. Name it first, so that other techniques' losses lie within:
`--technique sam --technique regmixup`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import nullcontext
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from techniques.batchnorm import statistics_kept
from techniques.errors import NonFiniteLoss, TechniqueOptionError
from techniques.task import Batch
from techniques.technique import Gradient, Run, Technique

__all__ = ["SAM", "sharpness_gradient"]


def sharpness_gradient(
    parameters: Iterable[nn.Parameter], rho: float, closure: Callable[[], Tensor], *, model: nn.Module | None = None
) -> Tensor:
    """Add the gradient at the worst weights within `rho` to the parameters' `.grad`; returns the loss at the weights.

    Args:
        parameters: those that the optimiser steps; their values are afterwards as before, bit for bit.
        rho: radius, in the units of the weights.
        closure: computes the loss, calls backward() on it and returns it; called twice.
        model: whose BatchNorm statistics the second call leaves alone; None if there are none.

    Raises:
        NonFiniteLoss: the gradient is not finite.
    """
    chosen = [p for p in parameters if p.requires_grad]
    before = _taken(chosen)
    loss = closure()
    gradients = _taken(chosen)
    weights = [p.detach().clone() for p in chosen]
    try:
        _climb(chosen, gradients, rho)
        with statistics_kept(model) if model is not None else nullcontext():
            closure()
    finally:
        with torch.no_grad():
            for parameter, weight in zip(chosen, weights, strict=True):
                parameter.copy_(weight)
    for parameter, gradient in zip(chosen, before, strict=True):
        if gradient is not None:
            parameter.grad = gradient if parameter.grad is None else parameter.grad + gradient
    return loss


@dataclass
class SAM(Technique):
    """Sharpness-aware minimisation: the gradient is taken at the worst weights nearby, at twice the cost of a step.

    Args:
        rho: how far, in the units of the weights.
    """

    rho: float = 0.05

    name: ClassVar[str] = "sam"

    def __post_init__(self) -> None:
        if not self.rho > 0:
            raise TechniqueOptionError(
                f"must be positive, got {self.rho}", where="[technique.sam] rho", remedy="0.05 is the paper's"
            )

    def gradient(self, loop: Run, batch: Batch, inner: Gradient) -> Tensor:
        """The gradient at the worst weights nearby."""
        network = nn.ModuleList([loop.model, loop.extra_modules])
        return sharpness_gradient(network.parameters(), self.rho, lambda: inner(batch), model=network)


def _taken(parameters: list[nn.Parameter]) -> list[Tensor | None]:
    """The gradients, which the parameters lose."""
    gradients = [p.grad for p in parameters]
    for parameter in parameters:
        parameter.grad = None
    return gradients


def _climb(parameters: list[nn.Parameter], gradients: list[Tensor | None], rho: float) -> None:
    there = [(p, g) for p, g in zip(parameters, gradients, strict=True) if g is not None]
    norm = sum((g.double().square().sum() for _, g in there), torch.zeros((), dtype=torch.float64)).sqrt()
    if not torch.isfinite(norm):
        raise NonFiniteLoss(
            "the gradient is not finite", where="sharpness_gradient(closure)", remedy="use a smaller rate"
        )
    with torch.no_grad():
        for parameter, gradient in there:
            parameter.add_((rho / norm.clamp(min=1e-12) * gradient).to(parameter.dtype))
