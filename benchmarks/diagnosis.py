"""How often a diagnosis names what is wrong: faults planted by other code, one, two and three at a time, and none.

    python -m benchmarks.diagnosis --part report [--clips DIR] [--jobs 2] [--out FILE] [--singles 3] [--pairs 60] ...

The car is benchmarks/diagnosis_car.py: OpenCV, PIL, torch; it shares no code with harness. It sees other pictures than
the recording holds: with noise of a sensor, or through another encoder (H.264). Thresholds were chosen on `--part
choose`; `--part report` has other drives, other seeds and other numbers of every fault. An answer is right where every
fault whose effect alone is over half of the noise is named by an edit of its own, and nothing that was not planted.
docs/diagnosis.md has the tables.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

from benchmarks.diagnosis_car import EXCLUSIVE, FAULTS, SETUPS, Setup, drive
from cases.case import Calibration
from cases.picture import Picture
from cases.synth import synth_cases
from harness.diagnosis.alone import diagnose_alone
from harness.diagnosis.candidates import WITH_RECORDING
from harness.diagnosis.chain import Chain
from harness.diagnosis.model import Diagnosis
from harness.diagnosis.scene import Scene, units_of
from harness.diagnosis.solve import solve
from harness.feed.preprocess.mixing import checked_steps

Bytes = NDArray[np.uint8]

FRAMES = 44
FITTED, KEPT_BACK = (13, 22, 33), (15, 20, 28, 41)
FIRST_SEED = {"choose": 31_000, "report": 91_000}
CLIPS = {"choose": ("highway_curve.mp4",), "report": ("concrete_bridge.mp4", "solid_white_right.mp4")}
SYNTH = {"choose": 9300, "report": 9800}
ALONE = ("channel_order", "layout", "range", "scale", "normalisation", "matrix", "gamma", "stale", "lag", "flip")
RESAMPLED = ("shift", "coordinates", "zoom", "kernel", "antialias")  # alone: `resampling` or nothing, never a kernel
ABOVE_NOISE = 0.5  # RMS of what a fault changes, over that of the noise, from which on it must be named
COUNTS = {"singles": 1, "pairs": 40, "triples": 20, "alone": 1, "clean": 100, "foreign": 100, "faint": 20}
CRFS = (18, 21, 24)


@dataclass(frozen=True)
class Task:
    """One car: which faults, which camera and network, and the seed of all numbers."""

    kind: str
    names: tuple[str, ...]
    setup: int
    seed: int


def tasks(part: str, counts: Mapping[str, int]) -> Iterator[Task]:
    """What is tried."""
    seed = FIRST_SEED[part]
    for repeat in range(counts["singles"]):
        for name in FAULTS:
            for number in range(len(SETUPS)):
                if _possible((name,), number):
                    seed += 1
                    yield Task("single", (name,), number, seed)
        del repeat
    rng = np.random.default_rng(seed)
    for kind, size in (("pair", 2), ("triple", 3)):
        for _ in range(counts[f"{kind}s"]):
            seed += 1
            number = int(rng.integers(len(SETUPS)))
            able = [c for c in combinations(FAULTS, size) if _possible(c, number)]
            yield Task(kind, able[rng.integers(len(able))], number, seed)
    for _ in range(counts["alone"]):
        for name in (*ALONE, *RESAMPLED):
            for number in range(len(SETUPS)):
                seed += 1
                yield Task("alone", (name,), number, seed)
    for kind in ("clean", "foreign", "faint"):
        for _ in range(counts[kind]):
            seed += 1
            yield Task(kind, (), int(rng.integers(len(SETUPS))), seed)


def _possible(names: Sequence[str], setup: int) -> bool:
    if "undistort" in names and not SETUPS[setup].lens:
        return False
    return all(len(set(names) & set(group)) < 2 for group in EXCLUSIVE)


def pictures(file: str, size: tuple[int, int]) -> tuple[Bytes, ...]:
    """NV12 pictures of a video."""
    made = []
    with av.open(file) as container:
        for frame in container.decode(video=0):
            made.append(np.ascontiguousarray(frame.reformat(*size, format="nv12").to_ndarray()))
            if len(made) == FRAMES:
                break
    return tuple(made)


def encoded(frames: Sequence[Bytes], size: tuple[int, int], crf: int) -> tuple[Bytes, ...]:
    """Pictures through H.264."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "car.mp4"
        with av.open(str(path), "w") as out:
            stream = out.add_stream("libx264", rate=20, options={"crf": str(crf), "preset": "veryfast"})
            stream.width, stream.height = size
            stream.pix_fmt = "yuv420p"
            for planes in frames:
                out.mux(stream.encode(av.VideoFrame.from_ndarray(planes, format="nv12")))
            out.mux(stream.encode())
        return pictures(str(path), size)


