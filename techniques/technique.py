"""The hooks by which a technique takes part in a training run, and what it sees of the run.

A step of the loop is

    batch = before_step(batch)                 every technique in turn
    gradient(batch, inner)                     techniques wrap one another; innermost:
        outputs = objective.outputs(model, batch.inputs)
        loss = mean of objective.loss          then loss(...), every technique in turn
        loss.backward()
    optimiser.step()
    after_step()

and `after_epoch`, `finish` come where their names say. A technique is a dataclass of its options; what it remembers
between steps goes through `state` and `restore`, so that a stopped run goes on as if it had not been stopped. A run
works on a fresh copy of each technique (`fresh`), so nothing that one run remembers can reach another.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Protocol, Self

import torch
from torch import Tensor, nn

from techniques.passes import Passes
from techniques.settings import Settings
from techniques.task import Batch, Examples, Objective, Task, Tensors
from techniques.weight_files import file_sha256

__all__ = ["Gradient", "Run", "Technique"]

Gradient = Callable[[Batch], Tensor]


class Run(Protocol):
    """One training run, as far as techniques see and change it; techniques.training.Loop is one.

    Attributes:
        techniques: the run's own copies, the first is outermost.
        model: the network that is trained.
        objective: the task's, counting passes.
        generator: for what techniques draw (on the CPU).
        extra_modules: auxiliary heads, trained along and left out of the candidate.
        reports: what techniques found out, by technique.
        step, epoch: finished ones.
        optimiser: made after `start`.
    """

    task: Task
    techniques: Sequence[Technique]
    settings: Settings
    model: nn.Module
    objective: Objective
    passes: Passes
    device: torch.device
    generator: torch.Generator
    extra_modules: nn.ModuleDict
    reports: dict[str, Any]
    step: int
    epoch: int
    optimiser: torch.optim.Optimizer

    @property
    def progress(self) -> float:
        """Share of the budget that is used, 0 to 1."""
        ...

    def apply_gradients(self) -> None:
        """Clip, let the optimiser step; for techniques that take several steps on one batch."""
        ...

    def scheduled_rate(self, progress: float) -> float:
        """The rate that the settings' schedule has at that progress (0 to 1)."""
        ...

    def set_rate(self, rate: float) -> None:
        """The learning rate of this step."""
        ...

    def outputs(self, inputs: Tensors) -> Tensors:
        """The objective's outputs of the network being trained, in the run's precision."""
        ...

    def autocast(self) -> torch.autocast:
        """The run's precision."""
        ...

    def unlabelled_batch(self, size: int | None = None) -> Batch:
        """Inputs without labels."""
        ...

    def batches(self, examples: Examples, size: int = 64, limit: int | None = None) -> Iterator[Batch]:
        """All examples, or the first `limit`, in order, on the run's device."""
        ...

    def recompute_batchnorm(self, model: nn.Module, batches: int = 32) -> None:
        """Running statistics of `model` anew from training inputs; costs no budget."""
        ...

    def mean_error(self, model: nn.Module, examples: Examples) -> float:
        """Mean of the objective's error over `examples` in evaluation mode; costs no budget."""
        ...


@dataclass
class Technique:
    """Does nothing; techniques override the hooks they need.

    Class attributes:
        name: as in the registry.
        role: a place that only one technique of a run can have ("attack", "final weights"), or None.
        files: options that name files of weights; what is in them, not where they lie, decides the outcome.
    """

    name: ClassVar[str] = ""
    role: ClassVar[str | None] = None
    files: ClassVar[tuple[str, ...]] = ()

    def fresh(self) -> Self:
        """A technique of the same options that remembers nothing; every run has its own."""
        return dataclasses.replace(self)

    def options(self) -> dict[str, Any]:
        """Every option's value."""
        return {f.name: getattr(self, f.name) for f in dataclasses.fields(self) if f.init}

    def file_hashes(self) -> dict[str, list[str]]:
        """SHA-256 of the content of every file that an option of `files` names.

        Raises:
            TaskError: there is no such file.
        """
        where = f"[technique.{self.name}]"
        return {o: [file_sha256(Path(p), f"{where} {o}") for p in getattr(self, o)] for o in self.files}

    def architecture(self) -> tuple[Callable[..., nn.Module], dict[str, Any]] | None:
        """A function that changes a network, f(network, **options) -> network, and its options; None for no change.

        It is called once before training, and again wherever the candidate is built: a module-level function whose
        options are numbers, texts and tuples of them. The names and shapes of weights must stay.
        """
        return None

    def start(self, loop: Run) -> None:
        """Once, before the first step (and before `restore` when a run is resumed); the network has its first weights.

        Auxiliary parameters are added to `loop.extra_modules` here.
        """

    def before_step(self, loop: Run, batch: Batch) -> Batch:
        """The batch to train on instead; learning rates may be changed here (`loop.set_rate`)."""
        return batch

    def gradient(self, loop: Run, batch: Batch, inner: Gradient) -> Tensor:
        """Fill the parameters' gradients, return the loss. `inner(batch)` adds to `.grad` and may be called often."""
        return inner(batch)

    def loss(self, loop: Run, batch: Batch, outputs: Tensors, loss: Tensor) -> Tensor:
        """The loss to minimise instead, a scalar; `outputs` are the objective's outputs for `batch`."""
        return loss

    def after_step(self, loop: Run) -> None:
        """After every step of the optimiser."""

    def after_epoch(self, loop: Run) -> None:
        """After every pass over the training data."""

    def finish(self, loop: Run) -> None:
        """At the end: put the weights that shall drive into `loop.model`; reports go into `loop.reports[name]`."""

    def state(self) -> Mapping[str, Any]:
        """What `restore` needs: dicts, lists, numbers, text, tensors."""
        return {}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from `state`, after `start`."""
