"""ONNX's products by an `Arithmetic`: Conv, ConvTranspose, Gemm and MatMul, of any rank, grouped or not.

A bias is added in fp32 behind the accumulator, as epilogues of kernels do. The operands of a matrix product are swapped
where that makes more columns: a step adds the same numbers either way.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engines.mma.chain import Arithmetic, Floats
from engines.mma.order import Indices, channels_last

__all__ = ["PRODUCTS"]

Attributes = Mapping[str, Any]
Array = NDArray[Any]


def conv(arithmetic: Arithmetic, attributes: Attributes, x: Array, w: Array, bias: Array | None = None) -> Floats:
    """ONNX Conv.

    Args:
        arithmetic: how to multiply.
        attributes: of the node.
        x: [batch, channel, *space].
        w: [output, channel of a group, *window].
        bias: [output].
    """
    rank, groups = x.ndim - 2, attributes.get("group", 1)
    strides, dilations = _per_axis(attributes, "strides", rank), _per_axis(attributes, "dilations", rank)
    extent = [d * (k - 1) + 1 for d, k in zip(dilations, w.shape[2:], strict=True)]
    before, after = _conv_pads(attributes, x.shape[2:], extent, strides)
    wide = np.pad(arithmetic.operand(x), [(0, 0), (0, 0), *zip(before, after, strict=True)])
    space = [(s - e) // stride + 1 for s, e, stride in zip(wide.shape[2:], extent, strides, strict=True)]
    steps = _steps(wide.shape[1:])
    base = _grid([np.arange(n) * stride for n, stride in zip(space, strides, strict=True)], steps[1:])
    taps = _grid([np.arange(k) * d for k, d in zip(w.shape[2:], dilations, strict=True)], steps[1:])
    weights = arithmetic.operand(w).reshape(groups, w.shape[0] // groups, -1)
    offsets = (np.arange(w.shape[1])[:, None] * steps[0] + taps).reshape(-1)
    order = channels_last(w.shape[1], taps.size)
    out = np.empty((x.shape[0], groups, w.shape[0] // groups, base.size), np.float32)
    for b, g in itertools.product(range(x.shape[0]), range(groups)):
        flat = wide[b, g * w.shape[1] : (g + 1) * w.shape[1]].reshape(-1)
        out[b, g] = arithmetic.multiply(weights[g], order, flat, base, offsets)
    return _biased(out.reshape(x.shape[0], w.shape[0], *space), bias)


def conv_transpose(
    arithmetic: Arithmetic, attributes: Attributes, x: Array, w: Array, bias: Array | None = None
) -> Floats:
    """ONNX ConvTranspose, one convolution for each phase of the stride.

    Args:
        arithmetic: how to multiply.
        attributes: of the node.
        x: [batch, channel, *space].
        w: [channel, output of a group, *window].
        bias: [output].
    """
    rank, groups = x.ndim - 2, attributes.get("group", 1)
    strides, dilations = _per_axis(attributes, "strides", rank), _per_axis(attributes, "dilations", rank)
    begin, space = _transposed_space(attributes, x.shape[2:], w.shape[2:], strides, dilations)
    inputs, outputs = w.shape[0] // groups, w.shape[1]
    room = [d * (k - 1) // s + 1 for d, k, s in zip(dilations, w.shape[2:], strides, strict=True)]
    reach = [(n + b) // s + 1 for n, b, s in zip(space, begin, strides, strict=True)]
    after = [max(0, far - n) for far, n in zip(reach, x.shape[2:], strict=True)]
    wide = np.pad(arithmetic.operand(x), [(0, 0), (0, 0), *zip(room, after, strict=True)])
    steps = _steps(wide.shape[1:])
    by_group = np.moveaxis(arithmetic.operand(w).reshape(groups, inputs, outputs, -1), 2, 1)  # group, output, channel
    out = np.zeros((x.shape[0], groups, outputs, *space), np.float32)
    window = np.arange(math.prod(w.shape[2:])).reshape(w.shape[2:])
    for phase in itertools.product(*map(range, strides)):
        axes = [
            _phase(p, *facts)
            for p, facts in zip(phase, zip(strides, begin, space, dilations, w.shape[2:], strict=True), strict=True)
        ]
        places, rows, kernel_taps, shifts = (list(part) for part in zip(*axes, strict=True))
        taps = window[np.ix_(*kernel_taps)].reshape(-1)
        if not taps.size or not all(part.size for part in places):
            continue
        base = _grid([r + room_d for r, room_d in zip(rows, room, strict=True)], steps[1:])
        jumps = _grid([-shift for shift in shifts], steps[1:])
        offsets = (np.arange(inputs)[:, None] * steps[0] + jumps).reshape(-1)
        base, offsets = base + offsets.min(), offsets - offsets.min()
        order = channels_last(inputs, taps.size)
        for b, g in itertools.product(range(x.shape[0]), range(groups)):
            flat = wide[b, g * inputs : (g + 1) * inputs].reshape(-1)
            weights = np.ascontiguousarray(by_group[g][:, :, taps]).reshape(outputs, -1)
            made = arithmetic.multiply(weights, order, flat, base, offsets)
            out[b, g][np.ix_(range(outputs), *places)] = made.reshape(outputs, *(part.size for part in places))
    return _biased(out.reshape(x.shape[0], groups * outputs, *space), bias)


def matmul(arithmetic: Arithmetic, attributes: Attributes, a: Array, b: Array) -> Floats:
    """ONNX MatMul, as `numpy.matmul` shapes it."""
    left, right = np.atleast_2d(a), b[:, None] if b.ndim == 1 else b
    lead = np.broadcast_shapes(left.shape[:-2], right.shape[:-2])
    left = np.broadcast_to(left, (*lead, *left.shape[-2:])).reshape(-1, *left.shape[-2:])
    right = np.broadcast_to(right, (*lead, *right.shape[-2:])).reshape(-1, *right.shape[-2:])
    pairs = zip(arithmetic.operand(left), arithmetic.operand(right), strict=True)
    out = np.array([_matrix_product(arithmetic, *pair) for pair in pairs], np.float32)
    out = out.reshape(*lead, left.shape[-2], right.shape[-1])
    out = out[..., 0] if b.ndim == 1 else out
    return out[..., 0, :] if a.ndim == 1 and b.ndim > 1 else out[..., 0] if a.ndim == 1 else out


def gemm(arithmetic: Arithmetic, attributes: Attributes, a: Array, b: Array, c: Array | None = None) -> Floats:
    """ONNX Gemm; alpha and beta are applied in fp32 behind the accumulator."""
    left = a.T if attributes.get("transA") else a
    right = b.T if attributes.get("transB") else b
    out = _matrix_product(arithmetic, arithmetic.operand(left), arithmetic.operand(right))
    out = out * np.float32(attributes.get("alpha", 1.0))
    return out if c is None else out + np.float32(attributes.get("beta", 1.0)) * c.astype(np.float32)


PRODUCTS: Mapping[str, Callable[..., Floats]] = {
    "Conv": conv,
    "ConvTranspose": conv_transpose,
    "Gemm": gemm,
    "MatMul": matmul,
}


def _matrix_product(arithmetic: Arithmetic, left: Floats, right: Floats) -> Floats:
    if left.shape[0] > right.shape[1]:
        return _matrix_product(arithmetic, np.ascontiguousarray(right.T), np.ascontiguousarray(left.T)).T
    depth, columns = right.shape
    index = np.arange(depth)
    return arithmetic.multiply(left, index, right.reshape(-1), np.arange(columns), index * columns)


def _biased(out: Floats, bias: Array | None) -> Floats:
    return out if bias is None else out + bias.astype(np.float32).reshape(-1, *[1] * (out.ndim - 2))


def _per_axis(attributes: Attributes, name: str, rank: int) -> list[int]:
    return list(attributes.get(name, [1] * rank))


def _steps(shape: Sequence[int]) -> list[int]:
    """How far apart neighbours along each axis lie in a flat array."""
    return [math.prod(shape[axis + 1 :]) for axis in range(len(shape))]


def _grid(axes: Sequence[Array], steps: Sequence[int]) -> Indices:
    """Flat positions of a grid, given the places along each axis."""
    total = np.zeros([1] * len(axes), np.int64)
    for axis, (places, step) in enumerate(zip(axes, steps, strict=True)):
        total = total + np.expand_dims(places * step, [other for other in range(len(axes)) if other != axis])
    return np.broadcast_to(total, [len(places) for places in axes]).reshape(-1)


def _conv_pads(
    attributes: Attributes, space: Sequence[int], extent: Sequence[int], strides: Sequence[int]
) -> tuple[list[int], list[int]]:
    """(before, after) of every axis."""
    rank, auto = len(space), attributes.get("auto_pad", "NOTSET")
    if auto in ("NOTSET", "VALID"):
        pads = list(attributes.get("pads", [0] * 2 * rank)) if auto == "NOTSET" else [0] * 2 * rank
        return pads[:rank], pads[rank:]
    total = [max(0, (-(-n // s) - 1) * s + e - n) for n, e, s in zip(space, extent, strides, strict=True)]
    return _halves(total, auto)


def _halves(total: Sequence[int], auto: str) -> tuple[list[int], list[int]]:
    """The odd one goes behind with SAME_UPPER, in front with SAME_LOWER."""
    less, more = [n // 2 for n in total], [n - n // 2 for n in total]
    return (less, more) if auto == "SAME_UPPER" else (more, less)


def _transposed_space(
    attributes: Attributes,
    space: Sequence[int],
    window: Sequence[int],
    strides: Sequence[int],
    dilations: Sequence[int],
) -> tuple[list[int], list[int]]:
    """(what is cut off at the beginning, size of the output) of every axis."""
    rank, auto = len(space), attributes.get("auto_pad", "NOTSET")
    extra = list(attributes.get("output_padding", [0] * rank))
    whole = [
        s * (n - 1) + more + d * (k - 1) + 1
        for n, k, s, d, more in zip(space, window, strides, dilations, extra, strict=True)
    ]
    wanted = list(attributes.get("output_shape", []))[-rank:]
    if not wanted and auto in ("NOTSET", "VALID"):
        pads = list(attributes.get("pads", [0] * 2 * rank)) if auto == "NOTSET" else [0] * 2 * rank
        return pads[:rank], [n - a - b for n, a, b in zip(whole, pads[:rank], pads[rank:], strict=True)]
    aims = wanted or [n * s for n, s in zip(space, strides, strict=True)]
    cut = [max(0, n - aim) for n, aim in zip(whole, aims, strict=True)]
    sizes = wanted or [n - more for n, more in zip(whole, cut, strict=True)]
    return _halves(cut, "SAME_UPPER" if auto == "SAME_UPPER" else "SAME_LOWER")[0], sizes


def _phase(
    phase: int, stride: int, begin: int, size: int, dilation: int, window: int
) -> tuple[Indices, Indices, Indices, Indices]:
    """Along one axis: outputs of a phase, the input in line with each, the taps that meet there, their shifts."""
    places = np.arange(size)[(np.arange(size) + begin) % stride == phase]
    taps = np.arange(window)[(np.arange(window) * dilation) % stride == phase]
    return places, (places + begin) // stride, taps, (taps * dilation - phase) // stride
