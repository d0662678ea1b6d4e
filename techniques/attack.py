"""Worst inputs within a raw budget: the projected ascent that all attacks here are made of.

    x_0 = x (+ random start);  x_{k+1} = P(x_k + step * sign(g_k))   (l-infinity)
                               x_{k+1} = P(x_k + step * g_k / |g_k|_2)   (l2, per example)

with g the gradient of a score per example, and P the projection onto the eps-ball around x and onto the raw range of
the input (Madry et al., "Towards Deep Learning Models Resistant to Adversarial Attacks", 2018, equation 2.2 and
section 2.1). eps and step are in *raw* units whatever the normalisation: in normalised space every channel has a ball
of its own. Parameters' gradients, BatchNorm and modes are left as they are: gradients are taken of inputs only.

Departures: a clean value that lies outside the raw range (an interpolation that overshoots) may stay where it is, so
that nothing ever leaves the ball; the random start in an l2 ball is a random direction of uniformly random length.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import torch
from torch import Tensor, nn

from techniques.ball import Ball, check_domains, moved, started, watched
from techniques.batchnorm import evaluating, statistics_frozen
from techniques.errors import EmptyData, NonFiniteLoss, TechniqueOptionError
from techniques.task import Batch, Domain, Objective, Tensors

__all__ = [
    "Ball",
    "Score",
    "ascend",
    "attacked_error",
    "input_gradients",
    "label_score",
    "training_attack",
    "usable_gradients",
]

Score = Callable[[Tensors], Tensor]


def ascend(
    score: Score,
    inputs: Tensors,
    domains: Sequence[Domain | None],
    ball: Ball,
    *,
    generator: torch.Generator | None = None,
    restarts: int = 1,
) -> Tensors:
    """Inputs within the ball that make `score` large; of several restarts the best one for each example.

    Args:
        score: [batch] of inputs, differentiable; call it under `statistics_frozen` or `evaluating` of the network.
        inputs: each [batch, ...], normalised; those whose domain is None stay as they are.
        domains: one for every input.
        generator: for random starts; on the CPU. None for torch's own.
        restarts: more than one needs a random start.

    Returns:
        each like its input. Steps are computed in fp32 at least and rounded to the input's dtype at the end, so in
        half precision the ball is kept up to one rounding of the input.

    Raises:
        TechniqueOptionError: no input may be perturbed, or eps does not fit the raw range.
        NonFiniteLoss: the gradient is not finite.
    """
    check_domains(inputs, domains, ball, restarts)
    best, best_score = inputs, None
    for _ in range(restarts):
        found = _one_ascent(score, inputs, domains, ball, generator)
        if restarts == 1:
            return found
        with torch.no_grad():
            value = score(found)
        if best_score is None:
            best, best_score = found, value
        else:
            better = value > best_score
            best = tuple(torch.where(_like(better, f), f, b) for f, b in zip(found, best, strict=True))
            best_score = torch.maximum(value, best_score)
    return best


def label_score(model: nn.Module, objective: Objective, targets: Tensors) -> Score:
    """The loss against the labels, as a score for `ascend`."""
    return lambda inputs: objective.loss(objective.outputs(model, inputs), targets)


def attacked_error(
    model: nn.Module,
    objective: Objective,
    batches: Iterable[Batch],
    domains: Sequence[Domain | None],
    ball: Ball,
    *,
    restarts: int = 1,
    seed: int = 0,
) -> float:
    """Mean of the objective's error over inputs attacked through the labelled loss, in evaluation mode.

    Of the restarts, and of the clean input, the one with the largest *error* counts for each example; examples whose
    error is NaN (nothing to be wrong about) are left out.

    Raises:
        EmptyData: no batch.
        TechniqueOptionError: as `ascend`.
    """
    generator = torch.Generator().manual_seed(seed)
    worst: list[Tensor] = []
    with evaluating(model):
        for batch in batches:
            check_domains(batch.inputs, domains, ball, restarts)
            score = label_score(model, objective, batch.targets)
            candidates = [batch.inputs]
            candidates += [ascend(score, batch.inputs, domains, ball, generator=generator) for _ in range(restarts)]
            with torch.no_grad():
                errors = [objective.error(objective.outputs(model, x), batch.targets) for x in candidates]
            worst.append(torch.stack(errors).amax(0))
    if not worst:
        raise EmptyData("there is nothing to attack", where="attacked_error(batches)", remedy="give it batches")
    return float(torch.cat(worst).nanmean())


def training_attack(
    model: nn.Module,
    score: Score,
    inputs: Tensors,
    domains: Sequence[Domain | None],
    ball: Ball,
    generator: torch.Generator | None = None,
    *,
    restarts: int = 1,
) -> Tensors:
    """`ascend` in the middle of training: BatchNorm uses its running statistics and does not change them."""
    with statistics_frozen(model):
        return ascend(score, inputs, domains, ball, generator=generator, restarts=restarts)


def input_gradients(score: Score, leaves: Tensors) -> tuple[Tensor | None, ...]:
    """Of the summed score with respect to each of the `watched` inputs; nothing is added to any `.grad`.

    Raises:
        NonFiniteLoss: one of them is not finite.
        TechniqueOptionError: the score depends on none of them.
    """
    wanted = [x for x in leaves if x.requires_grad]
    with torch.enable_grad():
        total = score(leaves).sum()
        found = torch.autograd.grad(total, wanted, allow_unused=True) if total.requires_grad else [None] * len(wanted)
    remaining = iter(found)
    return usable_gradients([next(remaining) if x.requires_grad else None for x in leaves], "ascend(score)")


def usable_gradients(gradients: Sequence[Tensor | None], where: str) -> tuple[Tensor | None, ...]:
    """The gradients themselves, one per input, None where an input has none.

    Raises:
        NonFiniteLoss: one of them is not finite.
        TechniqueOptionError: not a single input has one.
    """
    if all(g is None for g in gradients):
        raise TechniqueOptionError(
            "no gradient reaches the inputs that may change",
            where=where,
            remedy="give a domain to an input that the network uses, and None to all others; do not detach it",
        )
    for number, gradient in enumerate(gradients):
        if gradient is not None and not torch.isfinite(gradient).all():
            raise NonFiniteLoss(
                f"the gradient of input {number} is not finite",
                where=where,
                remedy="look for overflow in the network, or attack in fp32",
            )
    return tuple(gradients)


def _one_ascent(
    score: Score, inputs: Tensors, domains: Sequence[Domain | None], ball: Ball, generator: torch.Generator | None
) -> Tensors:
    current = started(inputs, domains, ball, generator)
    for _ in range(ball.steps):
        current = moved(current, input_gradients(score, watched(current, domains)), inputs, domains, ball)
    return current


def _like(values: Tensor, x: Tensor) -> Tensor:
    return values.view(-1, *[1] * (x.dim() - 1))
