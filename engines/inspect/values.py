"""Values that engines hold in another type than the file says, and names that two values share.

TensorRT up to 8.6 clamps int64 constants to int32; OpenVINO's CPU plugin computes int64, uint64 and uint32 as int32
(measured, 2026.4: 3e9 became -2147483648). Both compute float64 as float32. A bound of a Slice beyond int32 means "to
the end" in all of them, and is none of these.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from engines.inspect.graph import Graph

__all__ = ["WideInteger", "nodes_of_type", "wide_integers"]

CODES = {"float16": 10, "float64": 11, "bfloat16": 16}  # of onnx.TensorProto
INT32 = np.iinfo(np.int32)
# operator -> inputs that clamping to int32 does not change: bounds, and how often at most
BOUNDS = {"Slice": {1, 2}, "Clip": {1, 2}, "Loop": {0}}
PASSING = frozenset({"Cast", "Concat", "Expand", "Gather", "Identity", "Reshape", "Slice", "Squeeze", "Unsqueeze"})


@dataclass(frozen=True, slots=True)
class WideInteger:
    """A constant that int32 cannot hold: its value of greatest magnitude, and the first node that computes with it."""

    name: str
    node: str
    op: str
    value: int


def wide_integers(graph: Graph) -> list[WideInteger]:
    """Integer constants beyond int32 that are more than bounds, in the file's order."""
    found = []
    for name, array in graph.constants.items():
        if array.dtype.kind not in "iu" or not array.size or name not in graph.readers or _is_bound(graph, name, set()):
            continue
        value = max((int(array.min()), int(array.max())), key=abs)
        if not INT32.min <= value <= INT32.max:
            reader = graph.readers[name][0]
            found.append(WideInteger(name, reader.name, reader.op, value))
    return found


def nodes_of_type(graph: Graph, *types: str) -> list[str]:
    """Nodes that read constants of these types (`float64`, `float16`, `bfloat16`), or cast to them."""
    codes = {CODES[name] for name in types}
    return [
        node.name
        for node in graph.nodes
        if (node.op == "Cast" and node.attributes.get("to") in codes)
        or any(name in graph.constants and graph.constants[name].dtype.name in types for name in node.inputs)
    ]


def _is_bound(graph: Graph, value: str, seen: set[str]) -> bool:
    """Whether every node that the value reaches takes it as a bound."""
    if value in graph.outputs:
        return False
    for reader in graph.readers.get(value, ()):
        places = {place for place, name in enumerate(reader.inputs) if name == value}
        if reader.domain or not places <= BOUNDS.get(reader.op, set()):
            if reader.domain or reader.op not in PASSING:
                return False
            for output in reader.outputs:
                if output not in seen and not _is_bound(graph, output, seen | {output}):
                    return False
    return True
