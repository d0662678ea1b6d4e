"""Consistency: a picture is answered alike whichever pipeline delivered it.

    L(x) + weight * mean over k of D(f(x), f(x_k)),   x_k = the same picture through another pipeline

drawn for every example from the task's variants. Stability training: Zheng, Song, Leung, Goodfellow, "Improving the
Robustness of Deep Neural Networks via Stability Training", 2016, arXiv 1604.04326, where x_k is x with Gaussian noise.
D is the objective's divergence (squared differences of lines, KL of classes).

With rule "jsd", for classes and masks, D is the Jensen-Shannon divergence of all of them together,

    JSD = mean over i of KL(p_i || M),   M = mean over i of p_i,   p = softmax of f(x), f(x_1), ..., f(x_n)

Hendrycks et al., "AugMix", 2020, arXiv 1912.02781 (there n = 2 and weight 12).

From fresh weights the penalty is best left out for a while (`ramp_start`): a network that does not see yet learns from
labels, at a third of the passes.

Departures: the other pictures come from pipelines, not from noise or chained augmentations; of masks the mean over
pixels counts. Gradients go into both sides. Only x is learned from labels: where a pipeline moves the line, name a
technique that trains on its labels too (preprocessing).

BatchNorm normalises both sides by its running statistics, as in the network that will drive: by the statistics of its
own batch a picture that is darker as a whole would be answered like the other, and nothing would be learned. Where
there is BatchNorm that costs another pass for x.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from techniques.batchnorm import statistics_frozen
from techniques.errors import TechniqueOptionError
from techniques.task import Batch, Objective, Tensors
from techniques.technique import Run, Technique
from techniques.uat import ramp
from techniques.variants import check_variants, drawn

__all__ = ["RULES", "Consistency", "inconsistency", "jensen_shannon"]

RULES = ("divergence", "jsd")


def jensen_shannon(logits: Sequence[Tensor]) -> Tensor:
    """[batch] Jensen-Shannon divergence of several softmaxes, nats, mean over what comes after the class.

    Args:
        logits: each [batch, class, ...], of the same examples; at least two.
    """
    log_p = torch.stack([torch.log_softmax(x, 1) for x in logits])
    log_mean = torch.logsumexp(log_p, 0) - math.log(len(logits))
    each = (log_p.exp() * (log_p - log_mean)).sum(2).mean(0)  # [batch, ...]
    return each.flatten(1).mean(1) if each.dim() > 1 else each


def inconsistency(
    objective: Objective, outputs: Tensors, others: Sequence[Tensors], rule: str = "divergence"
) -> Tensor:
    """[batch] how far the outputs of the same examples through other pipelines lie from `outputs`; 0 for no others.

    Args:
        outputs: of the pictures learned from.
        others: of the other versions, row by row.
        rule: "divergence", or "jsd" for objectives with classes.
    """
    if not others:
        return torch.zeros(len(outputs[0]), device=outputs[0].device)
    if rule == "divergence":
        return torch.stack([objective.divergence(other, outputs) for other in others]).mean(0)
    versions = [objective.class_logits(o) for o in (outputs, *others)]  # type: ignore[attr-defined]  # see Consistency
    return torch.stack([jensen_shannon(part) for part in zip(*versions, strict=True)]).mean(0)


@dataclass
class Consistency(Technique):
    """Penalise what another preprocessing pipeline changes in the answer (stability training, AugMix's JSD).

    Args:
        weight: of the penalty; 0 leaves it and its passes out.
        rule: "divergence" of the objective, or "jsd" for classes and masks.
        others: how many other versions of a picture are compared with it; at most as many as the task has variants.
        ramp_start, ramp_stop: shares of the budget between which the weight rises from 0; nothing is spent before.
    """

    name: ClassVar[str] = "consistency"

    weight: float = 1.0
    rule: str = "divergence"
    others: int = 1
    ramp_start: float = 0.0
    ramp_stop: float = 0.0

    def __post_init__(self) -> None:
        for option, fits, accepted in (
            ("weight", isinstance(self.weight, int | float) and self.weight >= 0, "zero or a positive number"),
            ("rule", self.rule in RULES, f"one of {list(RULES)}"),
            ("others", isinstance(self.others, int) and self.others >= 1, "a whole number of at least 1"),
            ("ramp_start", 0 <= self.ramp_start <= self.ramp_stop, "in 0..1 and at most ramp_stop"),
            ("ramp_stop", self.ramp_stop <= 1, "in 0..1 and at least ramp_start"),
        ):
            if not fits:
                raise TechniqueOptionError(
                    f"must be {accepted}, got {getattr(self, option)!r}",
                    where=f"[technique.consistency] {option}",
                    remedy="change it",
                )

    def start(self, loop: Run) -> None:
        """Look at one batch: a task without variants is refused before any training, and "jsd" without classes.

        Raises:
            TaskError: the task delivers no variants, or some of other shapes.
            TechniqueOptionError: the rule does not fit the objective.
        """
        check_variants(next(loop.batches(loop.task.train, limit=2)), self.name)
        if self.rule == "jsd" and not hasattr(loop.objective, "class_logits"):
            raise TechniqueOptionError(
                'the objective has no classes (no method class_logits), so there is nothing to take a "jsd" of',
                where="[technique.consistency] rule",
                remedy='use "divergence"',
            )

    def loss(self, loop: Run, batch: Batch, outputs: Tensors, loss: Tensor) -> Tensor:
        """The loss plus weight times the mean inconsistency."""
        weight = self.weight * ramp(loop.progress, self.ramp_start, self.ramp_stop)
        if not weight:
            return loss
        inputs = tuple(x.detach() for x in batch.inputs)
        with statistics_frozen(loop.model) as frozen:
            own = loop.objective.outputs(loop.model, inputs) if frozen else outputs
            others = [loop.objective.outputs(loop.model, x) for x in drawn(batch, self.others, loop.generator)]
        return loss + weight * inconsistency(loop.objective, own, others, self.rule).mean()
