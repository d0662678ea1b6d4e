"""A model that gives its input back as lines, and cases of such inputs: a replay of them takes a second."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import polars as pl
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from cases.schema import CameraMeta
from cases.writer import CaseWriter

SLOTS, POINTS = 4, 33
CARD = f"""schema = 1
name = "identity"
[onnx]
file = "identity.onnx"
[[inputs]]
name = "x"
shape = [1, {SLOTS}, {POINTS}, 2]
source = "camera.front"
[[outputs]]
name = "lines"
[[outputs]]
name = "scores"
[decoder]
name = "polyline"
"""


def write_card(folder: Path, *, extra: str = "", code: str = "", decoder: str = "polyline") -> Path:
    """Write model, card and `users.py`; returns the card.

    Args:
        folder: made where it lacks.
        extra: more of the card.
        code: of the module that the card may name.
        decoder: of the card.
    """
    folder.mkdir(parents=True, exist_ok=True)
    shape = [1, SLOTS, POINTS, 2]
    graph = helper.make_graph(
        [helper.make_node("Mul", ["x", "one"], ["lines"]), helper.make_node("Add", ["nine", "zero"], ["scores"])],
        "identity",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [
            helper.make_tensor_value_info("lines", TensorProto.FLOAT, shape),
            helper.make_tensor_value_info("scores", TensorProto.FLOAT, [1, SLOTS]),
        ],
        [
            numpy_helper.from_array(np.ones(1, np.float32), "one"),
            numpy_helper.from_array(np.full((1, SLOTS), 0.9, np.float32), "nine"),
            numpy_helper.from_array(np.zeros((1, SLOTS), np.float32), "zero"),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.save(model, folder / "identity.onnx")
    (folder / "users.py").write_text(code)
    card = folder / "model.toml"
    card.write_text(CARD.replace('name = "polyline"', f'name = "{decoder}"') + extra)
    return card


def straight_lines(frames: int) -> NDArray[np.float32]:
    """Four parallel lines a frame, metres: [frames, 1, slots, points, 2]; every frame 1 cm farther left."""
    lines = np.zeros((frames, 1, SLOTS, POINTS, 2), np.float32)
    lines[..., 0] = np.linspace(0, 80, POINTS)
    lines[..., 1] = np.array([5.4, 1.8, -1.8, -5.4])[:, None] + 0.01 * np.arange(frames)[:, None, None, None]
    return lines


def write_case(out: Path, name: str = "c0", frames: int = 12, *, fps: float = 20.0, **more: Any) -> Path:
    """A case of `straight_lines`; returns its folder.

    Args:
        out: folder of cases.
        name: its id.
        frames: how many.
        fps: of it.
        more: `frame`: numbers of its frames; `timestamp_ns`: their times.
    """
    with CaseWriter(out, id=name, fps=fps, lossy=False) as case:
        folder = case.add_camera("front", CameraMeta(kind="tensors", pixel_format="tensor"))
        np.save(folder / "tensors" / "all.npy", straight_lines(frames))
        times_ns = np.round(np.arange(frames) * 1e9 / fps).astype(np.int64)
        table = {"frame": np.arange(frames), "timestamp_ns": times_ns, "camera": ["front"] * frames}
        case.set_frames(pl.DataFrame({**table, "index": np.arange(frames), **more}))
    return case.path
