"""Every edit that generators offer on a few unlike scenes, and its words with numbers and names taken out."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.diagnosis_car import Setup, drive
from cases.case import Calibration
from cases.picture import Picture
from harness.diagnosis.alone import ALONE
from harness.diagnosis.candidates import WITH_RECORDING
from harness.diagnosis.chain import Chain, Edit
from harness.diagnosis.scene import Scene, units_of
from harness.diagnosis.unknown_units import unknown_units_edits
from harness.diagnosis.view import View
from harness.feed.preprocess.mixing import checked_steps
from tests.harness.diagnosis.scenes import SMALL, pictures

LENS = replace(SMALL, lens=(-0.2, 0.05, 0.001, -0.0005))
POSITIONS = (11, 14, 19)
NORMALISE = {"op": "normalise", "mean": list(SMALL.mean), "std": list(SMALL.std)}
OFF = {"right": 0.6, "down": -0.4, "across": 1.02, "along": 0.98}
ROUND = {"op": "round_u8", "rounding": "truncate"}
NAMES = {
    "KERNEL": r"\b(nearest|bilinear|cubic|area)\b",
    "RULE": r"\b(half-pixel|align-corners|asymmetric)\b",
    "MATRIX": r"\bbt\d+\b",
    "SITE": r"(?<=lie )\w+|(?<=not |rom )(left|center|topleft)\b",
    "ANCHOR": r"(?<=\()(center|topleft)\b|(?<=letterboxed )(center|topleft)\b",
    "SIDE": r"(?<=further )(left|right)",
    "UP": r"\b(higher|lower)\b",
    "CAMERA": r"(?<=of camera )\w+",
    "ORDER": r"\b[RGB], [RGB], [RGB]\b",
    "[N]": r"\[[-+\d., e]+\]",
    "N": r"(?<!\w)[+-]?(?!255\b)\d+(\.\d+)?(?!\w)",
    "N frames": r"N frame\b",
}
"""What stands in the guide for what was measured, and what that looks like."""


def general(words: str) -> str:
    """Words of an edit without what was measured."""
    for name, pattern in NAMES.items():
        words = re.sub(pattern, name, words)
    return words


def offered() -> Iterator[Edit]:
    """Edits of every generator on every scene."""
    for steps, car in (
        (LENS.declared(), {"shift": OFF}),
        ([*LENS.declared()[:-2], {**ROUND}, NORMALISE], {"lag": {"frames": 1}}),
        ([s for s in LENS.declared()[:-1] if s["op"] != "round_u8"], {"stale": {"hold": 3, "phase": 0}}),
        (_boxed("letterbox", pad=114.0), {"lag": {"frames": -1}}),
        (_boxed("resize", antialias=True, kernel="cubic"), {"zoom": OFF}),
    ):
        yield from _edits(_view(LENS, steps, car), WITH_RECORDING)
    yield from _edits(_stuck(), WITH_RECORDING)
    yield from _edits(_of_pixels(), WITH_RECORDING)
    yield from _edits(_of_pixels(alone=True), (*ALONE, unknown_units_edits))


def _boxed(op: str, **options: Any) -> list[dict[str, Any]]:
    return [{**s, "op": op, **options} if s["op"] == "resize" else s for s in SMALL.declared()]


def _edits(view: View, generators: Sequence[Any]) -> Iterator[Edit]:
    for generator in generators:
        yield from generator(view)


def _view(setup: Setup, steps: list[dict[str, Any]], car: Mapping[str, Any]) -> View:
    frames = pictures(setup)
    targets = {at: drive(frames, setup, car, at) for at in POSITIONS}
    lens = Calibration(*setup.source, setup.camera, "opencv", np.array(setup.lens), None) if setup.lens else None
    recorded = {
        (camera, i): Picture(f, "nv12", *setup.source) for camera in ("front", "side") for i, f in enumerate(frames)
    }
    chain = Chain(tuple(checked_steps(steps, "deploy")), "front")
    scene = Scene(chain, recorded, targets, units_of(chain.steps), {"front": lens, "side": lens}, None)
    return _of(scene)


def _stuck() -> View:
    view = _view(SMALL, SMALL.declared(), {})
    last = view.scene.targets[14]
    view.scene.targets.update({at: last for at in POSITIONS if at > 14})
    return _of(view.scene)


def _of_pixels(*, alone: bool = False) -> View:
    frames = pictures(SMALL)
    tensors = {at: drive(frames, SMALL, {"gamma": {"exponent": 1.2}}, at) for at in POSITIONS}
    if alone:
        chain = Chain(
            ({"op": "normalise", "step": "normalise", "scale": None, "mean": [0.4] * 3, "std": [0.2, 0.3, 0.2]},), "lab"
        )
        units = units_of(chain.steps)
        shown = {("lab", at): Picture(units.levels(drive(frames, SMALL, {}, at)), "tensor", 0, 0) for at in range(24)}
        return _of(Scene(chain, shown, tensors, units, {}, None))
    rng = np.random.default_rng(3)
    rgb = [rng.integers(0, 255, (120, 192, 3)).astype(np.uint8) for _ in range(24)]
    chain = Chain(
        tuple(checked_steps([{"op": "to_rgb"}, {"op": "resize", "size": [88, 48]}, {"op": "normalise"}], "deploy")),
        "front",
    )
    recorded = {("front", i): Picture(f, "bgr24", 192, 120) for i, f in enumerate(rgb)}
    return _of(Scene(chain, recorded, tensors, units_of(chain.steps), {"front": None}, None))


def _of(scene: Scene) -> View:
    shown = [scene.render(scene.declared, at) for at in POSITIONS]
    rendered: NDArray[np.float32] = np.stack([s for s in shown if s is not None])
    return View(scene, scene.declared, POSITIONS, rendered, np.stack([scene.targets[at] for at in POSITIONS]))
