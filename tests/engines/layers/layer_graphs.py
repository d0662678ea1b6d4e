"""Graphs for looks at single nodes: branches that meet, a node with two outputs, a branch inside a node."""

from itertools import pairwise
from pathlib import Path

import numpy as np
import onnx
from onnx import helper, numpy_helper

from engines.protocol import ModelSource, TensorSpec

node = helper.make_node


def branching(folder: Path, *, size: float = 1.0, seed: int = 0) -> ModelSource:
    """x -> conv -> relu -> split -> (If that reads the conv, a mul) -> concat -> y; a side output z behind the conv."""
    random = np.random.default_rng(seed)
    weights = {
        "w": (size * random.standard_normal((8, 3, 3, 3)) / 5).astype(np.float32),
        "factor": np.array(0.3, np.float32),
        "halves": np.array([4, 4], np.int64),
    }
    then = helper.make_graph([node("Add", ["left", "left"], ["twice"], "then_add")], "then", [], [_any("twice")])
    other = helper.make_graph([node("Neg", ["left"], ["minus"], "else_neg")], "else", [], [_any("minus")])
    nodes = [
        node("Conv", ["x", "w"], ["conv"], "conv", pads=[1, 1, 1, 1]),
        node("Relu", ["conv"], ["relu"], "relu"),
        node("Split", ["relu", "halves"], ["left", "right"], "split", axis=1),
        node("ReduceSum", ["x"], ["total"], "total", keepdims=0),
        node("Greater", ["total", "factor"], ["positive"], "greater"),
        node("If", ["positive"], ["chosen"], "choose", then_branch=then, else_branch=other),
        node("Mul", ["right", "factor"], ["scaled"], "scale"),
        node("Concat", ["chosen", "scaled"], ["joined"], "join", axis=1),
        node("Tanh", ["joined"], ["y"], "tanh"),
        node("Sigmoid", ["conv"], ["z"], "side"),
    ]
    graph = helper.make_graph(
        nodes,
        "branching",
        [helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [1, 3, 6, 6])],
        [_any("y", [1, 8, 6, 6]), _any("z", [1, 8, 6, 6])],
        [numpy_helper.from_array(array, name) for name, array in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    path = folder / "branching.onnx"
    onnx.save(onnx.shape_inference.infer_shapes(model), path)
    return ModelSource("branching", folder, (TensorSpec("x", (1, 3, 6, 6)),), ("y", "z"), onnx=path, cache=folder / "c")


def pooling(folder: Path) -> ModelSource:
    """x -> conv -> relu -> max pool -> tanh -> y; its numbers go into the subnormals of fp16."""
    random = np.random.default_rng(1)
    weight = (1e-5 * random.standard_normal((8, 3, 3, 3))).astype(np.float32)
    nodes = [
        node("Conv", ["x", "w"], ["conv"], "conv", pads=[1, 1, 1, 1]),
        node("Relu", ["conv"], ["relu"], "relu"),
        node("MaxPool", ["relu"], ["pool"], "pool", kernel_shape=[2, 2], strides=[2, 2]),
        node("Tanh", ["pool"], ["y"], "tanh"),
    ]
    graph = helper.make_graph(
        nodes,
        "pooling",
        [helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [1, 3, 6, 6])],
        [_any("y", [1, 8, 3, 3])],
        [numpy_helper.from_array(weight, "w")],
    )
    path = folder / "pooling.onnx"
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 22)], ir_version=10)
    onnx.save(onnx.shape_inference.infer_shapes(model), path)
    return ModelSource("pooling", folder, (TensorSpec("x", (1, 3, 6, 6)),), ("y",), onnx=path, cache=folder / "c")


def chain(folder: Path, length: int) -> ModelSource:
    """x times 1.1, again and again."""
    names = ["x", *(f"v{place}" for place in range(length - 1)), "y"]
    nodes = [node("Mul", [a, "factor"], [b], f"mul_{b}") for a, b in pairwise(names)]
    shape = [1, 64]
    graph = helper.make_graph(
        nodes,
        "chain",
        [helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, shape)],
        [_any("y", shape)],
        [numpy_helper.from_array(np.array(1.1, np.float32), "factor")],
    )
    path = folder / "chain.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), path)
    return ModelSource("chain", folder, (TensorSpec("x", (1, 64)),), ("y",), onnx=path, cache=folder / "c")


def _any(name: str, shape: list[int] | None = None) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, shape)
