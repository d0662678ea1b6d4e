"""Composite operators, spelled out: what is computed inside one node of a graph.

A LayerNormalization squares and adds before it divides; in fp16 a square overflows from 256 on. Most kernels compute
inside in fp32 and round once, at the end; a runtime without such a kernel, or a graph that spells the operator out,
stores every step. `spell_out` replaces such nodes by their steps, so that both can be looked at.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from engines.inspect.definitions import BY_ONNX, COMPOSITES, OPSET, OWN

if TYPE_CHECKING:
    import onnx
    import onnx_ir as ir

__all__ = ["OPSET", "Spelled", "has_composites", "spell_out"]


@dataclass(frozen=True, slots=True)
class Spelled:
    """One node that was replaced: the node, its steps in order, and the value that stands for each of its outputs."""

    node: ir.Node
    steps: tuple[ir.Node, ...]
    outputs: Mapping[ir.Value, ir.Value]


def has_composites(model: ir.Model, ops: Container[str] = COMPOSITES) -> bool:
    """Whether there is anything to spell out."""
    return any(_is_composite(node) and node.op_type in ops for node in _nodes(model))


def spell_out(model: ir.Model, ops: Container[str] = COMPOSITES) -> list[Spelled]:
    """Replace composite nodes by their steps, in place; those whose rank is not known stay.

    Args:
        model: of default opset `OPSET` or more, types and shapes inferred.
        ops: which operators.
    """
    done: list[Spelled] = []
    waiting = [node for node in _nodes(model) if _is_composite(node) and node.op_type in ops]
    for node in waiting:  # grows while it runs: what a definition is made of may be composite itself
        spelled = _spell(model, node)
        if spelled is not None:
            done.append(spelled)
            waiting += [step for step in spelled.steps if _is_composite(step)]
    return done


def _nodes(model: ir.Model) -> list[ir.Node]:
    import onnx_ir as ir

    return list(ir.traversal.RecursiveGraphIterator(model.graph))


def _is_composite(node: ir.Node) -> bool:
    known = not node.domain and node.op_type in COMPOSITES
    return known and (node.op_type != "BatchNormalization" or bool(node.attributes.get_int("training_mode", 0)))


def _spell(model: ir.Model, node: ir.Node) -> Spelled | None:
    """Splice the steps in."""
    import onnx_ir as ir
    from onnx_ir.passes import common
    from onnxscript.optimizer import fold_constants_ir

    shape = node.inputs[0].shape if node.inputs and node.inputs[0] is not None else None
    proto = None if shape is None else _definition(node, model.opset_imports[""])
    if proto is None or node.graph is None or any(_is_used(value) for value in node.outputs[len(proto.graph.output) :]):
        return None
    part = ir.serde.deserialize_model(proto)
    fold_constants_ir(part)
    common.RemoveUnusedNodesPass()(part)
    common.LiftConstantsToInitializersPass(lift_all_constants=True, size_limit=0)(part)
    part = common.ShapeInferencePass()(part).model
    _drop_idle_casts(part.graph)
    graph, steps = part.graph, list(part.graph)
    stem = node.name or f"{node.op_type}.{node.outputs[0].name}"
    for value in list(graph.initializers.values()):
        _adopt(node.graph, value, stem)
    given = [value for value in node.inputs if value is not None]
    for outer, inner in zip(given, graph.inputs, strict=True):
        inner.replace_all_uses_with(outer)
    results = list(graph.outputs)[: len(node.outputs)]
    graph.outputs.clear()
    graph.remove(steps)
    count: Counter[str] = Counter()
    for step in steps:
        count[step.op_type] += 1
        again = f"_{count[step.op_type]}" if count[step.op_type] > 1 else ""
        step.name = f"{stem}/{step.op_type}{again}"
        step.metadata_props.update(node.metadata_props)
        for value in step.outputs:
            value.name = f"{stem}/{value.name}"
            value.type = value.type or node.outputs[0].type
    outputs = dict(zip(node.outputs, results, strict=False))
    ir.convenience.replace_nodes_and_values(node.graph, node, [node], steps, list(outputs), results)
    return Spelled(node, tuple(steps), outputs)


def _is_used(value: ir.Value) -> bool:
    return bool(value.is_graph_output() or list(value.uses()))


def _drop_idle_casts(graph: ir.Graph) -> None:
    """Casts to the type that a value has already, of definitions that hold for every type."""
    for node in list(graph):
        value, result = node.inputs[0] if node.inputs else None, node.outputs[0]
        idle = node.op_type in ("Cast", "CastLike", "Identity") and value is not None and value.dtype == result.dtype
        if not idle or value is None or value.dtype is None:
            continue
        if result.is_graph_output():
            if value.producer() is None or value.is_graph_output():
                continue
            place = list(graph.outputs).index(result)
            graph.outputs[place] = value
        result.replace_all_uses_with(value)
        graph.remove(node, safe=True)


def _adopt(graph: ir.Graph, value: ir.Value, stem: str) -> None:
    """Move an initializer of a definition into the graph that gets its steps, under a name of its own."""
    assert value.graph is not None
    del value.graph.initializers[value.name or ""]
    number = len(graph.initializers)
    while f"{stem}/{value.name}.{number}" in graph.initializers:
        number += 1
    value.name = f"{stem}/{value.name}.{number}"
    graph.register_initializer(value)


def _definition(node: ir.Node, opset: int) -> onnx.ModelProto | None:
    """The node's steps as a model of their own; None where this opset does not define it."""
    import onnx
    import onnx_ir as ir
    from onnx.inliner import inline_selected_functions

    own = OWN.get(node.op_type)
    body = own(node, opset) if own else None
    if own and body is None:
        return None
    given = {f"i{place}": value for place, value in enumerate(node.inputs) if value is not None}
    if body is not None:
        outputs = ", ".join(body.outputs)
        header = f'<domain: "own", opset_import: ["": {opset}]> steps ({", ".join(given)}) => ({outputs})'
        steps = list(onnx.parser.parse_function(f"{header} {{ {body.text} }}").node)
    else:
        steps = [_with_defaults(ir.serde.serialize_node(node), opset)]
        steps[0].input[:] = [f"i{place}" if value is not None else "" for place, value in enumerate(node.inputs)]
        steps[0].output[:] = ["o0"]
    graph = onnx.helper.make_graph(
        steps,
        "steps",
        [_info(value, name) for name, value in given.items()],
        [_info(value, name) for value, name in zip(node.outputs, body.outputs if body else ("o0",), strict=False)],
        [onnx.numpy_helper.from_array(array, name) for name, array in (body.constants if body else {}).items()],
    )
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", opset)], ir_version=10)
    if body is None:
        model = inline_selected_functions(
            model, [("", op) for op in sorted(BY_ONNX)], exclude=False, inline_schema_functions=True
        )
    return None if any(step.op_type == node.op_type for step in model.graph.node) else model


def _with_defaults(node: onnx.NodeProto, opset: int) -> onnx.NodeProto:
    """The node with the attributes that it leaves out: a definition refers to them."""
    import onnx

    given = {attribute.name for attribute in node.attribute}
    for name, attribute in onnx.defs.get_schema(node.op_type, opset).attributes.items():
        if name not in given and attribute.default_value.type:
            node.attribute.append(attribute.default_value)
    return node


def _info(value: ir.Value, name: str) -> onnx.ValueInfoProto:
    import onnx_ir as ir

    info = ir.serde.serialize_value(value)
    info.name = name
    return info