@dataclass(frozen=True)
class Drives:
    """Pictures of every drive at every size, recorded, and as another encoder gives them with its crf."""

    recorded: dict[tuple[str, str], tuple[Bytes, ...]]
    encoded: dict[tuple[str, str], tuple[tuple[Bytes, ...], int]]

    @classmethod
    def of(cls, files: Sequence[str]) -> Drives:
        """Read once, before processes are started that share them."""
        recorded = {(file, s.name): pictures(file, s.source) for file in files for s in SETUPS}
        crfs = {key: CRFS[i % len(CRFS)] for i, key in enumerate(recorded)}
        sizes = {s.name: s.source for s in SETUPS}
        return cls(recorded, {k: (encoded(v, sizes[k[1]], crfs[k]), crfs[k]) for k, v in recorded.items()})


_DRIVES: list[Drives] = []  # of this process and those that it starts


def tried(task: Task) -> dict[str, Any]:
    """One diagnosis, and what was planted."""
    rng, setup = np.random.default_rng(task.seed), SETUPS[task.setup]
    (drives,) = _DRIVES
    files = sorted({file for file, _ in drives.recorded})
    file, other, third = (files[i] for i in rng.permutation(len(files))[:3])
    frames, beside = (drives.recorded[f, setup.name] for f in (file, other))
    faults = {name: FAULTS[name](rng, setup) for name in task.names}
    if task.kind == "faint":
        faults, task = _faint(rng, setup, task)
    shown = third if task.kind == "foreign" else file
    seen, seen_beside, noise = _seen(rng, drives, (shown, other), setup, task.kind)
    moments = (*FITTED, *KEPT_BACK)
    targets = {at: drive(seen, setup, faults, at, seen_beside) for at in moments}
    clean = {at: drive(seen, setup, {}, at) for at in moments}
    alone = {
        name: _rms(drive(seen, setup, {name: values}, at, seen_beside) - clean[at] for at in moments)
        for name, values in faults.items()
    }
    disturbed = _rms(clean[at] - drive(frames, setup, {}, at) for at in moments)
    start = time.process_time()
    found = _alone(setup, frames, seen, faults) if task.kind == "alone" else diagnosed(setup, frames, beside, targets)
    return {
        "kind": task.kind, "setup": setup.name, "seed": task.seed, "noise": noise, "file": Path(file).name,
        "effects": (effects := {name: round(size / disturbed, 3) for name, size in alone.items()}),
        "planted": {name: _plain(values) for name, values in faults.items()},
        "status": found.status,
        "named": [e.words for e in found.edits],
        "classes": [sorted(e.names) for e in found.edits],
        "explained": round(found.explained, 4), "before": round(found.before, 3), "after": round(found.after, 3),
        "right": _right(task, found, effects), "seconds": round(time.process_time() - start, 2),
    }  # fmt: skip


def _seen(
    rng: np.random.Generator, drives: Drives, files: tuple[str, str], setup: Setup, kind: str
) -> tuple[Sequence[Bytes], Sequence[Bytes], str]:
    """What the car's cameras give, and the noise in words."""
    if rng.integers(2):
        (front, crf), (side, _) = (drives.encoded[f, setup.name] for f in files)
        return front, side, f"H.264 crf {crf}"
    sigma = float(rng.uniform(2.0, 4.0) if kind == "faint" else rng.uniform(0.3, 2.0))
    front, side = (
        tuple(np.clip(np.rint(p + rng.normal(0, sigma, p.shape)), 0, 255).astype(np.uint8) for p in shown)
        for shown in (drives.recorded[f, setup.name] for f in files)
    )
    return front, side, f"sigma {sigma:.2f}"


def _faint(rng: np.random.Generator, setup: Setup, task: Task) -> tuple[dict[str, Any], Task]:
    """A fault whose effect lies below the noise."""
    kind = ("gamma", "shift", "normalisation")[rng.integers(3)]
    mean, std = np.array(setup.mean), np.array(setup.std)
    values = {
        "gamma": {"exponent": 1.0005},
        "shift": {"right": 0.004, "down": -0.003},
        "normalisation": {"mean": mean + 2e-4, "std": std * 1.0002},
    }[kind]
    return {kind: values}, Task("faint", (), task.setup, task.seed)


def recorded_scene(
    setup: Setup, frames: Sequence[Bytes], beside: Sequence[Bytes], targets: Mapping[int, NDArray[np.float32]]
) -> Scene:
    """The recording of two cameras, and the car's tensors."""
    steps = tuple(checked_steps(setup.declared(), "deploy"))
    recorded = {
        (camera, i): Picture(f, "nv12", *setup.source)
        for camera, shown in (("front", frames), ("side", beside))
        for i, f in enumerate(shown)
    }
    lens = Calibration(*setup.source, setup.camera, "opencv", np.array(setup.lens), None) if setup.lens else None
    return Scene(Chain(steps, "front"), recorded, targets, units_of(steps), {"front": lens, "side": lens}, None)


