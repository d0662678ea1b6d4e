"""An ONNX graph for looking at: functions inlined, constants as arrays, who gives and who reads each value.

Weights may lie in other files, but only in the model's folder: a file that names `/etc/passwd` or `../other` as its
weights is refused before anything is read.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engines.base import first_line
from engines.errors import ModelLoadError
from engines.foreign import outside
from engines.sealed import file_sha256
from trueline._reading import regular

__all__ = ["Graph", "Node", "check_external_data", "model_sha256", "read_graph", "weight_files"]

Array = NDArray[Any]


@dataclass(frozen=True)
class Node:
    """One operator; `name` is the file's, or made of the operator and its place. Inputs left out are empty strings."""

    name: str
    op: str
    domain: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, Any]


@dataclass(frozen=True)
class Graph:
    """A graph and its subgraphs as one list of nodes, in the file's order.

    Attributes:
        path: of the file.
        opset: of the default domain.
        nodes: of the graph and of branches and loops.
        constants: initializers and constants by name.
        inputs: name -> shape without initializers; a str is a dynamic dimension.
        outputs: likewise.
        repeated: names that two values have, which no runtime can tell apart.
    """

    path: Path
    opset: int
    nodes: tuple[Node, ...]
    constants: Mapping[str, Array]
    inputs: Mapping[str, tuple[int | str, ...]]
    outputs: Mapping[str, tuple[int | str, ...]]
    repeated: tuple[str, ...] = ()

    @cached_property
    def shapes(self) -> dict[str, tuple[int | str, ...]]:
        """Value -> shape, where inference finds one; nothing where the file is too large for it."""
        import onnx

        try:
            model = onnx.load(self.path, load_external_data=False)
            model = onnx.inliner.inline_local_functions(model) if model.functions else model
            graph = onnx.shape_inference.infer_shapes(model, data_prop=True).graph
        except Exception:  # whatever it is, nothing more is known than what the file says
            return {**self.inputs, **self.outputs}
        return {value.name: _shape(value) for value in (*graph.input, *graph.value_info, *graph.output)}

    @cached_property
    def producers(self) -> dict[str, Node]:
        """Value -> the node that gives it."""
        return {name: node for node in self.nodes for name in node.outputs if name}

    @cached_property
    def readers(self) -> dict[str, list[Node]]:
        """Value -> the nodes that read it."""
        readers: dict[str, list[Node]] = {}
        for node in self.nodes:
            for name in dict.fromkeys(node.inputs):
                readers.setdefault(name, []).append(node)
        return readers


