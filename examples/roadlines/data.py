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
from cases.synth import camera_picture, draw_scene, render_frame
from cases.synth.scene import TRUTH_X_M
from cases.synth.workers import worker_pool
from harness.feed.preprocess import build_pipeline
from harness.model.card import Card, InputSpec

__all__ = ["MIXTURES", "TRAINING_SEED", "VALIDATION_SEED", "Samples", "load_samples", "make_samples", "random_steps"]

TRAINING_SEED, VALIDATION_SEED = 0, 8800
SCENES_PER_PART = 25
MOMENTS = 8  # of one scene, 2.2 s apart
MIXTURES = 2

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
    folder.mkdir(parents=True, exist_ok=True)
    parts = [(first_seed + i, min(SCENES_PER_PART, scenes - i)) for i in range(0, scenes, SCENES_PER_PART)]
    missing = [(seed, count) for seed, count in parts if not _part(folder, seed, deploy).exists()]
    write = partial(_write_part, card, folder, deploy)
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
    for i in range(0, scenes, SCENES_PER_PART):
        with np.load(_part(folder, first_seed + i, deploy)) as part:
            images.append(part["images"][:, :variants])
            lines.append(part["lines"])
    return Samples(np.concatenate(images), np.concatenate(lines))


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


def _write_part(card: Card, folder: Path, deploy: bool, first_seed: int, count: int) -> None:
    """One part file, complete or not there at all."""
    images, lines = [], []
    for picture, truth, rng in _moments(first_seed, count):
        train = _before_normalise(card.preprocess.train)
        others = [_before_normalise(card.preprocess.deploy)] if deploy else []
        pipelines = [train, *(others or (random_steps(train, rng) for _ in range(MIXTURES)))]
        images.append([_tensor(steps, card.inputs[0], picture) for steps in pipelines])
        lines.append([np.interp(STATIONS_M, TRUTH_X_M, y) for y in truth])
    path = _part(folder, first_seed, deploy)
    unfinished = path.with_suffix(".part.npz")
    np.savez(unfinished, images=np.array(images, np.uint8), lines=np.array(lines, np.float32))
    unfinished.rename(path)


def _moments(first_seed: int, count: int) -> Iterator[tuple[Picture, NDArray[np.float64], np.random.Generator]]:
    """Camera picture, truth, and a random stream of its own, for every moment of those scenes."""
    for seed in range(first_seed, first_seed + count):
        scene = draw_scene(seed, 2.2 * MOMENTS)
        for moment in range(MOMENTS):
            rng = np.random.default_rng([seed, moment, 7])
            frame = render_frame(scene, 2.2 * moment + float(rng.uniform(0, 1)))
            yield camera_picture(frame.rgb), frame.lines, rng


def _tensor(steps: Sequence[Step], spec: InputSpec, picture: Picture) -> NDArray[np.uint8]:
    pipeline = build_pipeline([*steps, {"op": "round_u8", "step": "keep"}], spec.model_copy(update={"dtype": "uint8"}))
    return np.asarray(pipeline(picture)[0], np.uint8)


def _before_normalise(steps: Sequence[Step]) -> list[Step]:
    return [step for step in steps if step["op"] != "normalise"]


def _part(folder: Path, first_seed: int, deploy: bool) -> Path:
    return folder / f"scenes_{first_seed:05d}{'_deploy' if deploy else ''}.npz"


def _one_thread() -> None:
    import cv2

    cv2.setNumThreads(1)
