"""What an ONNX file says of itself: inputs, outputs, and what it does to its inputs before the first layer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engines.inspect.graph import Graph, Node, read_graph
from harness.errors import UsageError

__all__ = ["Head", "Network", "Port", "read_network"]

Array = NDArray[Any]
_PASSED = ("Transpose", "Cast", "Identity", "Squeeze", "Unsqueeze", "Reshape", "Slice", "Concat")
_SCALED = ("Sub", "Div", "Mul", "Add", "BatchNormalization")


@dataclass(frozen=True, slots=True)
class Port:
    """One input or output: name, shape (a str is dynamic), NumPy's name of its type."""

    name: str
    shape: tuple[int | str, ...]
    dtype: str


@dataclass(frozen=True, slots=True)
class Head:
    """What the graph does to an input before its first layer.

    Attributes:
        operators: in their order.
        scaled: it subtracts, multiplies or divides by constants: it normalises by itself.
        largest: of the constants that it subtracts or divides by; 0 where none.
        transposed: it turns the axes.
    """

    operators: tuple[str, ...]
    scaled: bool
    largest: float
    transposed: bool


@dataclass(frozen=True)
class Network:
    """An ONNX file as `trueline init` sees it."""

    path: Path
    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    graph: Graph

    def head(self, name: str) -> Head:
        """What is done to an input before its first layer."""
        operators: list[str] = []
        constants: list[float] = []
        value = name
        while (node := self._only_reader(value)) is not None and node.op in (*_PASSED, *_SCALED):
            operators.append(node.op)
            if node.op in _SCALED:
                given = [self._constants[i] for i in node.inputs if i in self._constants]
                constants += [float(np.abs(c).max()) for c in given if c.size]
                constants += [1 / float(np.abs(c).min()) for c in given if node.op == "Mul" and c.size and np.all(c)]
            value = node.outputs[0]
        scaled = any(op in _SCALED for op in operators)
        return Head(tuple(operators), scaled, max(constants, default=0.0), "Transpose" in operators)

    def _only_reader(self, value: str) -> Node | None:
        readers = self.graph.readers.get(value, [])
        return readers[0] if len(readers) == 1 else None

    @cached_property
    def _constants(self) -> Mapping[str, Array]:
        return self.graph.constants


def read_network(path: Path) -> Network:
    """Read an ONNX file.

    Raises:
        ModelLoadError: it is missing or no ONNX model.
        UsageError: an input or output has a type that no engine of ours feeds.
    """
    import onnx

    graph = read_graph(path)
    model = onnx.load(path, load_external_data=False)
    inputs = tuple(_port(v, graph.inputs[v.name]) for v in model.graph.input if v.name in graph.inputs)
    return Network(path, inputs, tuple(_port(v, graph.outputs[v.name]) for v in model.graph.output), graph)


def _port(value: Any, shape: tuple[int | str, ...]) -> Port:
    import onnx

    kind = value.type.tensor_type.elem_type
    if not kind:
        raise UsageError(
            f"{value.name!r} is no tensor", where="the ONNX file", remedy="export a network of plain tensors"
        )
    return Port(value.name, shape, str(np.dtype(onnx.helper.tensor_dtype_to_np_dtype(kind))))
