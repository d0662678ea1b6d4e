"""fp16 accumulation, as a stress: sums are cut into chunks of channels, and every partial sum is rounded.

Tensor cores may keep their accumulators in fp16, one rounding for each step along the channels. Here a product over K
channels becomes a chain of products over `size` channels each: acc = fp16(acc + product), the bias added at the end.
Convolutions sum over their whole window in each step, so a step is coarser than the hardware's 16 products.
"""

from __future__ import annotations

from collections.abc import Container
from typing import TYPE_CHECKING

import numpy as np

from engines.emulated.formats import Format, constant
from engines.emulated.graph import array_of, nodes_of, stand_in, take_the_place
from engines.emulated.ops import PRODUCTS

if TYPE_CHECKING:
    import onnx_ir as ir

__all__ = ["accumulate_in_chunks"]


def accumulate_in_chunks(
    model: ir.Model, form: Format, size: int, chosen: Container[ir.Node | ir.Value] | None = None
) -> int:
    """Cut every product with constant weights and more channels than `size`; returns how many were cut.

    Grouped convolutions stay: their sums are short. With `chosen`, all products but these stay too.
    """
    count = 0
    for node in nodes_of(model):
        if node.op_type in PRODUCTS and not node.domain and (chosen is None or node in chosen):
            count += _cut(node, form, size)
    return count


def _cut(node: ir.Node, form: Format, size: int) -> bool:
    import onnx_ir as ir

    axes = _axes(node)
    weights = array_of(node.inputs[1])
    data, graph = node.inputs[0], node.graph
    if axes is None or weights is None or data is None or graph is None or weights.shape[axes[1]] <= size:
        return False
    data_axis, weight_axis = axes
    total: ir.Value | None = None
    nodes: list[ir.Node] = []
    for start in range(0, weights.shape[weight_axis], size):
        stop = min(start + size, weights.shape[weight_axis])
        part = np.ascontiguousarray(np.take(weights, range(start, stop), axis=weight_axis))
        bounds = [constant(graph, np.array([n], np.int64), f"chunk.{n}") for n in (start, stop, data_axis)]
        piece = ir.node("Slice", [data, *bounds])
        weight = constant(graph, part, f"{node.outputs[0].name}.chunk")
        product = ir.node(node.op_type, [piece.outputs[0], weight], dict(node.attributes))
        nodes += [piece, product]
        partial = product.outputs[0]
        if total is not None:
            nodes.append(ir.node("Add", [total, partial]))
            partial = nodes[-1].outputs[0]
        nodes += form.nodes(partial)
        total = nodes[-1].outputs[0]
    assert total is not None
    result = _with_bias(node, total, graph, nodes)
    result.type, result.shape = node.outputs[0].type, node.outputs[0].shape
    graph.insert_before(node, nodes)
    node.outputs[0].replace_all_uses_with(result)
    take_the_place(node.outputs[0], result)
    if node.outputs[0].is_graph_output():
        stand_in(node.outputs[0], result)
    graph.remove(node, safe=True)
    return True


def _with_bias(node: ir.Node, total: ir.Value, graph: ir.Graph, nodes: list[ir.Node]) -> ir.Value:
    """The sum plus the product's bias, if it has one; appends to nodes."""
    import onnx_ir as ir

    bias = node.inputs[2] if len(node.inputs) > 2 else None
    if bias is None:
        return total
    if node.op_type != "Gemm":
        spread = [1, -1, *[1] * (len(node.inputs[1].shape) - 2)]  # type: ignore[union-attr,arg-type]  # constant weights
        shape = constant(graph, np.array(spread, np.int64), "bias.shape")
        nodes.append(ir.node("Reshape", [bias, shape]))
        bias = nodes[-1].outputs[0]
    nodes.append(ir.node("Add", [total, bias]))
    return nodes[-1].outputs[0]


def _axes(node: ir.Node) -> tuple[int, int] | None:
    """(summed axis of the data, of the weights), None where this product is not cut."""
    data, weight = node.inputs[0], node.inputs[1]
    if data is None or weight is None or data.shape is None or weight.shape is None:
        return None
    flags = {name: node.attributes[name].value for name in ("group", "transA", "transB") if name in node.attributes}
    scaled = any(name in node.attributes and node.attributes[name].as_float() != 1 for name in ("alpha", "beta"))
    if flags.get("group", 1) != 1 or scaled:
        return None
    if node.op_type == "Conv":
        return (1, 1)
    if node.op_type == "ConvTranspose":
        return (1, 0)
    if node.op_type == "Gemm":
        return (0 if flags.get("transA") else 1, 1 if flags.get("transB") else 0)
    return (len(data.shape) - 1, 0) if len(weight.shape) == 2 else None
