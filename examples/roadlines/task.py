"""The demo model as a training task: `trueline train examples/roadlines/task.toml --technique NAME`.

Training pictures are rendered once into a work folder (data.py). Every example carries as variants the same picture
through random mixtures of preprocessing; techniques that do not ask for them never see them. The test pictures carry
one variant, the card's deploy pipeline. On request there are pictures without labels as the deploy pipeline delivers
them. Seeds: training below 8000, without labels 8400-8799, selection 8800-8824, test 8900-8924; cases for the gate
start at 9000.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from cubic import CubicRoadLines
from data import (
    TRAINING_SEED,
    VALIDATION_SEED,
    NextFrames,
    Progress,
    Samples,
    load_next_frames,
    load_samples,
    make_next_frames,
    make_samples,
)
from network import RoadLines
from numpy.typing import NDArray
from torch import Tensor, nn

from harness.model.card import load_card
from techniques.objectives import Polylines, mean_of_logits
from techniques.task import Batch, Domain, Following, Task, Tensors
from techniques.temporal import carried_lines

__all__ = ["RoadExamples", "RoadObjective", "make"]

HERE = Path(__file__).resolve().parent
MEAN, STD = 0.45, 0.25  # as in the cards
HELD_OUT_SCENES, TEST_SEED, DEPLOYED_SEED = 25, 8900, 8400


def make(
    work: str = "build/roadlines",
    scenes: int = 1000,
    held_out_scenes: int = HELD_OUT_SCENES,
    deployed_scenes: int = 0,
    next_frames: bool = False,
    deploy_variants: bool = False,
    cubic: bool = False,
    progress: Progress | None = None,
) -> Task:
    """The task; what the work folder lacks is rendered first (0.04 s of processor time a picture).

    Args:
        work: folder that keeps the rendered pictures.
        scenes: training scenes, 8 pictures each.
        held_out_scenes: scenes of the selection set and of the test set.
        deployed_scenes: scenes of pictures without labels, through the deploy pipeline; 0 for none: then UAT takes
            training pictures, and bn-adapt needs a variant.
        next_frames: render the frame after each training picture too, for technique temporal.
        deploy_variants: training pictures have the card's deploy pipeline as their one variant instead of random
            mixtures. That is to know the car's pipeline exactly: a ceiling to compare with, no recipe.
        cubic: train the network whose lines are cubics fitted in the graph; its card's factory is
            "cubic:CubicRoadLines".
        progress: told (what, done, total) while rendering.
    """
    card, folder = load_card(HERE / "baseline.toml"), Path(work)
    sets = (
        (TRAINING_SEED, scenes, deploy_variants),
        (VALIDATION_SEED, held_out_scenes, False),
        (TEST_SEED, held_out_scenes, True),
        (DEPLOYED_SEED, deployed_scenes, True),
    )
    for seed, count, deploy in sets:
        make_samples(card, folder, count, first_seed=seed, deploy=deploy, progress=progress)
    if next_frames:
        make_next_frames(card, folder, scenes, progress=progress)
    train = load_samples(folder, scenes, deploy=deploy_variants)
    selection = load_samples(folder, held_out_scenes, first_seed=VALIDATION_SEED)
    test = load_samples(folder, held_out_scenes, first_seed=TEST_SEED, deploy=True)
    return Task(
        partial(_network, CubicRoadLines if cubic else RoadLines),
        RoadObjective(*_geometry(RoadLines())),
        (Domain(0, 1, (MEAN,), (STD,)),),
        train=RoadExamples(train, mirrored=True, following=load_next_frames(folder, scenes) if next_frames else None),
        selection=RoadExamples(selection),
        test=RoadExamples(test),
        unlabelled=_deployed(folder, deployed_scenes),
        unit="m",
        feature_layer="across",
    )


@dataclass(frozen=True)
class RoadExamples:
    """Pictures and lines as batches.

    Args:
        mirrored: exchange left and right at random; the principal point is the picture's middle, so this is exact.
        following: the next frame of each.
    """

    samples: Samples
    mirrored: bool = False
    following: NextFrames | None = None

    def __len__(self) -> int:
        return len(self.samples.images)

    def batch(self, rows: Tensor, generator: torch.Generator) -> Batch:
        """Inputs ([batch, 3, height, width],), targets (y [batch, 4, station],), one set of inputs a variant."""
        numbers = rows.numpy()
        images = torch.from_numpy(self.samples.images[numbers])
        lines = torch.from_numpy(self.samples.lines[numbers])
        mirror = torch.zeros(len(rows), dtype=torch.bool)
        if self.mirrored:
            mirror = torch.rand(len(rows), generator=generator) < 0.5
            images = torch.where(mirror[:, None, None, None, None], images.flip(-1), images)
            lines = torch.where(mirror[:, None, None], -lines.flip(1), lines)
        inputs = [_normalised(image) for image in images.unbind(1)]
        following = None if self.following is None else _following(self.following, numbers, mirror)
        return Batch((inputs[0],), (lines,), tuple((x,) for x in inputs[1:]), following)


@dataclass(frozen=True)
class RoadObjective(Polylines):
    """As examples/roadlines/train.py: weighted towards the vehicle, with slope, presence and the column of each point.

    Outputs: (y [batch, 4, station] metres, presence logits [batch, 4], column logits [batch, 4, station, column]).
    """

    station_m: Tensor = field(default_factory=partial(torch.empty, 0))
    column_m: Tensor = field(default_factory=partial(torch.empty, 0))
    cell_m: Tensor = field(default_factory=partial(torch.empty, 0))

    def outputs(self, model: nn.Module, inputs: Tensors) -> Tensors:
        """What training needs of the network, before the sigmoid."""
        parts = model.parts(*inputs)  # type: ignore[operator]  # RoadLines.parts
        return tuple(parts)

    def loss(self, outputs: Tensors, targets: Tensors) -> Tensor:
        """Loss of every example."""
        present = torch.isfinite(targets[0][..., 0]).to(outputs[1].dtype)
        return self._lines(outputs, targets[0]) + self.presence_weight * self._presence(outputs[1], present)

    def mixed_loss(self, outputs: Tensors, targets: Tensors, others: Tensors, share: Tensor) -> Tensor:
        """Loss against mixed lines, where both examples have them, and mixed presence."""
        own, other = (torch.isfinite(t[0][..., 0]).to(outputs[1].dtype) for t in (targets, others))
        weight = share[:, None, None]
        mixed = weight * targets[0] + (1 - weight) * others[0]
        present = share[:, None] * own + (1 - share[:, None]) * other
        return self._lines(outputs, mixed) + self.presence_weight * self._presence(outputs[1], present)

    def together(self, several: Sequence[Tensors]) -> Tensors:
        """The mean of the lines, and logits of the mean probabilities of presence and column."""
        y_m, presence = super().together(several)
        return y_m, presence, mean_of_logits([outputs[2] for outputs in several])

    def carried(self, outputs: Tensors, motion: Tensor, onto: Tensors) -> Tensors:
        """The lines as the next frame should have them; where they do not reach, and for all else, those of `onto`."""
        y_m, there = carried_lines(outputs[0], self.station_m, motion)
        return torch.where(there, y_m, onto[0].detach()), outputs[1], onto[2].detach()

    def divergence(self, outputs: Tensors, reference: Tensors) -> Tensor:
        """Mean square y difference, weighted towards the vehicle as the loss is, plus that of presence."""
        present, other = torch.sigmoid(reference[1]), torch.sigmoid(outputs[1])
        weight = 1 / (1 + self.station_m / 20)
        lateral = ((outputs[0] - reference[0]) ** 2 * weight).sum(-1) / weight.sum() * present.detach()
        return lateral.mean(-1) + self.presence_weight * ((other - present) ** 2).mean(-1)

    def error(self, outputs: Tensors, targets: Tensors) -> Tensor:
        """Mean absolute lateral error within 40 m, metres."""
        near = self.station_m <= 40
        return super().error((outputs[0][..., near],), (targets[0][..., near],))

    def _lines(self, outputs: Tensors, truth: Tensor) -> Tensor:
        y_m, _, logits = outputs
        there = torch.isfinite(truth)
        wanted = torch.where(there, truth, 0)
        weight = there / (1 + self.station_m / 20)
        total = weight.flatten(1).sum(-1).clamp(min=1)
        lateral = F.smooth_l1_loss(y_m, wanted, beta=self.beta, reduction="none") * weight
        bent = F.smooth_l1_loss(y_m.diff(n=2), wanted.diff(n=2), beta=0.05, reduction="none") * weight[..., 1:-1]
        return (lateral.flatten(1).sum(-1) + bent.flatten(1).sum(-1)) / total + 0.1 * self._columns(
            logits, wanted, there
        )

    def _columns(self, logits: Tensor, truth: Tensor, there: Tensor) -> Tensor:
        """Cross entropy against the two columns around the true one, where the camera sees it."""
        column = (self.column_m[:, 0] - truth) / self.cell_m[:, 0]
        inside = there & (column >= 0) & (column <= logits.shape[-1] - 1)
        near = (1 - (column[..., None] - torch.arange(logits.shape[-1])).abs()).clamp(min=0)
        entropy = -(near * torch.log_softmax(logits, dim=-1)).sum(-1) * inside
        return entropy.flatten(1).sum(-1) / inside.flatten(1).sum(-1).clamp(min=1)


def _following(frames: NextFrames, rows: NDArray[np.int64], mirror: Tensor) -> Following:
    """Next frames of those rows, mirrored as their pictures are: what went to the left goes to the right."""
    images, motion = torch.from_numpy(frames.images[rows]), torch.from_numpy(frames.motion[rows])
    images = torch.where(mirror[:, None, None, None], images.flip(-1), images)
    motion = torch.where(mirror[:, None], motion * torch.tensor([1.0, -1.0, -1.0]), motion)
    return Following((_normalised(images),), motion)


def _deployed(folder: Path, scenes: int) -> RoadExamples | None:
    """Pictures as the deploy pipeline delivers them, as the only version there is."""
    if not scenes:
        return None
    samples = load_samples(folder, scenes, first_seed=DEPLOYED_SEED, deploy=True)
    return RoadExamples(replace(samples, images=samples.images[:, 1:]))


def _network(kind: type[RoadLines]) -> nn.Module:
    return kind().to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's stub


def _geometry(network: RoadLines) -> tuple[float, float, Tensor, Tensor, Tensor]:
    """Fields of RoadObjective: beta, presence weight, and the network's own tables."""
    return 0.1, 0.2, network.station_m, network.column_m, network.cell_m


def _normalised(image: Tensor) -> Tensor:
    return ((image.float() / 255 - MEAN) / STD).contiguous(memory_format=torch.channels_last)
