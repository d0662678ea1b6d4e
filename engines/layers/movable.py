"""What of an fp32 graph can be written in fp16 or bf16, and what then is when some nodes are kept in fp32.

A node that only moves numbers computes in the type of what it reads, and rounds nothing. Sizes, scales and indices keep
their types; so do nodes with branches and loops, and operators that ONNX does not define in the type at the graph's
opset (Conv in bf16 below opset 22).
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

from engines.layers.network import Network

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto

__all__ = ["Lowered", "Movable", "movable"]

_OWN_TYPE = frozenset({"Cast", "CastLike", "DequantizeLinear", "QuantizeLinear"})  # they say the type themselves


@dataclass(frozen=True)
class Movable:
    """What can be written in the reduced type.

    Attributes:
        inputs: node -> places of the inputs that take it.
        moving: nodes that give back numbers of their inputs: they round nothing.
        monotone: of these, nodes behind which the number that they read may be rounded as well as before them.
    """

    inputs: dict[str, tuple[int, ...]]
    moving: frozenset[str]
    monotone: frozenset[str] = frozenset()

    @property
    def computing(self) -> list[str]:
        """Nodes that can be kept or reduced, in the network's order."""
        return [name for name in self.inputs if name not in self.moving]


def movable(model: ModelProto, precision: str) -> Movable:
    """Which nodes can be written in fp16 or bf16."""
    import onnx_ir as ir

    from engines.emulated.graph import nodes_of
    from engines.emulated.ops import is_exact, is_monotone, is_shape_slot
    from engines.emulated.placement import sizes_of

    graph = ir.serde.deserialize_model(model)
    ordered = list(nodes_of(graph))
    sizes, top = sizes_of(ordered), set(graph.graph)
    opset = graph.opset_imports.get("", 1)
    inputs: dict[str, tuple[int, ...]] = {}
    moving, monotone = set(), set()
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
                if is_monotone(node) and len(node.outputs) == 1:
                    monotone.add(node.name)
    return Movable(inputs, frozenset(moving), frozenset(monotone))


class Lowered:
    """Which nodes and values of a network are in the reduced type when some nodes are kept in fp32; asked in order.

    Args:
        network: the fp32 graph, every node named.
        can: what `movable` says of it.
        kept: names of nodes.
    """

    def __init__(self, network: Network, can: Movable, kept: Collection[str]) -> None:
        self._network, self._can = network, can
        self.values: set[str] = set()
        self.kept: list[str] = []
        self.reduced: list[str] = []
        kept = frozenset(kept)
        for node in network.nodes:
            if node.name not in can.inputs:
                continue
            low = node.name not in kept and self._follows(node)
            (self.reduced if low else self.kept).append(node.name)
            if low:
                self.values.update(name for name in node.output if name and self._is_float(name))

    def _follows(self, node: NodeProto) -> bool:
        """A node that only moves numbers is reduced where what it reads is, or is a constant."""
        if node.name not in self._can.moving:
            return True
        read = (node.input[place] for place in self._can.inputs[node.name])
        return all(name in self.values or name in self._network.constants for name in read)

    def _is_float(self, name: str) -> bool:
        from onnx import TensorProto

        known = self._network.types.get(name)
        return known is not None and known.type.tensor_type.elem_type == TensorProto.FLOAT


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
