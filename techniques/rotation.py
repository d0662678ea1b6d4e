"""Rotation self-supervision: the network's features must also tell how the picture was turned.

    L = L_labelled(x) + weight * mean over r of CE(head(features(T_r(x))), r),   T_0..T_3 four ways to turn a picture

Hendrycks, Mazeika, Kadavath, Song, "Using Self-Supervised Learning Can Improve Model Robustness and Uncertainty", 2019,
arXiv 1906.12340, section 3.1 (weight 0.5); turned by 0, 90, 180 and 270 degrees as in Gidaris et al., arXiv 1803.07728.

Departures: each example is turned in one way drawn at random instead of in all four, which estimates the same mean
without bias at a quarter of the passes. Pictures that are not square are cropped to their central square first and
stretched back to their frame afterwards, all four alike: otherwise the frame's shape gives the answer away. Pictures
of roads have an up and a down that a quarter turn makes trivial; for them there is "roll-flip": as it is, mirrored,
rolled by a few degrees to either side, cropped alike so that no empty corner gives the answer away. BatchNorm's running
statistics do not see turned pictures. `eps` attacks the turned pictures through the head's loss, as the authors' code
does; together with an adversarial technique the turned pictures are those that it attacked.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from techniques.attack import Ball, training_attack
from techniques.batchnorm import evaluating, statistics_kept
from techniques.errors import TaskError, TechniqueOptionError
from techniques.task import Batch, Domain, Tensors
from techniques.technique import Run, Technique

__all__ = ["TRANSFORMS", "Rotation", "captured", "pooled", "roll_flip", "rotations", "turned"]

WAYS = 4


def rotations(pictures: Tensor, way: Tensor) -> Tensor:
    """Central squares of pictures [batch, channel, height, width], turned by way [batch] * 90 degrees; same frame."""
    height, width = pictures.shape[-2:]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    square = pictures[..., top : top + side, left : left + side]
    each = way.view(-1, 1, 1, 1).to(pictures.device)
    found = square
    for quarter in range(1, WAYS):
        found = torch.where(each == quarter, torch.rot90(square, quarter, (-2, -1)), found)
    if height == width:
        return found
    return F.interpolate(found, (height, width), mode="bilinear", align_corners=False)


def roll_flip(pictures: Tensor, way: Tensor, *, degrees: float = 5.0) -> Tensor:
    """Pictures as they are (0), mirrored (1), rolled to the left (2) or right (3), all magnified alike.

    The magnification is what a roll needs to keep its corners inside the picture.
    """
    height, width = pictures.shape[-2:]
    angle, ratio = math.radians(degrees), height / width
    zoom = 1 / (math.cos(angle) + math.sin(angle) * max(ratio, 1 / ratio))
    turn = angle * ((way == 2).double() - (way == 3).double())
    mirror = 1 - 2 * (way == 1).double()
    cos, sin, zero = turn.cos(), turn.sin(), torch.zeros_like(turn)
    rows = [mirror * cos, -sin * ratio, zero, sin / ratio, cos, zero]
    fine = pictures if pictures.dtype == torch.float64 else pictures.float()
    matrix = (zoom * torch.stack(rows, 1)).view(-1, 2, 3).to(fine.device, fine.dtype)
    grid = F.affine_grid(matrix, list(fine.shape), align_corners=False)
    found = F.grid_sample(fine, grid, mode="bilinear", padding_mode="border", align_corners=False)
    return found.to(pictures.dtype)


TRANSFORMS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {"rotations": rotations, "roll-flip": roll_flip}


def turned(inputs: Tensors, domains: Sequence[Domain | None], way: Tensor, transforms: str) -> Tensors:
    """The pictures among the inputs (4 dimensions, with a domain) turned by way [batch]; the others as they are.

    Raises:
        TechniqueOptionError: there is no picture among them.
    """
    pictures = [d is not None and x.dim() == 4 for x, d in zip(inputs, domains, strict=True)]
    if not any(pictures):
        raise TechniqueOptionError(
            f"no picture to turn among inputs of shapes {[tuple(x.shape) for x in inputs]}",
            where="turned(inputs, domains)",
            remedy="give the picture [batch, channel, height, width] a domain, or train without technique rotation",
        )
    turn = TRANSFORMS[transforms]
    return tuple(turn(x, way) if picture else x for x, picture in zip(inputs, pictures, strict=True))


@contextmanager
def captured(model: nn.Module, layer: str | None) -> Iterator[list[Tensor]]:
    """Within, what the named module returns is appended to the list; its hook is gone afterwards.

    Raises:
        TaskError: no such module.
    """
    modules = dict(model.named_modules())
    if layer is None or layer not in modules:
        raise TaskError(
            "an auxiliary head needs the module whose output describes a picture"
            + (", and the task names none" if layer is None else f", and the network has no {layer!r}"),
            where="Task.feature_layer",
            remedy=f"name one of {[name for name in modules if name]}",
        )
    found: list[Tensor] = []
    handle = modules[layer].register_forward_hook(lambda module, args, output: found.append(output))
    try:
        yield found
    finally:
        handle.remove()


def pooled(features: Tensor) -> Tensor:
    """[batch, channel]: the mean over whatever dimensions come after the channel.

    Raises:
        TaskError: not one tensor of at least [batch, channel].
    """
    if not isinstance(features, Tensor) or features.dim() < 2:
        raise TaskError(
            f"features must be one tensor [batch, channel, ...], got {getattr(features, 'shape', type(features))}",
            where="Task.feature_layer",
            remedy="name a module that returns one tensor",
        )
    return features.flatten(2).mean(-1) if features.dim() > 2 else features


@dataclass
class Rotation(Technique):
    """Auxiliary head that tells how a picture was turned; off unless asked for, as it can hurt on road pictures.

    Args:
        weight: of the head's loss.
        transforms: "rotations" by quarter turns, or "roll-flip" for pictures of roads.
        eps: attack the turned pictures within this raw radius (l-infinity); 0 for no attack.
        steps: of that attack.
    """

    name: ClassVar[str] = "rotation"
    weight: float = 0.5
    transforms: str = "rotations"
    eps: float = 0.0
    steps: int = 3

    def __post_init__(self) -> None:
        for option, fits, accepted in (
            ("weight", self.weight >= 0, "zero or more"),
            ("transforms", self.transforms in TRANSFORMS, f"one of {list(TRANSFORMS)}"),
            ("eps", self.eps >= 0, "zero (no attack) or more, raw units"),
            ("steps", self.steps >= 1, "at least 1"),
        ):
            if not fits:
                raise TechniqueOptionError(
                    f"must be {accepted}, got {getattr(self, option)!r}",
                    where=f"[technique.rotation] {option}",
                    remedy="change it",
                )

    def start(self, loop: Run) -> None:
        """Add a linear head on the pooled features, as wide as the feature layer turns out to be."""
        inputs = next(loop.batches(loop.task.train, limit=2)).inputs
        with torch.no_grad(), evaluating(loop.model):
            width = pooled(self._output(loop, inputs)).shape[1]
        like = next(loop.model.parameters())
        head = nn.Linear(width, WAYS, device="meta").to_empty(device=like.device).to(like.dtype)
        with torch.no_grad():  # from the run's generator: a head must not shift what dropout draws
            head.weight.copy_(torch.randn(WAYS, width, generator=loop.generator) / math.sqrt(width))
            head.bias.zero_()
        loop.extra_modules[self.name] = head

    def loss(self, loop: Run, batch: Batch, outputs: Tensors, loss: Tensor) -> Tensor:
        """The loss plus weight times the head's cross entropy on turned pictures."""
        way = torch.randint(WAYS, (len(batch),), generator=loop.generator)
        detached = tuple(x.detach() for x in batch.inputs)
        inputs = turned(detached, loop.task.domains, way, self.transforms)
        way = way.to(loop.device)
        if self.eps:
            ball = Ball(self.eps, steps=self.steps, random_start=True)
            score = self._score(loop, way)
            inputs = training_attack(loop.model, score, inputs, loop.task.domains, ball, loop.generator)
        with statistics_kept(loop.model):
            return loss + self.weight * self._score(loop, way)(inputs).mean()

    def _score(self, loop: Run, way: Tensor) -> Callable[[Tensors], Tensor]:
        head = loop.extra_modules[self.name]
        return lambda x: F.cross_entropy(head(pooled(self._output(loop, x))), way, reduction="none")

    def _output(self, loop: Run, inputs: Tensors) -> Tensor:
        """The feature layer's output; the pass is counted here, as no gradient comes back through the outputs."""
        with captured(loop.model, loop.task.feature_layer) as found, loop.passes.uncounted():
            loop.objective.outputs(loop.model, inputs)
        if not found:
            raise TaskError(
                "the network does not run its feature layer",
                where=f"Task.feature_layer {loop.task.feature_layer!r}",
                remedy="name a module that takes part in every forward pass",
            )
        if isinstance(found[-1], Tensor):
            loop.passes.watch((found[-1],))
        return found[-1]
