"""A training task for the model of tiny_model, as source: a card's folder gets it as task.py."""

from __future__ import annotations

TASK = '''"""Four lines of random pictures, for the tiny model; one variant is the picture a little darker."""

from pathlib import Path

import torch
from network import Tiny

from techniques.objectives import Polylines
from techniques.task import Batch, Domain, Following, Task, TensorExamples
from techniques.temporal import carried_lines


class Lines(Polylines):
    def outputs(self, model, inputs):
        lines, scores = model(*inputs)
        return lines[..., 1], torch.logit(scores)

    def carried(self, outputs, motion, onto):
        y, there = carried_lines(outputs[0], torch.linspace(0, 80, 33), motion)
        return torch.where(there, y, onto[0].detach()), outputs[1]


class Varied:
    def __init__(self, examples):
        self.examples = examples

    def __len__(self):
        return len(self.examples)

    def batch(self, rows, generator):
        batch = self.examples.batch(rows, generator)
        following = Following((0.8 * batch.inputs[0],), torch.tensor([1.0, 0.0, 0.01]).repeat(len(rows), 1))
        return Batch(batch.inputs, batch.targets, ((0.9 * batch.inputs[0],),), following)


def make(count=16, touched=None, progress=None):
    if touched is not None:
        Path(touched).touch()
    generator = torch.Generator().manual_seed(0)
    sets = []
    for _ in range(3):
        pictures = torch.rand(count, 3, 36, 64, generator=generator)
        aside = pictures.mean((1, 2, 3))[:, None, None] * torch.ones(4, 33)
        sets.append(Varied(TensorExamples((pictures,), (torch.tensor([5.4, 1.8, -1.8, -5.4])[:, None] + aside,))))
    build = lambda: Tiny(int(torch.randint(1000, ())))
    return Task(build, Lines(), (Domain(),), *sets, unit="m", feature_layer="pool")
'''
