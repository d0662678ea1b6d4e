"""Training data: moments of many synthetic scenes, run through the card's pipelines and cached in a work folder.

Every picture first becomes what the camera delivers (YCbCr 4:2:0) and then passes the harness's own preprocessing, so
that the lab's training and the harness's `train` pipeline are one. Variant 0 of each picture is the train pipeline;
the others are random mixtures of ways to preprocess, or (`deploy`) the card's deploy pipeline. They are kept as 8 bits
a channel before normalisation, which is the one difference to the train pipeline: it does not round.

Seeds: training below 8000, validation from 8800, test pictures of task.py from 8900; from 9000 on nothing here is ever
looked at.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from network import STATIONS_M
from numpy.typing import NDArray

from cases.picture import Picture
from cases.synth import Scene, camera_picture, draw_scene, render_frame
from cases.synth.geometry import Pose
from cases.synth.scene import TRUTH_X_M
from harness.feed.preprocess import build_pipeline
from harness.model.card import Card, InputSpec
from trueline._workers import worker_pool

__all__ = [
    "MIXTURES",
    "STEP_S",
    "TRAINING_SEED",
    "VALIDATION_SEED",
    "NextFrames",
    "Samples",
    "load_next_frames",
    "load_samples",
    "make_next_frames",
    "make_samples",
    "random_steps",
]

TRAINING_SEED, VALIDATION_SEED = 0, 8800
SCENES_PER_PART = 25
MOMENTS = 8  # of one scene, 2.2 s apart
MIXTURES = 2
STEP_S = 0.1  # from a picture to the next frame

Step = Mapping[str, Any]
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Samples:
    """Pictures and lines.

    images: uint8 [samples, variants, 3, height, width], before normalisation; variant 0 is the train pipeline.
    lines: y in metres at the network's stations, float32 [samples, 4, stations], NaN where the slot has no line.
    """

    images: NDArray[np.uint8]
    lines: NDArray[np.float32]


@dataclass(frozen=True)
class NextFrames:
    """The frame STEP_S after each sample, and the vehicle's motion to it.

    images: uint8 [samples, 3, height, width], train pipeline, before normalisation.
    motion: float32 [samples, 3], metres forward, metres to the left, radians turned to the left.
    """

    images: NDArray[np.uint8]
    motion: NDArray[np.float32]


def make_samples(
    card: Card,
    folder: Path,
    scenes: int,
    *,
    first_seed: int = TRAINING_SEED,
    deploy: bool = False,
    progress: Progress | None = None,
) -> None:
    """Render what is still missing of `scenes` scenes into FOLDER, one part per 25 scenes, on all cores."""
    kind = "_deploy" if deploy else ""
    _render(folder, kind, scenes, first_seed, partial(_write_part, card, folder, kind), progress)


def make_next_frames(
    card: Card, folder: Path, scenes: int, *, first_seed: int = TRAINING_SEED, progress: Progress | None = None
) -> None:
    """Render what is still missing of the frames that follow those scenes' samples."""
    _render(folder, "_next", scenes, first_seed, partial(_write_next_part, card, folder), progress)


def _render(
    folder: Path, kind: str, scenes: int, first_seed: int, write: Callable[[int, int], None], progress: Progress | None
) -> None:
    """Write the missing parts, on all cores."""
    folder.mkdir(parents=True, exist_ok=True)
    missing = [
        (seed, count) for seed, count in _parts(first_seed, scenes) if not _part(folder, seed, count, kind).exists()
    ]
    if len(missing) < 2:  # not worth a process
        for seed, count in missing:
            write(seed, count)
        return
    with worker_pool(os.cpu_count() or 1, _one_thread) as pool:
        for i, _ in enumerate(pool.map(write, *zip(*missing, strict=True))):
            if progress:
                progress("parts", i + 1, len(missing))


def load_samples(
    folder: Path,
    scenes: int,
    *,
    first_seed: int = TRAINING_SEED,
    deploy: bool = False,
    variants: int = 1 + MIXTURES,
) -> Samples:
    """Read those parts back, only the first `variants` of every picture."""
    images, lines = [], []
    for seed, count in _parts(first_seed, scenes):
        with np.load(_part(folder, seed, count, "_deploy" if deploy else "")) as part:
            images.append(part["images"][:, :variants])
            lines.append(part["lines"])
    return Samples(np.concatenate(images), np.concatenate(lines))


def load_next_frames(folder: Path, scenes: int, *, first_seed: int = TRAINING_SEED) -> NextFrames:
    """Read those parts back."""
    images, motion = [], []
    for seed, count in _parts(first_seed, scenes):
        with np.load(_part(folder, seed, count, "_next")) as part:
            images.append(part["images"])
            motion.append(part["motion"])
    return NextFrames(np.concatenate(images), np.concatenate(motion))


