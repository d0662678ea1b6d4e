"""An ONNX file of four operators and its card: two straight lines that shift with the picture's brightness."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx

CARD = """schema = 1
name = "bright"
inputs = [{name = "image", shape = [1, 3, 4, 8], layout = "NCHW", source = "camera.front"}]
outputs = [{name = "lines", shape = [1, 2, 3, 2]}, {name = "scores", shape = [1, 2]}]
onnx = {file = "model.onnx"}
[decoder]
name = "polyline"
[preprocess]
train = [{op = "to_rgb"}, {op = "resize", size = [8, 4]}, {op = "normalise"}]
deploy = [{op = "to_rgb"}, {op = "resize", size = [8, 4]}, {op = "normalise"}]
"""
GRAPH = """<ir_version: 8, opset_import: ["": 17]>
bright (float[1, 3, 4, 8] image) => (float[1, 2, 3, 2] lines, float[1, 2] scores) {
    level = ReduceMean <keepdims = 0> (image)
    lines = Add (base, level)
    nothing = Mul (level, zero)
    scores = Add (sure, nothing)
}"""
BASE = np.float32([[[[5, y], [20, y], [60, y]] for y in (1.8, -1.8)]])


def write_bright(folder: Path) -> Path:
    """Write model.onnx and its card; returns the card."""
    folder.mkdir(parents=True, exist_ok=True)
    model = onnx.parser.parse_model(GRAPH)
    weights = {"base": BASE, "zero": np.float32([0]), "sure": np.float32([[0.9, 0.9]])}
    model.graph.initializer.extend(onnx.numpy_helper.from_array(v, k) for k, v in weights.items())
    onnx.save(model, folder / "model.onnx")
    (folder / "model.toml").write_text(CARD)
    return folder / "model.toml"
