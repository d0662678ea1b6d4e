"""Quantisation inside a graph: QuantizeLinear and DequantizeLinear, and operators that compute on integers.

Their scales are the calibration, so it travels with the file; where integers are computed with is each engine's choice.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from engines.inspect.graph import Graph, Node

__all__ = ["Quantisation", "quantisation"]

SCALING = frozenset({"QuantizeLinear", "DequantizeLinear"})
COMPUTING = frozenset({"DynamicQuantizeLinear", "QLinearConv", "QLinearMatMul", "ConvInteger", "MatMulInteger"})


@dataclass(frozen=True, slots=True)
class Quantisation:
    """What is quantised.

    Attributes:
        counts: operator -> how many nodes.
        nodes: their names, in the file's order.
        shifted: nodes with a zero point other than 0, which TensorRT refuses.
        types: of the integers, as NumPy calls them.
    """

    counts: Mapping[str, int]
    nodes: tuple[str, ...]
    shifted: tuple[str, ...]
    types: tuple[str, ...]


def quantisation(graph: Graph) -> Quantisation | None:
    """The graph's quantisation, None where there is none."""
    nodes = [node for node in graph.nodes if not node.domain and node.op in SCALING | COMPUTING]
    if not nodes:
        return None
    shifts = [(node, _zero_point(graph, node)) for node in nodes]
    return Quantisation(
        counts=Counter(node.op for node in nodes),
        nodes=tuple(node.name for node in nodes),
        shifted=tuple(node.name for node, shift in shifts if shift is not None and shift[1]),
        types=tuple(sorted({shift[0] for _, shift in shifts if shift is not None})),
    )


def _zero_point(graph: Graph, node: Node) -> tuple[str, bool] | None:
    """(type, whether it is other than 0) of a constant zero point; one left out is uint8 and 0."""
    if node.op not in SCALING:
        return None
    if len(node.inputs) < 3 or not node.inputs[2]:
        return ("uint8", False) if node.op == "QuantizeLinear" else None
    array = graph.constants.get(node.inputs[2])
    return (str(array.dtype), bool(array.any())) if array is not None else None
