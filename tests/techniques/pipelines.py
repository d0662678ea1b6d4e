"""Tasks whose pictures other pipelines deliver too, for tests."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from techniques.task import Batch, Examples, Task


class _Three:
    """Examples with three variants: the first input brighter by 0.1, 0.2, 0.3."""

    def __init__(self, examples: Examples) -> None:
        self.examples = examples

    def __len__(self) -> int:
        return len(self.examples)

    def batch(self, rows: Tensor, generator: torch.Generator) -> Batch:
        batch = self.examples.batch(rows, generator)
        variants = tuple((batch.inputs[0] + 0.1 * k, *batch.inputs[1:]) for k in (1, 2, 3))
        return replace(batch, variants=variants)


def with_three(task: Task) -> Task:
    """The task, its training pictures with three variants."""
    return replace(task, train=_Three(task.train))