def diagnosed(
    setup: Setup, frames: Sequence[Bytes], beside: Sequence[Bytes], targets: Mapping[int, NDArray[np.float32]]
) -> Diagnosis:
    """What is found of the car's tensors."""
    told = {"input": "image", "case": "drive", "expected": "the declared deploy pipeline's"}
    return solve(recorded_scene(setup, frames, beside, targets), FITTED, KEPT_BACK, WITH_RECORDING, **told).diagnosis


def _alone(setup: Setup, frames: Sequence[Bytes], seen: Sequence[Bytes], faults: Mapping[str, Any]) -> Diagnosis:
    """What is found of tensors alone, without the recording."""
    moments = range(10, FRAMES)
    lab = np.stack([drive(frames, setup, {}, at) for at in moments]).transpose(0, 3, 1, 2)
    car = np.stack([drive(seen, setup, faults, at) for at in moments]).transpose(0, 3, 1, 2)
    return diagnose_alone(lab, car).diagnosis


def _right(task: Task, found: Diagnosis, effects: Mapping[str, float]) -> bool:
    """Every fault above the noise is named, by an edit of its own, and nothing that was not planted."""
    if task.kind == "alone" and task.names[0] in RESAMPLED:
        return {name for e in found.edits for name in e.names} <= {"resampling"}
    left = [e.names for e in found.edits]
    for name in sorted(task.names, key=lambda n: sum(n in names for names in left)):
        match = next((names for names in left if name in names), None)
        if match is not None:
            left.remove(match)
        elif effects[name] >= ABOVE_NOISE:
            return False
    return not left


def _rms(differences: Iterable[NDArray[np.float32]]) -> float:
    return float(np.sqrt(np.mean([np.square(d).mean(dtype=np.float64) for d in differences])))


def _plain(values: Mapping[str, Any]) -> dict[str, Any]:
    return {k: v.tolist() if isinstance(v, np.ndarray) else v for k, v in values.items()}


def _files(part: str, clips: Path | None, folder: Path) -> list[str]:
    """Videos of a part: clips of a folder, and synthetic drives."""
    made = synth_cases(SYNTH[part], 3, FRAMES / 20 + 0.6, folder)
    own = [str(next(case.glob("cameras/front/video.*"))) for case in made]
    return [str(clips / name) for name in CLIPS[part] if clips and (clips / name).exists()] + own


def summary(rows: Sequence[Mapping[str, Any]]) -> str:
    """Shares by kind, and every miss of a single."""
    lines = []
    for kind in ("single", "pair", "triple", "alone", "clean", "foreign", "faint"):
        own = [r for r in rows if r["kind"] == kind]
        if own:
            right = sum(r["right"] for r in own)
            by = Counter(r["status"] for r in own)
            seconds = np.mean([r["seconds"] for r in own])
            lines.append(f"{kind:8s} {right}/{len(own)} = {right / len(own):.1%}  {dict(by)}  {seconds:.1f} s of CPU")
    by_class: dict[str, list[bool]] = defaultdict(list)
    for row in rows:
        if row["kind"] == "single":
            by_class[next(iter(row["planted"]))].append(bool(row["right"]))
    lines.append("  ".join(f"{name} {sum(v)}/{len(v)}" for name, v in by_class.items()))
    for row in rows:
        if not row["right"]:
            lines.append(
                f"miss {row['kind']} {row['setup']} {row['noise']} seed {row['seed']}: {row['planted']} -> "
                f"{row['status']} {row['named']} explained {row['explained']} {row['before']} -> {row['after']}"
            )
    return "\n".join(lines)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--part", choices=tuple(FIRST_SEED), required=True)
    parser.add_argument("--clips", type=Path, help="folder with the clips of CLIPS; else synthetic drives alone")
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--out", type=Path, help="one JSON line a diagnosis, as they come; what is there is kept")
    for name, count in COUNTS.items():
        parser.add_argument(f"--{name}", type=int, default=count)
    asked = parser.parse_args()
    counts = {name: getattr(asked, name) for name in COUNTS}
    with tempfile.TemporaryDirectory() as folder:
        _DRIVES.append(Drives.of(_files(asked.part, asked.clips, Path(folder))))
    known = asked.out.read_text().splitlines() if asked.out and asked.out.exists() else []
    rows = [json.loads(line) for line in known]
    left = [t for t in tasks(asked.part, counts) if t.seed not in {r["seed"] for r in rows}]
    np.random.default_rng(0).shuffle(left)  # a part of the run is a fair sample
    tried(left[0])  # libraries are loaded once, before processes are started
    with ProcessPoolExecutor(asked.jobs, multiprocessing.get_context("fork")) as pool:
        for done in as_completed([pool.submit(tried, task) for task in left]):
            rows.append(row := done.result())
            if asked.out:
                with asked.out.open("a") as file:
                    file.write(json.dumps(row) + "\n")
    print(summary(rows))


if __name__ == "__main__":
    main()
