"""Nodes that engines read differently, or whose result nobody defines: right in one runtime, silently wrong in another.

Each rule looks at one node and says what differs and what to do. What is said of TensorRT is read in its ONNX parser
(github.com/onnx/onnx-tensorrt, onnxOpImporters.cpp of 10.1) and in the threads that are named; what is said of ONNX
Runtime 1.32, OpenVINO 2026.4 and PyTorch 2.13 was measured against each other on the CPU.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engines.inspect.graph import Graph, Node

__all__ = ["RULES", "Reading", "different_readings", "is_training"]

Told = tuple[str, str]  # what differs, what to do


@dataclass(frozen=True, slots=True)
class Reading:
    """What engines make of an operator, to be read after its name, with the nodes it is true of and what to do."""

    op: str
    nodes: tuple[str, ...]
    what: str
    remedy: str


def different_readings(graph: Graph) -> list[Reading]:
    """Each difference once with all its nodes, in the order of their first nodes."""
    found: dict[tuple[str, Told], list[str]] = {}
    for node in graph.nodes:
        rule = None if node.domain else RULES.get(node.op)
        told = rule(graph, node) if rule else None
        if told is not None:
            found.setdefault((node.op, told), []).append(node.name)
    return [Reading(op, tuple(nodes), *told) for (op, told), nodes in found.items()]


def is_training(graph: Graph, node: Node) -> bool:
    """Whether a BatchNormalization normalises by what it reads; before opset 14 its further outputs say so."""
    return bool(node.attributes.get("training_mode")) or (graph.opset < 14 and any(node.outputs[1:]))


def _grid_sample(graph: Graph, node: Node) -> Told | None:
    """Opset 20 renamed bilinear and bicubic; a mode left out is bilinear in TensorRT too."""
    mode = _text(node, "mode", "")
    if mode not in ("linear", "cubic"):
        return None
    return (
        f"has mode {mode}, as opset 20 calls it: TensorRT 10.13 to 11.1 does not know the word and samples the nearest "
        "pixel without a warning (NVIDIA/TensorRT #4646)",
        "export at opset 19 or less, where the mode is called bilinear or bicubic",
    )


def _batch_norm(graph: Graph, node: Node) -> Told | None:
    if not is_training(graph, node):
        return None
    return (
        "is in training mode: ONNX Runtime and OpenVINO normalise by each frame's own mean and variance, TensorRT by "
        "the stored ones; and ONNX Runtime writes its running statistics over parameters of equal values, so that a "
        "frame's result depends on those before it",
        "call eval() before the export, or set training_mode to 0",
    )


def _dropout(graph: Graph, node: Node) -> Told | None:
    flag = graph.constants.get(node.inputs[2]) if len(node.inputs) > 2 else None
    if flag is None or not flag.any():
        return None
    return "is in training mode and drops at random; TensorRT and OpenVINO refuse it", "call eval() before the export"


def _random(graph: Graph, node: Node) -> Told | None:
    return (
        "gives other numbers in every run and every engine; TensorRT ignores its seed",
        "feed the numbers as an input, or keep them as a constant",
    )


def _average_pool(graph: Graph, node: Node) -> Told | None:
    """Whether the last window divides by its whole size or by what lies on the padded picture."""
    of = node.attributes
    if not (of.get("ceil_mode") and of.get("count_include_pad") and any(of.get("pads", ()))):
        return None
    return (
        "has ceil_mode and count_include_pad: where the last window hangs over the padding, OpenVINO divides by "
        "another number than PyTorch and ONNX Runtime 1.32, and so do older versions of it (onnxruntime #16203)",
        "pad in front of the pooling, and leave ceil_mode or count_include_pad out",
    )


def _resize(graph: Graph, node: Node) -> Told | None:
    how = _text(node, "coordinate_transformation_mode", "half_pixel")
    if how == "pytorch_half_pixel" and _axes_to_one(graph, node):
        return (
            "shrinks an axis to 1 with pytorch_half_pixel: ONNX Runtime, OpenVINO and TensorRT take its first pixel, "
            "PyTorch's interpolate the middle (pytorch #183523)",
            "export again with a current exporter, or set coordinate_transformation_mode to half_pixel",
        )
    if how == "tf_half_pixel_for_nn":
        return (
            "has coordinate_transformation_mode tf_half_pixel_for_nn, which opset 13 dropped: TensorRT rounds it up, "
            "and OpenVINO takes another pixel than ONNX Runtime where an axis becomes 1",
            "set it to half_pixel, with the nearest_mode that is meant",
        )
    return None


def _axes_to_one(graph: Graph, node: Node) -> bool:
    """Whether an axis of more than one pixel becomes one; unknown sizes are not."""
    before, after = graph.shapes.get(node.inputs[0], ()), graph.shapes.get(node.outputs[0], ())
    return len(before) == len(after) and any(b != 1 and a == 1 for b, a in zip(before, after, strict=True))


def _scatter_nd(graph: Graph, node: Node) -> Told | None:
    indices = graph.constants.get(node.inputs[1])
    if indices is None or _text(node, "reduction", "none") != "none" or not indices.size:
        return None
    updates = graph.constants.get(node.inputs[2])
    places = indices.reshape(-1, indices.shape[-1])
    values = updates.reshape(len(places), -1) if updates is not None else None
    return _twice(places, values)


def _scatter_elements(graph: Graph, node: Node) -> Told | None:
    indices = graph.constants.get(node.inputs[1])
    if indices is None or _text(node, "reduction", "none") != "none" or not indices.size:
        return None
    places = np.indices(indices.shape)
    places[int(node.attributes.get("axis", 0))] = indices
    updates = graph.constants.get(node.inputs[2])
    return _twice(places.reshape(indices.ndim, -1).T, updates.reshape(-1, 1) if updates is not None else None)


def _twice(places: NDArray[Any], values: NDArray[Any] | None) -> Told | None:
    """Places that are written more than once, unless always with the same constants."""
    if len(np.unique(places, axis=0)) == len(places):
        return None
    if values is not None:
        both = np.concatenate([places, values], axis=1)
        if len(np.unique(both, axis=0)) == len(np.unique(places, axis=0)):
            return None
    return (
        "writes an element twice: which value stays is not defined, and differs between engines, GPUs and runs",
        "keep one index of each, or use a reduction (which TensorRT lacks in ScatterND)",
    )


def _text(node: Node, name: str, default: str) -> str:
    value = node.attributes.get(name, default)
    return value.decode() if isinstance(value, bytes) else str(value)


RULES: Mapping[str, Callable[[Graph, Node], Told | None]] = {
    "GridSample": _grid_sample,
    "BatchNormalization": _batch_norm,
    "Dropout": _dropout,
    "AveragePool": _average_pool,
    "Resize": _resize,
    "ScatterND": _scatter_nd,
    "ScatterElements": _scatter_elements,
    "Scatter": _scatter_elements,
    **dict.fromkeys(
        ("RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike", "Bernoulli", "Multinomial"), _random
    ),
}
