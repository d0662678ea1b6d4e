"""Worst inputs within a raw budget: the projected ascent that all attacks here are made of.

    x_0 = x (+ random start);  x_{k+1} = P(x_k + step * sign(g_k))   (l-infinity)
                               x_{k+1} = P(x_k + step * g_k / |g_k|_2)   (l2, per example)

with g the gradient of a score per example, and P the projection onto the eps-ball around x and onto the raw range of
the input (Madry et al., "Towards Deep Learning Models Resistant to Adversarial Attacks", 2018, equation 2.2 and
section 2.1). eps and step are in *raw* units whatever the normalisation: in normalised space every channel has a ball
of its own. Parameters' gradients, BatchNorm and modes are left as they are: gradients are taken of inputs only.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from techniques.batchnorm import evaluating, statistics_frozen
from techniques.errors import EmptyData, NonFiniteLoss, TechniqueOptionError
from techniques.task import Batch, Domain, Objective, Tensors

__all__ = ["Ball", "ascend", "attacked_error", "label_score", "training_attack"]

Score = Callable[[Tensors], Tensor]
NORMS = ("linf", "l2")


@dataclass(frozen=True)
class Ball:
    """How far an attack may go, and how.

    Args:
        eps: radius, raw units (8/255 where raw values lie in 0..1); for "l2" the norm over a whole example's input.
        norm: "linf" or "l2".
        steps: gradient steps.
        step: length of one, raw units; None for 2.5 * eps / steps, or eps for a single step.
        random_start: begin at a uniformly random point of the ball (l2: of the cube that fits it, projected).

    Raises:
        TechniqueOptionError: eps is not positive, or no step is to be taken.
    """

    eps: float = 8 / 255
    norm: str = "linf"
    steps: int = 1
    step: float | None = None
    random_start: bool = False

    def __post_init__(self) -> None:
        if not self.eps > 0 or self.steps < 1 or self.norm not in NORMS or (self.step is not None and self.step <= 0):
            raise TechniqueOptionError(
                f"needs eps > 0, steps >= 1, step > 0 and a norm of {list(NORMS)}, got {self}",
                where="Ball(eps, norm, steps, step)",
                remedy="eps is in raw units of the input: 8/255 = 0.031 where raw values lie in 0..1",
            )

    @property
    def step_length(self) -> float:
        """Length of a step, raw units."""
        if self.step is not None:
            return self.step
        return self.eps if self.steps == 1 and not self.random_start else 2.5 * self.eps / self.steps


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
        generator: for random starts; on the CPU.
        restarts: more than one needs a random start.

    Raises:
        TechniqueOptionError: no input may be perturbed, or eps does not fit the raw range.
        NonFiniteLoss: the gradient is not finite.
    """
    _check(inputs, domains, ball, restarts)
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

    Of the restarts, and of the clean input, the one with the largest *error* counts for each example.
    """
    generator = torch.Generator().manual_seed(seed)
    worst: list[Tensor] = []
    with evaluating(model):
        for batch in batches:
            with torch.no_grad():
                error = objective.error(objective.outputs(model, batch.inputs), batch.targets)
            for _ in range(restarts):
                score = label_score(model, objective, batch.targets)
                found = ascend(score, batch.inputs, domains, ball, generator=generator)
                with torch.no_grad():
                    error = torch.maximum(error, objective.error(objective.outputs(model, found), batch.targets))
            worst.append(error)
    if not worst:
        raise EmptyData("there is nothing to attack", where="attacked_error(batches)", remedy="give it batches")
    return float(torch.cat(worst).nanmean())


def training_attack(
    model: nn.Module,
    score: Score,
    inputs: Tensors,
    domains: Sequence[Domain | None],
    ball: Ball,
    generator: torch.Generator,
) -> Tensors:
    """`ascend` in the middle of training: BatchNorm uses its running statistics and does not change them."""
    with ExitStack() as stack:
        stack.enter_context(statistics_frozen(model))
        return ascend(score, inputs, domains, ball, generator=generator)


def _one_ascent(
    score: Score, inputs: Tensors, domains: Sequence[Domain | None], ball: Ball, generator: torch.Generator | None
) -> Tensors:
    current = tuple(
        x.detach() if d is None or not ball.random_start else _projected(_scattered(x, d, ball, generator), x, d, ball)
        for x, d in zip(inputs, domains, strict=True)
    )
    attacked = [i for i, d in enumerate(domains) if d is not None]
    for _ in range(ball.steps):
        leaves = tuple(x.detach().requires_grad_(i in attacked) for i, x in enumerate(current))
        with torch.enable_grad():
            gradients = torch.autograd.grad(score(leaves).sum(), [leaves[i] for i in attacked])
        moved = list(current)
        for i, gradient in zip(attacked, gradients, strict=True):
            domain = domains[i]
            assert domain is not None
            if not torch.isfinite(gradient).all():
                raise NonFiniteLoss(
                    "the gradient of an input is not finite",
                    where=f"ascend(inputs[{i}])",
                    remedy="look for overflow in the network, or attack in fp32",
                )
            moved[i] = _projected(current[i] + _step(gradient, domain, ball), inputs[i], domain, ball)
        current = tuple(moved)
    return tuple(x.detach() for x in current)


def _step(gradient: Tensor, domain: Domain, ball: Ball) -> Tensor:
    """One step in normalised units, of the length the ball asks for in raw units."""
    scale = domain.scale(gradient)
    if ball.norm == "linf":
        return ball.step_length * gradient.sign() / scale
    raw = gradient / scale  # gradient with respect to the raw value
    return ball.step_length * raw / _norm(raw).clamp(min=1e-20) / scale


def _projected(x: Tensor, center: Tensor, domain: Domain, ball: Ball) -> Tensor:
    """The nearest point (l-infinity; l2: radially) of ball and range, normalised."""
    scale = domain.scale(x)
    if ball.norm == "linf":
        x = torch.minimum(torch.maximum(x, center - ball.eps / scale), center + ball.eps / scale)
    else:
        delta = (x - center) * scale
        x = center + delta * (ball.eps / _norm(delta).clamp(min=1e-20)).clamp(max=1) / scale
    return domain.clip(x).detach()


def _scattered(x: Tensor, domain: Domain, ball: Ball, generator: torch.Generator | None) -> Tensor:
    noise = (2 * torch.rand(x.shape, generator=generator, dtype=torch.float32) - 1).to(x.device, x.dtype)
    return x.detach() + ball.eps * noise / domain.scale(x)


def _norm(x: Tensor) -> Tensor:
    """[batch, 1, ...] Euclidean norm of every example."""
    return _like(x.flatten(1).norm(dim=1), x)


def _like(values: Tensor, x: Tensor) -> Tensor:
    return values.view(-1, *[1] * (x.dim() - 1))


def _check(inputs: Tensors, domains: Sequence[Domain | None], ball: Ball, restarts: int) -> None:
    if len(inputs) != len(domains) or all(d is None for d in domains):
        raise TechniqueOptionError(
            f"{len(inputs)} inputs, {len(domains)} domains of which {sum(d is not None for d in domains)} may change",
            where="ascend(inputs, domains)",
            remedy="give every input a domain (or None), at least one of them not None",
        )
    widest = max(d.high - d.low for d in domains if d is not None)
    if ball.norm == "linf" and ball.eps > widest:
        raise TechniqueOptionError(
            f"eps {ball.eps} is more than the whole raw range of {widest}",
            where="Ball(eps)",
            remedy="eps is in raw units: 8/255 where raw values lie in 0..1, 8 where they lie in 0..255",
        )
    if restarts < 1 or (restarts > 1 and not ball.random_start):
        raise TechniqueOptionError(
            f"{restarts} restarts without a random start are the same attack again",
            where="ascend(restarts)",
            remedy="use Ball(random_start=True)",
        )