def read_graph(path: Path) -> Graph:
    """Read an ONNX file with its weights.

    Raises:
        ModelLoadError: it is missing, is no ONNX model, or its weights are missing or lie outside its folder.
    """
    import onnx
    from onnx.external_data_helper import load_external_data_for_model
    from onnx.inliner import inline_local_functions

    model = _skeleton(path)
    check_external_data(path)
    try:
        load_external_data_for_model(model, str(path.parent.resolve()))
        if model.functions:
            model = inline_local_functions(model)
    except Exception as error:
        raise _unreadable(path, error) from error
    constants = dict(_constants(model.graph))
    return Graph(
        path=path,
        opset=next((entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")), 0),
        nodes=tuple(
            Node(
                node.name or f"{node.op_type} #{index}",
                node.op_type,
                "" if node.domain == "ai.onnx" else node.domain,
                tuple(node.input),
                tuple(node.output),
                {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute if not a.ref_attr_name},
            )
            for index, node in enumerate(_nodes(model.graph))
        ),
        constants=constants,
        inputs={value.name: _shape(value) for value in model.graph.input if value.name not in constants},
        outputs={value.name: _shape(value) for value in model.graph.output},
        repeated=tuple(dict.fromkeys(_repeated(model.graph, frozenset()))),
    )


def check_external_data(path: Path) -> None:
    """Refuse weights outside the model's folder, symbolic links followed, and weights that are not there.

    Raises:
        ModelLoadError: likewise, or the file is no ONNX model.
    """
    root = path.parent.resolve()
    for name, location in _external(_skeleton(path)):
        place = (root / location).resolve()
        if not place.is_relative_to(root):
            raise ModelLoadError(
                f"weight {name!r} lies in {location!r}, outside the model's folder",
                where=str(path),
                remedy="do not run this file; save it again with its weights beside it "
                "(onnx.save with save_as_external_data and a plain file name)",
            )
        if not place.is_file():
            raise ModelLoadError(
                f"weight {name!r} lies in {location!r}, which is not there",
                where=str(path),
                remedy=f"put {location} beside {path.name}",
            )


def weight_files(path: Path) -> tuple[str, ...]:
    """Files that hold weights, relative to the model's folder, sorted; empty where the model holds them itself.

    Raises:
        ModelLoadError: as `check_external_data`.
    """
    check_external_data(path)
    return tuple(sorted({os.path.normpath(location) for _, location in _external(_skeleton(path))}))


def model_sha256(path: Path) -> str:
    """SHA-256 of an ONNX file; where its weights lie in other files, of all of them.

    Raises:
        ModelLoadError: as `check_external_data`.
    """
    files = weight_files(path)
    if not files:
        return file_sha256(path)
    state = hashlib.sha256(file_sha256(path).encode())
    for name in files:
        state.update(name.encode() + file_sha256(path.parent / name).encode())
    return state.hexdigest()


def _skeleton(path: Path) -> Any:
    import onnx

    try:
        model = onnx.load(regular(path), load_external_data=False)
        if not model.HasField("graph"):
            raise ValueError("it has no graph")
    except Exception as error:  # protobuf's DecodeError, OSError, ...: whatever it is, the file does not load
        raise _unreadable(path, error) from error
    return model


def _unreadable(path: Path, error: Exception) -> ModelLoadError:
    reason = error.strerror if isinstance(error, OSError) else first_line(error)
    return ModelLoadError(f"no ONNX model: {reason}", where=str(path), remedy="give an ONNX file that onnx.load reads")


def _nodes(graph: Any) -> Iterator[Any]:
    for node in graph.node:
        yield node
        for inner in _subgraphs(node):
            yield from _nodes(inner)


def _subgraphs(node: Any) -> Iterator[Any]:
    for attribute in node.attribute:
        if attribute.HasField("g"):
            yield attribute.g
        yield from attribute.graphs


def _tensors(graph: Any) -> Iterator[tuple[str, Any]]:
    """Initializers and constants with the names of their values, those of subgraphs too."""
    for tensor in graph.initializer:
        yield tensor.name, tensor
    for node in graph.node:
        if node.op_type == "Constant":
            yield from ((node.output[0], a.t) for a in node.attribute if a.name == "value")
        for inner in _subgraphs(node):
            yield from _tensors(inner)


def _constants(graph: Any) -> Iterator[tuple[str, Array]]:
    from onnx import numpy_helper

    for name, tensor in _tensors(graph):
        with outside(lambda cause, name=name: _damaged(name, cause)):  # type: ignore[misc]  # binds the name now
            array = numpy_helper.to_array(tensor)
        yield name, array
    for node in _nodes(graph):
        if node.op_type == "Constant":
            for a in node.attribute:
                if a.name in ("value_float", "value_floats"):
                    yield node.output[0], np.asarray(a.f if a.name == "value_float" else a.floats, np.float32)
                elif a.name in ("value_int", "value_ints"):
                    yield node.output[0], np.asarray(a.i if a.name == "value_int" else a.ints, np.int64)


def _damaged(name: str, cause: str) -> ModelLoadError:
    return ModelLoadError(
        f"constant {name!r} cannot be read: {cause}", where="the ONNX file", remedy="export it again, and copy it whole"
    )


def _external(model: Any) -> Iterator[tuple[str, str]]:
    """(weight, file) of every tensor anywhere in the file that keeps its bytes elsewhere."""
    from onnx import TensorProto

    for graph in (model.graph, *model.functions):
        for tensor in _stored(graph):
            if tensor.data_location == TensorProto.EXTERNAL:
                yield from ((tensor.name, entry.value) for entry in tensor.external_data if entry.key == "location")


def _stored(graph: Any) -> Iterator[Any]:
    """Every tensor that a graph or a function stores: initializers, attributes, those of subgraphs."""
    yield from getattr(graph, "initializer", ())
    for sparse in getattr(graph, "sparse_initializer", ()):
        yield from (sparse.values, sparse.indices)
    for node in graph.node:
        for attribute in node.attribute:
            yield from (attribute.t, *attribute.tensors)
            sparse = (attribute.sparse_tensor, *attribute.sparse_tensors)
            yield from (tensor for entry in sparse for tensor in (entry.values, entry.indices))
        for inner in _subgraphs(node):
            yield from _stored(inner)


def _repeated(graph: Any, outer: frozenset[str]) -> Iterator[str]:
    """Names of values that are defined again, in a graph or in what it encloses."""
    weights = [tensor.name for tensor in graph.initializer]
    given = {value.name for value in graph.input}
    defined = [*given, *(name for name in weights if name not in given)]
    defined += [name for node in graph.node for name in node.output if name]
    seen: set[str] = set(outer)
    for name in defined:
        if name in seen:
            yield name
        seen.add(name)
    for node in graph.node:
        for inner in _subgraphs(node):
            yield from _repeated(inner, frozenset(seen))


def _shape(value: Any) -> tuple[int | str, ...]:
    tensor = value.type.tensor_type
    return tuple(d.dim_value if d.HasField("dim_value") else (d.dim_param or "?") for d in tensor.shape.dim)
