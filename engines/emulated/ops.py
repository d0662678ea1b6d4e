"""What emulation needs to know of ONNX operators, as tables.

A name that is in no table is treated with care: its result is rounded. The tables only save work or keep numbers that
are sizes, not data, out of it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import onnx_ir as ir

__all__ = ["POINTWISE", "PRODUCTS", "is_exact", "is_monotone", "is_shape_slot"]


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


# sums of products: what tensor cores compute, and what begins a fused kernel
PRODUCTS = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul"})

# applied element by element: what runtimes append to a kernel instead of storing its result
POINTWISE = _names("""
    Abs Add BatchNormalization Ceil Clip Div Elu Erf Exp Floor Gelu HardSigmoid HardSwish LeakyRelu Log Max Min Mish
    Mul Neg PRelu Pow Reciprocal Relu Round Selu Sigmoid Sign Softplus Softsign Sqrt Sub Swish Tanh ThresholdedRelu
    Where
""")

# every float that comes out is one that went in, or its negative, or an integer no larger
_EXACT = _names("""
    Abs Ceil Compress Concat DepthToSpace Dropout Expand Flatten Floor Gather GatherElements GatherND GlobalMaxPool
    Identity If Loop Max MaxPool Min Neg OneHot ReduceMax ReduceMin Relu Reshape ReverseSequence Round Scan Sign Slice
    SpaceToDepth Split Squeeze Tile TopK Transpose Trilu Unsqueeze Where
""")
_EXACT_WITHOUT: dict[str, dict[str, object]] = {  # exact unless the attribute has another value than this
    "Clip": {"min": None, "max": None},  # bounds were attributes until opset 11, where nobody rounds them
    "Pad": {"value": 0.0},
    "Resize": {"mode": "nearest"},
    "Upsample": {"mode": "nearest"},
    "ScatterElements": {"reduction": "none"},
    "ScatterND": {"reduction": "none"},
}
# rounding before or after gives the same bits, and after is cheaper: fewer numbers, or the runtime can fuse
_MONOTONE = frozenset({"Clip", "GlobalMaxPool", "MaxPool", "Relu"})

# inputs that are sizes, scales or settings: never rounded
_SHAPE_SLOTS = {
    "AffineGrid": {1},
    "CenterCropPad": {1},
    "ConstantOfShape": {0},
    "CumSum": {1},
    "DequantizeLinear": {1, 2},
    "Dropout": {1, 2},
    "Expand": {1},
    "NonMaxSuppression": {2, 3, 4},
    "OneHot": {1},
    "Pad": {1, 3},
    "QuantizeLinear": {1, 2},
    "Range": {0, 1, 2},
    "Reshape": {1},
    "Resize": {1, 2, 3},
    "Slice": {1, 2, 3, 4},
    "Split": {1},
    "Squeeze": {1},
    "Tile": {1},
    "TopK": {1},
    "Trilu": {1},
    "Unsqueeze": {1},
    "Upsample": {1},
}


def is_exact(node: ir.Node) -> bool:
    """Whether the node gives back numbers of its float inputs, so that rounded inputs need no rounding after it."""
    if node.domain:
        return False
    if node.op_type in _EXACT or _widens(node):
        return True
    defaults = _EXACT_WITHOUT.get(node.op_type)
    if defaults is None:
        return False
    return all(name not in node.attributes or _value(node, name) == default for name, default in defaults.items())


def is_monotone(node: ir.Node) -> bool:
    """Whether rounding may move from the node's first input to its output without changing a bit."""
    return not node.domain and node.op_type in _MONOTONE and is_exact(node)


def is_shape_slot(node: ir.Node, index: int) -> bool:
    """Whether an input of a node is a size, a scale or a setting."""
    if node.domain:
        return False
    if node.op_type.startswith("Reduce"):
        return index == 1
    return index in _SHAPE_SLOTS.get(node.op_type, ())


def _widens(node: ir.Node) -> bool:
    """A cast from a half type, or from bool: nothing it gives needs rounding."""
    source = node.inputs[0] if node.op_type == "Cast" else None
    return source is not None and source.dtype is not None and source.dtype.name in ("FLOAT16", "BFLOAT16", "BOOL")


def _value(node: ir.Node, name: str) -> object:
    value = node.attributes[name].value
    return value.decode() if isinstance(value, bytes) else value
