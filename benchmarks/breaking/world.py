"""What the trials start from: a model, cases of every kind of stream, a policy, a run, dumps of every format."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

import numpy as np

from benchmarks.breaking.trials import ROOT, command
from cases.synth import synth_cases
from tests.harness.tiny_model import write_tiny
from tests.harness.tiny_task import TASK as TASK_CODE
from tests.reliability.identity_model import straight_lines, write_card, write_case

__all__ = ["POLICY", "TASK", "build", "dumps"]

POLICY = """schema = 1
card = "identity/model.toml"
cases = "tensors/*"

[profile.cpu]
engines = "ort-fp32"
preprocess = "deploy"

[[rules]]
id = "kink"
metric = "kink"
rung = "deploy/*"
statistic = "max"
limit = "3 deg"
"""
TASK = """schema = 1
name = "tiny"
factory = "task:make"
card = "tiny.toml"
[training]
budget_passes = 200
batch = 8
"""


def build(folder: Path) -> Path:
    """The world, made once by the code of today: a run of older code would be refused whatever is tried; its folder."""
    done, code = folder / "done", _code()
    if done.exists() and done.read_text() == code:
        return folder
    shutil.rmtree(folder, ignore_errors=True)
    write_tiny(folder / "tiny")
    write_card(folder / "identity")
    synth_cases(1, 2, 0.5, folder / "cases")
    (folder / "tiny" / "task.py").write_text(TASK_CODE)
    (folder / "tiny" / "task.toml").write_text(TASK)
    write_case(folder / "tensors", frames=8)
    (folder / "toy.trueline.toml").write_text(POLICY)
    _pictures(folder / "pictures")
    dumps(folder / "dumps")
    _run(folder, "replay", "tiny/tiny.toml", "--cases", "cases", "--engines", "ort-fp32", "--out", "run")
    _run(folder, "gate", "run")
    _run(folder, "replay", "identity", "--cases", "tensors", "--engines", "ort-fp32", "--out", "small")
    _run(folder, "gate", "small")
    done.write_text(code)
    return folder


def _code() -> str:
    """Digest of our packages."""
    digest = hashlib.sha256()
    for package in ("cases", "engines", "harness", "techniques", "trueline"):
        for file in sorted((ROOT / package).rglob("*.py")):
            digest.update(f"{file.relative_to(ROOT)}\0".encode() + file.read_bytes())
    return digest.hexdigest()


def _run(folder: Path, *arguments: str) -> None:
    done = command(*arguments, cwd=folder)
    if done.returncode not in (0, 1, 3):
        raise RuntimeError(f"{arguments}: {done.stderr}")


def _pictures(folder: Path) -> None:
    import cv2

    folder.mkdir()
    for number in range(12):
        picture = np.random.default_rng(number).integers(0, 255, (96, 160, 3), np.uint8)
        cv2.imwrite(str(folder / f"{number:04d}.png"), picture)


def dumps(folder: Path) -> None:
    """One dump of every format, each in a folder of its name."""
    from engines.formats.packed import write_safetensors
    from engines.formats.polygraphy import Iteration, write_runs

    lines = straight_lines(3)
    scores = np.full((3, 1, 4), 0.9, np.float32)
    times_ns = np.arange(3, dtype=np.int64) * 50_000_000
    for kind in ("npz", "deflated", "safetensors", "polygraphy", "trtexec", "raw", "lines", "jsonl", "parquet"):
        (folder / kind).mkdir(parents=True)
    np.savez(folder / "npz" / "all.npz", lines=lines, scores=scores, timestamp_ns=times_ns)
    np.savez_compressed(folder / "deflated" / "all.npz", lines=lines, scores=scores, timestamp_ns=times_ns)
    frames = [{"lines": one, "scores": other} for one, other in zip(lines, scores, strict=True)]
    write_runs(folder / "polygraphy" / "all.json", "r", [Iteration(frame) for frame in frames])
    (folder / "polygraphy" / "all.timestamps").write_text("".join(f"{t}\n" for t in times_ns))
    for moment, frame in zip(times_ns.tolist(), frames, strict=True):
        write_safetensors(folder / "safetensors" / f"{moment}.safetensors", frame)
        told = [
            {"name": n, "dimensions": "x".join(map(str, a.shape)), "values": a.ravel().tolist()}
            for n, a in frame.items()
        ]
        (folder / "trtexec" / f"{moment}.json").write_text(json.dumps(told))
        (folder / "raw" / str(moment)).mkdir()
        for name, array in frame.items():
            shape = ".".join(map(str, array.shape))
            array.tofile(folder / "raw" / str(moment) / f"{name}.output.{shape}.fp32.raw")
    logged = [
        {"timestamp_ns": t, "lines": [{"points": line.tolist(), "score": 0.9} for line in frame[0]]}
        for t, frame in zip(times_ns.tolist(), lines, strict=True)
    ]
    (folder / "lines" / "all.json").write_text(json.dumps({"frames": logged}))
    (folder / "jsonl" / "all.jsonl").write_text("".join(json.dumps(frame) + "\n" for frame in logged))
    _parquet(folder / "parquet" / "all.parquet", logged)


def _parquet(path: Path, logged: list[dict[str, object]]) -> None:
    import polars as pl

    rows = [
        {
            "timestamp_ns": frame["timestamp_ns"],
            "line": k,
            "x": [p[0] for p in line["points"]],
            "y": [p[1] for p in line["points"]],
        }
        for frame in logged
        for k, line in enumerate(frame["lines"])  # type: ignore[arg-type,var-annotated]  # as made above
    ]
    pl.DataFrame(rows).write_parquet(path)
