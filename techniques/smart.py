"""SMART: smoothness under attack, and small steps from a slow teacher (Jiang et al. 2020, 1911.03437).

    loss = J(x, y) + weight * max_{|d| <= eps} D(f(x), f(x + d)) + proximal * D(f(x), f_teacher(x))

with D the objective's divergence in both directions, D(p, q) = div(p || q) + div(q || p) (equations 1 to 3). The ascent
climbs the same D; with norm "linf" a step of it is step * g / max |g|. The teacher is the exponential mean of the
weights (momentum Bregman proximal point, section 3.2). The ascent starts at random: at d = 0 the divergence is at its
minimum, its gradient is zero, and no step would ever leave.

Departures: d moves the input (the paper: word embeddings), by projected steps in raw units from anywhere in the ball.
(The authors' code climbs only one direction of the divergence, begins at Gaussian noise of 1e-5, and rescales d where
the paper projects it.) The objective's own divergence serves polylines and classes alike; the ascent sees BatchNorm's
running statistics, the pass that is trained on x + d its own batch, and neither changes them. The teacher has no
dropout and normalises by the batch, so that two equal networks do not diverge. A teacher with weights in half precision
would stall: keep the weights in fp32 and use autocast.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import get_ema_multi_avg_fn

from techniques.attack import training_attack
from techniques.ball import Ball
from techniques.batchnorm import batchnorms, statistics_frozen, statistics_kept
from techniques.errors import TechniqueOptionError
from techniques.task import Batch, Domain, Objective, Tensors
from techniques.technique import Run, Technique

__all__ = ["SMART", "both_ways", "smoothness"]


def both_ways(objective: Objective, one: Tensors, other: Tensors) -> Tensor:
    """[batch] divergence of two outputs, in both directions; 0 where they are equal."""
    return objective.divergence(one, other) + objective.divergence(other, one)


def smoothness(
    model: nn.Module,
    objective: Objective,
    inputs: Tensors,
    outputs: Tensors,
    domains: Sequence[Domain | None],
    ball: Ball,
    generator: torch.Generator | None = None,
) -> Tensor:
    """[batch] largest divergence found between the outputs and those nearby; add its mean to the loss.

    Args:
        inputs: clean, normalised; each [batch, ...].
        outputs: of `inputs` in the pass that is trained; gradients flow into them as well.
        domains: of each input, None for one that stays.
        ball: radius, norm, steps; must start at random.
        generator: for the random start; on the CPU.

    Raises:
        TechniqueOptionError: the ball does not start at random or does not fit the raw range.
        NonFiniteLoss: the gradient of an input is not finite.
    """
    if not ball.random_start:
        raise TechniqueOptionError(
            "at the clean input a divergence has no gradient: the ascent would stay there",
            where="smoothness(ball)",
            remedy="use Ball(random_start=True)",
        )
    reference = _reference(model, objective, inputs, outputs)

    def divergence(near: Tensors) -> Tensor:
        return both_ways(objective, objective.outputs(model, near), reference)

    near = training_attack(model, divergence, inputs, domains, ball, generator)
    with statistics_kept(model):
        return both_ways(objective, objective.outputs(model, near), outputs)


@dataclass
class SMART(Technique):
    """Penalise what a small attack can change in the outputs, and haste away from a slow teacher.

    Args:
        eps: radius of the ball, raw units.
        weight: of the smoothness term; 0 leaves it and its passes out.
        steps: of the ascent.
        step: length of one, raw units; None for 1.25 * eps (one step) or 2.5 * eps / steps.
        norm: "linf" or "l2".
        proximal: weight of the divergence from the teacher; 0 leaves the teacher and its passes out.
        decay: of the teacher's exponential mean, per step.
    """

    name: ClassVar[str] = "smart"
    role: ClassVar[str | None] = "attack"

    eps: float = 8 / 255
    weight: float = 1.0
    steps: int = 1
    step: float | None = None
    norm: str = "linf"
    proximal: float = 1.0
    decay: float = 0.99
    _teacher: nn.Module | None = field(default=None, init=False, repr=False)

    def __post_init__(self) -> None:
        self.ball()
        for option in ("weight", "proximal"):
            if not isinstance(getattr(self, option), int | float) or not getattr(self, option) >= 0:
                raise self._wrong(option, "zero or a positive number")
        if not isinstance(self.decay, int | float) or not 0 <= self.decay < 1:
            raise self._wrong("decay", "at least 0 and less than 1")

    def ball(self) -> Ball:
        """As the options say."""
        return Ball(self.eps, self.norm, self.steps, self.step, random_start=True, signs=False)

    def start(self, loop: Run) -> None:
        """The teacher begins as the network does."""
        self._teacher = _teacher_of(loop.model) if self.proximal else None

    def loss(self, loop: Run, batch: Batch, outputs: Tensors, loss: Tensor) -> Tensor:
        """Both terms added."""
        if self.weight:
            found = smoothness(
                loop.model, loop.objective, batch.inputs, outputs, loop.task.domains, self.ball(), loop.generator
            )
            loss = loss + self.weight * found.mean()
        if self._teacher is not None:
            with torch.no_grad(), statistics_kept(self._teacher):
                slow = loop.objective.outputs(self._teacher, batch.inputs)
            loss = loss + self.proximal * both_ways(loop.objective, outputs, slow).mean()
        return loss

    def after_step(self, loop: Run) -> None:
        """The teacher follows."""
        if self._teacher is not None:
            follow = get_ema_multi_avg_fn(self.decay)  # type: ignore[no-untyped-call]  # torch has no types there
            follow(list(self._teacher.parameters()), list(loop.model.parameters()), 0)
            for own, current in zip(self._teacher.buffers(), loop.model.buffers(), strict=True):
                own.copy_(current)

    def state(self) -> Mapping[str, Any]:
        """The teacher's weights."""
        return {"teacher": None if self._teacher is None else dict(self._teacher.state_dict())}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on with that teacher."""
        if self._teacher is not None:
            self._teacher.load_state_dict(state["teacher"])

    def _wrong(self, option: str, accepted: str) -> TechniqueOptionError:
        return TechniqueOptionError(
            f"must be {accepted}, got {getattr(self, option)!r}",
            where=f"[technique.{self.name}] {option}",
            remedy="change it",
        )


def _reference(model: nn.Module, objective: Objective, inputs: Tensors, outputs: Tensors) -> Tensors:
    """Outputs for the clean inputs as the ascent sees the network: with BatchNorm that is another pass."""
    if not any(layer.training for layer in batchnorms(model)):
        return tuple(t.detach() for t in outputs)
    with torch.no_grad(), statistics_frozen(model):
        return objective.outputs(model, inputs)


def _teacher_of(model: nn.Module) -> nn.Module:
    teacher = copy.deepcopy(model).requires_grad_(False)
    normalising = batchnorms(teacher)
    for module in teacher.modules():
        if module not in normalising:
            module.training = False
    return teacher
