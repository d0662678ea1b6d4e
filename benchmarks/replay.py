"""Replay and compare two ONNX Runtime engines, against the bare loop of the same calls.

Budgets (docs/DESIGN.md section 8): at most 1.5x on a 0.13 ms model, 1.05x on a 20 ms model; memory growth of at most
10 MB over 100,000 frames. Both loops run in turn in one process; the ratio of each pair is reported with its spread.

    python -m benchmarks.replay [--frames 4000] [--pairs 5] [--memory-frames 100000]
"""

from __future__ import annotations

import argparse
import resource
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import polars as pl
from onnx import TensorProto, helper, numpy_helper

from cases.case import open_case
from cases.schema import CameraMeta
from cases.writer import CaseWriter
from harness.model.card import Card, load_card
from harness.replay.replay import replay

ENGINES = ("ort-fp32-none", "ort-fp32")
SLOTS, POINTS = 4, 33
CARD = """schema = 1
name = "bench"
reference = "train/ort-fp32-none"
inputs = [{{name = "x", shape = [1, {width}], source = "camera.front"}}]
outputs = [{{name = "lines"}}, {{name = "scores"}}]
[onnx]
file = "bench.onnx"
[decoder]
name = "polyline"
lines = "lines"
scores = "scores"
"""


def _model(folder: Path, width: int, layers: int, rows: int = 1, seed: int = 0) -> Card:
    """A stack of `layers` square matrix products on `rows` copies of the input, then lines that wander by centimetres.

    More rows make a slower model, not a larger file.
    """
    rng = np.random.default_rng(seed)
    weights = [numpy_helper.from_array(np.array([rows, width]), "rows")]
    nodes, last = [helper.make_node("Expand", ["x", "rows"], ["copies"])], "copies"
    for k in range(layers):
        weights.append(numpy_helper.from_array(_orthogonal(rng, width), f"w{k}"))
        nodes += [
            helper.make_node("MatMul", [last, f"w{k}"], [f"h{k}"]),
            helper.make_node("Tanh", [f"h{k}"], [f"t{k}"]),
        ]
        last = f"t{k}"
    nodes.append(helper.make_node("ReduceMean", [last], ["features"], axes=[0], keepdims=1))
    last = "features"
    count = SLOTS * POINTS * 2
    x, y = np.meshgrid(np.linspace(0, 80, POINTS), [5.4, 1.8, -1.8, -5.4])
    head = rng.normal(0, 0.002, (width, count)).astype(np.float32)
    constants = {
        "wl": head,
        "base": np.stack([x, y], axis=-1).astype(np.float32)[None],
        "shape": np.array([1, SLOTS, POINTS, 2]),
        "ws": np.zeros((width, SLOTS), np.float32),
        "three": np.full(SLOTS, 3, np.float32),
    }
    weights += [numpy_helper.from_array(v, k) for k, v in constants.items()]
    nodes += [
        helper.make_node("MatMul", [last, "wl"], ["flat"]),
        helper.make_node("Reshape", ["flat", "shape"], ["wander"]),
        helper.make_node("Add", ["wander", "base"], ["lines"]),
        helper.make_node("MatMul", [last, "ws"], ["zero"]),
        helper.make_node("Add", ["zero", "three"], ["logit"]),
        helper.make_node("Sigmoid", ["logit"], ["scores"]),
    ]
    graph = helper.make_graph(
        nodes,
        "bench",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, width])],
        [
            helper.make_tensor_value_info("lines", TensorProto.FLOAT, [1, SLOTS, POINTS, 2]),
            helper.make_tensor_value_info("scores", TensorProto.FLOAT, [1, SLOTS]),
        ],
        weights,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, folder / "bench.onnx")
    (folder / "model.toml").write_text(CARD.format(width=width))
    return load_card(folder)


def _orthogonal(rng: np.random.Generator, width: int) -> np.ndarray:
    return (rng.normal(size=(width, width)) / np.sqrt(width)).astype(np.float32)


