"""Unsupervised adversarial training: an unlabelled picture and its worst neighbour are to be answered alike.

    L = L_labelled + lambda(t) * mean over unlabelled x of  sup_{|x' - x| <= eps}  D(f(x'), target(x))

    uat-ot  target(x) = f(x) as it is at this step, without gradient ("online targets")
    uat-ft  target(x) = teacher(x), a frozen network in evaluation mode ("fixed targets")
    uat++   both

Uesato et al., "Are Labels Required for Improving Adversarial Robustness?", 2019, arXiv 1905.13725, section 3.

Departures: D is the objective's divergence (KL for classes, squared differences for lines), for fixed targets too,
where the paper takes the teacher's hard label. lambda is ramped up during training, because with few labels and no
ramp a constant network is the easiest way to be smooth. The teacher is the network itself as it was after the first
share of the budget, and training goes on from there, so that one run is one budget. For uat++ one ascent goes for the
sum of both terms: sup(a + b) instead of sup a + sup b, at half the passes.
"""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from techniques.attack import Ball, training_attack
from techniques.batchnorm import evaluating, statistics_kept
from techniques.errors import Collapse, TechniqueOptionError
from techniques.task import Batch, Domain, Objective, Tensors
from techniques.technique import Run, Technique
from techniques.warm_start import check_warm

__all__ = ["UATFT", "UATOT", "UATPlusPlus", "fixed_outputs", "ramp", "told_apart", "worst_divergence"]

COLLAPSED = 0.1  # a network that tells examples apart by less has learned next to nothing of its inputs


def worst_divergence(
    model: nn.Module,
    objective: Objective,
    inputs: Tensors,
    targets: Sequence[Tensors],
    domains: Sequence[Domain | None],
    ball: Ball,
    generator: torch.Generator,
) -> Tensor:
    """[batch] largest divergence of the network's outputs from `targets` (summed over them) within the ball.

    Targets are constants: gradients reach the network through its outputs at the worst point only. BatchNorm uses its
    running statistics while the point is sought; neither that nor the last pass changes them.

    Args:
        inputs: each [batch, ...], unlabelled, normalised.
        targets: outputs of `inputs` to stay near, one tuple for each network that gave some.
        ball: with a random start; at the inputs themselves the gradient of a divergence is zero.

    Raises:
        TechniqueOptionError: a ball without a random start.
    """
    if not ball.random_start:
        raise TechniqueOptionError(
            "an ascent of a divergence from the inputs themselves never moves: the gradient is zero there",
            where="worst_divergence(ball)",
            remedy="use Ball(random_start=True)",
        )
    constant = [tuple(t.detach() for t in target) for target in targets]

    def score(x: Tensors) -> Tensor:
        outputs = objective.outputs(model, x)
        return torch.stack([objective.divergence(outputs, target) for target in constant]).sum(0)

    worst = training_attack(model, score, inputs, domains, ball, generator)
    with statistics_kept(model):
        return score(worst)


@torch.no_grad()
def fixed_outputs(model: nn.Module, objective: Objective, inputs: Tensors) -> Tensors:
    """Outputs without gradient, in the network's mode; running statistics stay as they are."""
    with statistics_kept(model):
        return objective.outputs(model, inputs)


def ramp(progress: float, start: float, stop: float) -> float:
    """0 before `start`, 1 after `stop`, a straight line between; a step where they are equal."""
    if progress >= stop:
        return 1.0
    return max((progress - start) / (stop - start), 0.0) if stop > start else 0.0


def told_apart(objective: Objective, outputs: Tensors, targets: Tensors) -> float:
    """1 - (mean loss of the outputs) / (mean loss of the same outputs dealt out to other examples).

    1 where every example is answered well and differently, 0 where all inputs are answered alike: then it does not
    matter whose answer an example gets. The scale of labels and outputs cancels.
    """
    rows = torch.randperm(len(outputs[0]), generator=torch.Generator().manual_seed(0)).to(outputs[0].device)
    own = objective.loss(outputs, targets).mean()
    other = objective.loss(tuple(o[rows] for o in outputs), targets).mean()
    return float(1 - own / other.clamp(min=1e-12))


