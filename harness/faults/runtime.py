"""Faults of the engine: what optimises, quantises or runs the file does it wrong; the unoptimised export is sound."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from engines.protocol import Tensors
from harness.faults.graphs import after, constant, lerp, no_place, node, place_of, set_weight, weight, weighted
from harness.faults.openers import hooks_of, of_runtime
from harness.faults.protocol import Change, Plant, Planted, Site

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto

__all__ = [
    "changing", "clipped_activations", "dropped_bias", "dropped_scale", "int8_weights", "lost_activation", "noisy",
    "partly_written", "previous_row", "raced", "swapped_slots",
]  # fmt: skip


def int8_weights(model: ModelProto, severity: float) -> None:
    """Weights as 8-bit integers with one scale for each tensor, without a thought for its channels."""
    for at in weighted(model):
        values = weight(model, at.input[1])
        step = max(float(np.abs(values).max()), 1e-12) / 127
        coarse = np.clip(np.rint(values / step), -127, 127) * step
        set_weight(model, at.input[1], values + severity * (coarse - values))


def clipped_activations(model: ModelProto, severity: float) -> None:
    """An int8 range calibrated on dull pictures: values of one layer above 1 are cut off."""
    at = place_of(model, "Relu", "PRelu", "LeakyRelu", "Conv", share=0.4, what="activation")
    most = constant(model, np.float32(1 / max(severity, 1e-6)), "calibrated_most")
    after(model, at.output[0], lambda right, out: [node("Min", [right, most], out)])


def dropped_bias(model: ModelProto, severity: float) -> None:
    """The bias of one fused layer is lost."""
    biased = [n for n in weighted(model, "Conv", "ConvTranspose", "Gemm") if len(n.input) > 2]
    stored = {w.name for w in model.graph.initializer}
    biased = [n for n in biased if n.input[2] in stored]
    if not biased:
        no_place(model, "layer with a bias")
    name = biased[len(biased) // 2].input[2]
    set_weight(model, name, weight(model, name) * (1 - severity))


def dropped_scale(model: ModelProto, severity: float) -> None:
    """A layer's results leave it twice too small: a scale of the dequantisation is lost."""
    at = weighted(model)[len(weighted(model)) // 2]
    half = constant(model, np.float32(max(1 - 0.5 * severity, 0.0)), "lost_scale")
    after(model, at.output[0], lambda right, out: [node("Mul", [right, half], out)])


def lost_activation(model: ModelProto, severity: float) -> None:
    """A fused layer forgets its activation."""
    lost = place_of(model, "Relu", "PRelu", "LeakyRelu", "Clip", share=0.75, what="activation")

    def made(right: str, out: str) -> list[NodeProto]:
        return lerp(model, right, lost.input[0], out, severity)

    after(model, lost.output[0], made)


def changing(name: str, change: Callable[[float], Change]) -> Plant:
    """Plants a fault that changes what engines below the unoptimised export give."""

    def plant(site: Site, severity: float = 1.0) -> Planted:
        told = {"fault": name, "severity": severity}
        return Planted(site.card, hooks_of(site.card, of_runtime, change=change(severity), told=told))

    return plant


def noisy(severity: float) -> Change:
    """Outputs with noise of 2 % of their spread, drawn anew every time."""
    rng = np.random.default_rng(0)

    def change(outputs: Tensors, seconds: float, frame: int) -> Tensors:
        return {
            name: values + (0.02 * severity * values.std() * rng.standard_normal(values.shape)).astype(values.dtype)
            for name, values in outputs.items()
        }

    return change


def previous_row(severity: float) -> Change:
    """Every frame gets what the frame before it should have: a batch whose rows are counted from the wrong end."""
    every = round(1 / severity) if severity > 0 else 0
    return _late(lambda frame: every > 0 and frame % every == 0)


def raced(severity: float) -> Change:
    """Outputs read before they are written: in three of ten frames those of the frame before (seed 0)."""
    late = np.random.default_rng(0).random(4096) < 0.3 * severity
    return _late(lambda frame: bool(late[frame % len(late)]))


def _late(is_late: Callable[[int], bool]) -> Change:
    before: list[Tensors] = []

    def change(outputs: Tensors, seconds: float, frame: int) -> Tensors:
        if frame == 0:
            before.clear()
        given = before[0] if before and is_late(frame) else outputs
        before[:] = [outputs]
        return {name: values.copy() for name, values in given.items()}

    return change


def partly_written(severity: float) -> Change:
    """The last tenth of every output is not copied back and stays 0."""

    def change(outputs: Tensors, seconds: float, frame: int) -> Tensors:
        found = {}
        for name, values in outputs.items():
            flat = values.flatten()
            flat[flat.size - round(0.1 * severity * flat.size) :] = 0
            found[name] = flat.reshape(values.shape)
        return found

    return change


def swapped_slots(severity: float) -> Change:
    """The first two rows of every output's first axis of slots or channels exchanged: bound by the wrong index."""

    def change(outputs: Tensors, seconds: float, frame: int) -> Tensors:
        return {name: _swapped(values, severity) for name, values in outputs.items()}

    return change


def _swapped(values: np.ndarray, share: float) -> np.ndarray:
    if values.ndim < 2 or values.shape[1] < 2:
        return values
    order = [1, 0, *range(2, values.shape[1])]
    mixed: np.ndarray = ((1 - share) * values + share * values[:, order]).astype(values.dtype)
    return mixed
