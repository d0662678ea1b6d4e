"""The ball an attack may use, and one step within it, in raw units whatever the normalisation.

    x <- P(x + step * sign(g))   (l-infinity)      x <- P(x + step * g / |g|_2)   (l2, per example)
    x <- P(x + step * g / max |g|)   (l-infinity without signs, per example: FreeLB, SMART)

P projects onto the eps-ball around the clean input and onto its raw range. In normalised space every channel has a ball
of its own: eps / std. Steps are computed in fp32 at least and rounded to the input's dtype at the end, so in half
precision the ball is kept up to one rounding of the input. A clean value that lies outside the raw range (an
interpolation that overshoots) may stay where it is, so that nothing ever leaves the ball.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from techniques.errors import TechniqueOptionError
from techniques.task import Domain, Tensors

__all__ = ["Ball", "check_domains", "check_restarts", "moved", "started", "watched"]

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
        signs: norm "linf": every value moves by a whole step; otherwise only the value with an example's greatest
            gradient does, and the others in proportion.

    Raises:
        TechniqueOptionError: eps is not positive, or no step is to be taken.
    """

    eps: float = 8 / 255
    norm: str = "linf"
    steps: int = 1
    step: float | None = None
    random_start: bool = False
    signs: bool = True

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


def _step(gradient: Tensor, domain: Domain, ball: Ball) -> Tensor:
    """One step in normalised units, of the length the ball asks for in raw units."""
    scale = domain.scale(gradient)
    if ball.norm == "linf" and ball.signs:
        return ball.step_length * gradient.sign() / scale
    raw = gradient / scale  # gradient with respect to the raw value
    raw = raw / _like(raw.flatten(1).abs().amax(1), raw).clamp(min=1e-30)  # squares of tiny ones would vanish
    if ball.norm == "linf":
        return ball.step_length * raw / scale
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
