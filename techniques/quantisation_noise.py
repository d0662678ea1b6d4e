"""Quantisation noise: while training, some weights and activations are rounded as the deployed engine will round them.

    forward and backward with  w~ = m * Q(w) + (1 - m) * w,   a~ = Q(a) for some layers;   w <- w - rate * dL/dw~

m is 1 on a random share of blocks of consecutive weights of an output channel; Q rounds to fp16, bf16, or int8 with
one scale per output channel (weights) or per tensor (activations). The gradient goes through the rounding as if it
were not there (straight-through). Fan et al., "Training with Quantization Noise for Extreme Model Compression", 2020,
arXiv 2004.07320, section 4.

Departures: the paper quantises activations only after training; here a layer's activation is rounded with the same
probability, because a deployed fp16 or int8 engine rounds both. Rounding saturates: a value beyond fp16's range
becomes its largest number, not infinity, so that training survives what a headroom check will report.

Weights stay in full precision: they are rounded in place only while a gradient is taken, and put back before the step.
A trained network has no trace of it: no module, hook, buffer or parameter.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from techniques.errors import TechniqueOptionError
from techniques.task import Batch
from techniques.technique import Gradient, Run, Technique

__all__ = ["FORMATS", "QuantisationNoise", "rounded", "rounded_activations", "rounded_blocks", "rounded_weights"]

INT8_MAX = 127


def _float_format(dtype: torch.dtype) -> Callable[[Tensor], Tensor]:
    largest = torch.finfo(dtype).max
    return lambda rows: rows.clamp(-largest, largest).to(dtype).to(rows.dtype)


def _int8(rows: Tensor) -> Tensor:
    scale = rows.abs().amax(1, keepdim=True) / INT8_MAX
    scale = torch.where(scale > 0, scale, 1)
    return (rows / scale).round().clamp(-INT8_MAX, INT8_MAX) * scale


FORMATS: dict[str, Callable[[Tensor], Tensor]] = {
    "int8": _int8,
    "fp16": _float_format(torch.float16),
    "bf16": _float_format(torch.bfloat16),
}


def rounded(values: Tensor, to: str) -> Tensor:
    """Values on the grid of a format, same dtype: fp16 and bf16 saturate; int8 has one scale for each row.

    Args:
        values: [row, ...]; a row is an output channel of a weight, or a whole activation as [1, ...].
        to: one of `FORMATS`.
    """
    return FORMATS[to](values.flatten(1)).view_as(values)


def rounded_blocks(weight: Tensor, to: str, share: float, block: int, generator: torch.Generator) -> Tensor:
    """`weight` [output, ...] with each block of consecutive values of an output channel rounded with chance `share`."""
    rows = weight.flatten(1)
    count = -(-rows.shape[1] // block)
    chosen = torch.rand(len(rows), count, generator=generator) < share
    mask = chosen.repeat_interleave(block, 1)[:, : rows.shape[1]].to(weight.device)
    return torch.where(mask, FORMATS[to](rows), rows).view_as(weight)


@contextmanager
def rounded_weights(model: nn.Module, to: str, share: float, block: int, generator: torch.Generator) -> Iterator[None]:
    """Within, some blocks of every weight of two or more dimensions are rounded, in place; afterwards they are back.

    A weight that was changed meanwhile (by an optimiser's step) keeps that change.
    """
    with torch.no_grad():
        weights = [p for p in model.parameters() if p.dim() >= 2 and p.is_floating_point()]
        clean = [p.detach().clone() for p in weights]
        noisy = [rounded_blocks(w, to, share, block, generator) for w in clean]
        for parameter, value in zip(weights, noisy, strict=True):
            parameter.data.copy_(value)
    try:
        yield
    finally:
        with torch.no_grad():
            for parameter, before, value in zip(weights, clean, noisy, strict=True):
                now = parameter.data
                now.copy_(torch.where(now == value, before, now + (before - value)))


@contextmanager
def rounded_activations(model: nn.Module, to: str, share: float, generator: torch.Generator) -> Iterator[None]:
    """Within, the output of each convolution and linear layer is rounded with chance `share`, anew for every pass.

    Gradients pass as if it were not.
    """

    def hook(module: nn.Module, args: Any, output: Tensor) -> Tensor:
        if float(torch.rand((), generator=generator)) >= share:
            return output
        whole = output.detach().flatten()[None]
        return output + (rounded(whole, to).view_as(output) - output.detach())

    layers = [m for m in model.modules() if isinstance(m, nn.Linear | nn.modules.conv._ConvNd)]
    handles = [layer.register_forward_hook(hook) for layer in layers]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


@dataclass
class QuantisationNoise(Technique):
    """Some weights and activations rounded to int8, fp16 or bf16 while training; the candidate keeps none of it.

    Args:
        to: "int8", "fp16" or "bf16".
        share: probability that a block of weights, or a layer's activation, is rounded.
        block: weights in a block.
        activations: round activations as well.
    """

    name: ClassVar[str] = "quantisation-noise"
    to: str = "int8"
    share: float = 0.5
    block: int = 8
    activations: bool = True

    def __post_init__(self) -> None:
        for option, fits, accepted in (
            ("to", self.to in FORMATS, f"one of {list(FORMATS)}"),
            ("share", 0 < self.share <= 1, "above 0 and at most 1"),
            ("block", self.block >= 1, "at least 1"),
        ):
            if not fits:
                raise TechniqueOptionError(
                    f"must be {accepted}, got {getattr(self, option)!r}",
                    where=f"[technique.quantisation-noise] {option}",
                    remedy="change it",
                )

    def gradient(self, loop: Run, batch: Batch, inner: Gradient) -> Tensor:
        """The gradient at rounded weights, with rounded activations; the weights are back when it returns."""
        share = self.share if self.activations else 0.0
        with (
            rounded_weights(loop.model, self.to, self.share, self.block, loop.generator),
            rounded_activations(loop.model, self.to, share, loop.generator),
        ):
            return inner(batch)
