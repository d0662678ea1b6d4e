"""What composite operators are made of.

ONNX's own definitions are taken where runtimes compute so (`BY_ONNX`). The normalisations are ours: ONNX defines their
variance as E(x^2) - E(x)^2, which cancels in fp16; exporters, and TensorRT's parser where it spells one out, take
E((x - E(x))^2). LpNormalization and BatchNormalization have no definition there, Softplus has one from opset 22 on, and
that of ReduceLogSumExp goes through float64.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from engines.inspect.body import Body, has_input, ints, number, rank_of
from engines.inspect.recurrent import recurrent

if TYPE_CHECKING:
    import onnx_ir as ir

__all__ = ["BY_ONNX", "COMPOSITES", "OPSET", "OWN", "WITH_PRODUCTS"]

OPSET = 18  # of the definitions: reductions take their axes as an input
BY_ONNX = frozenset(
    {"Attention", "Celu", "Gelu", "HardSwish", "LogSoftmax", "Mish", "RMSNormalization", "Softmax", "Swish"}
    | {"ReduceL1", "ReduceL2", "ReduceLogSum", "ReduceSumSquare"}
)


NORMALISE = """
    mean = ReduceMean (i0, axes)
    centred = Sub (i0, mean)
    square = Mul (centred, centred)
    variance = ReduceMean (square, axes)
    guarded = Add (variance, epsilon)
    deviation = Sqrt (guarded)
    normal = Div (centred, deviation)
"""


def _layer_norm(node: ir.Node, opset: int) -> Body:
    rank = rank_of(node)
    axis = node.attributes.get_int("axis", -1) % rank
    ending = "scaled = Mul (normal, i1)\n o0 = Add (scaled, i2)" if has_input(node, 2) else "o0 = Mul (normal, i1)"
    return _normalised(node, NORMALISE + ending, tuple(range(axis, rank)))


def _instance_norm(node: ir.Node, opset: int) -> Body:
    return _normalised(node, NORMALISE + CHANNELS, tuple(range(2, rank_of(node))), column=_column(node))


def _batch_norm(node: ir.Node, opset: int) -> Body:
    """In training mode: by the mean and variance of what it reads."""
    axes = tuple(axis for axis in range(rank_of(node)) if axis != 1)
    return _normalised(node, NORMALISE + CHANNELS, axes, column=_column(node))


CHANNELS = """
    weight = Reshape (i1, column)
    shift = Reshape (i2, column)
    scaled = Mul (normal, weight)
    o0 = Add (scaled, shift)
"""


def _column(node: ir.Node) -> NDArray[np.int64]:
    return ints(-1, *[1] * (rank_of(node) - 2))


def _group_norm(node: ir.Node, opset: int) -> Body:
    """Opset 21 scales each channel, the ones before it each group."""
    inside = "grouped = Reshape (i0, groups)" + NORMALISE.replace("(i0,", "(grouped,") + "shape = Shape (i0)\n"
    if opset >= 21:
        text = inside + "whole = Reshape (normal, shape)" + CHANNELS.replace("(normal,", "(whole,")
    else:
        text = inside + CHANNELS.replace("o0 =", "whole =") + "o0 = Reshape (whole, shape)"
    groups = ints(0, node.attributes.get_int("num_groups", 1), -1)
    column = _column(node) if opset >= 21 else ints(-1, 1)
    return _normalised(node, text, (2,), groups=groups, column=column)


def _normalised(node: ir.Node, text: str, axes: tuple[int, ...], **constants: NDArray[Any]) -> Body:
    epsilon = number(node.attributes.get_float("epsilon", 1e-5))
    return Body(text, {"axes": ints(*axes), "epsilon": epsilon, **constants})


def _mean_variance_norm(node: ir.Node, opset: int) -> Body:
    """Its epsilon is added to the deviation."""
    text = NORMALISE.replace("guarded = Add (variance, epsilon)", "root = Sqrt (variance)")
    text = text.replace("deviation = Sqrt (guarded)", "deviation = Add (root, epsilon)").replace("normal =", "o0 =")
    return Body(text, {"axes": ints(*node.attributes.get_ints("axes", (0, 2, 3))), "epsilon": number(1e-9)})


def _lp_norm(node: ir.Node, opset: int) -> Body:
    """x / |x|, and 0 where the norm is 0."""
    if node.attributes.get_int("p", 2) == 1:
        norm = "size = Abs (i0)\n norm = ReduceSum (size, axes)"
    else:
        norm = "square = Mul (i0, i0)\n sum = ReduceSum (square, axes)\n norm = Sqrt (sum)"
    text = f"{norm}\n none = Equal (norm, nought)\n divisor = Where (none, one, norm)\n o0 = Div (i0, divisor)"
    axes = ints(node.attributes.get_int("axis", -1))
    return Body(text, {"axes": axes, "nought": number(0), "one": number(1)})


def _local_response_norm(node: ir.Node, opset: int) -> Body | None:
    """The window over channels as a pooling over the rows of a picture channels x pixels."""
    shape = node.inputs[0].shape if node.inputs[0] is not None else None
    if shape is None or not isinstance(shape[1], int):
        return None
    size = node.attributes.get_int("size", 1)
    pads = f"{(size - 1) // 2}, 0, {size // 2}, 0"
    text = f"""
        square = Mul (i0, i0)
        rows = Reshape (square, layout)
        mean = AveragePool <kernel_shape = [{size}, 1], pads = [{pads}], count_include_pad = 1> (rows)
        shape = Shape (i0)
        around = Reshape (mean, shape)
        weighted = Mul (around, alpha)
        base = Add (weighted, bias)
        divisor = Pow (base, beta)
        o0 = Div (i0, divisor)
    """
    numbers = {name: number(node.attributes.get_float(name, default)) for name, default in RESPONSE.items()}
    return Body(text, {"layout": ints(0, 1, shape[1], -1), **numbers})


RESPONSE = {"alpha": 1e-4, "beta": 0.75, "bias": 1.0}


def _log_sum_exp(node: ir.Node, opset: int) -> Body:
    """As it is written, which overflows from 11 on in fp16; a softmax takes the largest off first."""
    flags = [f"{name} = {node.attributes.get_int(name, default)}" for name, default in REDUCTION.items()]
    axes = ", i1" if has_input(node, 1) else ""
    return Body(f"power = Exp (i0)\n sum = ReduceSum <{', '.join(flags)}> (power{axes})\n o0 = Log (sum)")


REDUCTION = {"keepdims": 1, "noop_with_empty_axes": 0}


def _softplus(node: ir.Node, opset: int) -> Body:
    return Body("power = Exp (i0)\n more = Add (power, one)\n o0 = Log (more)", {"one": number(1)})


OWN: Mapping[str, Callable[[ir.Node, int], Body | None]] = {
    "BatchNormalization": _batch_norm,
    "GroupNormalization": _group_norm,
    "InstanceNormalization": _instance_norm,
    "LRN": _local_response_norm,
    "LayerNormalization": _layer_norm,
    "LpNormalization": _lp_norm,
    "MeanVarianceNormalization": _mean_variance_norm,
    "ReduceLogSumExp": _log_sum_exp,
    "Softplus": _softplus,
    **dict.fromkeys(("GRU", "LSTM", "RNN"), recurrent),
}
COMPOSITES = BY_ONNX | OWN.keys()
WITH_PRODUCTS = frozenset(
    {"Attention", "GRU", "LSTM", "RNN"}
)  # sums of products inside: TF32 and the order of additions reach them
