"""Replay and compare on ONNX Runtime, against the bare loop of the same calls and against Polygraphy; and its memory.

Budgets (docs/DESIGN.md section 8): at most 1.2x the bare loop on a 0.13 ms model, 1.02x on a 20 ms model; on video with
five rungs faster than the loops of the five engines one after the other; 10 MB more memory for a million frames than
for 20,000. All ways run in turn in one process; the ratio of each round is reported with its spread, in seconds on the
clock and in seconds of CPU. Polygraphy takes part where it is installed.

    python -m benchmarks.replay [--frames 4000] [--rounds 5] [--memory-frames 1000000] [--video-seconds 10]
                               [--only speed,video,memory]
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import polars as pl
from onnx import TensorProto, helper, numpy_helper

import engines
from cases.case import open_case
from cases.schema import CameraMeta
from cases.synth import synth_cases
from cases.writer import CaseWriter
from harness.cli.demo import example_folder
from harness.feed.inputs import InputBuilder, cameras_of
from harness.model.card import Card, load_card
from harness.replay.replay import replay
from harness.run.folder import Run

ENGINES = ("ort-fp32-none", "ort-fp32")
VIDEO_ENGINES = ("torch-fp32", "ort-fp32-none", "ort-fp32", "emulated-fp16", "emulated-tf32")
SLOTS, POINTS = 4, 33
CARD = """schema = 1
name = "bench"
reference = "train/ort-fp32-none"
inputs = [{{name = "x", shape = [{batch}, {width}], source = "camera.front"}}]
outputs = [{{name = "lines"}}, {{name = "scores"}}]
[onnx]
file = "bench.onnx"
[decoder]
name = "polyline"
lines = "lines"
scores = "scores"
"""


def write_model(folder: Path, width: int, layers: int, rows: int = 1, seed: int = 0) -> Card:
    """A stack of `layers` square matrix products on `rows` copies of the input, then lines that wander by centimetres.

    More rows make a slower model, not a larger file. With one row the first dimension of the input is open, as of most
    exported networks.
    """
    rng = np.random.default_rng(seed)
    weights: list[Any] = []
    nodes, last = [], "x"
    if rows > 1:
        weights.append(numpy_helper.from_array(np.array([rows, width]), "rows"))
        nodes, last = [helper.make_node("Expand", ["x", "rows"], ["copies"])], "copies"
    for k in range(layers):
        weights.append(numpy_helper.from_array(_orthogonal(rng, width), f"w{k}"))
        nodes += [
            helper.make_node("MatMul", [last, f"w{k}"], [f"h{k}"]),
            helper.make_node("Tanh", [f"h{k}"], [f"t{k}"]),
        ]
        last = f"t{k}"
    if rows > 1:
        nodes.append(helper.make_node("ReduceMean", [last], ["features"], axes=[0], keepdims=1))
        last = "features"
    count = SLOTS * POINTS * 2
    x, y = np.meshgrid(np.linspace(0, 80, POINTS), [5.4, 1.8, -1.8, -5.4])
    head = rng.normal(0, 0.002, (width, count)).astype(np.float32)
    constants = {
        "wl": head,
        "base": np.stack([x, y], axis=-1).astype(np.float32)[None],
        "shape": np.array([-1, SLOTS, POINTS, 2]),
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
    batch: int | str = 1 if rows > 1 else "batch"
    graph = helper.make_graph(
        nodes,
        "bench",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [batch, width])],
        [
            helper.make_tensor_value_info("lines", TensorProto.FLOAT, [batch, SLOTS, POINTS, 2]),
            helper.make_tensor_value_info("scores", TensorProto.FLOAT, [batch, SLOTS]),
        ],
        weights,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, folder / "bench.onnx")
    (folder / "model.toml").write_text(CARD.format(width=width, batch=json.dumps(batch)))
    return load_card(folder)


def _orthogonal(rng: np.random.Generator, width: int) -> np.ndarray:
    return (rng.normal(size=(width, width)) / np.sqrt(width)).astype(np.float32)


def write_case(folder: Path, width: int, frames: int, name: str) -> Path:
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


def _sessions(card: Card) -> list[Any]:
    """The engines' own sessions, with the engines' own settings."""
    import onnxruntime as ort

    from engines.cpu import usable_cores

    sessions = []
    for level in (ort.GraphOptimizationLevel.ORT_DISABLE_ALL, ort.GraphOptimizationLevel.ORT_ENABLE_ALL):
        options = ort.SessionOptions()
        options.graph_optimization_level = level
        options.intra_op_num_threads = usable_cores()
        options.add_session_config_entry("session.set_denormal_as_zero", "1")
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # the engines' own settings
        sessions.append(ort.InferenceSession(card.root / "bench.onnx", options, providers=["CPUExecutionProvider"]))
    return sessions


def _bare(card: Card, case: Path) -> Callable[[], None]:
    """The same `Session.run` calls on the same frames, and nothing else."""
    sessions = _sessions(card)

    def loop() -> None:
        for tick in open_case(case).ticks(["front"]):
            feed = {"x": tick.pictures["front"].data}
            for session in sessions:
                session.run(None, feed)

    return loop


def _polygraphy(card: Card, case: Path) -> Callable[[], None] | None:
    """The same two sessions on the same frames through Polygraphy's Comparator, compared; None where it is missing."""
    try:
        from polygraphy.backend.onnxrt import OnnxrtRunner
        from polygraphy.comparator import Comparator
        from polygraphy.logger import G_LOGGER
    except ImportError:
        return None
    G_LOGGER.module_severity = G_LOGGER.CRITICAL

    def loop() -> None:
        runners = [OnnxrtRunner(lambda s=s: s, name=str(k)) for k, s in enumerate(_sessions(card))]
        feeds = ({"x": tick.pictures["front"].data} for tick in open_case(case).ticks(["front"]))
        results = Comparator.run(runners, data_loader=list(feeds))
        Comparator.compare_accuracy(results)

    return loop


