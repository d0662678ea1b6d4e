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
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from techniques.batchnorm import evaluating, statistics_frozen
from techniques.errors import EmptyData, NonFiniteLoss, TechniqueOptionError
from techniques.task import Batch, Domain, Objective, Tensors

__all__ = [
    "Ball",
    "Score",
    "ascend",
    "attacked_error",
    "check_domains",
    "check_restarts",
    "input_gradients",
    "label_score",
    "moved",
    "started",
    "training_attack",
    "usable_gradients",
    "watched",
]

Score = Callable[[Tensors], Tensor]
NORMS = ("linf", "l2")


@dataclass(frozen=True)
class Ball:
    """How far an attack may go, and how.

    Args:
        eps: radius, raw units (8/255 where raw values lie in 0..1); for "l2" the norm over a whole example's input.
        norm: "linf" or "l2".
        steps: gradient steps.
        step: length of one, raw units; None for 2.5 * eps / steps; where there is but one, for eps, or 1.25 * eps
            from a random start (Wong et al. 2020: longer ones overfit catastrophically).
        random_start: begin at a random point of the ball: uniform ("linf"), or of uniform length ("l2").

    Raises:
        TechniqueOptionError: eps is not positive, or no step is to be taken.
    """

    eps: float = 8 / 255
    norm: str = "linf"
    steps: int = 1
    step: float | None = None
    random_start: bool = False

    def __post_init__(self) -> None:
        lengths = (self.eps, self.eps if self.step is None else self.step)
        fitting = all(isinstance(n, int | float) and n > 0 for n in lengths) and isinstance(self.steps, int)
        if not fitting or self.steps < 1 or self.norm not in NORMS:
            raise TechniqueOptionError(
                f"needs eps > 0, whole steps >= 1, step > 0 and a norm of {list(NORMS)}, got {self}",
                where="Ball(eps, norm, steps, step)",
                remedy="eps is in raw units of the input: 8/255 = 0.031 where raw values lie in 0..1",
            )

    @property
    def step_length(self) -> float:
        """Length of a step, raw units."""
        if self.step is not None:
            return self.step
        if self.steps == 1:
            return 1.25 * self.eps if self.random_start else self.eps
        return 2.5 * self.eps / self.steps


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


def started(
    inputs: Tensors, domains: Sequence[Domain | None], ball: Ball, generator: torch.Generator | None = None
) -> Tensors:
    """Where an ascent begins: the inputs, or a random point of the ball around them, within the raw range."""
    if not ball.random_start:
        return tuple(x.detach() for x in inputs)
    return tuple(
        x.detach() if d is None else _projected(_wide(x) + _scatter(x, d, ball, generator), x, d, ball)
        for x, d in zip(inputs, domains, strict=True)
    )


def watched(inputs: Tensors, domains: Sequence[Domain | None]) -> Tensors:
    """Copies that share memory with `inputs`; those that may change want a gradient."""
    return tuple(x.detach().requires_grad_(d is not None) for x, d in zip(inputs, domains, strict=True))


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


def moved(
    current: Tensors,
    gradients: Sequence[Tensor | None],
    inputs: Tensors,
    domains: Sequence[Domain | None],
    ball: Ball,
) -> Tensors:
    """One step of the ascent from `current` along `gradients`, projected onto the ball around `inputs`."""
    return tuple(
        x if g is None or d is None else _projected(_wide(x) + _step(_wide(g), d, ball), center, d, ball)
        for x, g, center, d in zip(current, gradients, inputs, domains, strict=True)
    )


def check_domains(inputs: Tensors, domains: Sequence[Domain | None], ball: Ball, restarts: int = 1) -> None:
    """Nothing if such an attack is possible.

    Raises:
        TechniqueOptionError: nothing may be perturbed, eps does not fit the raw range, or restarts repeat themselves.
    """
    if len(inputs) != len(domains) or all(d is None for d in domains):
        raise TechniqueOptionError(
            f"{len(inputs)} inputs, {len(domains)} domains of which {sum(d is not None for d in domains)} may change",
            where="ascend(inputs, domains)",
            remedy="give every input a domain (or None), at least one of them not None",
        )
    for number, (x, domain) in enumerate(zip(inputs, domains, strict=True)):
        if domain is not None:
            _check_input(number, x, domain, ball)
    check_restarts(restarts, ball)


