"""Tiny graphs as text (onnx.parser), with weights given as arrays."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx

from engines.inspect.graph import Graph, read_graph


def write_graph(folder: Path, text: str, opset: int = 17, **weights: object) -> Path:
    """`text` is `(inputs) => (outputs) { nodes }`; weights become initializers, float32 unless they are arrays."""
    header = f'<ir_version: 8, opset_import: ["": {opset}, "acme": 1]>\n'
    model = onnx.parser.parse_model(f"{header} tiny {text}")
    for name, value in weights.items():
        array = value if isinstance(value, np.ndarray) else np.asarray(value, np.float32)
        model.graph.initializer.append(onnx.numpy_helper.from_array(array, name))
    path = folder / "tiny.onnx"
    onnx.save(model, path)
    return path


def make_graph(folder: Path, text: str, opset: int = 17, **weights: object) -> Graph:
    """Written and read again."""
    return read_graph(write_graph(folder, text, opset, **weights))
