"""Measures the candidates on held-out clips: lateral error against ground truth on both pipelines.

    python examples/roadlines/evaluate.py [--seeds 9100 9200 9300] [--clips 12]

Each group is that many clips of consecutive seeds, 3 s at 4 frames/s. Nothing here chose anything: training uses seeds
below 8000, validation those from 8800 to 8824.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from network import STATIONS_M, RoadLines
from numpy.typing import NDArray
from safetensors.torch import load_file

from cases.picture import Picture
from cases.synth import camera_picture, render_clip
from cases.synth.scene import TRUTH_X_M
from harness.feed.preprocess import build_pipeline
from harness.model.card import load_card

HERE = Path(__file__).resolve().parent
CANDIDATES, PIPELINES = ("baseline", "robust"), ("train", "deploy")
BANDS_M = ((0, 20), (20, 40), (40, 80), (0, 40))


def main() -> None:
    """Print one row for every group, candidate and pipeline."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[9100, 9200, 9300], help="first seed of each group")
    parser.add_argument("--clips", type=int, default=12)
    options = parser.parse_args()
    print(
        "| seeds | candidate | pipeline | 0-20 m | 20-40 m | 40-80 m | within 40 m | presence |\n|---|---|---|"
        + "---|" * 5
    )
    for seed in options.seeds:
        frames = list(_frames(seed, options.clips))
        for candidate in CANDIDATES:
            for pipeline in PIPELINES:
                errors, presence = _measured(candidate, pipeline, frames)
                shown = " | ".join(f"{error:.3f} m" for error in errors)
                last = seed + options.clips - 1
                print(f"| {seed}-{last} | {candidate} | {pipeline} | {shown} | {100 * presence:.1f} % |", flush=True)


def _frames(seed: int, clips: int) -> Iterator[tuple[Picture, NDArray[np.float64]]]:
    for k in range(clips):
        for rgb, lines, _ in render_clip(seed + k, 3.0, fps=4.0):
            yield camera_picture(rgb), lines


@torch.no_grad()
def _measured(
    candidate: str, pipeline: str, frames: list[tuple[Picture, NDArray[np.float64]]]
) -> tuple[list[float], float]:
    """Mean absolute lateral error of each of BANDS_M, and the share of slots rightly called present or absent."""
    card = load_card(HERE / f"{candidate}.toml")
    model = RoadLines()
    model.load_state_dict(load_file(HERE / f"{candidate}.safetensors"))
    model.eval()
    run = build_pipeline(getattr(card.preprocess, pipeline), card.inputs[0])
    outputs = [model(torch.from_numpy(run(picture))) for picture, _ in frames]
    y_m = np.stack([lines[0, :, :, 1].numpy() for lines, _ in outputs])
    there = np.stack([scores[0].numpy() > 0.5 for _, scores in outputs])
    truth = np.stack([[np.interp(STATIONS_M, TRUTH_X_M, y) for y in lines] for _, lines in frames])
    station = np.array(STATIONS_M)
    errors = [
        float(np.nanmean(np.abs(y_m - truth)[..., (station >= near) & (station <= far)])) for near, far in BANDS_M
    ]
    return errors, float((there == np.isfinite(truth[..., 0])).mean())


if __name__ == "__main__":
    main()
