"""Tasks whose pictures other pipelines deliver too, or that have a next frame, for tests."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from techniques.objectives import Polylines
from techniques.task import Batch, Examples, Following, Task, Tensors
from techniques.temporal import carried_lines

STATION = torch.linspace(0, 8, 5)


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


class Stationed(Polylines):
    """Lines at known stations."""

    def carried(self, outputs: Tensors, motion: Tensor, onto: Tensors) -> Tensors:
        y, there = carried_lines(outputs[0], STATION, motion)
        return torch.where(there, y, onto[0].detach()), outputs[1]


class _Next:
    """Examples with a next frame: the picture with noise of its own, after a small move."""

    def __init__(self, examples: Examples) -> None:
        self.examples = examples

    def __len__(self) -> int:
        return len(self.examples)

    def batch(self, rows: Tensor, generator: torch.Generator) -> Batch:
        batch = self.examples.batch(rows, generator)
        noise = torch.Generator().manual_seed(5)
        picture = batch.inputs[0] + 0.3 * torch.randn(batch.inputs[0].shape, generator=noise)
        motion = torch.tensor([0.5, 0.1, 0.02]) * torch.rand(len(rows), 3, generator=noise)
        return replace(batch, following=Following((picture, *batch.inputs[1:]), motion))


def with_next(task: Task) -> Task:
    """The task of two lines, its training pictures followed by another frame."""
    return replace(task, train=_Next(task.train), objective=Stationed())
