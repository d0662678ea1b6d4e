"""Number formats, each twice: as exact arithmetic on NumPy arrays (weights) and as ONNX nodes (activations).

Both halves of a format agree to the bit, whatever ONNX Runtime optimises:

    fp16        Cast to float16 and back: nearest even, subnormals kept, overflow to infinity
    bf16        Cast to bfloat16 and back: nearest even
    tf32-rne    t = 8193 x; t - (t - x): nearest even to 10 mantissa bits, in three ordinary operators (Veltkamp's
                splitting); values beyond 4.15e34, infinities among them, become NaN
    tf32-rna    nearest, ties away from zero, as PTX `cvt.rna.tf32` does: (bits + 0x1000) & 0xffffe000
    tf32-rz     toward zero, as tensor cores do with fp32 bits that nobody rounded: bits & 0xffffe000

The last two need ONNX's BitCast (opset 26). TF32 formats are for operands of products, not for results.
Source: docs/DESIGN.md section 6; PTX ISA, `cvt`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import onnx_ir as ir

__all__ = ["FORMATS", "TF32_ROUNDINGS", "Format", "constant"]

FloatArray = NDArray[np.float32]
TF32_ROUNDINGS = ("rne", "rna", "rz")
_LOW_BITS = 13  # of an fp32 mantissa that TF32 drops
_KEPT = np.int32(-1 << _LOW_BITS)
_HALF_UNIT = np.int32(1 << (_LOW_BITS - 1))
_SPLITTER = np.float32((1 << _LOW_BITS) + 1)


@dataclass(frozen=True, slots=True)
class Format:
    """A number format.

    Attributes:
        name: as in the table above.
        array: fp32 values -> the nearest values of the format, as fp32.
        nodes: a value -> nodes that round it; the last one's output is the rounded value.
        opset: the oldest default opset that has these nodes.
    """

    name: str
    array: Callable[[FloatArray], FloatArray]
    nodes: Callable[[ir.Value], list[ir.Node]]
    opset: int


def constant(graph: ir.Graph, array: NDArray[np.generic], name: str) -> ir.Value:
    """An initializer of the graph under a name of its own."""
    import onnx_ir as ir

    number = len(graph.initializers)
    while (unique := f"{name}.{number}") in graph.initializers:
        number += 1
    value = ir.Value(
        name=unique,
        shape=ir.Shape(array.shape),
        type=ir.TensorType(ir.DataType.from_numpy(array.dtype)),
        const_value=ir.tensor(array, name=unique),
    )
    graph.register_initializer(value)
    return value


def _fp16_array(values: FloatArray) -> FloatArray:
    with np.errstate(over="ignore"):
        return values.astype(np.float16).astype(np.float32)


def _bf16_array(values: FloatArray) -> FloatArray:
    """Add just under half a unit, and the kept part's last bit for ties to even; NaN stays."""
    bits = np.ascontiguousarray(values).view(np.uint32).astype(np.uint64)
    rounded = ((bits + 0x7FFF + ((bits >> 16) & 1)) & 0xFFFF0000).astype(np.uint32)
    return np.where(np.isnan(values), values, rounded.view(np.float32))


def _tf32_rne_array(values: FloatArray) -> FloatArray:
    with np.errstate(over="ignore", invalid="ignore"):
        scaled = np.multiply(values, _SPLITTER, dtype=np.float32)
        return np.subtract(scaled, np.subtract(scaled, values))


def _tf32_bits_array(values: FloatArray, half_unit: np.int32) -> FloatArray:
    bits = np.ascontiguousarray(values).view(np.int32)
    with np.errstate(over="ignore"):
        kept: FloatArray = np.bitwise_and(bits + half_unit, _KEPT).view(np.float32)
    return kept


def _cast_nodes(value: ir.Value, dtype: str) -> list[ir.Node]:
    import onnx_ir as ir

    down = ir.node("Cast", [value], {"to": ir.DataType[dtype].value})
    return [down, ir.node("Cast", down.outputs, {"to": ir.DataType.FLOAT.value})]


def _splitting_nodes(value: ir.Value) -> list[ir.Node]:
    import onnx_ir as ir

    factor = _scalar(_SPLITTER)
    scaled = ir.node("Mul", [value, factor.outputs[0]])
    low = ir.node("Sub", [scaled.outputs[0], value])
    return [factor, scaled, low, ir.node("Sub", [scaled.outputs[0], low.outputs[0]])]


def _bit_nodes(value: ir.Value, half_unit: np.int32) -> list[ir.Node]:
    import onnx_ir as ir

    bits = ir.node("BitCast", [value], {"to": ir.DataType.INT32.value})
    nodes = [bits]
    if half_unit:
        unit = _scalar(half_unit)
        nodes += [unit, ir.node("Add", [bits.outputs[0], unit.outputs[0]])]
    mask = _scalar(_KEPT)
    kept = ir.node("BitwiseAnd", [nodes[-1].outputs[0], mask.outputs[0]])
    return [*nodes, mask, kept, ir.node("BitCast", kept.outputs, {"to": ir.DataType.FLOAT.value})]


def _scalar(number: np.generic) -> ir.Node:
    import onnx_ir as ir

    return ir.node("Constant", [], {"value": ir.tensor(np.asarray(number))})


FORMATS: dict[str, Format] = {
    "fp16": Format("fp16", _fp16_array, lambda value: _cast_nodes(value, "FLOAT16"), 9),
    "bf16": Format("bf16", _bf16_array, lambda value: _cast_nodes(value, "BFLOAT16"), 13),
    "tf32-rne": Format("tf32-rne", _tf32_rne_array, _splitting_nodes, 7),
    "tf32-rna": Format(
        "tf32-rna",
        lambda values: _tf32_bits_array(values, _HALF_UNIT),
        lambda value: _bit_nodes(value, _HALF_UNIT),
        26,
    ),
    "tf32-rz": Format(
        "tf32-rz",
        lambda values: _tf32_bits_array(values, np.int32(0)),
        lambda value: _bit_nodes(value, np.int32(0)),
        26,
    ),
}
