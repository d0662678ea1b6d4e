"""Three objectives: classes, numbers, and polylines some of which are not there.

Classification: outputs (logits [batch, class],), targets (int64 labels [batch],).
Regression: outputs (values [batch, ...],), targets (values of that shape, NaN where nothing is known,).
Polylines: outputs (lateral y [batch, line, station] in label units, presence logits [batch, line]),
targets (y [batch, line, station], NaN where a line or a station is not there).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from techniques.errors import ModelMismatch
from techniques.task import Tensors

__all__ = ["Classification", "Polylines", "Regression", "as_tuple", "mean_of_logits"]


def as_tuple(outputs: Tensor | Tensors | list[Tensor]) -> Tensors:
    """What a network returned, as a tuple."""
    return (outputs,) if isinstance(outputs, Tensor) else tuple(outputs)


@dataclass(frozen=True)
class Classification:
    """Cross entropy; divergence is KL(reference || outputs); error is 0 or 1."""

    smoothing: float = 0.0

    def outputs(self, model: nn.Module, inputs: Tensors) -> Tensors:
        """(logits,)."""
        return as_tuple(model(*inputs))

    def judged(self, outputs: Tensors) -> Tensors:
        """The logits."""
        return outputs[:1]

    def class_logits(self, outputs: Tensors) -> Tensors:
        """The logits, with the class in dimension 1; what has no classes has no such method."""
        return outputs[:1]

    def loss(self, outputs: Tensors, targets: Tensors) -> Tensor:
        """Cross entropy of every example."""
        return F.cross_entropy(outputs[0], targets[0], reduction="none", label_smoothing=self.smoothing)

    def mixed_loss(self, outputs: Tensors, targets: Tensors, others: Tensors, share: Tensor) -> Tensor:
        """Cross entropy against the mixed label."""
        return share * self.loss(outputs, targets) + (1 - share) * self.loss(outputs, others)

    def divergence(self, outputs: Tensors, reference: Tensors) -> Tensor:
        """KL(reference || outputs), nats."""
        log_p, log_q = torch.log_softmax(reference[0], -1), torch.log_softmax(outputs[0], -1)
        return (log_p.exp() * (log_p - log_q)).sum(-1)

    def together(self, several: Sequence[Tensors]) -> Tensors:
        """Logits of the mean probabilities."""
        return (mean_of_logits([outputs[0] for outputs in several]),)

    def distance(self, targets: Tensors) -> Tensor:
        """0 within a class, 1 between classes."""
        return (targets[0][:, None] != targets[0][None]).float()

    def error(self, outputs: Tensors, targets: Tensors) -> Tensor:
        """1 where the class is wrong."""
        return (outputs[0].argmax(-1) != targets[0]).float()


@dataclass(frozen=True)
class Regression:
    """Mean squared error over the values that are known; error is their mean absolute error.

    A network of several outputs has as many targets, each of its output's shape; all their values weigh alike. Target
    values that are NaN are unknown: they cost nothing, and an example that knows none has loss 0 and error NaN.
    """

    def outputs(self, model: nn.Module, inputs: Tensors) -> Tensors:
        """What the network returns."""
        return as_tuple(model(*inputs))

    def judged(self, outputs: Tensors) -> Tensors:
        """All of it."""
        return outputs

    def loss(self, outputs: Tensors, targets: Tensors) -> Tensor:
        """Mean squared error of every example, target units squared."""
        wrong, there = _apart(outputs, targets)
        return wrong.square().sum(1) / there.sum(1).clamp(min=1)

    def mixed_loss(self, outputs: Tensors, targets: Tensors, others: Tensors, share: Tensor) -> Tensor:
        """Mean squared error against the mixed values, where both examples know them."""
        return self.loss(
            outputs,
            tuple(_share(share, t) * t + (1 - _share(share, t)) * o for t, o in zip(targets, others, strict=True)),
        )

    def divergence(self, outputs: Tensors, reference: Tensors) -> Tensor:
        """Mean square difference."""
        return (_flat(outputs) - _flat(reference)).square().mean(1)

    def together(self, several: Sequence[Tensors]) -> Tensors:
        """Their mean."""
        return tuple(torch.stack(parts).mean(0) for parts in zip(*several, strict=True))

    def distance(self, targets: Tensors) -> Tensor:
        """RMS difference of the values; inf between examples that do not know the same ones."""
        y = _flat(targets)
        there = torch.isfinite(y)
        known = torch.where(there, y, 0)
        square = (known[:, None] - known[None]).square().sum(-1)
        rms = (square / there.sum(1).clamp(min=1)).sqrt()
        return torch.where((there[:, None] == there[None]).all(-1), rms, torch.inf)

    def error(self, outputs: Tensors, targets: Tensors) -> Tensor:
        """Mean absolute error; NaN where nothing is known."""
        wrong, there = _apart(outputs, targets)
        count = there.sum(1)
        return torch.where(count > 0, wrong.abs().sum(1) / count.clamp(min=1), torch.nan)


@dataclass(frozen=True)
class Polylines:
    """Smooth L1 of y where a line is there, cross entropy of its presence; error is the mean absolute y error.

    Args:
        beta: where smooth L1 turns from square to absolute, label units.
        presence_weight: of the presence term.
    """

    beta: float = 0.1
    presence_weight: float = 0.2

    def outputs(self, model: nn.Module, inputs: Tensors) -> Tensors:
        """(y, presence logits)."""
        return as_tuple(model(*inputs))

    def judged(self, outputs: Tensors) -> Tensors:
        """The lines: lateral y alone."""
        return outputs[:1]

    def loss(self, outputs: Tensors, targets: Tensors) -> Tensor:
        """Lateral and presence loss of every example."""
        present = torch.isfinite(targets[0]).any(-1).to(outputs[1].dtype)
        return self._lateral(outputs[0], targets[0]) + self.presence_weight * self._presence(outputs[1], present)

    def mixed_loss(self, outputs: Tensors, targets: Tensors, others: Tensors, share: Tensor) -> Tensor:
        """Only lines that both examples have are mixed; presence is mixed for all."""
        own, other = (torch.isfinite(t[0]).any(-1).to(outputs[1].dtype) for t in (targets, others))
        weight = share[:, None, None]
        mixed = weight * targets[0] + (1 - weight) * others[0]  # NaN where one of them has none: left out
        present = share[:, None] * own + (1 - share[:, None]) * other
        return self._lateral(outputs[0], mixed) + self.presence_weight * self._presence(outputs[1], present)

    def divergence(self, outputs: Tensors, reference: Tensors) -> Tensor:
        """Mean square y difference of the lines, each weighted by the reference's presence, plus that of presence."""
        present, other = torch.sigmoid(reference[1]), torch.sigmoid(outputs[1])
        lateral = ((outputs[0] - reference[0]) ** 2).mean(-1) * present.detach()
        return lateral.mean(-1) + self.presence_weight * ((other - present) ** 2).mean(-1)

    def together(self, several: Sequence[Tensors]) -> Tensors:
        """The mean of the lines, and the logit of the mean probability that each is there."""
        presence = torch.stack([torch.sigmoid(outputs[1]) for outputs in several]).mean(0)
        return torch.stack([outputs[0] for outputs in several]).mean(0), torch.logit(presence, eps=1e-6)

    def distance(self, targets: Tensors) -> Tensor:
        """RMS lateral distance over the stations both have; inf unless both have the same lines, each at some station.

        An example is at distance 0 from itself, and from any other where neither has a line.
        """
        y = targets[0]
        there = torch.isfinite(y)
        both = there[:, None] & there[None]
        square = torch.where(both, (y[:, None] - y[None]) ** 2, 0).flatten(2).sum(-1)
        rms = (square / both.flatten(2).sum(-1).clamp(min=1)).sqrt()
        lines, shared = there.any(-1), both.any(-1)  # shared: both have the line, and somewhere at the same station
        alike = (lines[:, None] == shared) & (lines[None] == shared)
        return torch.where(alike.all(-1), rms, torch.inf)

    def error(self, outputs: Tensors, targets: Tensors) -> Tensor:
        """Mean absolute y error over the true stations; NaN where there is no line."""
        there = torch.isfinite(targets[0])
        wrong = torch.where(there, (outputs[0] - targets[0]).abs(), 0).flatten(1).sum(-1)
        count = there.flatten(1).sum(-1)
        return torch.where(count > 0, wrong / count.clamp(min=1), torch.nan)

    def _lateral(self, y: Tensor, truth: Tensor) -> Tensor:
        there = torch.isfinite(truth)
        wrong = F.smooth_l1_loss(y, torch.where(there, truth, y.detach()), beta=self.beta, reduction="none")
        return wrong.flatten(1).sum(-1) / there.flatten(1).sum(-1).clamp(min=1)

    def _presence(self, logits: Tensor, present: Tensor) -> Tensor:
        return F.binary_cross_entropy_with_logits(logits, present, reduction="none").flatten(1).mean(-1)


