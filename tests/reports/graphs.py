"""Builds the ONNX files of the reports node by node, so that names, opset and arithmetic are known."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import ArrayLike
from onnx import TensorProto, helper, numpy_helper

from tests.reports.arithmetic import columns_m
from tests.reports.variant import Variant

__all__ = ["Graph"]


class Graph:
    """A graph from the variant's input to its output.

    Args:
        variant: names and sizes.
        shape: of the input; () takes the network's.
        opset: of the file.
    """

    def __init__(self, variant: Variant, shape: tuple[int | str, ...] = (), opset: int = 17) -> None:
        self.variant, self.opset = variant, opset
        self.shape = shape or (1, 3, variant.height, variant.width)
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[onnx.TensorProto] = []
        self.domains: dict[str, int] = {}

    def const(self, value: ArrayLike, dtype: Any = np.float32, name: str = "") -> str:
        """An initializer; returns its name."""
        name = name or f"const_{len(self.weights)}"
        self.weights.append(numpy_helper.from_array(np.asarray(value, dtype), name))
        return name

    def node(self, op: str, *inputs: str, name: str = "", outputs: int = 1, domain: str = "", **attributes: Any) -> str:
        """A node; returns the name of its first output."""
        name = name or f"{op.lower()}_{len(self.nodes)}"
        made = [f"{name}_out{k or ''}" for k in range(outputs)]
        self.nodes.append(helper.make_node(op, list(inputs), made, name=name, domain=domain or None, **attributes))
        return made[0]

    def rows(self, value: str) -> str:
        """Means of pairs of rows."""
        return self.node("AveragePool", value, kernel_shape=[2, 1], strides=[2, 1])

    def mean(self, value: str, axis: int, keepdims: int = 1, name: str = "") -> str:
        """Mean over an axis, written as the opset wants it."""
        if self.opset < 18:
            return self.node("ReduceMean", value, name=name, axes=[axis], keepdims=keepdims)
        return self.node("ReduceMean", value, self.const([axis], np.int64), name=name, keepdims=keepdims)

    def head(self, value: str, sharp: float) -> str:
        """The soft argmax of `line_head.Head`."""
        v = self.variant
        mean = self.mean(value, 1, keepdims=0)
        logits = self.node("Mul", mean, self.const(sharp))
        part = v.width // v.count
        parts = self.node("Reshape", logits, self.const([0, 0, v.count, part], np.int64))
        weighed = self.node("Mul", self.node("Softmax", parts, axis=-1), self.const(columns_m(v)))
        sums = self.node("ReduceSum", weighed, self.const([-1], np.int64), keepdims=0)
        return self.node("Transpose", sums, perm=[0, 2, 1])

    def model(self, result: str, shape: tuple[int | str, ...] = ()) -> onnx.ModelProto:
        """The whole model; `result` becomes the variant's output."""
        v = self.variant
        self.nodes.append(helper.make_node("Identity", [result], [v.lines], name="result"))
        graph = helper.make_graph(
            self.nodes,
            "network",
            [helper.make_tensor_value_info(v.image, TensorProto.FLOAT, self.shape)],
            [helper.make_tensor_value_info(v.lines, TensorProto.FLOAT, shape or (1, v.count, v.rows))],
            self.weights,
        )
        opsets = [helper.make_opsetid("", self.opset), *(helper.make_opsetid(d, n) for d, n in self.domains.items())]
        return helper.make_model(graph, opset_imports=opsets, ir_version=9)

    def save(self, path: Path, result: str, shape: tuple[int | str, ...] = ()) -> Path:
        """Write the model."""
        onnx.save(self.model(result, shape), path)
        return path
