"""Random light, colour, softness and noise on pictures: what a camera and its tuning may do without moving a line.

    x1 = x^gamma * gain * balance_c + offset,   x2 = x1 + k (blur(x1) - x1),   x' = clip(x2 + sigma n)

of raw values scaled to 0..1, drawn for every picture: gamma in 0.85..1.18, gain in 0.88..1.12, balance of every channel
in 0.96..1.04, offset within 0.04, k within 0.5 (softer or sharper, 3x3 mean), sigma up to 0.015. `strength` widens or
narrows all of them.

The usual photometric augmentation (Krizhevsky et al., 2012; Simard et al., 2003); ranges are ours, those of the demo
model's `robust` weights.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from techniques.errors import TechniqueOptionError
from techniques.task import Batch, Domain, Tensors
from techniques.technique import Run, Technique

__all__ = ["Photometric", "disturbed", "disturbed_inputs"]


def disturbed(image: Tensor, generator: torch.Generator, strength: float = 1.0) -> Tensor:
    """Pictures [batch, channel, height, width] of values in 0..1, disturbed at random, each by itself.

    Args:
        generator: on the CPU.
        strength: of all ranges; 1 as in the module, 0 for none.
    """
    count, channels = image.shape[:2]

    def uniform(low: float, high: float, *shape: int) -> Tensor:
        return (low + (high - low) * torch.rand(shape, generator=generator)).to(image.device)

    def around_1(width: float, *shape: int) -> Tensor:
        return uniform(1 - width * strength, 1 + width * strength, *shape)

    image = image.clamp(min=1e-4) ** uniform(0.85**strength, 1.18**strength, count, 1, 1, 1)
    image = image * around_1(0.12, count, 1, 1, 1) * around_1(0.04, count, channels, 1, 1)
    image = image + uniform(-0.04 * strength, 0.04 * strength, count, 1, 1, 1)
    soft = F.avg_pool2d(F.pad(image, (1, 1, 1, 1), mode="replicate"), 3, 1)
    image = image + uniform(-0.5 * strength, 0.5 * strength, count, 1, 1, 1) * (soft - image)
    noise = torch.randn(image.shape, generator=generator).to(image.device)
    return (image + noise * uniform(0, 0.015 * strength, count, 1, 1, 1)).clamp(0, 1)


def disturbed_inputs(
    inputs: Tensors, domains: Sequence[Domain | None], generator: torch.Generator, strength: float = 1.0
) -> Tensors:
    """The inputs, pictures among them disturbed: those with a domain and four dimensions.

    Args:
        inputs: each [batch, ...], normalised.
        domains: one for every input.

    Raises:
        TechniqueOptionError: there is no picture among them.
    """
    found = []
    for x, domain in zip(inputs, domains, strict=True):
        if domain is None or x.dim() != 4:
            found.append(x)
            continue
        width = domain.high - domain.low
        raw = disturbed((domain.raw(x) - domain.low) / width, generator, strength)
        found.append(domain.normalised(domain.low + width * raw).to(x.dtype))
    if all(a is b for a, b in zip(found, inputs, strict=True)):
        raise TechniqueOptionError(
            "no input is a picture [batch, channel, height, width] with a domain",
            where="Task.domains",
            remedy="give pictures their domain, or train without technique photometric",
        )
    return tuple(found)


@dataclass
class Photometric(Technique):
    """Random light, colour, softness and noise on every picture.

    Args:
        strength: of all ranges together; 1 as the module says.
    """

    name: ClassVar[str] = "photometric"

    strength: float = 1.0

    def __post_init__(self) -> None:
        if not 0 < self.strength <= 2:
            raise TechniqueOptionError(
                f"must be above 0 and at most 2, got {self.strength!r}",
                where="[technique.photometric] strength",
                remedy="1 is the module's ranges",
            )

    def before_step(self, loop: Run, batch: Batch) -> Batch:
        """The batch with its pictures disturbed; labels and variants as they were."""
        return batch.with_inputs(disturbed_inputs(batch.inputs, loop.task.domains, loop.generator, self.strength))
