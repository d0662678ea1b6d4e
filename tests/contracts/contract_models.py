"""Small ONNX graphs, and cards for them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from engines.protocol import ModelSource, TensorSpec

IMAGES = TensorSpec("images", (1, 3, 8, 12))


def save(
    path: Path,
    nodes: Sequence[Any],
    inputs: Sequence[Any],
    outputs: Sequence[Any],
    weights: Sequence[Any] = (),
    opset: int = 17,
) -> Path:
    """A checked graph written to a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    graph = helper.make_graph(list(nodes), path.stem, list(inputs), list(outputs), list(weights))
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=9), path)
    return path


def value(name: str, shape: Sequence[int | str], kind: int = TensorProto.FLOAT) -> Any:
    return helper.make_tensor_value_info(name, kind, list(shape))


def conv_weights(seed: int = 0, dtype: Any = np.float32) -> Any:
    random = np.random.default_rng(seed)
    return numpy_helper.from_array((random.standard_normal((4, 3, 3, 3)) * 0.3).astype(dtype), "weights")


def conv(path: Path, batch: int | str = 1, opset: int = 17, seed: int = 0) -> Path:
    """images -> Conv -> Relu -> lines, fp32."""
    nodes = [
        helper.make_node("Conv", ["images", "weights"], ["raw"], name="first_conv", pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["raw"], ["lines"], name="last_relu"),
    ]
    io = value("images", [batch, 3, 8, 12]), value("lines", [batch, 4, 8, 12])
    return save(path, nodes, [io[0]], [io[1]], [conv_weights(seed)], opset)


def typed_conv(path: Path, kind: int = TensorProto.FLOAT16) -> Path:
    """The same with the convolution in a 16-bit type, inputs and outputs fp32: what AutoCast writes."""
    weights = helper.make_tensor("weights", kind, [4, 3, 3, 3], numpy_helper.to_array(conv_weights()).ravel())
    nodes = [
        helper.make_node("Cast", ["images"], ["low"], name="down", to=kind),
        helper.make_node("Conv", ["low", "weights"], ["raw"], name="first_conv", pads=[1, 1, 1, 1]),
        helper.make_node("Cast", ["raw"], ["lines"], name="up", to=TensorProto.FLOAT),
    ]
    return save(path, nodes, [value("images", IMAGES.shape)], [value("lines", [1, 4, 8, 12])], [weights])


def quantised_conv(path: Path) -> Path:
    """The same with Q/DQ nodes before the convolution."""
    scale = numpy_helper.from_array(np.float32(0.05), "scale")
    zero = numpy_helper.from_array(np.int8(0), "zero")
    nodes = [
        helper.make_node("QuantizeLinear", ["images", "scale", "zero"], ["q"], name="q"),
        helper.make_node("DequantizeLinear", ["q", "scale", "zero"], ["dq"], name="dq"),
        helper.make_node("Conv", ["dq", "weights"], ["lines"], name="first_conv", pads=[1, 1, 1, 1]),
    ]
    io = value("images", IMAGES.shape), value("lines", [1, 4, 8, 12])
    return save(path, nodes, [io[0]], [io[1]], [conv_weights(), scale, zero])


def unheard(path: Path) -> Path:
    """A graph with two operators that nobody has."""
    nodes = [
        helper.make_node("Unheard", ["images"], ["a"], name="strange_1"),
        helper.make_node("Relu", ["a"], ["b"], name="plain"),
        helper.make_node("Unseen", ["b"], ["lines"], name="strange_2"),
    ]
    return save(path, nodes, [value("images", IMAGES.shape)], [value("lines", IMAGES.shape)])


def counting(path: Path) -> Path:
    """int64 in, int64 out: y = x + x."""
    nodes = [helper.make_node("Add", ["x", "x"], ["y"], name="add")]
    kind = TensorProto.INT64
    return save(path, nodes, [value("x", [1, 4], kind)], [value("y", [1, 4], kind)])


def source(
    model: Path,
    cache: Path,
    inputs: tuple[TensorSpec, ...] = (IMAGES,),
    outputs: tuple[str, ...] = ("lines",),
    fp16: Literal["weak", "strong"] = "weak",
    **more: Any,
) -> ModelSource:
    """A card for a graph."""
    return ModelSource("model", model.parent, inputs, outputs, onnx=model, fp16=fp16, cache=cache, **more)


def images(seed: int = 0, batch: int = 1) -> dict[str, Any]:
    return {"images": np.random.default_rng(seed).standard_normal((batch, 3, 8, 12)).astype(np.float32)}


def calibration_cache(path: Path, version: str, algorithm: str = "EntropyCalibration2") -> Path:
    """What a calibrator of that version would have written."""
    path.write_text(f"TRT-{version.replace('.', '')[:4]}-{algorithm}\nimages: 3caa54fc\nraw: 3c8954be\n")
    return path
