"""Frames of the synthetic road a second on one core, rendered alone and written as cases.

Budget: at least 15 frames/s at 640x360 on one core. Runs itself with one thread for OpenCV and NumPy and reports
processor time, so that what else the machine does matters little.

    python -m benchmarks.synth [--seeds 12] [--seconds 2]
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import cv2

from cases.synth import render_clip, write_synth_case

FPS = 20


def main() -> None:
    """Print frames a second of every seed's clip: minimum, median, maximum."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=12)
    parser.add_argument("--seconds", type=float, default=2.0)
    options, _ = parser.parse_known_args()
    cv2.setNumThreads(1)
    for _ in render_clip(0, 0.1):
        pass  # the textures are made once, with the first frame
    with tempfile.TemporaryDirectory() as folder:
        jobs: dict[str, Callable[[int], object]] = {
            "rendered": lambda seed: [None for _ in render_clip(seed, options.seconds)],
            "rendered and written (FFV1)": lambda seed: write_synth_case(seed, options.seconds, Path(folder)),
        }
        for what, job in jobs.items():
            rates = [round(options.seconds * FPS) / _cpu_seconds(job, seed) for seed in range(options.seeds)]
            print(f"{what}: {min(rates):.1f} / {statistics.median(rates):.1f} / {max(rates):.1f} frames/s of one core")


def _cpu_seconds(job: Callable[[int], object], seed: int) -> float:
    start = time.process_time()
    job(seed)
    return time.process_time() - start


if __name__ == "__main__":
    main()