def random_steps(steps: Sequence[Step], rng: np.random.Generator) -> list[Step]:
    """The train pipeline with the arithmetic, the kernels and the colour constants of each step drawn at random.

    Only what a deployment may do differently without moving a line: no shift, no other crop.
    """
    mixed: list[Step] = []
    for step in steps:
        if step["op"] == "to_rgb":
            step = {
                **step,
                "arithmetic": str(rng.choice(["float", "fixed"])),
                "chroma": str(rng.choice(["bilinear", "nearest"])),
                "matrix": str(rng.choice(["declared", "bt709"], p=[0.9, 0.1])),
                "range": str(rng.choice(["declared", "full"], p=[0.92, 0.08])),
            }
        elif step["op"] == "resize":
            kernel = str(rng.choice(["bilinear", "area", "cubic"], p=[0.6, 0.2, 0.2]))
            smooth = bool(kernel != "area" and rng.random() < 0.4)
            step = {**step, "kernel": kernel, "antialias": smooth, "arithmetic": str(rng.choice(["float", "fixed"]))}
        mixed.append(step)
    return mixed


def _write_part(card: Card, folder: Path, kind: str, first_seed: int, count: int) -> None:
    """One part file, complete or not there at all."""
    images, lines = [], []
    for scene, t_s, rng in _moments(first_seed, count):
        frame = render_frame(scene, t_s)
        picture = camera_picture(frame.rgb)
        train = _before_normalise(card.preprocess.train)
        others = [_before_normalise(card.preprocess.deploy)] if kind == "_deploy" else []
        pipelines = [train, *(others or (random_steps(train, rng) for _ in range(MIXTURES)))]
        images.append([_tensor(steps, card.inputs[0], picture) for steps in pipelines])
        lines.append([np.interp(STATIONS_M, TRUTH_X_M, y) for y in frame.lines])
    arrays = {"images": np.array(images, np.uint8), "lines": np.array(lines, np.float32)}
    _save(_part(folder, first_seed, count, kind), arrays)


def _write_next_part(card: Card, folder: Path, first_seed: int, count: int) -> None:
    """The frames after those of a part, through the train pipeline."""
    images, motion = [], []
    for scene, t_s, _ in _moments(first_seed, count):
        frame = render_frame(scene, t_s + STEP_S)
        train = _before_normalise(card.preprocess.train)
        images.append(_tensor(train, card.inputs[0], camera_picture(frame.rgb)))
        motion.append(_motion(scene.state(t_s).pose, scene.state(t_s + STEP_S).pose))
    arrays = {"images": np.array(images, np.uint8), "motion": np.array(motion, np.float32)}
    _save(_part(folder, first_seed, count, "_next"), arrays)


def _motion(now: Pose, then: Pose) -> tuple[float, float, float]:
    """The later place in the earlier vehicle frame."""
    east, north = then.x_m - now.x_m, then.y_m - now.y_m
    cos, sin = np.cos(now.yaw_rad), np.sin(now.yaw_rad)
    return cos * east + sin * north, cos * north - sin * east, then.yaw_rad - now.yaw_rad


def _save(path: Path, arrays: Mapping[str, NDArray[Any]]) -> None:
    unfinished = path.with_suffix(".part.npz")
    np.savez(unfinished, **arrays)
    unfinished.rename(path)


def _moments(first_seed: int, count: int) -> Iterator[tuple[Scene, float, np.random.Generator]]:
    """Scene, time in seconds, and a random stream of its own, for every moment of those scenes."""
    for seed in range(first_seed, first_seed + count):
        scene = draw_scene(seed, 2.2 * MOMENTS)
        for moment in range(MOMENTS):
            rng = np.random.default_rng([seed, moment, 7])
            yield scene, 2.2 * moment + float(rng.uniform(0, 1)), rng


def _tensor(steps: Sequence[Step], spec: InputSpec, picture: Picture) -> NDArray[np.uint8]:
    pipeline = build_pipeline([*steps, {"op": "round_u8", "step": "keep"}], spec.model_copy(update={"dtype": "uint8"}))
    return np.asarray(pipeline(picture)[0], np.uint8)


def _before_normalise(steps: Sequence[Step]) -> list[Step]:
    return [step for step in steps if step["op"] != "normalise"]


def _parts(first_seed: int, scenes: int) -> list[tuple[int, int]]:
    """(first seed, scenes) of every part."""
    return [(first_seed + i, min(SCENES_PER_PART, scenes - i)) for i in range(0, scenes, SCENES_PER_PART)]


def _part(folder: Path, first_seed: int, count: int, kind: str) -> Path:
    """A part with fewer scenes has a name of its own: it must not pass for a whole one."""
    fewer = "" if count == SCENES_PER_PART else f"_{count}"
    return folder / f"scenes_{first_seed:05d}{kind}{fewer}.npz"


def _one_thread() -> None:
    import cv2

    cv2.setNumThreads(1)
