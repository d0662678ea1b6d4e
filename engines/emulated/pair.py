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

from engines.emulated.graph import cleaned, nodes_of, standing_for

if TYPE_CHECKING:
    import onnx
    import onnx_ir as ir

__all__ = ["Pair", "Watch"]


@dataclass(frozen=True)
class Pair:
    """An emulated engine's graph without its roundings, and with them.

    Attributes:
        exact: fp32, nodes and values named, each once.
        reduced: the same with roundings.
        stands: value of `exact` -> value of `reduced` that its readers read.
        precision: fp16, bf16 or tf32.
        file: that both were made from.
        kernels: node -> kernels of the compiled plan that it is in; empty where no plan was asked.
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

    def before(self, model: ir.Model) -> None:
        """Name nodes and values, and keep the graph as it is."""
        import onnx_ir as ir

        _name_nodes(model)
        cleaned(model)
        self._exact = ir.serde.serialize_model(model)
        values = [*model.graph.inputs, *(value for node in model.graph for value in node.outputs)]
        self._values = {value.name: value for value in values if value.name}

    def after(self, model: ir.Model, precision: str, file: Path, facts: Mapping[str, Any]) -> Pair:
        """The pair, once the same model is rewritten."""
        import onnx_ir as ir

        cleaned(model)
        assert self._exact is not None, "`before` comes first"
        stands = {name: standing_for(value).name or "" for name, value in self._values.items()}
        return Pair(self._exact, ir.serde.serialize_model(model), stands, precision, file, facts=facts)


def _name_nodes(model: ir.Model) -> None:
    """A name of its own for every node."""
    count: Counter[str] = Counter()
    for node in nodes_of(model):
        stem = node.name or node.op_type
        count[stem] += 1
        node.name = stem if count[stem] == 1 else f"{stem}#{count[stem]}"
