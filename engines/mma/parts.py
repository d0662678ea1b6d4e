"""A marked graph, cut at its products: parts for ONNX Runtime, and the products between them, in an order that works.

Every value gets a stage: that of the latest product it depends on. What is not a product runs in one part for each
stage, so a network with n products in a row has n + 1 parts. A value is forgotten after its last reader.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from engines.emulated.tensor_cores import DOMAIN, TYPE

if TYPE_CHECKING:
    import onnx_ir as ir

__all__ = ["Part", "Product", "Work", "cut"]


@dataclass(frozen=True)
class Product:
    """One product.

    Attributes:
        op_type: Conv, ConvTranspose, Gemm or MatMul.
        name: of its node.
        kind: fp16, bf16, tf32 or fp32.
        attributes: of its node.
        inputs: names of values; empty where one is left out.
        output: name of its result.
        constants: those of its inputs that the file holds.
    """

    op_type: str
    name: str
    kind: str
    attributes: dict[str, Any]
    inputs: tuple[str, ...]
    output: str
    constants: dict[str, NDArray[Any]]


@dataclass(frozen=True)
class Part:
    """Nodes between products, as a model of their own.

    Attributes:
        model: serialised ONNX.
        inputs: names of what it reads.
        outputs: names of what products, later parts and the caller read of it.
    """

    model: bytes
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]


@dataclass(frozen=True)
class Work:
    """A graph as things to do one after the other.

    Attributes:
        inputs: name, shape and ONNX type of the graph's inputs.
        outputs: names of its outputs.
        constants: outputs that the file holds.
        tasks: in order.
        last: after which task a value is no longer needed.
    """

    inputs: tuple[tuple[str, tuple[int | str, ...], str], ...]
    outputs: tuple[str, ...]
    constants: dict[str, NDArray[Any]]
    tasks: tuple[Part | Product, ...]
    last: dict[str, int]


def cut(path: Path) -> Work:
    """Cut a marked graph."""
    import onnx_ir as ir

    model = ir.load(path)
    graph = model.graph
    stages = _stages(graph)
    by_stage: dict[int, list[ir.Node]] = defaultdict(list)
    for node, stage in stages.items():
        by_stage[stage].append(node)
    tasks: list[Part | Product] = []
    for stage in range(max(by_stage, default=0) + 1):
        products = [node for node in by_stage[stage] if node.domain == DOMAIN]
        tasks += [_product(node) for node in products]
        if plain := [node for node in by_stage[stage] if node.domain != DOMAIN]:
            tasks.append(_part(model, plain))
    return Work(
        tuple((_name(value), _shape(value), _dtype(value)) for value in graph.inputs),
        tuple(_name(value) for value in graph.outputs),
        {_name(value): _array(value) for value in graph.outputs if _is_constant(value)},
        tuple(tasks),
        {name: number for number, task in enumerate(tasks) for name in task.inputs},
    )


def _stages(graph: ir.Graph) -> dict[ir.Node, int]:
    """Node -> stage; a product belongs to the stage that begins with it."""
    stages: dict[ir.Node, int] = {}
    for node in graph:
        before = [stages[maker] for value in _reads(node) if (maker := value.producer()) in stages]
        stages[node] = max(before, default=0) + (node.domain == DOMAIN)
    return stages


def _reads(node: ir.Node) -> Iterator[ir.Value]:
    """Values that a node reads, those that its subgraphs take from outside too."""
    import onnx_ir as ir

    yield from (value for value in node.inputs if value is not None)
    for attribute in node.attributes.values():
        if attribute.type == ir.AttributeType.GRAPH:
            for inner in ir.traversal.RecursiveGraphIterator(attribute.as_graph()):
                yield from (value for value in inner.inputs if value is not None)
            yield from attribute.as_graph().outputs


def _product(node: ir.Node) -> Product:
    attributes = {key: attribute.value for key, attribute in node.attributes.items()}
    kind = str(attributes.pop(TYPE))
    given = [value for value in node.inputs if value is not None]
    return Product(
        node.op_type,
        node.name or "",
        kind,
        attributes,
        tuple("" if value is None else _name(value) for value in node.inputs),
        _name(node.outputs[0]),
        {_name(value): _array(value) for value in given if _is_constant(value)},
    )


def _part(model: ir.Model, nodes: list[ir.Node]) -> Part:
    """The nodes as a model; it reads what they do not make, and gives what others read."""
    import onnx
    import onnx_ir as ir

    own = set(nodes)
    for node in nodes:
        own.update(_inside(node))
    made = {value for node in nodes for value in node.outputs}
    read = list(dict.fromkeys(value for node in nodes for value in _reads(node)))
    constants = [value for value in read if _is_constant(value) and value.graph is model.graph]
    outer = [v for v in read if v not in made and not _is_constant(v) and _belongs(v, model.graph)]
    given = [v for v in made if v.is_graph_output() or any(user not in own for user, _ in v.uses())]
    ordered = [value for node in nodes for value in node.outputs if value in set(given)]
    proto = onnx.helper.make_graph(
        [ir.serde.serialize_node(node) for node in nodes],
        "part",
        [ir.serde.serialize_value(value) for value in outer],
        [_value_info(value) for value in ordered],
        [ir.serde.serialize_tensor(value.const_value) for value in constants if value.const_value is not None],
    )
    for tensor, value in zip(proto.initializer, constants, strict=True):
        tensor.name = _name(value)
    opsets = [
        onnx.helper.make_opsetid(domain, number) for domain, number in model.opset_imports.items() if domain != DOMAIN
    ]
    whole = onnx.helper.make_model(proto, opset_imports=opsets, ir_version=model.ir_version)
    return Part(whole.SerializeToString(), tuple(_name(v) for v in outer), tuple(_name(v) for v in ordered))


def _value_info(value: ir.Value) -> Any:
    """Name and type; the shape is left to the runtime, which knows it better."""
    import onnx
    import onnx_ir as ir

    if value.type is None or not isinstance(value.type, ir.TensorType):
        return onnx.helper.make_empty_tensor_value_info(_name(value))
    return onnx.helper.make_tensor_value_info(_name(value), value.type.dtype.value, None)


def _belongs(value: ir.Value, graph: ir.Graph) -> bool:
    """Whether a value is made or fed in the main graph, not inside a subgraph."""
    maker = value.producer()
    return maker.graph is graph if maker is not None else value in graph.inputs


def _inside(node: ir.Node) -> Iterator[ir.Node]:
    import onnx_ir as ir

    for attribute in node.attributes.values():
        if attribute.type == ir.AttributeType.GRAPH:
            yield from ir.traversal.RecursiveGraphIterator(attribute.as_graph())


def _is_constant(value: ir.Value) -> bool:
    return value.const_value is not None and value.producer() is None and not value.is_graph_input()


def _array(value: ir.Value) -> NDArray[Any]:
    assert value.const_value is not None
    return np.asarray(value.const_value.numpy())


def _name(value: ir.Value) -> str:
    assert value.name
    return value.name


def _shape(value: ir.Value) -> tuple[int | str, ...]:
    return tuple(size if isinstance(size, int) else str(size) for size in value.shape or ())


def _dtype(value: ir.Value) -> str:
    return str(value.dtype.numpy()) if value.dtype is not None else "float32"
