"""An fp32 graph written in fp16 or bf16 but for chosen nodes, which stay in fp32: a typed graph, with casts between.

A reduced node reads and writes the reduced type, so what a kept node gives is rounded where a reduced one reads it, as
in any runtime. What can be reduced at all: `movable`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from engines.emulated.formats import FORMATS
from engines.layers.movable import Lowered, Movable
from engines.layers.network import Network

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto

__all__ = ["Mixed", "mixed"]


@dataclass(frozen=True)
class Mixed:
    """A mixed graph.

    Attributes:
        model: the typed graph.
        kept: nodes that stayed in fp32: those that were asked for, and those that only move what these give.
        reduced: nodes that did not.
    """

    model: ModelProto
    kept: tuple[str, ...]
    reduced: tuple[str, ...]


def mixed(network: Network, can: Movable, kept: Collection[str], precision: str = "fp16") -> Mixed:
    """Write every node that can be in the reduced type, but for `kept` ones.

    Args:
        network: the fp32 graph, every node named.
        can: what `movable` says of it.
        kept: names of nodes.
        precision: fp16 or bf16.
    """
    return _Writer(network, can, frozenset(kept), precision).written()


class _Writer:
    def __init__(self, network: Network, can: Movable, kept: frozenset[str], precision: str) -> None:
        from onnx import TensorProto

        self._network, self._can, self._precision = network, can, precision
        self._low = TensorProto.FLOAT16 if precision == "fp16" else TensorProto.BFLOAT16
        self._full = TensorProto.FLOAT
        self._lowered = Lowered(network, can, kept)
        self._nodes: list[Any] = []
        self._constants: dict[str, Any] = {}
        self._casts: dict[tuple[str, int], str] = {}

    def written(self) -> Mixed:
        import onnx
        from onnx import helper

        reduced = frozenset(self._lowered.reduced)
        for node in self._network.nodes:
            self._write(node, node.name in reduced)
        source = self._network.proto
        outputs = list(source.graph.output)
        for value in outputs:
            if value.name in self._lowered.values:
                self._nodes.append(helper.make_node("Cast", [_low_name(value.name)], [value.name], to=self._full))
        read = {name for node in self._nodes for name in _names_read(node)} | {value.name for value in outputs}
        constants = [tensor for name, tensor in self._network.constants.items() if name in read]
        graph = helper.make_graph(
            self._nodes, source.graph.name, [v for v in source.graph.input if v.name not in self._network.constants],
            outputs, [*constants, *self._constants.values()],
        )  # fmt: skip
        model = helper.make_model(graph, opset_imports=source.opset_import, functions=source.functions)
        model.ir_version = source.ir_version
        return Mixed(onnx.shape_inference.infer_shapes(model), tuple(self._lowered.kept), tuple(self._lowered.reduced))

    def _write(self, node: NodeProto, low: bool) -> None:
        import onnx

        copy = onnx.NodeProto()
        copy.CopyFrom(node)
        places = self._can.inputs.get(node.name, ()) if low else ()
        for place, name in enumerate(node.input):
            if name:
                copy.input[place] = self._read(name, low=place in places)
        _rename_captured(copy, lambda name: self._read(name, low=False))
        if low:
            for place, name in enumerate(node.output):
                if name in self._lowered.values:
                    copy.output[place] = _low_name(name)
        self._nodes.append(copy)

    def _read(self, name: str, *, low: bool) -> str:
        """The name under which a value is read in the reduced type, or as it was."""
        from onnx import helper

        if name in self._network.constants:
            return self._constant(name) if low else name
        if low == (name in self._lowered.values):
            return _low_name(name) if low else name
        key = (name, self._low if low else self._full)
        if key not in self._casts:
            source, target = (name, f"{name}.read.{self._precision}") if low else (_low_name(name), f"{name}.read.fp32")
            self._casts[key] = target
            self._nodes.append(helper.make_node("Cast", [source], [target], f"{target}.cast", to=key[1]))
        return self._casts[key]

    def _constant(self, name: str) -> str:
        """The constant in the reduced type."""
        from onnx import helper, numpy_helper

        if name not in self._constants:
            array = numpy_helper.to_array(self._network.constants[name]).astype(np.float32)
            rounded = FORMATS[self._precision].array(array)
            with np.errstate(over="ignore"):
                made = helper.make_tensor(f"{name}.{self._precision}", self._low, array.shape, rounded.ravel())
            self._constants[name] = made
        return str(self._constants[name].name)


def _low_name(name: str) -> str:
    return f"{name}.low"


def _names_read(node: NodeProto) -> list[str]:
    from engines.layers.network import read_by

    return list(read_by(node))


def _rename_captured(node: NodeProto, renamed: Callable[[str], str], own: frozenset[str] = frozenset()) -> None:
    """Give the values that branches and loops take from outside other names, in place."""
    from onnx import AttributeProto

    for attribute in node.attribute:
        graphs = [attribute.g] if attribute.type == AttributeProto.GRAPH else list(attribute.graphs)
        for graph in graphs:
            inner = own | {v.name for v in (*graph.input, *graph.initializer)}
            inner |= {name for part in graph.node for name in part.output}
            for part in graph.node:
                for place, name in enumerate(part.input):
                    if name and name not in inner:
                        part.input[place] = renamed(name)
                _rename_captured(part, renamed, inner)
