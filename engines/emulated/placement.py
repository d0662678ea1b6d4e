"""Where a reduced-precision engine rounds: a plan from values to formats, as a pure function of the graph.

`every`: each node's result is stored in the format, as when no kernel is fused.
`fused`: a result that only a pointwise operator reads stays in fp32 until the kernel's last one (conv + bias +
activation, chains of pointwise operators), as runtimes keep it in registers.

Neither bounds the other: a real engine fuses some of it, and may accumulate in fp16 as well (see `chunks`).
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping
from typing import TYPE_CHECKING

from engines.emulated.formats import Format
from engines.emulated.ops import POINTWISE, PRODUCTS, is_exact, is_monotone, is_shape_slot

if TYPE_CHECKING:
    import onnx_ir as ir

__all__ = ["demand_everywhere", "plan_roundings", "sizes_of"]


def demand_everywhere(
    model: ir.Model,
    nodes: Iterable[ir.Node],
    form: Format,
    chosen: Container[ir.Node | ir.Value] | None = None,
) -> dict[ir.Value, Format]:
    """Every fp32 value that is data wants this format: inputs, constants and results.

    With `chosen`, only these inputs, and the constants and results of these nodes.
    """
    import onnx_ir as ir

    ordered = list(nodes)
    sizes = sizes_of(ordered)
    values = [value for value in model.graph.inputs if chosen is None or value in chosen]
    for node in ordered:
        if chosen is not None and node not in chosen:
            continue
        values += [
            v for i, v in enumerate(node.inputs) if v is not None and _is_constant(v) and not is_shape_slot(node, i)
        ]
        if node not in sizes:
            values += node.outputs
    if chosen is None:
        values += [value for value in model.graph.outputs if _is_constant(value)]
    return {value: form for value in values if value.dtype == ir.DataType.FLOAT}


def plan_roundings(
    model: ir.Model,
    nodes: Iterable[ir.Node],
    demand: Mapping[ir.Value, Format],
    *,
    fused: bool = False,
    early: bool = False,
) -> dict[ir.Value, Format]:
    """Which computed and fed values to round; the result is the same as rounding all that are demanded.

    Left out are values that already are numbers of the format, and those whose rounding can wait for the next operator
    without changing a bit, or, with `fused`, because that operator belongs to the same kernel.

    Args:
        model: the graph, for its inputs.
        nodes: its nodes in order.
        demand: the format each value must have.
        fused: round at the ends of fused kernels only.
        early: round at the node that makes the number, even where the next operator could do it as well.
    """
    plan = {value: demand[value] for value in model.graph.inputs if value in demand}
    waiting: set[ir.Value] = set()
    for node in nodes:
        clean = is_exact(node) and not any(value in waiting for value in node.inputs)
        for value in node.outputs:
            form = demand.get(value)
            if form is None or (clean and _all_in(node, form, demand)):
                continue
            if _can_wait(node, value, form, demand, fused=fused, early=early):
                waiting.add(value)
            else:
                plan[value] = form
    return plan


def sizes_of(nodes: list[ir.Node]) -> set[ir.Node]:
    """Nodes that only compute sizes, scales and settings; these stay exact."""
    sizes: set[ir.Node] = set()
    for node in reversed(nodes):
        uses = [use for value in node.outputs for use in value.uses()]
        outward = any(value.is_graph_output() for value in node.outputs)
        if uses and not outward and all(user in sizes or is_shape_slot(user, index) for user, index in uses):
            sizes.add(node)
    return sizes


def _all_in(node: ir.Node, form: Format, demand: Mapping[ir.Value, Format]) -> bool:
    """Whether every float input has the output's format; subgraphs see to their own."""
    import onnx_ir as ir

    floats = [
        value
        for index, value in enumerate(node.inputs)
        if value is not None and value.dtype == ir.DataType.FLOAT and not is_shape_slot(node, index)
    ]
    return all(demand.get(value) is form for value in floats)


def _can_wait(
    node: ir.Node, value: ir.Value, form: Format, demand: Mapping[ir.Value, Format], *, fused: bool, early: bool
) -> bool:
    uses = list(value.uses())
    if len(uses) != 1 or value.is_graph_output():
        return False
    ((user, index),) = uses
    if user.graph is not node.graph or any(demand.get(output) is not form for output in user.outputs[:1]):
        return False
    if not early and index == 0 and is_monotone(user) and len(user.outputs) == 1:
        return True
    kernel = node.op_type in PRODUCTS or node.op_type in POINTWISE
    return fused and kernel and user.op_type in POINTWISE and not node.domain and not user.domain


def _is_constant(value: ir.Value) -> bool:
    return value.const_value is not None and value.producer() is None and not value.is_graph_input()
