"""An objective for masks: every pixel has a class, as in segmentation of lanes or of the drivable area.

Masks: outputs (logits [batch, class, ...], one tensor for each mask), targets (int64 labels [batch, ...] for each, -1
where a pixel's class is unknown).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from techniques.objectives import as_tuple, mean_of_logits
from techniques.task import Tensors

__all__ = ["UNKNOWN", "Masks"]

UNKNOWN = -1


@dataclass(frozen=True)
class Masks:
    """Mean cross entropy over the pixels whose class is known; error is the share of them that is wrong.

    Of several masks all are weighted alike; an example without a known pixel has loss 0 and error NaN.
    """

    def outputs(self, model: nn.Module, inputs: Tensors) -> Tensors:
        """Logits of every mask."""
        return as_tuple(model(*inputs))

    def judged(self, outputs: Tensors) -> Tensors:
        """All of them."""
        return outputs

    def class_logits(self, outputs: Tensors) -> Tensors:
        """All of them."""
        return outputs

    def loss(self, outputs: Tensors, targets: Tensors) -> Tensor:
        """Cross entropy of every example, mean over its known pixels and over masks."""
        each = [_known_mean(_entropy(o, t), t) for o, t in zip(outputs, targets, strict=True)]
        return torch.stack(each).mean(0)

    def mixed_loss(self, outputs: Tensors, targets: Tensors, others: Tensors, share: Tensor) -> Tensor:
        """Cross entropy against the mixed labels, where both examples know theirs."""
        each = []
        for logits, own, other in zip(outputs, targets, others, strict=True):
            both = torch.where(other == UNKNOWN, UNKNOWN, own)
            weight = share.view(-1, *[1] * (own.dim() - 1)).to(logits.dtype)
            entropy = weight * _entropy(logits, own) + (1 - weight) * _entropy(logits, other)
            each.append(_known_mean(entropy, both))
        return torch.stack(each).mean(0)

    def divergence(self, outputs: Tensors, reference: Tensors) -> Tensor:
        """KL(reference || outputs), nats, mean over pixels and masks."""
        each = []
        for logits, other in zip(outputs, reference, strict=True):
            log_p, log_q = torch.log_softmax(other, 1), torch.log_softmax(logits, 1)
            each.append((log_p.exp() * (log_p - log_q)).sum(1).flatten(1).mean(1))
        return torch.stack(each).mean(0)

    def together(self, several: Sequence[Tensors]) -> Tensors:
        """Logits of the mean probabilities."""
        return tuple(mean_of_logits(parts, 1) for parts in zip(*several, strict=True))

    def distance(self, targets: Tensors) -> Tensor:
        """Share of pixels with another class, mean over masks."""
        each = [(t[:, None] != t[None]).float().flatten(2).mean(-1) for t in targets]
        return torch.stack(each).mean(0)

    def error(self, outputs: Tensors, targets: Tensors) -> Tensor:
        """Share of known pixels that are wrong, mean over the masks that know any; NaN where none does."""
        each = []
        for logits, own in zip(outputs, targets, strict=True):
            wrong = _known_mean((logits.argmax(1) != own).float(), own)
            each.append(torch.where((own != UNKNOWN).flatten(1).any(1), wrong, torch.nan))
        return torch.stack(each).nanmean(0)


def _entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """[batch, ...] cross entropy of every pixel, 0 where its class is unknown."""
    return F.cross_entropy(logits, labels, ignore_index=UNKNOWN, reduction="none")


def _known_mean(values: Tensor, labels: Tensor) -> Tensor:
    known = (labels != UNKNOWN).to(values.dtype)
    return (values * known).flatten(1).sum(1) / known.flatten(1).sum(1).clamp(min=1)
