"""The pictures that judge: held-out clips through the train pipeline, the car's and three unseen ones, kept as tensors.

screen         25 clips of seeds 8900-8924, 8 pictures each, 2.2 s apart (the task's test scenes)
screen-hard    seeds 8930-8937 at night, in rain, with worn paint and at a merge, 4 pictures each
confirm        60 clips of seeds 9500-9559, 8 pictures each; not looked at before confirmation
confirm-hard   seeds 9560-9575 under the four conditions
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cases.picture import Picture
from cases.synth import CONDITIONS, camera_picture, draw_scene, render_frame, under
from cases.synth.scene import TRUTH_X_M
from engines.dotted import load_dotted
from harness.cli.demo import example_folder
from harness.feed.preprocess import build_pipeline
from harness.model.card import load_card

__all__ = ["LAB", "PIPELINES", "SETS", "UNSEEN", "Pictures", "pictures", "tensors"]

LAB = "train"
UNSEEN = ("nearest", "jpeg-gamma", "yuyv")
PIPELINES = (LAB, "deploy", *UNSEEN)
Array = NDArray[Any]


@dataclass(frozen=True)
class Scenes:
    """Scenes of consecutive seeds, and moments of each."""

    first_seed: int
    count: int
    conditions: tuple[str | None, ...]
    moments: int
    apart_s: float


SETS = {
    "screen": Scenes(8900, 25, (None,), 8, 2.2),
    "screen-hard": Scenes(8930, 8, tuple(CONDITIONS), 4, 0.6),
    "confirm": Scenes(9500, 60, (None,), 8, 2.2),
    "confirm-hard": Scenes(9560, 16, tuple(CONDITIONS), 4, 0.6),
}


@dataclass(frozen=True)
class Pictures:
    """Pictures of one set.

    Attributes:
        images: float32 [picture, pipeline, 3, 64, 160], normalised, in the order of PIPELINES.
        lines: y in metres at the network's stations, float32 [picture, 4, 33], NaN where there is no line; of frames
            without truth empty.
        clip: int [picture], number of the clip.
        tags: of each clip: its condition, or "".
    """

    images: Array
    lines: Array
    clip: Array
    tags: tuple[str, ...]


def pictures(name: str, folder: Path) -> Pictures:
    """Read a set, rendered first where the folder does not have it."""
    path = folder / f"{name}.npz"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        unfinished = path.with_suffix(".part.npz")
        np.savez(unfinished, **_rendered(SETS[name]))
        unfinished.rename(path)
    with np.load(path, allow_pickle=False) as found:
        return Pictures(found["images"], found["lines"], found["clip"], tuple(found["tags"].tolist()))


def tensors(recorded: Sequence[Picture]) -> Array:
    """float32 [picture, pipeline, 3, 64, 160]."""
    root = example_folder()
    card = load_card(root / "baseline.toml")
    unseen = load_dotted("unseen:UNSEEN", root)
    steps = [card.preprocess.train, card.preprocess.deploy, *(unseen[name] for name in UNSEEN)]
    pipelines = [build_pipeline(s, card.inputs[0], root=root) for s in steps]
    return np.stack([[p(picture)[0] for p in pipelines] for picture in recorded]).astype(np.float32)


def _rendered(scenes: Scenes) -> dict[str, Array]:
    station = load_dotted("network:STATIONS_M", example_folder())
    recorded, lines, clip, tags = [], [], [], []
    for condition in scenes.conditions:
        for seed in range(scenes.first_seed, scenes.first_seed + scenes.count):
            scene = draw_scene(seed, scenes.apart_s * scenes.moments)
            scene = scene if condition is None else under(scene, condition)
            for moment in range(scenes.moments):
                frame = render_frame(scene, scenes.apart_s * (moment + 0.4))
                recorded.append(camera_picture(frame.rgb))
                lines.append([np.interp(station, TRUTH_X_M, y) for y in frame.lines])
                clip.append(len(tags))
            tags.append(condition or "")
    return {
        "images": tensors(recorded),
        "lines": np.array(lines, np.float32),
        "clip": np.array(clip),
        "tags": np.array(tags),
    }
