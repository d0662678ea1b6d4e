"""BatchNorm adapted to the car: its statistics are taken of pictures as the car's own pipeline delivers them.

    mean <- (N * mean + n * mean_car) / (N + n),   variance alike;   n pictures of the car, no labels; N the prior

N = 0 gives the car's statistics alone: Li et al., "Revisiting Batch Normalization For Practical Domain Adaptation",
2016, arXiv 1603.04779. N > 0 counts the training statistics as N pictures: Schneider et al., "Improving robustness
against common corruptions by covariate shift adaptation", 2020, arXiv 2006.16971.

Departure: both papers adapt to the inputs at hand; here it is done once, before export, and the deployed network is
fixed. All weights stay. Pictures without labels do, so recordings of the car will serve; they must not be those that
the candidate is judged on.

The network is then at home in the car's pipeline and a little less in the lab's: judge it with the car's rungs against
the lab's, as ever.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from techniques.batchnorm import batchnorms, recompute_batchnorm
from techniques.errors import EmptyData, TechniqueConflict, TechniqueOptionError
from techniques.task import Objective, Tensors
from techniques.technique import Run, Technique

__all__ = ["BatchNormAdaptation", "adapt_batchnorm"]


@torch.no_grad()
def adapt_batchnorm(model: nn.Module, objective: Objective, batches: Iterable[Tensors], prior: float = 0.0) -> int:
    """Running statistics mixed with those of `batches`, in place; returns how many pictures there were.

    Layers that are frozen (in evaluation mode while the network trains) keep theirs.

    Args:
        batches: inputs of the car's pipeline, each [batch, ...].
        prior: N, pictures that the statistics of training count as; 0 for none.

    Raises:
        EmptyData: no BatchNorm layer, or no batch.
    """
    layers = batchnorms(model)
    before = [_statistics(m) for m in layers]
    count = 0

    def counted() -> Iterator[Tensors]:
        nonlocal count
        for inputs in batches:
            count += len(inputs[0])
            yield inputs

    if not layers or not recompute_batchnorm(model, objective, counted()):
        raise EmptyData(
            "no BatchNorm layer has statistics to adapt",
            where="adapt_batchnorm(model)",
            remedy="use it for networks with BatchNorm that is not frozen",
        )
    kept = prior / (prior + count)
    for layer, old in zip(layers, before, strict=True):
        for now, then in zip(_buffers(layer), old, strict=True):
            now.copy_(kept * then + (1 - kept) * now)
    return count


def _buffers(layer: nn.modules.batchnorm._BatchNorm) -> tuple[Tensor, Tensor]:
    assert layer.running_mean is not None
    assert layer.running_var is not None
    return layer.running_mean, layer.running_var


def _statistics(layer: nn.modules.batchnorm._BatchNorm) -> tuple[Tensor, ...]:
    return tuple(buffer.clone() for buffer in _buffers(layer))


@dataclass
class BatchNormAdaptation(Technique):
    """BatchNorm's statistics of pictures as the car delivers them, taken once training has ended; no labels needed.

    Name it after techniques that put other weights into the network: they compute statistics anew.

    Args:
        frames: how many pictures, at most.
        prior: pictures that the statistics of training count as beside them; 0 for none.
        variant: number of the variant of the training pictures that stands for the car; -1 for the task's unlabelled
            pictures.
    """

    name: ClassVar[str] = "bn-adapt"

    frames: int = 1024
    prior: float = 0.0
    variant: int = -1

    def __post_init__(self) -> None:
        for option, fits, accepted in (
            ("frames", isinstance(self.frames, int) and self.frames >= 2, "a whole number of at least 2"),
            ("prior", isinstance(self.prior, int | float) and self.prior >= 0, "zero or a positive number"),
            ("variant", isinstance(self.variant, int) and self.variant >= -1, "the number of a variant, or -1"),
        ):
            if not fits:
                raise self._wrong(option, f"must be {accepted}, got {getattr(self, option)!r}", "change it")

    def start(self, loop: Run) -> None:
        """Refuse at once what could not be done at the end.

        Raises:
            TechniqueOptionError: no BatchNorm, or no such pictures.
            TechniqueConflict: weights would be replaced afterwards.
        """
        if not batchnorms(loop.model):
            raise self._wrong("frames", "the network has no BatchNorm", "train without bn-adapt")
        if self.variant < 0 and loop.task.unlabelled is None:
            raise self._wrong("variant", "the task has no unlabelled pictures", "give it some, or name a variant")
        next(self._batches(loop))
        later = list(loop.techniques)[list(loop.techniques).index(self) + 1 :]
        for other in later:
            if other.role == "final weights":
                raise TechniqueConflict(
                    f"{other.name} computes BatchNorm's statistics anew, of training pictures",
                    where=f"--technique {self.name} --technique {other.name}",
                    remedy=f"name {self.name} last",
                )

    def finish(self, loop: Run) -> None:
        """Take the statistics; report how many pictures, and how far a channel's mean moved at most, in its sigmas."""
        before = [_statistics(layer) for layer in batchnorms(loop.model)]
        with loop.passes.uncounted(), loop.autocast():
            count = adapt_batchnorm(loop.model, loop.objective, self._batches(loop), self.prior)
        moved = [
            float(((_buffers(layer)[0] - mean).abs() / (variance + layer.eps).sqrt()).max())
            for layer, (mean, variance) in zip(batchnorms(loop.model), before, strict=True)
        ]
        loop.reports[self.name] = {"frames": count, "shift_sigma": max(moved)}

    def _batches(self, loop: Run) -> Iterator[Tensors]:
        examples = loop.task.train if self.variant >= 0 else loop.task.unlabelled
        assert examples is not None
        for batch in loop.batches(examples, loop.settings.batch, self.frames):
            if self.variant >= len(batch.variants):
                raise self._wrong("variant", f"the task has {len(batch.variants)} variants", "count from 0")
            yield batch.inputs if self.variant < 0 else batch.variants[self.variant]

    def _wrong(self, option: str, what: str, remedy: str) -> TechniqueOptionError:
        return TechniqueOptionError(what, where=f"[technique.{self.name}] {option}", remedy=remedy)
