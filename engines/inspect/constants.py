"""Large constants on the way to an output: what is added to it or multiplied with it in the output's own unit.

From the output back, through what only moves, adds or joins values, so that a constant found has the output's unit or
is a factor of it: the stations, offsets and scales of coordinates. Behind a convolution or an activation function no
unit is left, and the search ends.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from engines.inspect.graph import Graph, Node
from engines.inspect.half import rounding_loss, spacing

__all__ = ["LargeConstant", "constants_before"]

MOVING = frozenset(
    {"Identity", "Reshape", "Transpose", "Expand", "Unsqueeze", "Squeeze", "Flatten", "Slice", "Gather", "Cast"}
    | {"Concat", "Split", "Tile", "Where", "ScatterND", "ScatterElements", "Add", "Sub", "Neg", "Sum", "Clip"}
)
SCALING = frozenset({"Mul", "Div", "MatMul", "Gemm", "Einsum"})
INDEXING = {  # operator -> inputs that carry values; the others are shapes, axes and indices
    "Reshape": 1, "Expand": 1, "Unsqueeze": 1, "Squeeze": 1, "Slice": 1, "Gather": 1, "Split": 1, "Tile": 1,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class LargeConstant:
    """A constant in front of an output, in the unit of its values.

    Attributes:
        name: of the constant.
        node: that reads it.
        op: that node's operator.
        largest: the greatest magnitude.
        spacing: of fp16 numbers there.
        loss: largest change by rounding it to fp16: 0 where it is exact, inf where it overflows.
        adds: whether it is added to the output (its loss is the output's), or scales what the output is made of.
    """

    name: str
    node: str
    op: str
    largest: float
    spacing: float
    loss: float
    adds: bool


def constants_before(graph: Graph, output: str, least: float = 4.0) -> list[LargeConstant]:
    """Constants in front of an output with a magnitude of `least` or more, nearest first."""
    found: dict[str, LargeConstant] = {}
    seen, front = {output}, [(output, True)]
    for value, adds in front:  # grows while it runs: breadth first
        node = graph.producers.get(value)
        if node is None or node.domain or node.op not in MOVING | SCALING:
            continue
        adds = adds and node.op in MOVING
        for name in _values(node):
            array = graph.constants.get(name)
            if array is not None:
                if array.dtype.kind == "f" and array.size and np.abs(array).max() >= least and name not in found:
                    largest = float(np.abs(array).max())
                    loss = rounding_loss(array)
                    found[name] = LargeConstant(name, node.name, node.op, largest, spacing(largest), loss, adds)
            elif name not in seen:
                seen.add(name)
                front.append((name, adds))
    return list(found.values())


def _values(node: Node) -> tuple[str, ...]:
    if node.op == "Where":
        return node.inputs[1:]
    if node.op in ("ScatterND", "ScatterElements"):
        return (node.inputs[0], node.inputs[2])
    return tuple(name for name in node.inputs[: INDEXING.get(node.op)] if name)
