"""Epsilons that fp16 rounds away: in the attributes of normalisations, and as guards in front of a division.

A guard is a constant below 2^-14 that is added to a value, or is its least allowed value (Max, Clip), which then is
divided by, or of which the logarithm is taken. A BatchNormalization with constant statistics is folded in fp32 by every
runtime, and its epsilon matters only where a variance is not much larger; the others are computed as they stand.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from engines.inspect.graph import Graph, Node
from engines.inspect.half import SMALLEST_NORMAL, rounded

__all__ = ["Epsilon", "small_epsilons"]

DEFAULTS = {  # operator -> default of its attribute `epsilon`, from the ONNX operator specification
    "BatchNormalization": 1e-5,
    "InstanceNormalization": 1e-5,
    "LayerNormalization": 1e-5,
    "GroupNormalization": 1e-5,
    "RMSNormalization": 1e-5,
}
GUARDING = {"Add": (0, 1), "Max": None, "Clip": (1,)}  # operator -> inputs that may be the guard; None: all
CARRYING = frozenset({"Sqrt", "Expand", "Reshape", "Unsqueeze", "Squeeze", "Cast", "Identity", "Transpose"})


@dataclass(frozen=True, slots=True)
class Epsilon:
    """One epsilon: its value, what fp16 makes of it (0: nothing is left), the node that has it and what it guards."""

    value: float
    half: float
    node: str
    op: str
    guards: str


def small_epsilons(graph: Graph) -> list[Epsilon]:
    """Epsilons below fp16's normal range that matter, in the file's order."""
    found = []
    for node in graph.nodes:
        for value, guards in (*_attribute(graph, node), *_guard(graph, node)):
            if 0 < value < SMALLEST_NORMAL:
                found.append(Epsilon(value, float(rounded(value)), node.name, node.op, guards))
    return found


def _attribute(graph: Graph, node: Node) -> Iterator[tuple[float, str]]:
    if node.domain or node.op not in DEFAULTS:
        return
    epsilon = float(node.attributes.get("epsilon", DEFAULTS[node.op]))
    if node.op == "BatchNormalization" and len(node.inputs) > 4:
        variance = graph.constants.get(node.inputs[4])
        if variance is not None and variance.min(initial=np.inf) + epsilon >= SMALLEST_NORMAL:
            return
    yield epsilon, "its own square root"


def _guard(graph: Graph, node: Node) -> Iterator[tuple[float, str]]:
    if node.domain or node.op not in GUARDING:
        return
    places = GUARDING[node.op] or range(len(node.inputs))
    for place in places:
        array = graph.constants.get(node.inputs[place]) if place < len(node.inputs) else None
        if array is not None and array.dtype.kind == "f" and array.size:
            guarded = next(_divisions(graph, node), None)
            if guarded is not None:
                yield float(np.abs(array).max()), f"{guarded.op} {guarded.name}"
    if node.op == "Clip" and "min" in node.attributes:  # before opset 11 it is an attribute
        guarded = next(_divisions(graph, node), None)
        if guarded is not None:
            yield float(node.attributes["min"]), f"{guarded.op} {guarded.name}"


def _divisions(graph: Graph, node: Node) -> Iterator[Node]:
    """Nodes that divide by what this one gives, or take its logarithm; through what does not change its size."""
    for value in node.outputs:
        for reader in graph.readers.get(value, ()):
            if _divides(graph, reader, value):
                yield reader
            elif not reader.domain and reader.op in CARRYING:
                yield from _divisions(graph, reader)


def _divides(graph: Graph, reader: Node, value: str) -> bool:
    if reader.domain:
        return False
    if reader.op == "Div":
        return reader.inputs[1] == value
    if reader.op == "Pow":
        exponent = graph.constants.get(reader.inputs[1])
        return reader.inputs[0] == value and exponent is not None and bool((exponent < 0).any())
    return reader.op in ("Reciprocal", "Log")
