"""Dimensions that are known only at run time: named ones of inputs, and those that depend on the data."""

from __future__ import annotations

from dataclasses import dataclass

from engines.inspect.graph import Graph

__all__ = ["DynamicShape", "dynamic_shapes"]

# operators whose output's size depends on values, from the ONNX operator specification
BY_DATA = frozenset({"NonZero", "NonMaxSuppression", "Unique", "Compress"})


@dataclass(frozen=True, slots=True)
class DynamicShape:
    """An input's axis with its name, or a node whose output has as many elements as the data says (`axis` None)."""

    name: str
    axis: int | None
    dimension: str


def dynamic_shapes(graph: Graph) -> list[DynamicShape]:
    """Dynamic axes of inputs, then nodes with sizes by data."""
    axes = [
        DynamicShape(name, axis, size)
        for name, shape in graph.inputs.items()
        for axis, size in enumerate(shape)
        if isinstance(size, str)
    ]
    nodes = [DynamicShape(n.name, None, n.op) for n in graph.nodes if not n.domain and n.op in BY_DATA]
    return axes + nodes
