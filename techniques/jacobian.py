"""Jacobian regularisation: lines are to move little where the inputs move a little.

    L + (weight / 2) * mean over examples of |J|_F^2,   J = d z / d (raw inputs)
    |J|_F^2 = C * E |v^T J|^2,   v uniform on the unit sphere of the C outputs

so that one backward pass for a random v estimates the norm without bias, whatever C is. z is what the objective calls
judged: lines, class logits, never what only helps training. (RoadLines has 5,280 column logits beside the 132 values
of its lines; a penalty on all of them is mostly one on the columns.) Hoffman, Roberts, Yaida, "Robust Learning with
Jacobian Regularization", 2019, arXiv 1908.02729, section 2 and algorithm 1.

Departures: the norm is with respect to raw values (J of normalised inputs divided by std), so that weight means the
same whatever the normalisation; outputs of several parts are taken together; BatchNorm uses its running statistics in
the extra pass, so that J is each example's own and that of the network that will drive.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from techniques.batchnorm import statistics_frozen
from techniques.errors import TechniqueOptionError
from techniques.passes import Counted
from techniques.task import Batch, Domain, Objective, Tensors
from techniques.technique import Run, Technique

__all__ = ["Jacobian", "squared_jacobian"]


def squared_jacobian(
    model: nn.Module,
    objective: Objective,
    inputs: Tensors,
    domains: Sequence[Domain | None],
    generator: torch.Generator,
    *,
    projections: int = 1,
) -> Tensor:
    """[batch] unbiased estimate of |d judged outputs / d raw inputs|_F^2, differentiable in the parameters.

    Args:
        inputs: each [batch, ...], normalised; those whose domain is None count as constants.
        domains: one for every input.
        generator: for the directions; on the CPU.
        projections: directions to average over; the variance falls as 1 / projections.

    Raises:
        TechniqueOptionError: no input has a domain.
    """
    varied = [i for i, d in enumerate(domains) if d is not None]
    if not varied or len(inputs) != len(domains):
        raise TechniqueOptionError(
            f"{len(inputs)} inputs, {len(domains)} domains of which {len(varied)} may change",
            where="squared_jacobian(inputs, domains)",
            remedy="give every input a domain (or None), at least one of them not None",
        )
    leaves = tuple(x.detach().requires_grad_(i in varied) for i, x in enumerate(inputs))
    with torch.enable_grad(), statistics_frozen(model):
        judged = objective.judged(objective.outputs(model, leaves))
        outputs = torch.cat([o.flatten(1) for o in judged], 1)
        total = torch.zeros(len(outputs), device=outputs.device)
        for _ in range(projections):
            along = (outputs * _directions(outputs, generator)).sum()
            gradients = torch.autograd.grad(along, [leaves[i] for i in varied], create_graph=True)
            if isinstance(objective, Counted):  # the loss's gradient runs through this backward pass as well
                objective.passes.watch(gradients)
            total = total + _square(gradients, [domains[i] for i in varied])
    return outputs.shape[1] * total / projections


def _directions(outputs: Tensor, generator: torch.Generator) -> Tensor:
    """Unit vectors [batch, output], uniform on the sphere."""
    drawn = torch.randn(outputs.shape, generator=generator)
    return nn.functional.normalize(drawn, dim=1).to(outputs.device, outputs.dtype)


def _square(gradients: Sequence[Tensor], domains: Sequence[Domain | None]) -> Tensor:
    """[batch] sum of squares per raw unit."""
    parts = []
    for gradient, domain in zip(gradients, domains, strict=True):
        assert domain is not None
        raw = gradient / domain.scale(gradient)
        parts.append((raw if raw.dtype == torch.float64 else raw.float()).flatten(1).square().sum(1))
    return torch.stack(parts).sum(0)


@dataclass
class Jacobian(Technique):
    """Penalty on the squared Jacobian of the lines (or logits), estimated by random projections.

    Args:
        weight: of half the squared Frobenius norm per raw unit.
        projections: random directions a step.
    """

    name: ClassVar[str] = "jacobian"
    weight: float = 0.01
    projections: int = 1

    def __post_init__(self) -> None:
        for option, fits in (("weight", self.weight >= 0), ("projections", self.projections >= 1)):
            if not fits:
                raise TechniqueOptionError(
                    f"must be {'zero or more' if option == 'weight' else 'at least 1'}, got {getattr(self, option)!r}",
                    where=f"[technique.jacobian] {option}",
                    remedy="change it; the paper has weight 0.01 and one projection",
                )

    def loss(self, loop: Run, batch: Batch, outputs: Tensors, loss: Tensor) -> Tensor:
        """The loss plus weight / 2 times the mean squared Jacobian at the batch's inputs."""
        square = squared_jacobian(
            loop.model,
            loop.objective,
            batch.inputs,
            loop.task.domains,
            loop.generator,
            projections=self.projections,
        )
        return loss + self.weight / 2 * square.mean()
