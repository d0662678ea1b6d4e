"""Noise on the inputs: the cheapest baseline that any technique for robustness has to beat.

    x' = clip(x + sigma_i * n),   n ~ N(0, 1) per value,   sigma_i ~ U(0, sigma) per example

with sigma in raw units and the clip to the raw range, so that a noisy picture is still a picture. To first order in
sigma^2 it is a penalty on the squared Jacobian: Bishop, "Training with Noise is Equivalent to Tikhonov
Regularization", 1995; as a baseline for corruptions: Rusak et al., "A Simple Way to Make Neural Networks Robust
Against Diverse Image Corruptions", 2020, arXiv 2001.06057.

Departure: sigma is drawn for every example, so that nearly clean ones take part; `random=False` gives all the full
sigma.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch

from techniques.errors import TechniqueOptionError
from techniques.task import Batch, Domain, Tensors
from techniques.technique import Run, Technique

__all__ = ["Gaussian", "noisy"]


def noisy(
    inputs: Tensors,
    domains: Sequence[Domain | None],
    sigma: float,
    generator: torch.Generator,
    *,
    random: bool = True,
) -> Tensors:
    """The inputs with noise on those that have a domain, clipped to its range; the others as they are.

    Args:
        inputs: each [batch, ...], normalised.
        domains: one for every input.
        sigma: greatest standard deviation, raw units.
        generator: on the CPU.
        random: draw each example's sigma uniformly from 0..sigma, the same for all its inputs.

    Raises:
        TechniqueOptionError: no input has a domain, or sigma is wider than a whole raw range.
    """
    _check(inputs, domains, sigma)
    size = len(inputs[0])
    each = sigma * (torch.rand(size, generator=generator) if random else torch.ones(size))
    found = []
    for x, domain in zip(inputs, domains, strict=True):
        if domain is None:
            found.append(x)
            continue
        raw = torch.randn(x.shape, generator=generator) * each.view(-1, *[1] * (x.dim() - 1))
        found.append(domain.clip(x + raw.to(x.device, x.dtype) / domain.scale(x)))
    return tuple(found)


def _check(inputs: Tensors, domains: Sequence[Domain | None], sigma: float) -> None:
    ranges = [d.high - d.low for d in domains if d is not None]
    if len(inputs) != len(domains) or not ranges:
        raise TechniqueOptionError(
            f"{len(inputs)} inputs, {len(domains)} domains of which {len(ranges)} may change",
            where="noisy(inputs, domains)",
            remedy="give every input a domain (or None), at least one of them not None",
        )
    if not 0 <= sigma <= min(ranges):
        raise TechniqueOptionError(
            f"sigma must lie between 0 and the raw range of {min(ranges):g}, got {sigma}",
            where="noisy(sigma)",
            remedy="sigma is in raw units: 0.05 where raw values lie in 0..1, 13 where they lie in 0..255",
        )


@dataclass
class Gaussian(Technique):
    """Gaussian noise on the inputs, of random strength for every example.

    Args:
        sigma: greatest standard deviation, raw units.
        random: draw each example's from 0..sigma; otherwise all have sigma.
    """

    name: ClassVar[str] = "gaussian"
    sigma: float = 0.05
    random: bool = True

    def __post_init__(self) -> None:
        if not self.sigma > 0:
            raise TechniqueOptionError(
                f"must be positive, got {self.sigma!r}",
                where="[technique.gaussian] sigma",
                remedy="give a standard deviation in raw units: 0.05 where raw values lie in 0..1",
            )

    def before_step(self, loop: Run, batch: Batch) -> Batch:
        """The batch with noise; labels as they were."""
        found = noisy(batch.inputs, loop.task.domains, self.sigma, loop.generator, random=self.random)
        return batch.with_inputs(found)
