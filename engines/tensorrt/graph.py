"""What an ONNX graph says of itself before TensorRT reads it: opset, low-precision types, quantisation, files.

Weights are not read. A strongly typed build runs the types that stand in the graph, so a graph that already has fp16
tensors is no fp32 model, and needs no AutoCast.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engines.base import whole_cause
from engines.errors import ModelLoadError
from trueline._reading import regular

__all__ = ["GraphFacts", "read_graph"]

QUANTISING = frozenset({"QuantizeLinear", "DequantizeLinear"})
LOW = ("FLOAT16", "BFLOAT16", "FLOAT8", "FLOAT4")


@dataclass(frozen=True, slots=True)
class GraphFacts:
    """Of an ONNX file.

    Attributes:
        opset: of the default domain.
        low: low-precision float types that it holds.
        quantised: whether it has Q/DQ nodes.
        nodes: names of its nodes, in the file's order.
        operators: their operators.
    """

    opset: int
    low: frozenset[str]
    quantised: bool
    nodes: tuple[str, ...]
    operators: tuple[str, ...] = ()


def read_graph(path: Path) -> GraphFacts:
    """The facts of an ONNX file.

    Raises:
        ModelLoadError: the file is missing or is no ONNX model.
    """
    import onnx

    try:
        model = onnx.load(regular(path), load_external_data=False)
    except Exception as error:  # protobuf's DecodeError, OSError, ...: whatever it is, the file does not load
        raise ModelLoadError(
            f"no ONNX model: {whole_cause(error)}", where=str(path), remedy="give an ONNX file that onnx.load reads"
        ) from error
    names = onnx.TensorProto.DataType.Name
    opset = next((entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")), 0)
    types = {names(number) for number in _types(model.graph)}
    return GraphFacts(
        opset=opset,
        low=frozenset(name for name in types if name.startswith(LOW)),
        quantised=any(node.op_type in QUANTISING for node in _nodes(model.graph)),
        nodes=tuple(node.name or f"{node.op_type} #{index}" for index, node in enumerate(model.graph.node)),
        operators=tuple(node.op_type for node in model.graph.node),
    )


def _nodes(graph: Any) -> Iterator[Any]:
    """Every node, those of branches and loops too."""
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            if attribute.HasField("g"):
                yield from _nodes(attribute.g)


def _types(graph: Any) -> Iterator[int]:
    """Element types of everything whose type the file states: inputs, outputs, weights, constants, casts."""
    for value in (*graph.input, *graph.output, *graph.value_info):
        yield value.type.tensor_type.elem_type
    for tensor in graph.initializer:
        yield tensor.data_type
    for node in _nodes(graph):
        for attribute in node.attribute:
            if node.op_type == "Cast" and attribute.name == "to":
                yield attribute.i
            elif attribute.HasField("t"):
                yield attribute.t.data_type
