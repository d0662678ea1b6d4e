"""A mixed graph as an emulated engine runs it: fp32 nodes, and a rounding behind every node that is reduced.

`emulated-fp16` makes the same of the typed graph that `mixed` writes, by way of files and of many looks at the whole
graph. Who tries hundreds of sets of kept nodes on one network writes it from the network itself, and `Carrier` keeps
what no set changes. Both give the same bits; a rounding waits for the monotone node that follows, as it does there, so
that kernels fuse alike.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from engines.cpu import usable_cores
from engines.emulated.formats import FORMATS
from engines.layers.movable import Lowered, Movable
from engines.layers.network import Network, read_by
from engines.ort_engine import OrtEngine

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto

    from engines.protocol import ModelSource

__all__ = ["Carrier", "open_carried"]


class Carrier:
    """Writes mixed graphs of one network.

    Args:
        network: the fp32 graph, every node named, of an opset that has casts of the format (`FORMATS`).
        can: what `movable` says of it.
        precision: fp16 or bf16.
    """

    def __init__(self, network: Network, can: Movable, precision: str) -> None:
        from onnx import TensorProto

        self.network, self.can, self._form = network, can, FORMATS[precision]
        self.low = TensorProto.FLOAT16 if precision == "fp16" else TensorProto.BFLOAT16
        self._constants: dict[str, Any] = {}
        reads = Counter(name for node in network.nodes for name in read_by(node))
        reads.update(network.outputs)
        self._behind = {
            node.input[0]: node.name
            for node in network.nodes
            if node.name in can.monotone and reads[node.input[0]] == 1
        }

    def model(self, kept: Collection[str]) -> ModelProto:
        """The graph with these nodes in fp32."""
        return _Writing(self, Lowered(self.network, self.can, kept)).model()

    def constant(self, name: str) -> Any:
        """A constant, rounded."""
        from onnx import numpy_helper

        if name not in self._constants:
            array = numpy_helper.to_array(self.network.constants[name]).astype(np.float32)
            self._constants[name] = numpy_helper.from_array(self._form.array(array), f"{name}.rounded")
        return self._constants[name]

    def monotone_behind(self, name: str) -> str | None:
        """The monotone node that alone reads a value; None where there is none."""
        return self._behind.get(name)


class _Writing:
    """One set of nodes."""

    def __init__(self, carrier: Carrier, lowered: Lowered) -> None:
        self._carrier, self._low = carrier, lowered.values
        self._reduced = frozenset(lowered.reduced)
        self._nodes: list[NodeProto] = []
        self._constants: dict[str, Any] = {}
        self._rounded: set[str] = set()  # values that are not low, and were rounded for who reads them so
        self._waiting: set[str] = set()

    def model(self) -> ModelProto:
        from onnx import helper

        network = self._carrier.network
        for node in network.nodes:
            self._write(node)
        source = network.proto
        read = {name for node in self._nodes for name in read_by(node)} | set(network.outputs)
        constants = [tensor for name, tensor in network.constants.items() if name in read]
        inputs = [value for value in source.graph.input if value.name not in network.constants]
        graph = helper.make_graph(
            self._nodes, source.graph.name, inputs, source.graph.output, [*constants, *self._constants.values()]
        )
        model = helper.make_model(graph, opset_imports=source.opset_import, functions=source.functions)
        model.ir_version = source.ir_version
        return model

    def _write(self, node: NodeProto) -> None:
        """A node; one that is reduced reads and gives numbers of the format."""
        import onnx

        if node.name not in self._reduced:
            self._nodes.append(node)
            return
        can = self._carrier.can
        copy = onnx.NodeProto()
        copy.CopyFrom(node)
        for place in can.inputs[node.name]:
            copy.input[place] = self._read(node.input[place])
        exact = node.name in can.moving and not self._waiting.intersection(node.input)
        self._nodes.append(copy)
        for place, name in enumerate(node.output):
            if name not in self._low or exact:
                continue
            if self._carrier.monotone_behind(name) in self._reduced:
                self._waiting.add(name)
                continue
            copy.output[place] = f"{name}.exact"
            self._round(f"{name}.exact", name)

    def _read(self, name: str) -> str:
        """The name of a value whose numbers are of the format."""
        if name in self._carrier.network.constants:
            self._constants[name] = self._carrier.constant(name)
            return str(self._constants[name].name)
        if name in self._low:
            return name
        if name not in self._rounded:
            self._rounded.add(name)
            self._round(name, f"{name}.rounded")
        return f"{name}.rounded"

    def _round(self, source: str, target: str) -> None:
        from onnx import TensorProto, helper

        self._nodes.append(helper.make_node("Cast", [source], [f"{target}.low"], to=self._carrier.low))
        self._nodes.append(helper.make_node("Cast", [f"{target}.low"], [target], to=TensorProto.FLOAT))


def open_carried(name: str, source: ModelSource, model: ModelProto, folder: Path) -> OrtEngine:
    """An emulated engine without options, on a graph that `Carrier` wrote.

    Args:
        name: of the engine.
        source: the model that the graph is of.
        model: the graph.
        folder: where it is written.

    Raises:
        EngineError: as of `emulated-*`.
    """
    import onnx

    path = folder / "carried.onnx"
    onnx.save(model, path)
    return OrtEngine(name, source, path, "all", usable_cores(), "flush")
