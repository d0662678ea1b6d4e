"""BatchNorm beside techniques: kept out of attack passes, and computed anew for averaged weights.

torch.optim.swa_utils.update_bn feeds only the first input of a batch and resets layers that were frozen on purpose;
`recompute_batchnorm` passes all inputs and leaves frozen layers (in eval mode while the network trains) alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from techniques.errors import EmptyData
from techniques.task import Objective, Tensors

__all__ = ["batchnorms", "evaluating", "recompute_batchnorm", "statistics_frozen", "statistics_kept"]


def batchnorms(model: nn.Module) -> list[_BatchNorm]:
    """Every BatchNorm layer that keeps running statistics."""
    return [m for m in model.modules() if isinstance(m, _BatchNorm) and m.track_running_stats]


@contextmanager
def statistics_frozen(model: nn.Module) -> Iterator[bool]:
    """Within, BatchNorm normalises by its running statistics and does not change them; other layers stay as they are.

    For gradients of an attack: the network attacked is the one that will drive. Gives whether that changed anything.
    """
    layers = [m for m in batchnorms(model) if m.training]
    for layer in layers:
        layer.training = False
    try:
        yield bool(layers)
    finally:
        for layer in layers:
            layer.training = True


@contextmanager
def statistics_kept(model: nn.Module) -> Iterator[None]:
    """Within, BatchNorm normalises as its mode says, but its running statistics are put back afterwards.

    For training on altered inputs: running statistics describe the pictures that the car sees.
    """
    saved = [(m, [b.detach().clone() for b in m.buffers()]) for m in batchnorms(model)]
    try:
        yield
    finally:
        for layer, buffers in saved:
            for buffer, old in zip(layer.buffers(), buffers, strict=True):
                buffer.data.copy_(old)  # .data: a later backward pass must not take it for a change of its inputs


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Within, the network is in evaluation mode; afterwards every module is in the mode it was in."""
    modes = [(m, m.training) for m in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training


def recompute_batchnorm(model: nn.Module, objective: Objective, batches: Iterable[Tensors]) -> int:
    """Set the running statistics to the average over the examples of `batches`, in place; returns how many batches.

    The statistics of a batch count as often as it has examples; a batch of one is left out unless it is the first,
    because some layers cannot normalise it. Layers in eval mode are taken as frozen and keep theirs, unless the whole
    network is in eval mode. All other layers (dropout) are as they will be when the network drives.

    Raises:
        EmptyData: the network has BatchNorm layers to fill and there is no batch; they keep what they had.
    """
    whole = not any(m.training for m in model.modules())
    layers = [m for m in batchnorms(model) if whole or m.training]
    if not layers:
        return 0
    count = seen = 0
    with _averaging(model, layers), torch.no_grad():
        for inputs in batches:
            size = len(inputs[0])
            if seen and size == 1:
                continue
            for layer in layers:
                if not seen:
                    layer.reset_running_stats()
                layer.momentum = size / (seen + size)
            objective.outputs(model, inputs)
            count, seen = count + 1, seen + size
    if not count:
        raise EmptyData(
            "BatchNorm statistics need at least one batch, got none",
            where="recompute_batchnorm(batches)",
            remedy="give batches of training inputs",
        )
    return count


@contextmanager
def _averaging(model: nn.Module, layers: list[_BatchNorm]) -> Iterator[None]:
    """Within, only `layers` train; afterwards modes and momenta are as they were."""
    momenta = [layer.momentum for layer in layers]
    try:
        with evaluating(model):
            for layer in layers:
                layer.training = True
            yield
    finally:
        for layer, momentum in zip(layers, momenta, strict=True):
            layer.momentum = momentum
