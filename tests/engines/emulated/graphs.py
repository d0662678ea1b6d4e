"""Graphs written by hand, as model sources."""

from pathlib import Path

import numpy as np
import onnx
from onnx import helper, numpy_helper

from engines.protocol import ModelSource, TensorSpec

node = helper.make_node


def make_source(
    folder: Path,
    nodes: list[onnx.NodeProto],
    inputs: dict[str, list[int]],
    outputs: list[str],
    weights: dict[str, np.ndarray] | None = None,
    *,
    opset: int = 17,
    dtype: str = "float32",
) -> ModelSource:
    """Write a graph and describe it; inputs have the given dtype, types of outputs are inferred."""
    kind = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    graph = helper.make_graph(
        nodes,
        "graph",
        [helper.make_tensor_value_info(name, kind, shape) for name, shape in inputs.items()],
        [helper.make_empty_tensor_value_info(name) for name in outputs],
        [numpy_helper.from_array(np.asarray(array), name) for name, array in (weights or {}).items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=9)
    inferred = onnx.shape_inference.infer_shapes(model, strict_mode=True)
    path = folder / "graph.onnx"
    onnx.save(inferred, path)
    specs = tuple(TensorSpec(name, tuple(shape), dtype) for name, shape in inputs.items())
    return ModelSource("graph", folder, specs, tuple(outputs), onnx=path, cache=folder / "cache")


def overflow(folder: Path, **typed: object) -> ModelSource:
    """1e-3 * (80 x) * x: 512 at x = 80 in fp32, infinite on the way in fp16."""
    dtype = str(typed.get("dtype", "float32"))
    return make_source(
        folder,
        [node("Mul", ["x", "eighty"], ["a"]), node("Mul", ["a", "x"], ["b"]), node("Mul", ["b", "small"], ["y"])],
        {"x": [1, 4]},
        ["y"],
        {"eighty": np.array(80, dtype), "small": np.array(1e-3, dtype)},
        **typed,
    )
