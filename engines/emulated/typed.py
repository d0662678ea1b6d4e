"""Typed graphs: a model that says itself where it is fp16 or bf16, as AutoCast or `model.half()` leave it.

ONNX Runtime's CPU provider computes such nodes in fp32 and drops the casts between them, so the file's types change
nothing there. Here every fp16 or bf16 tensor becomes an fp32 tensor that must hold numbers of that format, and each
cast becomes the rounding it stands for; `placement` then puts the roundings where the types demand them.

TF32 and another order of additions are factors of their own: they start from the graph that ONNX Runtime makes of the
file, in which a tensor is fp16 only where it really stores one, not from the file's types.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from engines.emulated.formats import FORMATS, Format
from engines.emulated.graph import nodes_of, stand_in
from engines.emulated.ops import PRODUCTS

if TYPE_CHECKING:
    import onnx_ir as ir

__all__ = ["half_products", "is_typed", "lower_types"]


def is_typed(model: ir.Model) -> bool:
    """Whether any tensor of the model is fp16 or bf16."""
    return any(_form_of(value) for value in _values(model))


def half_products(model: ir.Model) -> frozenset[str]:
    """Names of the products whose result the file types fp16 or bf16; one without a name is not known again."""
    products = (node for node in nodes_of(model) if node.op_type in PRODUCTS and not node.domain and node.name)
    return frozenset(node.name for node in products if node.name and _form_of(node.outputs[0]))


def lower_types(model: ir.Model) -> dict[ir.Value, Format]:
    """Turn every fp16 and bf16 tensor into fp32; returns the format that each must hold.

    Inputs of the graph keep their type and are widened behind it; outputs become fp32, exactly widened.
    """
    import onnx_ir as ir

    demand = {value: form for value in _values(model) if (form := _form_of(value))}
    for node in nodes_of(model):
        _lower_cast(node, demand)
        _lower_attributes(node)
    for value in list(demand):
        if value.const_value is not None:
            value.const_value = ir.tensor(value.const_value.numpy().astype(np.float32), name=value.name)
        if value.is_graph_input() and value.graph is model.graph:
            _widen_input(model.graph, value, demand)
        else:
            value.dtype = ir.DataType.FLOAT
    return demand


def _values(model: ir.Model) -> list[ir.Value]:
    """Every tensor, those of subgraphs too."""
    import onnx_ir as ir

    values = [*model.graph.inputs, *model.graph.initializers.values()]
    for node in nodes_of(model):
        values += node.outputs
        for attribute in node.attributes.values():
            if attribute.type == ir.AttributeType.GRAPH:
                graph = attribute.as_graph()
                values += [*graph.inputs, *graph.initializers.values()]
    return values


def _form_of(value: ir.Value) -> Format | None:
    import onnx_ir as ir

    names = {ir.DataType.FLOAT16: "fp16", ir.DataType.BFLOAT16: "bf16"}
    return FORMATS[names[value.dtype]] if value.dtype in names else None


def _lower_cast(node: ir.Node, demand: dict[ir.Value, Format]) -> None:
    """A cast between floats only demands a format; one from or to integers stays, with fp32 for the float side."""
    import onnx_ir as ir

    if node.domain or node.op_type not in ("Cast", "CastLike"):
        return
    source, result = node.inputs[0], node.outputs[0]
    carried = (ir.DataType.FLOAT, ir.DataType.FLOAT16, ir.DataType.BFLOAT16)
    if source is None or result.dtype is None or result.dtype not in carried:
        if node.op_type == "CastLike" and result.dtype is not None:
            _retarget(node, result.dtype)
        return
    if source.dtype in carried or source in demand:
        node.op_type = "Identity"
        node.resize_inputs(1)
        node.attributes.clear()
    else:
        _retarget(node, ir.DataType.FLOAT)


def _retarget(node: ir.Node, dtype: ir.DataType) -> None:
    import onnx_ir as ir

    node.op_type = "Cast"
    node.resize_inputs(1)
    node.attributes.clear()
    node.attributes["to"] = ir.AttrInt64("to", dtype.value)


def _lower_attributes(node: ir.Node) -> None:
    """Types and tensors in attributes, as of ConstantOfShape, RandomNormal and EyeLike."""
    import onnx_ir as ir

    low = {ir.DataType.FLOAT16.value, ir.DataType.BFLOAT16.value}
    for name, attribute in list(node.attributes.items()):
        if attribute.type == ir.AttributeType.TENSOR and attribute.as_tensor().dtype.value in low:
            array = attribute.as_tensor().numpy().astype(np.float32)
            node.attributes[name] = ir.AttrTensor(name, ir.tensor(array))
        elif name in ("dtype", "output_dtype", "stash_type") and attribute.value in low:
            node.attributes[name] = ir.AttrInt64(name, ir.DataType.FLOAT.value)


def _widen_input(graph: ir.Graph, value: ir.Value, demand: dict[ir.Value, Format]) -> None:
    """Behind an fp16 input, the fp32 tensor that all its consumers read."""
    import onnx_ir as ir

    uses = list(value.uses())
    widen = ir.node("Cast", [value], {"to": ir.DataType.FLOAT.value})
    wide = widen.outputs[0]
    wide.dtype, wide.shape = ir.DataType.FLOAT, value.shape
    first = next(iter(graph), None)
    if first is None:
        graph.append(widen)
    else:
        graph.insert_before(first, widen)
    for node, index in uses:
        node.replace_input_with(index, wide)
    if value.is_graph_output():
        stand_in(value, wide)
    demand[wide] = demand.pop(value)
