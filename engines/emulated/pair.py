"""A graph before and after it is rewritten, value by value: what a look at single nodes needs.

Both compute the same network, one in fp32, one with the roundings of an emulated engine. For every value of the first
it is known which value of the second its readers read, so that the reduced form of a node is the part of the second
graph between what stands for the node's inputs and what stands for its outputs.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from engines.emulated.formats import FORMATS
from engines.emulated.graph import cleaned, nodes_of, standing_for

if TYPE_CHECKING:
    import onnx
    import onnx_ir as ir

__all__ = ["Pair", "Watch", "named_graph"]


@dataclass(frozen=True)
class Pair:
    """An emulated engine's graph without its roundings, and with them.

    Attributes:
        exact: fp32, nodes and values named, each once.
        reduced: the same with roundings.
        stands: value of `exact` -> value of `reduced` that its readers read.
        precision: fp16, bf16 or tf32.
        file: that both were made from.
        kernels: node -> its kernel of the compiled plan; empty where no plan was asked.
        facts: what was done, for provenance.
    """

    exact: onnx.ModelProto
    reduced: onnx.ModelProto
    stands: Mapping[str, str]
    precision: str
    file: Path
    kernels: Mapping[str, str] = field(default_factory=dict)
    facts: Mapping[str, Any] = field(default_factory=dict)


class Watch:
    """Looks at a graph before its first rounding, and again when it is rewritten."""

    def __init__(self) -> None:
        self._exact: onnx.ModelProto | None = None
        self._values: dict[str, ir.Value] = {}
        self._kernels: dict[str, str] = {}

    def before(self, model: ir.Model, kernels: Mapping[ir.Node, str] | None = None) -> None:
        """Name nodes and values, and keep the graph as it is, with the kernels of its nodes."""
        import onnx_ir as ir

        _name_nodes(model)
        cleaned(model)
        self._exact = ir.serde.serialize_model(model)
        self._kernels = {node.name: kernel for node, kernel in (kernels or {}).items() if node.name}
        values = [*model.graph.inputs, *(value for node in model.graph for value in node.outputs)]
        self._values = {value.name: value for value in values if value.name}

    def restore(self, file: Path) -> int:
        """Give the graph the weights of the file that it was typed from; how many were found.

        A weight is the file's where the same node reads it at the same place and it is, rounded, the one that the typed
        graph has. What was folded since is another number, and stays.
        """
        import onnx
        from onnx import numpy_helper

        assert self._exact is not None, "`before` comes first"
        whole = onnx.load(file).graph
        known = {tensor.name: tensor for tensor in whole.initializer}
        nodes = {node.name: node for node in whole.node}
        typed = {tensor.name: tensor for tensor in self._exact.graph.initializer}
        count = 0
        for node in self._exact.graph.node:
            theirs = nodes.get(node.name)
            for name, other in zip(node.input, theirs.input if theirs is not None else (), strict=False):
                if name not in typed or other not in known or known[other].data_type != onnx.TensorProto.FLOAT:
                    continue
                array, held = numpy_helper.to_array(known[other]), numpy_helper.to_array(typed[name])
                if any(np.array_equal(form.array(array), held) for form in (FORMATS["fp16"], FORMATS["bf16"])):
                    typed[name].CopyFrom(numpy_helper.from_array(array, name))
                    count += 1
        return count

    def after(self, model: ir.Model, precision: str, file: Path, facts: Mapping[str, Any]) -> Pair:
        """The pair, once the same model is rewritten."""
        import onnx_ir as ir

        cleaned(model)
        assert self._exact is not None, "`before` comes first"
        stands = {name: standing_for(value).name or "" for name, value in self._values.items()}
        return Pair(self._exact, ir.serde.serialize_model(model), stands, precision, file, self._kernels, facts)


def named_graph(path: Path) -> onnx.ModelProto:
    """A file's graph with nodes and values named, each once, its weights in it."""
    import onnx_ir as ir

    model = ir.load(path)
    _name_nodes(model)
    cleaned(model)
    return ir.serde.serialize_model(model)


def _name_nodes(model: ir.Model) -> None:
    """A name of its own for every node."""
    count: Counter[str] = Counter()
    for node in nodes_of(model):
        stem = node.name or node.op_type
        count[stem] += 1
        node.name = stem if count[stem] == 1 else f"{stem}#{count[stem]}"