def _case(folder: Path, width: int, frames: int, name: str) -> Path:
    """A tensor case of smoothly changing inputs at 20 frames/s."""
    rng = np.random.default_rng(1)
    with CaseWriter(folder, id=name, fps=20, lossy=False, source="benchmarks.replay") as writer:
        camera = writer.add_camera("front", CameraMeta(kind="tensors", pixel_format="tensor"))
        values = np.cumsum(rng.normal(0, 0.05, (frames, 1, width)), axis=0).astype(np.float32)
        (camera / "tensors").mkdir(exist_ok=True)
        np.save(camera / "tensors" / "front.npy", np.sin(values))
        writer.set_frames(
            pl.DataFrame(
                {
                    "frame": np.arange(frames), "timestamp_ns": np.arange(frames) * 50_000_000,
                    "camera": "front", "index": np.arange(frames),
                }
            )
        )  # fmt: skip
    return folder / name


def _bare(card: Card, case: Path) -> Callable[[], None]:
    """The same `Session.run` calls on the same frames, and nothing else."""
    import onnxruntime as ort

    from engines.cpu import physical_cores

    sessions = []
    for level in (ort.GraphOptimizationLevel.ORT_DISABLE_ALL, ort.GraphOptimizationLevel.ORT_ENABLE_ALL):
        options = ort.SessionOptions()
        options.graph_optimization_level = level
        options.intra_op_num_threads = physical_cores()
        options.add_session_config_entry("session.set_denormal_as_zero", "1")
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # the engines' own settings
        sessions.append(ort.InferenceSession(card.root / "bench.onnx", options, providers=["CPUExecutionProvider"]))

    def loop() -> None:
        for tick in open_case(case).ticks(["front"]):
            feed = {"x": tick.pictures["front"].data}
            for session in sessions:
                session.run(None, feed)

    return loop


def _seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def _ratio(width: int, layers: int, rows: int, frames: int, pairs: int) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        card, case = _model(folder, width, layers, rows), _case(folder, width, frames, "bench")
        bare, ratios, per_call = _bare(card, case), [], []

        def full(k: int) -> None:
            replay(
                card, [case], engines=ENGINES, preprocess=["train"], out=folder / f"run{k}", cache=card.root / "cache"
            )

        bare()
        full(-1)
        for k in range(pairs):
            base = _seconds(bare)
            per_call.append(base / frames / len(ENGINES) * 1e3)
            ratios.append(_seconds(lambda k=k: full(k)) / base)
    print(
        f"model of {statistics.median(per_call):6.3f} ms, {frames} frames, {len(ENGINES)} engines: replay + compare "
        f"costs {statistics.median(ratios):.2f}x the bare loop "
        f"(min {min(ratios):.2f}, max {max(ratios):.2f}, {pairs} pairs)"
    )


def _memory(frames: int) -> None:
    """Peak resident size after one case and after many: replays of 4 and of frames / 5,000 cases of 5,000 frames."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        card = _model(folder, 64, 1)
        cases = [_case(folder, 64, 5_000, f"case{k}") for k in range(frames // 5_000)]
        peaks = []
        for chosen in (cases[:4], cases):
            out = folder / f"run{len(chosen)}"
            replay(card, chosen, engines=ENGINES, preprocess=["train"], out=out, cache=card.root / "cache")
            peaks.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
    short, long = peaks
    print(
        f"peak memory: {short:.0f} MB after 20,000 frames, {long:.0f} MB after {frames:,} more: {long - short:+.1f} MB"
    )


def main() -> None:
    """Print the three figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--frames", type=int, default=4000)
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--memory-frames", type=int, default=100_000)
    options, _ = parser.parse_known_args()
    _memory(options.memory_frames)
    _ratio(512, 3, 1, options.frames, options.pairs)
    _ratio(512, 16, 512, max(100, options.frames // 15), options.pairs)


if __name__ == "__main__":
    main()