@dataclass
class Spent:
    """Seconds on the clock and of CPU, one of each a round."""

    wall_s: list[float] = field(default_factory=list)
    cpu_s: list[float] = field(default_factory=list)

    def add(self, work: Callable[[], object]) -> None:
        """Do the work and note what it took."""
        wall, cpu = time.perf_counter(), time.process_time()
        work()
        self.wall_s.append(time.perf_counter() - wall)
        self.cpu_s.append(time.process_time() - cpu)

    def against(self, base: Spent) -> str:
        """Ratios of rounds: median and range."""
        return f"{_ratios(self.wall_s, base.wall_s)} on the clock, {_ratios(self.cpu_s, base.cpu_s)} of CPU"


def _ratios(mine: Sequence[float], base: Sequence[float]) -> str:
    found = [a / b for a, b in zip(mine, base, strict=True)]
    return f"{statistics.median(found):.2f}x [{min(found):.2f}, {max(found):.2f}]"


def _compare(ways: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, Spent]:
    """Every way once to warm up, then all in turn."""
    spent = {name: Spent() for name in ways}
    for work in ways.values():
        work()
    for _ in range(rounds):
        for name, work in ways.items():
            spent[name].add(work)
    return spent


def _fresh(folder: Path) -> Path:
    """A run folder that is not there yet."""
    return folder / f"run{len(list(folder.glob('run*')))}"


