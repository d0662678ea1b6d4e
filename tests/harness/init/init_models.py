"""ONNX files with the shapes of published lane networks, and pictures to run them on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

FAMILIES: dict[str, dict[str, tuple[int, ...]]] = {
    "row-column": {"loc_row": (200, 72, 4), "loc_col": (100, 81, 4), "exist_row": (2, 72, 4), "exist_col": (2, 81, 4)},
    "curves": {"pred_logits": (7, 2), "pred_curves": (7, 8)},
    "laneatt": {"proposals": (1000, 77)},
    "clrnet": {"proposals": (192, 78)},
    "row-anchor": {"logits": (101, 56, 4)},
    "openpilot": {"lane_lines": (528,), "probabilities": (8,)},
}


def write_network(
    path: Path,
    outputs: Mapping[str, np.ndarray],
    *,
    size: tuple[int, int] = (128, 64),
    nhwc: bool = False,
    dtype: int = TensorProto.FLOAT,
    first: Sequence[tuple[str, float]] = (),
    state: tuple[str, str] | None = None,
) -> Path:
    """A network that reads its picture and gives constant outputs.

    Args:
        path: file to write.
        outputs: name -> what it gives, without the batch axis.
        size: width and height of the picture.
        nhwc: layout.
        dtype: of the picture.
        first: operators with a constant each, done to the picture first.
        state: (input, output) of a recurrent state of 5 numbers.
    """
    width, height = size
    shape = [1, height, width, 3] if nhwc else [1, 3, height, width]
    inputs = [helper.make_tensor_value_info("picture", dtype, shape)]
    nodes, constants, value = [], [], "picture"
    if dtype != TensorProto.FLOAT:
        nodes.append(helper.make_node("Cast", [value], ["as_float"], to=TensorProto.FLOAT))
        value = "as_float"
    for index, (op, constant) in enumerate(first):
        constants.append(numpy_helper.from_array(np.float32(constant), f"c{index}"))
        nodes.append(helper.make_node(op, [value, f"c{index}"], [f"v{index}"]))
        value = f"v{index}"
    nodes += [
        helper.make_node("Sigmoid", [value], ["squashed"]),
        helper.make_node("ReduceMean", ["squashed"], ["mean"], keepdims=0),
        helper.make_node("Mul", ["mean", "nothing"], ["zero"]),
    ]
    constants.append(numpy_helper.from_array(np.float32(0), "nothing"))
    given = []
    for name, array in outputs.items():
        constants.append(numpy_helper.from_array(array[None].astype(np.float32), f"{name}_value"))
        nodes.append(helper.make_node("Add", [f"{name}_value", "zero"], [name]))
        given.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, *array.shape]))
    if state is not None:
        inputs.append(helper.make_tensor_value_info(state[0], TensorProto.FLOAT, [1, 5]))
        nodes.append(helper.make_node("Add", [state[0], "zero"], [state[1]]))
        given.append(helper.make_tensor_value_info(state[1], TensorProto.FLOAT, [1, 5]))
    graph = helper.make_graph(nodes, "network", inputs, given, constants)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), path)
    return path


def write_threshold(path: Path, level: float, *, size: tuple[int, int] = (128, 64)) -> Path:
    """A mask: the first channel of the picture above a level, in what the network is fed."""
    width, height = size
    picture = helper.make_tensor_value_info("picture", TensorProto.FLOAT, [1, 3, height, width])
    mask = helper.make_tensor_value_info("mask", TensorProto.FLOAT, [1, 1, height, width])
    nodes = [
        helper.make_node("Split", ["picture"], ["first", "second", "third"], axis=1, num_outputs=3),
        helper.make_node("Sub", ["first", "level"], ["mask"]),
    ]
    constants = [numpy_helper.from_array(np.float32(level), "level")]
    graph = helper.make_graph(nodes, "threshold", [picture], [mask], constants)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9), path)
    return path


def striped(folder: Path, colour: tuple[int, int, int], count: int = 3) -> Path:
    """Dark gray pictures with an upright stripe of a colour (red, green, blue)."""
    import cv2

    folder.mkdir(parents=True)
    for k in range(count):
        drawn = np.full((72, 160, 3), 40, np.uint8)
        drawn[:, 60 + k : 68 + k] = colour[::-1]
        cv2.imwrite(str(folder / f"{k:03d}.png"), drawn)
    return folder


def pictures(folder: Path, count: int = 3) -> Path:
    """A folder of small pictures."""
    import cv2

    folder.mkdir(parents=True)
    for k in range(count):
        cv2.imwrite(str(folder / f"{k:03d}.png"), np.full((72, 160, 3), 40 * k + 20, np.uint8))
    return folder


def random_outputs(family: str, seed: int = 0) -> dict[str, np.ndarray]:
    """Outputs of a family's shapes."""
    rng = np.random.default_rng(seed)
    return {name: rng.normal(0, 2, shape) for name, shape in FAMILIES[family].items()}
