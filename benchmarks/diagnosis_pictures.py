"""The pictures and sentences of docs/diagnosis.md: every class planted once, diagnosed, and drawn.

    python -m benchmarks.diagnosis_pictures [--only NAME,...] --out docs/images/diagnosis

For each class a strip: the car's tensor, its difference from the declared pipeline's, and what is left of that with
what was named. The sentences go to standard output, as Markdown.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from benchmarks.diagnosis import FITTED, KEPT_BACK, pictures, recorded_scene
from benchmarks.diagnosis_car import FAULTS, SETUPS, Bytes, Setup, drive
from cases.synth import synth_cases
from harness.diagnosis.alone import diagnose_alone
from harness.diagnosis.candidates import WITH_RECORDING
from harness.diagnosis.pictures import draw
from harness.diagnosis.solve import Solved, solve

SETUP = 1  # the one with a lens
SEED = 9500
SIGMA = 0.5
WIDTH = 960
ALONE = "resampling"  # the class that only tensors alone have


def strip(sheet: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Three of the four panels of a difference picture side by side."""
    height, width = sheet.shape[0] // 2, (sheet.shape[1] - 4) // 2
    panels = [sheet[:height, width + 4 :], sheet[height:, :width], sheet[height:, width + 4 :]]
    whole = np.hstack(panels)
    return cv2.resize(whole, (WIDTH, round(whole.shape[0] * WIDTH / whole.shape[1])), interpolation=cv2.INTER_AREA)


def _solved(setup: Setup, frames: Sequence[Bytes], beside: Sequence[Bytes], name: str, seed: int) -> Solved:
    """One class planted, and diagnosed with the recording."""
    rng = np.random.default_rng(seed)
    faults = {name: FAULTS[name](rng, setup)}
    seen, seen_beside = (
        [np.clip(np.rint(f + rng.normal(0, SIGMA, f.shape)), 0, 255).astype(np.uint8) for f in shown]
        for shown in (frames, beside)
    )
    targets = {at: drive(seen, setup, faults, at, seen_beside) for at in (*FITTED, *KEPT_BACK)}
    scene = recorded_scene(setup, frames, beside, targets)
    told = {"input": "image", "case": "drive", "expected": "the declared deploy pipeline's"}
    return solve(scene, FITTED, KEPT_BACK, WITH_RECORDING, **told)


def _alone(setup: Setup, frames: Sequence[Bytes]) -> Solved:
    """Another kernel, from tensors alone."""
    lab, car = (
        np.stack([drive(frames, setup, faults, at) for at in KEPT_BACK]).transpose(0, 3, 1, 2)
        for faults in ({}, {"antialias": {}})
    )
    return diagnose_alone(lab, car)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--only", default=",".join((*FAULTS, ALONE)), help="classes, with commas between them")
    asked = parser.parse_args()
    asked.out.mkdir(parents=True, exist_ok=True)
    setup = SETUPS[SETUP]
    with tempfile.TemporaryDirectory() as folder:
        made = synth_cases(SEED, 2, 2.8, Path(folder))
        frames, beside = (pictures(str(next(c.glob("cameras/front/video.*"))), setup.source) for c in made)
        for number, name in enumerate(asked.only.split(",")):
            solved = _alone(setup, frames) if name == ALONE else _solved(setup, frames, beside, name, SEED + number)
            picture = np.ascontiguousarray(strip(draw(solved.pictures))[..., ::-1])
            cv2.imwrite(str(asked.out / f"{name}.jpg"), picture, [cv2.IMWRITE_JPEG_QUALITY, 82])
            print(f"{name}: {solved.diagnosis.sentence}\n  {solved.diagnosis.lines}", flush=True)


if __name__ == "__main__":
    main()
