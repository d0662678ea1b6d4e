"""The hooks by which a technique takes part in a training run.

A step of the loop is

    batch = before_step(batch)                 every technique in turn
    gradient(batch, inner)                     techniques wrap one another; innermost:
        outputs = objective.outputs(model, batch.inputs)
        loss = mean of objective.loss          then loss(...), every technique in turn
        loss.backward()
    optimiser.step()
    after_step()

and `after_epoch`, `finish` come where their names say. A technique is a dataclass of its options; what it remembers
between steps goes through `state` and `restore`, so that a stopped run goes on as if it had not been stopped.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from torch import Tensor

from techniques.task import Batch, Tensors

if TYPE_CHECKING:
    from techniques.training import Loop

__all__ = ["Gradient", "Technique"]

Gradient = Callable[[Batch], Tensor]


@dataclass
class Technique:
    """Does nothing; techniques override the hooks they need.

    Class attributes:
        name: as in the registry.
        role: a place that only one technique of a run can have ("attack", "final weights"), or None.
    """

    name: ClassVar[str] = ""
    role: ClassVar[str | None] = None

    def start(self, loop: Loop) -> None:
        """Once, before the first step (and before `restore` when a run is resumed); the network has its first weights.

        Auxiliary parameters are added to `loop.extra_modules` here.
        """

    def before_step(self, loop: Loop, batch: Batch) -> Batch:
        """The batch to train on instead; learning rates may be changed here (`loop.set_rate`)."""
        return batch

    def gradient(self, loop: Loop, batch: Batch, inner: Gradient) -> Tensor:
        """Fill the parameters' gradients, return the loss. `inner(batch)` adds to `.grad` and may be called often."""
        return inner(batch)

    def loss(self, loop: Loop, batch: Batch, outputs: Tensors, loss: Tensor) -> Tensor:
        """The loss to minimise instead, a scalar; `outputs` are the objective's outputs for `batch`."""
        return loss

    def after_step(self, loop: Loop) -> None:
        """After every step of the optimiser."""

    def after_epoch(self, loop: Loop) -> None:
        """After every pass over the training data."""

    def finish(self, loop: Loop) -> None:
        """At the end: put the weights that shall drive into `loop.model`; reports go into `loop.reports[name]`."""

    def state(self) -> Mapping[str, Any]:
        """What `restore` needs: dicts, lists, numbers, text, tensors."""
        return {}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from `state`, after `start`."""
