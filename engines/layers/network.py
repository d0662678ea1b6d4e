"""An ONNX graph taken apart: nodes by place, who gives and who reads each value, and any part as a model of its own."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

from engines.errors import ModelLoadError

if TYPE_CHECKING:
    from onnx import GraphProto, ModelProto, NodeProto, ValueInfoProto

__all__ = ["Network", "read_by"]


class Network:
    """The top level of a graph; branches and loops stay within their nodes.

    Attributes:
        nodes: in the file's order, which is one of execution.
        inputs: names of what is fed.
        outputs: names of what it gives.
        constants: name -> tensor.
        proto: the whole of it.
    """

    def __init__(self, model: ModelProto) -> None:
        graph = model.graph
        self.proto = model
        self.nodes: list[NodeProto] = list(graph.node)
        self.constants: dict[str, Any] = {tensor.name: tensor for tensor in graph.initializer}
        self.inputs = [value.name for value in graph.input if value.name not in self.constants]
        self.outputs = [value.name for value in graph.output]
        self.reads = [tuple(dict.fromkeys(read_by(node))) for node in self.nodes]
        self.producer = {name: index for index, node in enumerate(self.nodes) for name in node.output if name}

    @cached_property
    def types(self) -> dict[str, ValueInfoProto]:
        """Value -> its type and shape; a value that nothing says a type of is missing."""
        import onnx

        graph = onnx.shape_inference.infer_shapes(self.proto).graph
        known = (*graph.value_info, *graph.input, *graph.output)
        return {value.name: value for value in known if value.type.tensor_type.elem_type}

    def shape(self, name: str) -> tuple[int | str, ...] | None:
        """Of a value, a str for a dynamic dimension; None where it is not known."""
        value = self.types.get(name)
        if value is None or not value.type.tensor_type.HasField("shape"):
            return None
        return tuple(d.dim_value or d.dim_param or "?" for d in value.type.tensor_type.shape.dim)

    def slice(self, targets: Iterable[str], known: Collection[str]) -> list[int]:
        """Places of the nodes that compute `targets` from the `known` values, inputs and constants, in order."""
        wanted, found = list(targets), set()
        while wanted:
            name = wanted.pop()
            index = self.producer.get(name)
            if name in known or index is None or index in found:
                continue
            found.add(index)
            wanted += self.reads[index]
        return sorted(found)

    def fed(self, places: Sequence[int], targets: Iterable[str]) -> list[str]:
        """What must be fed to these nodes, and to `targets` that none of them gives."""
        made = {name for place in places for name in self.nodes[place].output}
        read = dict.fromkeys([*(name for place in places for name in self.reads[place]), *targets])
        return [name for name in read if name and name not in made and name not in self.constants]

    def model(self, places: Sequence[int], inputs: Sequence[str], outputs: Sequence[str]) -> bytes:
        """These nodes as a model.

        Args:
            places: of the nodes, in order.
            inputs: values that are fed.
            outputs: values that it gives, each of a known type; one that is fed is passed on.

        Raises:
            ModelLoadError: the type of a value that is cut is not known, or the part has over 2 GB.
        """
        import onnx
        from onnx import helper

        passed = [name for name in outputs if name in inputs]
        renamed = {name: f"{name}.passed" for name in passed}
        nodes = [self.nodes[place] for place in places]
        nodes += [helper.make_node("Identity", [name], [renamed[name]]) for name in passed]
        read = {name for place in places for name in self.reads[place]}
        graph = helper.make_graph(
            nodes,
            "part",
            [self._typed(name) for name in inputs],
            [self._typed(name, renamed.get(name)) for name in outputs],
            [tensor for name, tensor in self.constants.items() if name in read],
        )
        part = helper.make_model(graph, opset_imports=self.proto.opset_import, functions=self.proto.functions)
        part.ir_version = self.proto.ir_version
        try:
            content: bytes = part.SerializeToString()
        except (ValueError, onnx.checker.ValidationError) as error:  # protobuf's limit
            raise ModelLoadError(
                f"a part of the graph has over 2 GB: {error}", where=graph.name, remedy="look at a smaller network"
            ) from error
        return content

    def _typed(self, name: str, other: str | None = None) -> ValueInfoProto:
        import onnx

        known = self.types.get(name)
        if known is None:
            raise ModelLoadError(
                f"the type of {name!r} is not known",
                where="the graph's values",
                remedy="export it with shape inference, or without custom operators there",
            )
        value = onnx.ValueInfoProto()
        value.CopyFrom(known)
        value.name = other or name
        return value


def read_by(node: NodeProto) -> Iterator[str]:
    """Values that a node reads, those that its branches and loops take from outside too."""
    from onnx import AttributeProto

    yield from (name for name in node.input if name)
    for attribute in node.attribute:
        if attribute.type == AttributeProto.GRAPH:
            yield from _captured(attribute.g)
        elif attribute.type == AttributeProto.GRAPHS:
            for graph in attribute.graphs:
                yield from _captured(graph)


def _captured(graph: GraphProto) -> Iterator[str]:
    own = {value.name for value in (*graph.input, *graph.initializer)}
    for node in graph.node:
        yield from (name for name in read_by(node) if name not in own)
        own |= set(node.output)