def mean_of_logits(several: Sequence[Tensor], dim: int = -1) -> Tensor:
    """Logits along `dim` whose softmax is the mean of the softmaxes of several."""
    log_p = torch.stack([torch.log_softmax(logits, dim) for logits in several])
    return torch.logsumexp(log_p, 0) - math.log(len(several))


def _flat(parts: Tensors) -> Tensor:
    """[batch, all values]."""
    return torch.cat([p.flatten(1) if p.dim() > 1 else p[:, None] for p in parts], 1)


def _apart(outputs: Tensors, targets: Tensors) -> tuple[Tensor, Tensor]:
    """[batch, value] output minus target, 0 where the target is unknown, and where it is known.

    Raises:
        ModelMismatch: outputs and targets of other shapes: a network of [batch, 1] against labels [batch] would
            otherwise be compared with everybody's label.
    """
    shapes = [[tuple(p.shape) for p in parts] for parts in (outputs, targets)]
    if shapes[0] != shapes[1]:
        raise ModelMismatch(
            f"the network gives {shapes[0]}, its targets are {shapes[1]}",
            where="Regression.loss(outputs, targets)",
            remedy="give one target for each output, of the same shape",
        )
    truth = _flat(targets)
    there = torch.isfinite(truth)
    found = _flat(outputs)
    return found - torch.where(there, truth, found.detach()), there


def _share(share: Tensor, like: Tensor) -> Tensor:
    """[batch, 1, ...] share that broadcasts against `like`."""
    return share.to(like.dtype).view(-1, *[1] * (like.dim() - 1))
