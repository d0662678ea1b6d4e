"""An fp32 graph written in fp16 or bf16 but for chosen nodes, which stay in fp32: a typed graph, with casts between.

A reduced node reads and writes the reduced type, so what a kept node gives is rounded where a reduced one reads it, as
in any runtime. A node that only moves numbers computes in the type of what it reads, and rounds nothing. Sizes, scales
and indices keep their types; so do nodes with branches and loops, and operators that ONNX does not define in the type
at the graph's opset (Conv in bf16 below opset 22).
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from engines.emulated.formats import FORMATS
from engines.layers.network import Network

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto

__all__ = ["Mixed", "Movable", "mixed", "movable"]

_OWN_TYPE = frozenset({"Cast", "CastLike", "DequantizeLinear", "QuantizeLinear"})  # they say the type themselves


@dataclass(frozen=True)
class Movable:
    """What can be written in the reduced type.

    Attributes:
        inputs: node -> places of the inputs that take it.
        moving: nodes that give back numbers of their inputs: they round nothing.
    """

    inputs: dict[str, tuple[int, ...]]
    moving: frozenset[str]

    @property
    def computing(self) -> list[str]:
        """Nodes that can be kept or reduced, in the network's order."""
        return [name for name in self.inputs if name not in self.moving]


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


def movable(model: ModelProto, precision: str) -> Movable:
    """Which nodes can be written in fp16 or bf16."""
    import onnx_ir as ir

    from engines.emulated.graph import nodes_of
    from engines.emulated.ops import is_exact, is_shape_slot
    from engines.emulated.placement import sizes_of

    graph = ir.serde.deserialize_model(model)
    ordered = list(nodes_of(graph))
    sizes, top = sizes_of(ordered), set(graph.graph)
    opset = graph.opset_imports.get("", 1)
    inputs: dict[str, tuple[int, ...]] = {}
    moving = set()
    for node in ordered:
        if node not in top or node in sizes or node.domain or node.op_type in _OWN_TYPE or _has_graph(node):
            continue
        takes = _takes(node.op_type, opset, precision)
        places = tuple(
            place
            for place, value in enumerate(node.inputs)
            if value is not None and _is_float(value) and takes(place) and not is_shape_slot(node, place)
        )
        fits = all(takes(place) or value is None or not _is_float(value) or is_shape_slot(node, place)
                   for place, value in enumerate(node.inputs))  # fmt: skip
        if places and fits and node.name:
            inputs[node.name] = places
            if is_exact(node):
                moving.add(node.name)
    return Movable(inputs, frozenset(moving))


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

        self._network, self._can, self._kept, self._precision = network, can, kept, precision
        self._low = TensorProto.FLOAT16 if precision == "fp16" else TensorProto.BFLOAT16
        self._full = TensorProto.FLOAT
        self._stored_low: set[str] = set()
        self._nodes: list[Any] = []
        self._constants: dict[str, Any] = {}
        self._casts: dict[tuple[str, int], str] = {}

    def written(self) -> Mixed:
        import onnx
        from onnx import helper

        kept: list[str] = []
        reduced: list[str] = []
        for node in self._network.nodes:
            low = self._is_reduced(node)
            if node.name in self._can.inputs:
                (reduced if low else kept).append(node.name)
            self._write(node, low)
        source = self._network.proto
        outputs = list(source.graph.output)
        for value in outputs:
            if value.name in self._stored_low:
                self._nodes.append(helper.make_node("Cast", [_low_name(value.name)], [value.name], to=self._full))
        read = {name for node in self._nodes for name in _names_read(node)} | {value.name for value in outputs}
        constants = [tensor for name, tensor in self._network.constants.items() if name in read]
        graph = helper.make_graph(
            self._nodes, source.graph.name, [v for v in source.graph.input if v.name not in self._network.constants],
            outputs, [*constants, *self._constants.values()],
        )  # fmt: skip
        model = helper.make_model(graph, opset_imports=source.opset_import, functions=source.functions)
        model.ir_version = source.ir_version
        return Mixed(onnx.shape_inference.infer_shapes(model), tuple(kept), tuple(reduced))

    def _is_reduced(self, node: NodeProto) -> bool:
        places = self._can.inputs.get(node.name)
        if places is None or node.name in self._kept:
            return False
        if node.name not in self._can.moving:
            return True
        return all(self._is_low(node.input[place]) for place in places)

    def _is_low(self, name: str) -> bool:
        """Whether a value needs no rounding to be read in the reduced type: it is stored in it, or a constant."""
        return name in self._stored_low or name in self._network.constants

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
                if name and self._is_float(name):
                    self._stored_low.add(name)
                    copy.output[place] = _low_name(name)
        self._nodes.append(copy)

    def _read(self, name: str, *, low: bool) -> str:
        """The name under which a value is read in the reduced type, or as it was."""
        from onnx import helper

        if name in self._network.constants:
            return self._constant(name) if low else name
        if low == (name in self._stored_low):
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

    def _is_float(self, name: str) -> bool:
        known = self._network.types.get(name)
        return known is not None and known.type.tensor_type.elem_type == self._full


def _low_name(name: str) -> str:
    return f"{name}.low"


def _is_float(value: Any) -> bool:
    import onnx_ir as ir

    return bool(value.dtype == ir.DataType.FLOAT)


def _has_graph(node: Any) -> bool:
    import onnx_ir as ir

    kinds = (ir.AttributeType.GRAPH, ir.AttributeType.GRAPHS)
    return any(attribute.type in kinds for attribute in node.attributes.values())


@cache
def _takes(op: str, opset: int, precision: str) -> Callable[[int], bool]:
    """Whether ONNX defines an operator's input, by place, in fp16 or bf16, and its first output with it."""
    import onnx

    try:
        schema = onnx.defs.get_schema(op, opset, "")
    except onnx.defs.SchemaError:
        return lambda place: False
    wanted = "tensor(float16)" if precision == "fp16" else "tensor(bfloat16)"
    allowed = {c.type_param_str: wanted in c.allowed_type_strs for c in schema.type_constraints}
    formal = [allowed.get(value.type_str, False) for value in schema.inputs]
    gives = [value.type_str for value in schema.outputs][:1] or [""]
    follows = gives[0] in {value.type_str for value in schema.inputs}
    endless = bool(schema.inputs) and schema.inputs[-1].option == onnx.defs.OpSchema.FormalParameterOption.Variadic

    def takes(place: int) -> bool:
        known = place if place < len(formal) else len(formal) - 1 if endless else -1
        return follows and known >= 0 and formal[known]

    return takes


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
