"""Faults of reduced precision: graphs that compute the same in fp32, and something else in fp16.

Powers of two cost fp32 nothing. So each of these leaves fp32 engines within rounding, and shows on engines of lower
precision alone: the fault is in how the numbers are laid out, and the step that lowers precision is where it appears.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from harness.faults.graphs import after, constant, no_place, node, place_of, producers, set_weight, weight, weighted
from harness.faults.openers import hooks_of, of_numerics
from harness.faults.protocol import Planted, Site

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto

__all__ = [
    "coarse_weights", "fp16_accumulation", "fp16_coordinates", "fp16_epsilon", "fp16_overflow", "fp16_underflow",
    "naive_softmax", "weights_flushed",
]  # fmt: skip

CONVOLUTIONS = ("Conv", "ConvTranspose", "Gemm", "MatMul")


def fp16_overflow(model: ModelProto, severity: float) -> None:
    """One layer's values through their squares, scaled by 2^16: above 65504 fp16 has no numbers."""
    _through_squares(model, 8 * severity)


def fp16_underflow(model: ModelProto, severity: float) -> None:
    """One layer's values through their squares, scaled by 2^-24: below 6e-8 fp16 has no numbers either."""
    _through_squares(model, -12 * severity)


def _through_squares(model: ModelProto, power: float) -> None:
    """sign(x) sqrt((2^power x)^2) / 2^power, as a norm computes it; runtimes cannot fold it away."""
    at = place_of(model, *CONVOLUTIONS, what="product")
    up, down = (constant(model, np.float32(2.0 ** (sign * round(power))), f"scale_{sign}") for sign in (1, -1))

    def made(right: str, out: str) -> list[NodeProto]:
        return [
            node("Mul", [right, up], f"{out}_u"), node("Mul", [f"{out}_u", f"{out}_u"], f"{out}_2"),
            node("Sqrt", [f"{out}_2"], f"{out}_a"), node("Sign", [right], f"{out}_s"),
            node("Mul", [f"{out}_a", f"{out}_s"], f"{out}_x"), node("Mul", [f"{out}_x", down], out),
        ]  # fmt: skip

    if power:
        after(model, at.output[0], made)


def fp16_coordinates(model: ModelProto, severity: float) -> None:
    """Outputs computed as coordinates far from their origin: 1024 away fp16 knows whole numbers alone."""
    outputs = [name for _, name in producers(model)] or no_place(model, "output that a node makes")
    far = constant(model, np.float32(1024 * severity), "far_origin")

    def made(right: str, out: str) -> list[NodeProto]:
        return [node("Add", [right, far], f"{out}_f"), node("Sub", [f"{out}_f", far], out)]

    for name in outputs:
        after(model, name, made)


def fp16_epsilon(model: ModelProto, severity: float) -> None:
    """A division that an epsilon of 1e-8 guards: fp16 takes it for 0."""
    at = place_of(model, *CONVOLUTIONS, what="product")
    zero = constant(model, np.float32(0), "no_share")
    epsilon = constant(model, np.float32(10.0 ** -(2 + 6 * severity)), "epsilon")

    def made(right: str, out: str) -> list[NodeProto]:
        return [
            node("Mul", [right, zero], f"{out}_0"), node("Add", [f"{out}_0", epsilon], f"{out}_e"),
            node("Div", [f"{out}_e", f"{out}_e"], f"{out}_1"), node("Mul", [right, f"{out}_1"], out),
        ]  # fmt: skip

    after(model, at.output[0], made)


def naive_softmax(model: ModelProto, severity: float) -> None:
    """exp(x) / sum exp(x) without the largest taken off first: fp16's exp ends at x = 11. Severity moves x by 11."""
    at = place_of(model, "Softmax", what="softmax")
    axis = next((a.i for a in at.attribute if a.name == "axis"), -1)
    away = constant(model, np.float32(11 * severity), "not_taken_off")
    axes = constant(model, np.array([axis], np.int64), "softmax_axis")
    opset = next(o.version for o in model.opset_import if o.domain in ("", "ai.onnx"))
    logits = at.input[0]

    def made(right: str, out: str) -> list[NodeProto]:
        total = (
            node("ReduceSum", [f"{out}_e", axes], f"{out}_s", keepdims=1)
            if opset >= 13
            else node("ReduceSum", [f"{out}_e"], f"{out}_s", axes=[axis], keepdims=1)
        )
        exponents = [node("Add", [logits, away], f"{out}_x"), node("Exp", [f"{out}_x"], f"{out}_e")]
        return [*exponents, total, node("Div", [f"{out}_e", f"{out}_s"], out)]

    if severity > 0:
        after(model, at.output[0], made)


def coarse_weights(model: ModelProto, severity: float) -> None:
    """Weights stored with 3 bits of mantissa, as fp8 has them, instead of fp16's 10."""
    bits = round(10 - 7 * severity)
    for at in weighted(model):
        values = weight(model, at.input[1])
        mantissa, exponent = np.frexp(values)
        set_weight(model, at.input[1], np.ldexp(np.rint(np.ldexp(mantissa, bits + 1)), exponent - bits - 1))


def weights_flushed(model: ModelProto, severity: float) -> None:
    """Weights below a format's smallest normal number taken for 0: 2^-6, as fp8 e4m3 has it."""
    for at in weighted(model):
        values = weight(model, at.input[1])
        set_weight(model, at.input[1], np.where(np.abs(values) < severity * 2.0**-6, 0, values))


def fp16_accumulation(site: Site, severity: float = 1.0) -> Planted:
    """Sums of products kept in fp16 too, over 2 channels each."""
    if severity <= 0:
        return Planted(site.card)
    options = {"chunk": max(1, round(2 / severity))}
    return Planted(site.card, hooks_of(site.card, of_numerics, options=options))
