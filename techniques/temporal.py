"""Consistency in time: from one frame to the next the lines move as the vehicle did, and no further.

    L(x_t) + weight * D(f(x_t+1), carried(f(x_t), motion)),   motion = the vehicle's, from t to t+1

The world stands still, so what a line in the vehicle frame does between two frames is known: its points (x, y) become

    x' = cos(a) (x - dx) + sin(a) (y - dy),   y' = cos(a) (y - dy) - sin(a) (x - dx)

after the vehicle has moved dx forward and dy to the left and turned by a to the left. Read at the same stations again,
that is what the next answer should be: whatever differs is jitter, or the beginning of a swing. Labels are not needed.

Source: ours, along the vehicle's measured motion. The idea is that of warping losses along optical flow, as in Lai et
al., "Learning Blind Video Temporal Consistency", 2018, arXiv 1808.00449. Pitch and roll are left out: lines in the
vehicle frame lie on the road, not in the picture.

A penalty on what changes rewards answers that do not change: watch the error and how the output follows the truth.
BatchNorm normalises both sides by its running statistics, as the network will drive; where there is some, that is
another pass for x_t.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from techniques.batchnorm import statistics_frozen
from techniques.errors import TaskError, TechniqueOptionError
from techniques.task import Batch, Tensors
from techniques.technique import Run, Technique

__all__ = ["Temporal", "carried_lines"]


def carried_lines(y: Tensor, station: Tensor, motion: Tensor) -> tuple[Tensor, Tensor]:
    """Lines of one frame as they are in the vehicle frame of the next one, read at the same stations.

    Args:
        y: [batch, line, station] lateral, left positive, label units.
        station: [station] distance ahead, increasing, in the same unit.
        motion: [batch, 3] how far the vehicle moved forward and to the left, in that unit, and turned left, radians.

    Returns:
        (y [batch, line, station], where the line of the earlier frame reaches, bool of that shape); y is 0 elsewhere,
        and everywhere on a line that doubles back.
    """
    forward, left, turn = (motion[:, i, None, None].to(y.dtype) for i in range(3))
    ahead, aside = station.to(y.dtype) - forward, y - left
    x = torch.cos(turn) * ahead + torch.sin(turn) * aside
    moved = torch.cos(turn) * aside - torch.sin(turn) * ahead
    wanted = station.to(y.dtype).expand_as(y).contiguous()
    after = torch.searchsorted(x.detach().contiguous(), wanted).clamp(1, len(station) - 1)
    x0, x1, y0, y1 = (part.gather(-1, after + back) for part in (x, moved) for back in (-1, 0))
    forwards = (x.detach().diff(dim=-1) > 0).all(-1, keepdim=True)
    there = forwards & (wanted >= x.detach()[..., :1]) & (wanted <= x.detach()[..., -1:])
    apart = torch.where(there, x1 - x0, 1)
    found = y0 + (wanted - x0) / apart * (y1 - y0)
    return torch.where(there, found, 0), there


@dataclass
class Temporal(Technique):
    """Penalise what changes in the lines from one frame to the next, the vehicle's own motion apart.

    Args:
        weight: of the penalty; 0 leaves it and its passes out.
    """

    name: ClassVar[str] = "temporal"

    weight: float = 1.0

    def __post_init__(self) -> None:
        if not isinstance(self.weight, int | float) or not self.weight >= 0:
            raise TechniqueOptionError(
                f"must be zero or a positive number, got {self.weight!r}",
                where="[technique.temporal] weight",
                remedy="change it",
            )

    def start(self, loop: Run) -> None:
        """Look at one batch: a task without following frames, or whose lines cannot be carried, is refused.

        Raises:
            TaskError: no following frames, or frames of other shapes.
            TechniqueOptionError: the objective does not know where its lines lie.
        """
        batch = next(loop.batches(loop.task.train, limit=2))
        shapes = [tuple(x.shape) for x in batch.inputs]
        if batch.following is None or [tuple(x.shape) for x in batch.following.inputs] != shapes:
            raise TaskError(
                "temporal needs the frame after each example, and how the vehicle moved; this task has none that fits",
                where="Batch.following",
                remedy="give the task's batches Following(inputs, motion), or train without technique temporal",
            )
        if not hasattr(loop.objective, "carried"):
            raise TechniqueOptionError(
                "the objective does not say how outputs move with the vehicle (no method carried)",
                where="Task.objective",
                remedy="give it carried(outputs, motion, onto), see techniques.temporal.carried_lines",
            )

    def loss(self, loop: Run, batch: Batch, outputs: Tensors, loss: Tensor) -> Tensor:
        """The loss plus weight times the mean divergence of the next frame's outputs from the carried ones."""
        if not self.weight or batch.following is None:
            return loss
        inputs = tuple(x.detach() for x in batch.inputs)
        with statistics_frozen(loop.model) as frozen:
            now = loop.objective.outputs(loop.model, inputs) if frozen else outputs
            then = loop.objective.outputs(loop.model, batch.following.inputs)
        carried = loop.objective.carried(now, batch.following.motion, then)  # type: ignore[attr-defined]  # see start
        return loss + self.weight * loop.objective.divergence(then, carried).mean()