@dataclass
class _UAT(Technique, ABC):
    """What the three have in common.

    Args:
        weight: lambda after the ramp.
        ramp_start, ramp_stop: shares of the budget between which lambda rises from 0; nothing is spent before.
        eps, norm, steps: of the ascent; eps in raw units.
        on_collapse: "report", or "error" to refuse a network that ends up answering all inputs alike.
    """

    weight: float = 5.0
    ramp_start: float = 0.3
    ramp_stop: float = 0.7
    eps: float = 8 / 255
    norm: str = "linf"
    steps: int = 3
    on_collapse: str = "report"

    def __post_init__(self) -> None:
        self._ball = Ball(self.eps, self.norm, self.steps, random_start=True)
        if not self.weight >= 0:
            raise self._refused("weight", "zero or more")
        if not 0 <= self.ramp_start <= self.ramp_stop <= 1:
            raise self._refused("ramp_start", f"between 0 and ramp_stop ({self.ramp_stop}), which is at most 1")
        if self.on_collapse not in ("report", "error"):
            raise self._refused("on_collapse", "one of ['report', 'error']")

    @abstractmethod
    def targets(self, loop: Run, inputs: Tensors) -> list[Tensors]:
        """Outputs that the network is to keep near `inputs`; none: nothing to do yet."""

    def loss(self, loop: Run, batch: Batch, outputs: Tensors, loss: Tensor) -> Tensor:
        """The labelled loss, plus lambda times the mean of the worst divergence."""
        share = self.weight * ramp(loop.progress, self.ramp_start, self.ramp_stop)
        if share == 0:
            return loss
        inputs = loop.unlabelled_batch(len(batch)).inputs
        targets = self.targets(loop, inputs)
        if not targets:
            return loss
        domains = loop.task.domains
        worst = worst_divergence(loop.model, loop.objective, inputs, targets, domains, self._ball, loop.generator)
        return loss + share * worst.mean()

    def finish(self, loop: Run) -> None:
        """Report whether the network still tells examples apart.

        Raises:
            Collapse: it does not, and `on_collapse` is "error".
        """
        apart, spread = _check(loop)
        report: dict[str, Any] = {"told_apart": apart, "spread": spread, "collapsed": apart < COLLAPSED}
        if apart < COLLAPSED:
            problem = Collapse(
                f"all inputs are answered nearly alike: another example's answer costs only {apart:.1%} more",
                where=f"technique {self.name}, step {loop.step}",
                remedy=f"ramp lambda up later (ramp_start {self.ramp_start}, ramp_stop {self.ramp_stop}), "
                f"use a smaller weight ({self.weight}), or train longer",
            )
            if self.on_collapse == "error":
                raise problem
            report["warning"] = str(problem)
        loop.reports[self.name] = report

    def _refused(self, option: str, accepted: str) -> TechniqueOptionError:
        return TechniqueOptionError(
            f"must be {accepted}, got {getattr(self, option)!r}",
            where=f"[technique.{self.name}] {option}",
            remedy="change it",
        )


@torch.no_grad()
def _check(loop: Run, limit: int = 512) -> tuple[float, float]:
    """(told apart, spread) on training examples: spread is the mean divergence between two examples' outputs."""
    with loop.passes.uncounted(), evaluating(loop.model):
        batches = list(loop.batches(loop.task.train, limit=limit))
        each = [loop.objective.outputs(loop.model, b.inputs) for b in batches]
    outputs = tuple(torch.cat(parts) for parts in zip(*each, strict=True))
    targets = tuple(torch.cat(parts) for parts in zip(*(b.targets for b in batches), strict=True))
    spread = loop.objective.divergence(outputs, tuple(o.roll(len(o) // 2, 0) for o in outputs)).mean()
    return told_apart(loop.objective, outputs, targets), float(spread)


@dataclass
class UATOT(_UAT):
    """Unlabelled smoothness with online targets: a picture's worst neighbour is answered like the picture."""

    name: ClassVar[str] = "uat-ot"

    def targets(self, loop: Run, inputs: Tensors) -> list[Tensors]:
        """The network's own outputs."""
        return [fixed_outputs(loop.model, loop.objective, inputs)]


@dataclass
class UATFT(_UAT):
    """Unlabelled smoothness with fixed targets: a picture's worst neighbour is answered as a frozen teacher would.

    Args:
        teacher_share: share of the budget after which the network is copied and frozen as the teacher; 0 where the run
            begins with a teacher's weights (a warm start).
    """

    name: ClassVar[str] = "uat-ft"
    teacher_share: float = 0.3

    def __post_init__(self) -> None:
        super().__post_init__()
        self.teacher: nn.Module | None = None
        if not 0 <= self.teacher_share < 1:
            raise self._refused("teacher_share", "0 or more and less than 1: before it the teacher is trained")

    def start(self, loop: Run) -> None:
        """No teacher yet."""
        if self.teacher_share == 0:
            check_warm(loop, self.name, "teacher_share")
        self.teacher, self._model = None, loop.model

    def before_step(self, loop: Run, batch: Batch) -> Batch:
        """Freeze the teacher when its time has come."""
        if self.teacher is None and loop.progress >= self.teacher_share:
            self.teacher = _frozen_copy(loop.model)
        return batch

    def targets(self, loop: Run, inputs: Tensors) -> list[Tensors]:
        """The teacher's outputs, once there is one."""
        return [] if self.teacher is None else [fixed_outputs(self.teacher, loop.objective, inputs)]

    def state(self) -> Mapping[str, Any]:
        """The teacher."""
        return {"teacher": None if self.teacher is None else dict(self.teacher.state_dict())}

    def restore(self, state: Mapping[str, Any]) -> None:
        """The teacher as it was."""
        if state["teacher"] is not None:
            self.teacher = _frozen_copy(self._model)
            self.teacher.load_state_dict(state["teacher"])


@dataclass
class UATPlusPlus(UATFT):
    """Unlabelled smoothness with both targets: the network's own outputs and those of a frozen teacher."""

    name: ClassVar[str] = "uat++"

    def targets(self, loop: Run, inputs: Tensors) -> list[Tensors]:
        """The network's own outputs, and the teacher's once there is one."""
        return [fixed_outputs(loop.model, loop.objective, inputs), *super().targets(loop, inputs)]


def _frozen_copy(model: nn.Module) -> nn.Module:
    return copy.deepcopy(model).eval().requires_grad_(False)
