"""The worst of the pipelines: every picture is learned as that pipeline delivers it which the network answers worst.

    min over theta of  E max over k in 0..m of L(f(x_k), y),   x_0 = x, x_k = the same picture through another pipeline

Gong, Ren, Ye, Liu, "MaxUp", 2020, arXiv 2002.09024: the maximum over a few augmented copies instead of their mean. Here
the copies are the task's variants: same labels, row by row, other pixels.

Departure: which version is the worst is found without gradient in evaluation mode, as the network will drive (dropout
would make it a matter of luck, and a batch of one pipeline's pictures would be normalised by itself); one plain
training step on those follows. One forward pass for every version, and the two of a step.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from techniques.batchnorm import evaluating
from techniques.errors import TechniqueOptionError
from techniques.task import Batch, Objective, Tensors
from techniques.technique import Run, Technique
from techniques.variants import check_variants, drawn, picked

__all__ = ["WorstOfVariants", "worst_version"]


@torch.no_grad()
def worst_version(model: nn.Module, objective: Objective, targets: Tensors, versions: Sequence[Tensors]) -> Tensor:
    """int64 [batch] number of the version with the largest loss, example by example; the first of equal ones.

    Args:
        targets: of the examples.
        versions: sets of inputs of the same examples.
    """
    with evaluating(model):
        losses = [objective.loss(objective.outputs(model, inputs), targets) for inputs in versions]
    return torch.stack(losses).argmax(0)


@dataclass
class WorstOfVariants(Technique):
    """Train on that version of every picture, of all pipelines', which the network answers worst (MaxUp).

    Args:
        others: how many other versions of a picture are tried beside it; 0 for all that the task has.
    """

    name: ClassVar[str] = "worst-of-variants"

    others: int = 0

    def __post_init__(self) -> None:
        if not isinstance(self.others, int) or isinstance(self.others, bool) or self.others < 0:
            raise TechniqueOptionError(
                f"must be a whole number, 0 for all, got {self.others!r}",
                where="[technique.worst-of-variants] others",
                remedy="change it",
            )

    def start(self, loop: Run) -> None:
        """Look at one batch: a task without variants is refused before any training.

        Raises:
            TaskError: the task delivers no variants, or some of other shapes.
        """
        check_variants(next(loop.batches(loop.task.train, limit=2)), self.name)

    def before_step(self, loop: Run, batch: Batch) -> Batch:
        """The worst version of every example; labels as they were."""
        count = self.others or len(batch.variants)
        versions = [batch.inputs, *drawn(batch, count, loop.generator)]
        with loop.autocast():
            which = worst_version(loop.model, loop.objective, batch.targets, versions)
        return batch.with_inputs(picked(versions, which))
