"""Several networks distilled into one: it learns, whichever pipeline delivers a picture, what they answer together.

    labels * L(f(x'), y) + weight * D(f(x'), together(g_1(x), ..., g_n(x))),    x' = x through a random pipeline

The teachers g are trained networks of the task's own architecture; `together` is the mean of their lines, or of their
classes' probabilities. They see every picture as the training pipeline delivers it, the student as any pipeline may: it
is asked for the mean's answer and for the same one in every pipeline. Hinton, Vinyals, Dean, "Distilling the Knowledge
in a Neural Network", 2015, arXiv 1503.02531, with an ensemble as teacher.

Departures: no temperature, which a regression has no use for; D is the objective's divergence; the random pipelines are
ours. Teachers run in evaluation mode without gradient; each costs one forward pass a step.

    [technique.distil]
    teachers = ["baseline.safetensors", "robust.safetensors"]      # relative to the task file
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

import torch
from torch import Tensor, nn

from techniques.errors import TechniqueOptionError
from techniques.preprocessing import varied
from techniques.task import Batch, Objective, Tensors
from techniques.technique import Run, Technique
from techniques.variants import check_variants
from techniques.weight_files import begin_with

__all__ = ["Distil", "ensemble_outputs"]


@torch.no_grad()
def ensemble_outputs(teachers: Sequence[nn.Module], objective: Objective, inputs: Tensors) -> Tensors:
    """What the teachers say together of `inputs`; they are in evaluation mode, and stay as they are."""
    return objective.together([objective.outputs(teacher, inputs) for teacher in teachers])


@dataclass
class Distil(Technique):
    """Learn the mean of several trained networks' outputs, from pictures of random pipelines.

    Args:
        teachers: safetensors files of weights of the task's network, relative to the task file.
        weight: of the divergence from their mean.
        labels: weight of the labelled loss.
        share: probability that a picture comes from a variant; 0 where the task has none.
    """

    name: ClassVar[str] = "distil"
    files: ClassVar[tuple[str, ...]] = ("teachers",)

    teachers: tuple[str, ...] = ()
    weight: float = 1.0
    labels: float = 1.0
    share: float = 0.5
    _networks: list[nn.Module] = field(default_factory=list, init=False, repr=False)
    _plain: Tensors = field(default=(), init=False, repr=False)

    def __post_init__(self) -> None:
        self.teachers = (self.teachers,) if isinstance(self.teachers, str) else tuple(self.teachers)
        for option, fits, accepted in (
            ("weight", isinstance(self.weight, int | float) and self.weight > 0, "positive"),
            ("labels", isinstance(self.labels, int | float) and self.labels >= 0, "zero or positive"),
            ("share", isinstance(self.share, int | float) and 0 <= self.share <= 1, "in 0..1"),
        ):
            if not fits:
                raise self._wrong(option, f"must be {accepted}, got {getattr(self, option)!r}", "change it")

    def start(self, loop: Run) -> None:
        """Load the teachers, and look at one batch.

        Raises:
            TechniqueOptionError: no teacher.
            TaskError, ModelMismatch: a file that is none, or of another network.
            TaskError: variants are asked for and the task has none.
        """
        if not self.teachers:
            raise self._wrong("teachers", "there is nobody to learn from", "name safetensors files of trained weights")
        if self.share:
            check_variants(next(loop.batches(loop.task.train, limit=2)), self.name)
        self._networks = [self._teacher(loop, Path(path)) for path in self.teachers]

    def before_step(self, loop: Run, batch: Batch) -> Batch:
        """Some rows from variants; the teachers will see the rows as they are."""
        self._plain = batch.inputs
        return varied(batch, self.share, loop.generator) if self.share else batch

    def loss(self, loop: Run, batch: Batch, outputs: Tensors, loss: Tensor) -> Tensor:
        """The labelled loss and the divergence from the teachers, in their weights."""
        target = ensemble_outputs(self._networks, loop.objective, self._plain)
        return self.labels * loss + self.weight * loop.objective.divergence(outputs, target).mean()

    def _teacher(self, loop: Run, path: Path) -> nn.Module:
        with torch.random.fork_rng(devices=[]):  # its random weights are thrown away, and must shift nobody's draws
            network: nn.Module = loop.task.network()
        begin_with(network, path, where=f"[technique.{self.name}] teachers")
        return network.to(loop.device).eval().requires_grad_(False)

    def _wrong(self, option: str, what: str, remedy: str) -> TechniqueOptionError:
        return TechniqueOptionError(what, where=f"[technique.{self.name}] {option}", remedy=remedy)
