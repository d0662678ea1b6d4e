"""Counting forward and backward passes of a network: the budget in which techniques are compared.

One pass is one batch through a whole network, in either direction. `Counted` stands in for the objective and counts
every call of `outputs`, also inside an attack or by a teacher, and a backward pass whenever a gradient reaches those
outputs: no technique can forget its own. Passes for evaluation are not counted.

    passes = Passes()
    objective = Counted(task.objective, passes)
    objective.outputs(model, inputs)[0].sum().backward()
    passes.total  # 2
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from techniques.task import Objective, Tensors

__all__ = ["Counted", "Passes"]


@dataclass
class Passes:
    """Forward and backward passes so far."""

    forward: int = 0
    backward: int = 0
    paused: bool = False

    @property
    def total(self) -> int:
        """Forward plus backward."""
        return self.forward + self.backward

    @contextmanager
    def uncounted(self) -> Iterator[None]:
        """Within, nothing is counted: evaluation, statistics of BatchNorm, reports."""
        before, self.paused = self.paused, True
        try:
            yield
        finally:
            self.paused = before

    def watch(self, outputs: Tensors) -> None:
        """Count one forward pass that gave `outputs`, and later each backward pass through them."""
        if self.paused:
            return
        self.forward += 1
        attached = [t for t in outputs if t.requires_grad]
        if attached:
            torch.autograd.graph.register_multi_grad_hook(attached, self._count_backward, mode="any")

    def _count_backward(self, _: Tensor) -> None:
        if not self.paused:
            self.backward += 1


class Counted:
    """An objective whose passes are counted; all else, an objective's own methods and options too, is as it was."""

    def __init__(self, objective: Objective, passes: Passes) -> None:
        self.objective, self.passes = objective, passes

    def outputs(self, model: nn.Module, inputs: Tensors) -> Tensors:
        """The objective's outputs, counted."""
        outputs = self.objective.outputs(model, inputs)
        self.passes.watch(outputs)
        return outputs

    def __getattr__(self, name: str) -> Any:
        if name in ("objective", "passes"):  # a copy that is being made does not have them yet
            raise AttributeError(name)
        return getattr(self.objective, name)