def _speed(width: int, layers: int, rows: int, frames: int, rounds: int, *, polygraphy: bool) -> None:
    """One model: the bare loop, ours, Polygraphy on a tenth of the frames (it keeps every output in memory)."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        card, case = write_model(folder, width, layers, rows), write_case(folder, width, frames, "bench")
        cache = folder / "cache"
        ways: dict[str, Callable[[], object]] = {
            "bare": _bare(card, case),
            "ours": lambda: replay(
                card, [case], engines=ENGINES, preprocess=["train"], out=_fresh(folder), cache=cache
            ),
        }
        few = write_case(folder, width, frames // 10, "few")
        if polygraphy and (theirs := _polygraphy(card, few)) is not None:
            ways |= {"bare, few": _bare(card, few), "polygraphy, few": theirs}
        spent = _compare(ways, rounds)
        call_ms = statistics.median(spent["bare"].cpu_s) / frames / len(ENGINES) * 1e3
        print(f"model of {call_ms:.3f} ms of CPU, {frames} frames, {len(ENGINES)} engines, {rounds} rounds")
        print(f"  replay + compare      {spent['ours'].against(spent['bare'])}")
        if "polygraphy, few" in spent:
            print(f"  Polygraphy, {frames // 10} frames {spent['polygraphy, few'].against(spent['bare, few'])}")


def _video(rounds: int, seconds: float) -> None:
    """The example's network on a rendered drive: five rungs in one replay, and each engine's own loop in turn."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        card = load_card(example_folder() / "baseline.toml")
        (case,) = synth_cases(1, 1, seconds, folder / "cases")
        cache = folder / "cache"
        opened = {engine: engines.open(engine, card.source(cache)) for engine in VIDEO_ENGINES}

        def ours() -> Run:
            return replay(
                card, [case], engines=VIDEO_ENGINES, preprocess=["deploy"], steps=False, out=_fresh(folder), cache=cache
            )

        rungs = [(rung["preprocess"], rung["engine"]) for rung in ours().rungs]

        def loops() -> None:
            for pipeline, engine in rungs:
                there = open_case(case)
                build = InputBuilder(card, there, pipeline)
                for tick in there.ticks(cameras_of(card)):
                    opened[engine].infer(build(tick))

        spent = _compare({"loops": loops, "ours": ours}, rounds)
        print(f"video, {int(seconds * 20)} frames, {len(rungs)} rungs, {rounds} rounds")
        print(f"  replay + compare against the engines' loops: {spent['ours'].against(spent['loops'])}")


def _memory(frames: int) -> None:
    """Peak memory of a process that replays 20,000 frames, many cases, and one long case."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_model(folder, 64, 1)
        cases = [write_case(folder, 64, 5_000, f"case{k:04}") for k in range(frames // 5_000)]
        base = _peak_mb(folder, cases[:4])
        many = _peak_mb(folder, cases)
        print(f"peak memory: {base:.0f} MB after 20,000 frames")
        print(f"             {many - base:+.1f} MB after {frames:,} in {len(cases)} cases")
        for case in cases[4:]:
            shutil.rmtree(case)
        long = _peak_mb(folder, [write_case(folder, 64, frames, "long")])
        print(f"             {long - base:+.1f} MB after {frames:,} in one case")


def _peak_mb(folder: Path, cases: Sequence[Path]) -> float:
    """Of a process of its own, MB; the tensors of a case are mapped, and count only as far as they are touched last."""
    code = f"""
import sys, threading, time
import trueline  # before the allocator of polars is loaded, as in every command
from pathlib import Path
from benchmarks.replay import ENGINES, load_card, replay, _fresh
folder, peak, done = Path({str(folder)!r}), [0], threading.Event()
def watch():
    while not done.wait(0.05):
        said = dict(line.split(":") for line in open("/proc/self/status") if line.startswith("Rss"))
        peak[0] = max(peak[0], int(said["RssAnon"].split()[0]))
watcher = threading.Thread(target=watch)
watcher.start()
cases = [Path(c) for c in {[str(c) for c in cases]!r}]
replay(load_card(folder), cases, engines=ENGINES, preprocess=["train"], out=_fresh(folder), cache=folder / "cache")
done.set()
watcher.join()
print(peak[0])
"""
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    return int(done.stdout.split()[-1]) / 1024


def main(arguments: Sequence[str] = ()) -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.replay", description=__doc__.splitlines()[0])
    parser.add_argument("--frames", type=int, default=4000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--memory-frames", type=int, default=1_000_000)
    parser.add_argument("--video-seconds", type=float, default=10.0)
    parser.add_argument("--only", default="speed,video,memory")
    asked = parser.parse_args(arguments)
    if "speed" in asked.only:
        _speed(512, 3, 1, asked.frames, asked.rounds, polygraphy=True)
        _speed(512, 5, 720, max(100, asked.frames // 13), asked.rounds, polygraphy=False)
    if "video" in asked.only:
        _video(asked.rounds, asked.video_seconds)
    if "memory" in asked.only:
        _memory(asked.memory_frames)


if __name__ == "__main__":
    main(sys.argv[1:])
