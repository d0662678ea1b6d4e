"""Networks that only faults export: factories around the card's own, named by dotted path in a faulty ModelSource."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from engines.dotted import load_dotted, modules_of

if TYPE_CHECKING:
    import torch
    from torch import nn

__all__ = ["batch_statistics"]


def batch_statistics(factory: str, root: str, args: dict[str, Any], share: float = 1.0) -> nn.Module:
    """The card's network with every BatchNorm as in training mode: it normalises by the batch it sees.

    Parameters, buffers and their names are those of the original, so that its weights still fit.

    Args:
        factory: dotted path of the card's factory.
        root: folder of the card.
        args: the factory's arguments.
        share: of the batch in mean and variance; the rest is the running statistics.
    """
    from torch import nn

    build = load_dotted(factory, Path(root))
    with modules_of(Path(root)):
        module: nn.Module = build(**args)
    for part in module.modules():
        if isinstance(part, nn.modules.batchnorm._BatchNorm):
            part.batch_share = share  # type: ignore[assignment]  # the fault's own
            part.forward = _normalised_by_batch.__get__(part)  # type: ignore[method-assign]  # the fault itself
    return module


def _normalised_by_batch(self: Any, x: torch.Tensor) -> torch.Tensor:
    """What BatchNorm computes in training mode, written out, so that an exporter in evaluation mode keeps it."""
    axes = [0, *range(2, x.dim())]
    shape = [1, -1, *[1] * (x.dim() - 2)]
    mean = x.mean(axes, keepdim=True)
    variance = ((x - mean) ** 2).mean(axes, keepdim=True)
    if (share := self.batch_share) != 1:
        mean = share * mean + (1 - share) * self.running_mean.view(shape)
        variance = share * variance + (1 - share) * self.running_var.view(shape)
    y = (x - mean) / (variance + self.eps).sqrt()
    scaled: torch.Tensor = y * self.weight.view(shape) + self.bias.view(shape) if self.affine else y
    return scaled
