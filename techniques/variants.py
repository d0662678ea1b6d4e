"""The same examples as other pipelines would deliver them: checked, and drawn row by row.

A batch's `variants` are whole sets of inputs. Techniques want, for every example by itself, one of them or several, all
inputs of an example (picture and pose) from the same one.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from techniques.errors import TaskError
from techniques.task import Batch, Tensors

__all__ = ["check_variants", "drawn", "picked"]


def check_variants(batch: Batch, who: str) -> None:
    """Nothing if the batch has variants of its inputs' shapes.

    Raises:
        TaskError: it has none, or some of other shapes.
    """
    if not batch.variants:
        raise TaskError(
            f"{who} needs examples as other pipelines would deliver them, and this task has none",
            where="Batch.variants",
            remedy=f"give the task's batches variants, or train without technique {who}",
        )
    shapes = [tuple(x.shape) for x in batch.inputs]
    for number, variant in enumerate(batch.variants):
        if [tuple(v.shape) for v in variant] != shapes:
            raise TaskError(
                f"variant {number} has shapes {[tuple(v.shape) for v in variant]}, the inputs have {shapes}",
                where="Batch.variants",
                remedy="deliver all inputs in every variant, row by row, in the network's input size",
            )


def picked(versions: Sequence[Tensors], which: Tensor) -> Tensors:
    """Row i of every input from version which[i]; int64 [batch], each input like its own."""
    rows = torch.arange(len(which))
    return tuple(torch.stack(parts)[which.to(parts[0].device), rows] for parts in zip(*versions, strict=True))


def drawn(batch: Batch, count: int, generator: torch.Generator) -> list[Tensors]:
    """`count` sets of inputs: for every row that many of its variants in random order, none of them twice.

    Args:
        batch: with variants, see `check_variants`.
        count: at most as many as there are variants; more are not to be had.
        generator: on the CPU.
    """
    order = torch.rand(len(batch), len(batch.variants), generator=generator).argsort(1)
    return [picked(batch.variants, order[:, i]) for i in range(min(count, len(batch.variants)))]