def check_restarts(restarts: int, ball: Ball) -> None:
    """Nothing if every restart is another attack.

    Raises:
        TechniqueOptionError: none, or several from the same start.
    """
    if restarts < 1 or (restarts > 1 and not ball.random_start):
        raise TechniqueOptionError(
            f"{restarts} restarts without a random start are the same attack again",
            where="ascend(restarts)",
            remedy="use at least one, and random_start = true for more",
        )


def _one_ascent(
    score: Score, inputs: Tensors, domains: Sequence[Domain | None], ball: Ball, generator: torch.Generator | None
) -> Tensors:
    current = started(inputs, domains, ball, generator)
    for _ in range(ball.steps):
        current = moved(current, input_gradients(score, watched(current, domains)), inputs, domains, ball)
    return current


def _step(gradient: Tensor, domain: Domain, ball: Ball) -> Tensor:
    """One step in normalised units, of the length the ball asks for in raw units."""
    scale = domain.scale(gradient)
    if ball.norm == "linf":
        return ball.step_length * gradient.sign() / scale
    raw = gradient / scale  # gradient with respect to the raw value
    raw = raw / _like(raw.flatten(1).abs().amax(1), raw).clamp(min=1e-30)  # squares of tiny ones would vanish
    return ball.step_length * raw / _norm(raw).clamp(min=1e-30) / scale


def _projected(x: Tensor, center: Tensor, domain: Domain, ball: Ball) -> Tensor:
    """The nearest point (l-infinity; l2: radially) of ball and range, normalised, in the dtype of `center`."""
    wide = _wide(center)
    scale = domain.scale(wide)
    if ball.norm == "linf":
        x = torch.minimum(torch.maximum(x, wide - ball.eps / scale), wide + ball.eps / scale)
    else:
        delta = (x - wide) * scale
        x = wide + delta * (ball.eps / _norm(delta).clamp(min=1e-30)).clamp(max=1) / scale
    lowest = torch.minimum(domain.clip(torch.full_like(wide, -torch.inf)), wide)
    highest = torch.maximum(domain.clip(torch.full_like(wide, torch.inf)), wide)
    return torch.minimum(torch.maximum(x, lowest), highest).to(center.dtype).detach()


def _scatter(x: Tensor, domain: Domain, ball: Ball, generator: torch.Generator | None) -> Tensor:
    """A random displacement within the ball, normalised units, drawn on the CPU so that devices agree."""
    if ball.norm == "linf":
        raw = 2 * torch.rand(x.shape, generator=generator) - 1
    else:
        raw = torch.randn(x.shape, generator=generator)
        length = torch.rand(len(x), generator=generator)
        raw = raw * _like(length, raw) / _norm(raw).clamp(min=1e-30)
    wide = _wide(x)
    return ball.eps * raw.to(wide) / domain.scale(wide)


def _wide(x: Tensor) -> Tensor:
    """Without gradient, in fp32 at least: half precision has no room for squares and small steps."""
    return x.detach() if x.dtype == torch.float64 else x.detach().float()


def _norm(x: Tensor) -> Tensor:
    """[batch, 1, ...] Euclidean norm of every example."""
    return _like(x.flatten(1).norm(dim=1), x)


def _like(values: Tensor, x: Tensor) -> Tensor:
    return values.view(-1, *[1] * (x.dim() - 1))


def _check_input(number: int, x: Tensor, domain: Domain, ball: Ball) -> None:
    if not x.is_floating_point():
        raise TechniqueOptionError(
            f"input {number} is {x.dtype}: only floating point can be moved by a gradient",
            where="ascend(inputs, domains)",
            remedy="give it the domain None, or convert it before the network",
        )
    widest = (domain.high - domain.low) * (1 if ball.norm == "linf" else x[0].numel() ** 0.5)
    if ball.eps > widest:
        raise TechniqueOptionError(
            f"eps {ball.eps} is more than the whole raw range of input {number}, {widest:g} ({ball.norm})",
            where="Ball(eps)",
            remedy="eps is in raw units: 8/255 where raw values lie in 0..1, 8 where they lie in 0..255",
        )
