"""Products marked for another arithmetic than ONNX Runtime's: what `emulated-mma-*` computes itself (engines/mma).

A marked node keeps its operator, inputs and attributes, and moves to a domain of our own with the type its operands
hold. Depthwise convolutions and products that the file leaves in fp32 are marked `fp32`: tensor cores do not see them.
Nothing is left to ONNX Runtime: a product inside a subgraph, and an operator that may contain one, is refused.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Container, Mapping
from typing import TYPE_CHECKING, Any

from engines.emulated.formats import Format
from engines.emulated.graph import nodes_of
from engines.emulated.ops import PRODUCTS
from engines.errors import ExportError
from engines.inspect.definitions import WITH_PRODUCTS

if TYPE_CHECKING:
    import onnx_ir as ir

__all__ = ["DOMAIN", "TYPE", "kinds_of_products", "mark_products"]

DOMAIN, TYPE = "trueline.mma", "operands"  # of marked nodes; the attribute that holds fp16, bf16, tf32 or fp32

# sums of products that are not taken apart
_OPAQUE = WITH_PRODUCTS | {
    "ConvInteger", "DFT", "DeformConv", "Einsum", "MatMulInteger", "QLinearConv", "QLinearMatMul", "STFT",
}  # fmt: skip
# of ONNX Runtime's own operators, those known to multiply element by element only
_PLAIN_CONTRIB = frozenset(
    {"BiasGelu", "BiasSoftmax", "DequantizeLinear", "FastGelu", "Gelu", "QuantizeLinear", "QuickGelu"}
    | {"BiasSplitGelu", "SimplifiedLayerNormalization", "SkipLayerNormalization", "SkipSimplifiedLayerNormalization"}
)


def kinds_of_products(
    model: ir.Model, demand: Mapping[ir.Value, Format], halves: Container[str], *, tf32: bool
) -> dict[ir.Node, str]:
    """Every product, with the type of its operands.

    Args:
        model: before roundings are put in.
        demand: the format that each value must have.
        halves: names of products that the file types fp16 or bf16, to which TF32 does not apply.
        tf32: products of fp32 operands become TF32's.

    Raises:
        ExportError: a product that cannot be taken out of the graph.
    """
    _refuse_opaque(model)
    products = [node for node in nodes_of(model) if node.op_type in PRODUCTS and not node.domain]
    return {node: "fp32" if _is_depthwise(node) else _kind(node, demand, halves, tf32) for node in products}


def mark_products(model: ir.Model, kinds: Mapping[ir.Node, str]) -> dict[str, Any]:
    """Mark every product, in place; returns how many there are of each type, and their multiplications in a frame."""
    import onnx_ir as ir

    multiplications: Counter[str] = Counter()
    for node, kind in kinds.items():
        multiplications[kind] += _multiplications(node)
        node.domain = DOMAIN
        node.attributes[TYPE] = ir.AttrString(TYPE, kind)
    model.opset_imports[DOMAIN] = 1
    nodes = Counter(kinds.values())
    return {"products": dict(sorted(nodes.items())), "multiplications": dict(sorted(multiplications.items()))}


def _multiplications(node: ir.Node) -> int:
    """Of one frame; 0 where the shapes do not tell."""
    shapes = [value.shape if value is not None else None for value in (node.outputs[0], *node.inputs[:2])]
    if any(shape is None or not all(isinstance(size, int) for size in shape) for shape in shapes):
        return 0
    result, data, weights = ([int(size) for size in shape] for shape in shapes)  # type: ignore[union-attr,arg-type]
    if node.op_type == "ConvTranspose":  # every input meets every tap, even where the result falls off the border
        return math.prod(data) * math.prod(weights[1:])
    if node.op_type == "Conv":
        return math.prod(result) * math.prod(weights[1:])
    rows = node.op_type == "Gemm" and bool(node.attributes.get_int("transB", 0))
    return math.prod(result) * (weights[-1] if rows or len(weights) == 1 else weights[-2])


def _kind(node: ir.Node, demand: Mapping[ir.Value, Format], halves: Container[str], tf32: bool) -> str:
    if tf32:
        return "fp32" if node.name in halves else "tf32"
    forms = {demand[value].name if value in demand else "fp32" for value in node.inputs[:2] if value is not None}
    return forms.pop() if len(forms) == 1 else "fp32"


def _is_depthwise(node: ir.Node) -> bool:
    """Whether every group of a convolution reads one channel."""
    weights = node.inputs[1].shape if node.inputs[1] is not None else None
    group = node.attributes.get_int("group", 1)
    if node.op_type not in ("Conv", "ConvTranspose") or group == 1 or weights is None:
        return False
    return bool(weights[1] == 1 if node.op_type == "Conv" else weights[0] == group)


def _refuse_opaque(model: ir.Model) -> None:
    for node in nodes_of(model):
        inside = node.graph is not model.graph and node.op_type in PRODUCTS and not node.domain
        opaque = node.op_type in _OPAQUE if not node.domain else node.op_type not in _PLAIN_CONTRIB
        if not inside and not opaque:
            continue
        why = "lies in a subgraph" if inside else "may multiply inside, where the emulation does not reach"
        raise ExportError(
            f"{node.op_type} {node.name!r} {why}",
            where=f"graph {model.graph.name}",
            remedy="spell it out in MatMul and Conv outside of If, Loop and Scan, or use emulated-fp16",
        )
