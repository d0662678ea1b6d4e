"""Small scenes whose faults are planted by benchmarks/diagnosis_car.py, which shares no code with harness."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.diagnosis_car import Setup, drive
from cases.case import Calibration
from cases.picture import Picture
from harness.diagnosis.candidates import WITH_RECORDING
from harness.diagnosis.chain import Chain
from harness.diagnosis.model import Diagnosis
from harness.diagnosis.scene import Scene, units_of
from harness.diagnosis.solve import solve
from harness.feed.preprocess.mixing import checked_steps

SMALL = Setup("small", (192, 120), (8, 10, 176, 100), (88, 48), (0.45, 0.42, 0.47), (0.25, 0.24, 0.27))
FITTED, KEPT_BACK = (11, 14, 19), (12, 16, 21)

Bytes = NDArray[np.uint8]


def pictures(setup: Setup, seed: int = 0, frames: int = 24) -> list[Bytes]:
    """NV12 pictures of coloured stripes and blots that move over them."""
    import cv2

    rng = np.random.default_rng(seed)
    width, height = setup.source
    wide = rng.uniform(0, 255, (height // 4 + 8, width // 4 + 40, 3)).astype(np.float32)
    wide = cv2.resize(cv2.GaussianBlur(wide, (0, 0), 1.2), (width + 160, height + 32), interpolation=cv2.INTER_CUBIC)
    wide = np.clip((wide - 128) * 2.2 + 118, 2, 252)
    made = []
    for frame in range(frames):
        rgb = np.ascontiguousarray(wide[8 : 8 + height, 3 * frame : 3 * frame + width]).astype(np.uint8)
        planes = cv2.cvtColor(rgb, cv2.COLOR_RGB2YUV_I420)
        chroma = planes[height:].reshape(2, height // 2, width // 2).transpose(1, 2, 0).reshape(height // 2, width)
        made.append(np.concatenate([planes[:height], chroma]))
    return made


def diagnosed(
    faults: Mapping[str, Any],
    *,
    setup: Setup = SMALL,
    noise: float = 0.0,
    shown: Sequence[Bytes] | None = None,
    seed: int = 0,
) -> Diagnosis:
    """What is found of a car with these faults; `shown` are the pictures that the car saw, where they are others."""
    frames = pictures(setup, seed)
    rng = np.random.default_rng(seed + 1)
    seen = [np.clip(np.rint(f + rng.normal(0, noise, f.shape)), 0, 255).astype(np.uint8) for f in shown or frames]
    at = (*FITTED, *KEPT_BACK)
    targets = {p: drive(seen, setup, faults, p) for p in at}
    steps = tuple(checked_steps(setup.declared(), "deploy"))
    recorded = {("front", i): Picture(f, "nv12", *setup.source) for i, f in enumerate(frames)}
    lens = Calibration(*setup.source, setup.camera, "opencv", np.array(setup.lens), None) if setup.lens else None
    scene = Scene(Chain(steps, "front"), recorded, targets, units_of(steps), {"front": lens}, None)
    told = {"input": "image", "case": "drive", "expected": "the declared deploy pipeline's"}
    return solve(scene, FITTED, KEPT_BACK, WITH_RECORDING, **told).diagnosis
