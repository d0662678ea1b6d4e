"""Randomised preprocessing: some examples are seen as another pipeline would have delivered them.

    x'_i = variant_k(picture_i), k uniform over the task's variants, with probability `share`;  x_i otherwise

Decoding, resizing, colour conversion and their order differ between the pipeline of training and that of the vehicle,
and cost more than the precision of the engine does: Wang et al., "SysNoise: Exploring and Benchmarking
Training-Deployment System Inconsistency", 2023, arXiv 2307.00280. The variants are the task's: same labels, row by
row, other pixels.

Ours: the rule is drawn for every example, and the training pipeline keeps a share of its own. Only labels are trained
on: where a variant shifts the picture by half a pixel the network is not told to ignore it, it is told where the line
is.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from techniques.errors import TechniqueOptionError
from techniques.task import Batch
from techniques.technique import Run, Technique
from techniques.variants import check_variants

__all__ = ["Preprocessing", "varied"]


def varied(batch: Batch, share: float, generator: torch.Generator) -> Batch:
    """The batch with about `share` of its rows taken from one of its variants each, all inputs of a row together.

    Args:
        batch: with at least one variant of the same shapes.
        share: probability for each row.
        generator: on the CPU.

    Raises:
        TaskError: no variants, or some of other shapes than the inputs.
    """
    check_variants(batch, "preprocessing")
    size = len(batch)
    taken = torch.rand(size, generator=generator) < share
    which = torch.where(taken, torch.randint(len(batch.variants), (size,), generator=generator), -1)
    inputs = batch.inputs
    for number, variant in enumerate(batch.variants):
        rows = which == number
        inputs = tuple(_rows(rows, v, x) for v, x in zip(variant, inputs, strict=True))
    return batch.with_inputs(inputs)


def _rows(rows: Tensor, chosen: Tensor, other: Tensor) -> Tensor:
    return torch.where(rows.view(-1, *[1] * (other.dim() - 1)).to(other.device), chosen, other)


@dataclass
class Preprocessing(Technique):
    """Examples as the pipelines of training and of deployment would deliver them, at random.

    Args:
        share: probability that an example comes from a variant.
    """

    name: ClassVar[str] = "preprocessing"
    share: float = 0.5

    def __post_init__(self) -> None:
        if not 0 < self.share <= 1:
            raise TechniqueOptionError(
                f"must be above 0 and at most 1, got {self.share!r}",
                where="[technique.preprocessing] share",
                remedy="0.5 takes every second example from a variant",
            )

    def start(self, loop: Run) -> None:
        """Look at one batch: a task without variants is refused before any training.

        Raises:
            TaskError: the task delivers no variants, or some of other shapes.
        """
        check_variants(next(loop.batches(loop.task.train, limit=2)), self.name)

    def before_step(self, loop: Run, batch: Batch) -> Batch:
        """The batch with some rows from variants; labels as they were."""
        return varied(batch, self.share, loop.generator)
