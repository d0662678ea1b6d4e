"""Small tasks for tests: classes, numbers, and polylines from two inputs with BatchNorm; all learnable in seconds."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from techniques.masks import Masks
from techniques.objectives import Classification, Polylines, Regression
from techniques.task import Batch, Domain, Examples, Task, TensorExamples

MEAN, STD = (0.4, 0.5, 0.6), (0.2, 0.25, 0.3)


def classes_task(count: int = 256, *, seed: int = 0) -> Task:
    """Pictures [1, 8, 8] in 0..1, class 1 where the left half is brighter; one input, dropout-free network with BN."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.rand(3 * count, 1, 8, 8, generator=generator)
    y = (x[..., :4].mean((1, 2, 3)) > x[..., 4:].mean((1, 2, 3))).long()
    parts = [TensorExamples((x[i::3],), (y[i::3],)) for i in range(3)]
    return Task(_classes_network, Classification(), (Domain(),), *parts, unit="wrong", feature_layer="1")


def numbers_task(count: int = 192, *, seed: int = 0) -> Task:
    """Mean brightness of the left and of the right half of a picture [1, 8, 8], by mean squared error."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.rand(3 * count, 1, 8, 8, generator=generator) * torch.rand(3 * count, 1, 1, 1, generator=generator)
    y = torch.stack([x[..., :4].mean((1, 2, 3)), x[..., 4:].mean((1, 2, 3))], 1)
    parts = [TensorExamples((x[i::3],), (y[i::3],)) for i in range(3)]
    return Task(_classes_network, Regression(), (Domain(),), *parts, unit="brightness", feature_layer="1")


def masks_task(count: int = 96, *, seed: int = 0) -> Task:
    """Where a picture [1, 8, 8] is bright, and where it is dark, as two masks of two classes; a tenth is unknown."""
    generator = torch.Generator().manual_seed(seed)
    parts = []
    for _ in range(3):
        x = torch.rand(count, 1, 8, 8, generator=generator)
        bright, dark = (x[:, 0] > 0.6).long(), (x[:, 0] < 0.3).long()
        bright[torch.rand(bright.shape, generator=generator) < 0.1] = -1
        parts.append(_WithVariants(TensorExamples((x,), (bright, dark))))
    return Task(_MasksNetwork, Masks(), (Domain(),), *parts, unit="wrong", feature_layer="body")


class _MasksNetwork(nn.Module):
    """Logits [batch, 2, 8, 8] of two masks."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(1, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU())
        self.head = nn.Conv2d(8, 4, 1)

    def forward(self, picture: Tensor) -> tuple[Tensor, ...]:
        return self.head(self.body(picture)).chunk(2, 1)


def polylines_task(count: int = 192, *, seed: int = 0) -> Task:
    """Two lines of 5 stations from a normalised picture [3, 8, 12] and a pose [2]; a third of the lines is missing."""
    generator = torch.Generator().manual_seed(seed)
    domain = Domain(0, 1, MEAN, STD)
    parts = []
    for _ in range(3):
        raw, pose = torch.rand(count, 3, 8, 12, generator=generator), torch.randn(count, 2, generator=generator)
        slope = torch.linspace(0, 1, 5)
        start = raw[:, 0].mean((1, 2))[:, None] * 8 - 4
        lines = torch.stack([start + pose[:, :1] * slope, start + 1 + pose[:, 1:] * slope], 1)
        missing = torch.rand(count, 2, generator=generator) < 1 / 3
        lines = torch.where(missing[..., None], torch.nan, lines)
        parts.append(_WithVariants(TensorExamples((domain.normalised(raw), pose), (lines,))))
    return Task(LinesNetwork, Polylines(), (domain, None), *parts, unit="m", feature_layer="body")


class _WithVariants:
    """Adds one variant: the picture a little darker."""

    def __init__(self, examples: Examples) -> None:
        self.examples = examples

    def __len__(self) -> int:
        return len(self.examples)

    def batch(self, rows: Tensor, generator: torch.Generator) -> Batch:
        batch = self.examples.batch(rows, generator)
        picture, *others = batch.inputs
        return Batch(batch.inputs, batch.targets, ((picture - 0.05, *others),))


class LinesNetwork(nn.Module):
    """(lines [batch, 2, 5], presence logits [batch, 2]) of (picture, pose)."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU())
        self.head = nn.Linear(8 + 2, 2 * 5 + 2)

    def forward(self, picture: Tensor, pose: Tensor) -> tuple[Tensor, Tensor]:
        pooled = self.body(picture).mean((2, 3))
        out = self.head(torch.cat([pooled, pose], 1))
        return out[:, :10].unflatten(1, (2, 5)), out[:, 10:]


def _classes_network() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 64, 2)
    )
