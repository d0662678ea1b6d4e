"""Editing an ONNX file: where a fault of the file finds its place, and how part of it is mixed in.

An editor changes the model it is given; at severity 0 it leaves what the model computes as it was.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from engines.export import exported
from engines.protocol import ModelSource
from engines.sealed import file_sha256
from harness.errors import FaultError

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto

__all__ = [
    "Editor", "after", "constant", "edited", "lerp", "no_place", "node", "place_of", "producers", "set_weight",
    "weight", "weighted",
]  # fmt: skip

Editor = Callable[["ModelProto", float], None]
Array = NDArray[Any]
PRODUCTS = ("Conv", "ConvTranspose", "Gemm", "MatMul")


def edited(source: ModelSource, folder: Path, name: str, edit: Editor, severity: float) -> ModelSource:
    """The model with its ONNX file, or its export, edited and kept in `folder`.

    Raises:
        FaultError: the graph has no place for it.
        ExportError, ModelLoadError: as of engines.export.
    """
    from dataclasses import replace

    import onnx

    base = exported(source, "ort")
    file = folder / f"{name}-{file_sha256(base)[:12]}-{severity:.4g}.onnx"
    if not file.exists():
        model = onnx.load(base)
        edit(model, severity)
        folder.mkdir(parents=True, exist_ok=True)
        draft = file.with_suffix(".draft")
        onnx.save(model, draft)
        draft.replace(file)
    return replace(source, onnx=file)


def place_of(model: ModelProto, *ops: str, share: float = 0.5, what: str = "node") -> NodeProto:
    """One node of these kinds, `share` of the way through the graph.

    Raises:
        FaultError: there is none.
    """
    found = [n for n in model.graph.node if n.op_type in ops] or no_place(model, what)
    chosen: NodeProto = found[min(int(share * len(found)), len(found) - 1)]
    return chosen


def no_place(model: ModelProto, what: str) -> NoReturn:
    """The graph has nothing of the kind that a fault needs.

    Raises:
        FaultError: always.
    """
    raise FaultError(
        f"the graph has no {what}", where=f"graph {model.graph.name!r}", remedy="leave this fault out for the model"
    )


def weighted(model: ModelProto, *ops: str) -> list[NodeProto]:
    """Nodes of these kinds (products by default) whose second input is a stored weight."""
    stored = {w.name for w in model.graph.initializer}
    return [n for n in model.graph.node if n.op_type in (ops or PRODUCTS) and n.input[1] in stored] or no_place(
        model, "product with stored weights"
    )


def weight(model: ModelProto, name: str) -> Array:
    """A stored weight, as an array of its own."""
    from onnx import numpy_helper

    return np.array(numpy_helper.to_array(next(w for w in model.graph.initializer if w.name == name)))


def set_weight(model: ModelProto, name: str, values: Array) -> None:
    """Store a weight anew, in the type it had."""
    from onnx import numpy_helper

    held = next(w for w in model.graph.initializer if w.name == name)
    kind = numpy_helper.to_array(held).dtype
    held.CopyFrom(numpy_helper.from_array(np.ascontiguousarray(values.astype(kind)), name))


def constant(model: ModelProto, values: Any, name: str) -> str:
    """A new stored constant; its name."""
    from onnx import numpy_helper

    taken = {w.name for w in model.graph.initializer}
    while name in taken:
        name += "_"
    model.graph.initializer.append(numpy_helper.from_array(np.asarray(values), name))
    return name


def node(op: str, inputs: Sequence[str], output: str, **attributes: Any) -> NodeProto:
    """A new node with one output, named by it."""
    from onnx import helper

    return helper.make_node(op, list(inputs), [output], name=f"planted_{output}", **attributes)


def after(model: ModelProto, tensor: str, made: Callable[[str, str], Sequence[NodeProto]]) -> None:
    """Put nodes between a tensor and all that reads it, outputs of the graph included.

    Args:
        model: changed in place.
        tensor: made by a node, or an input of the graph.
        made: takes (name of the tensor as it was, name that readers see) and gives the nodes in order.
    """
    right = f"{tensor}_right"
    nodes = list(model.graph.node)
    maker = next((i for i, n in enumerate(nodes) if tensor in n.output), None)
    if maker is None:  # an input of the graph keeps its name, its readers read another
        for n in nodes:
            n.input[:] = [f"{tensor}_planted" if name == tensor else name for name in n.input]
        placed, at = list(made(tensor, f"{tensor}_planted")), 0
    else:
        nodes[maker].output[:] = [right if name == tensor else name for name in nodes[maker].output]
        placed, at = list(made(right, tensor)), maker + 1
    del model.graph.node[:]
    model.graph.node.extend([*nodes[:at], *placed, *nodes[at:]])
    _forget_shapes(model, tensor)


def _forget_shapes(model: ModelProto, tensor: str) -> None:
    kept = [v for v in model.graph.value_info if v.name != tensor]
    del model.graph.value_info[:]
    model.graph.value_info.extend(kept)


def lerp(model: ModelProto, right: str, wrong: str, out: str, share: float) -> list[NodeProto]:
    """Nodes that compute (1 - share) right + share wrong."""
    a = constant(model, np.float32(1 - share), f"{out}_right_share")
    b = constant(model, np.float32(share), f"{out}_wrong_share")
    return [
        node("Mul", [right, a], f"{out}_a"), node("Mul", [wrong, b], f"{out}_b"),
        node("Add", [f"{out}_a", f"{out}_b"], out),
    ]  # fmt: skip


def producers(model: ModelProto) -> Iterator[tuple[NodeProto, str]]:
    """(node, output of the graph that it makes), in the order of the graph's outputs."""
    makers = {name: n for n in model.graph.node for name in n.output}
    for output in model.graph.output:
        if output.name in makers:
            yield makers[output.name], output.name
