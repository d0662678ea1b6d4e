"""What the per-frame measures cost; budget: a million line pairs of 51 stations in 10 s on one core.

    python -m benchmarks.metrics [--pairs 1000000] [--repeats 5]

Times are CPU seconds of the process, which is pinned to one core: other work on the machine does not count. The million
pairs are offsets of noise, bows and shifts; one pair in four ends before the far band does, one in ten has gaps. The
rows below it are what one chunk of a replay pays: 250 frames of 4 lines of 33 points, per frame, median and range over
the repeats. Budget: docs/DESIGN.md section 8.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from statistics import median
from time import process_time

import numpy as np

from harness.lines.table import NO_SLOT, LineTable
from harness.measures.accuracy import accuracy_sums
from harness.measures.band import band_metrics
from harness.measures.chamfer import chamfer
from harness.measures.match import match
from harness.measures.pairs import pair_metrics
from harness.measures.stations import resample
from harness.measures.tensor import tensor_metrics
from harness.model.grid import vehicle_grid

BUDGET_S = 10.0
PAIRS_PER_CALL = 100_000
FRAMES, LINES = 250, 4
GRID = vehicle_grid()


def main(arguments: Sequence[str] = ()) -> int:
    """Print the table; 1 where the budget is missed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.metrics", description=__doc__.splitlines()[0])
    parser.add_argument("--pairs", type=int, default=1_000_000)
    parser.add_argument("--repeats", type=int, default=5)
    asked = parser.parse_args(arguments)
    with one_core():
        seconds = sum(million(asked.pairs))
        scaled = seconds * 1e6 / asked.pairs
        print(f"{asked.pairs:,} pairs: {seconds:.2f} s CPU; per million {scaled:.2f} s, budget {BUDGET_S:.0f} s")
        for name, way, unit in chunk_ways():
            way()
            times = [timed(way) / unit * 1e6 for _ in range(asked.repeats)]
            print(f"{name:58} {median(times):10.1f} us [{min(times):.1f}, {max(times):.1f}]")
    return 0 if scaled <= BUDGET_S else 1


@contextmanager
def one_core() -> Iterator[None]:
    """Pin this process to one core, where the system can."""
    if not hasattr(os, "sched_setaffinity"):
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {max(before)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def timed(way: Callable[[], object]) -> float:
    """CPU seconds of one call."""
    start = process_time()
    way()
    return process_time() - start


def million(pairs: int) -> Iterator[float]:
    """CPU seconds of each call of `band_metrics` until so many pairs are measured; making them does not count."""
    rng = np.random.default_rng(0)
    for first in range(0, pairs, PAIRS_PER_CALL):
        offset = made_offsets(rng, min(PAIRS_PER_CALL, pairs - first))
        has = np.ones(offset.shape, bool)
        yield timed(lambda offset=offset, has=has: band_metrics(offset, GRID, has))  # type: ignore[misc]  # defaults bind the loop's arrays


def made_offsets(rng: np.random.Generator, pairs: int) -> np.ndarray:
    """Offsets [pairs, 3, 17] with missing far ends and gaps."""
    place = np.linspace(-1, 1, 17)
    offset = rng.normal(0, 0.02, (pairs, 3, 17)) + rng.normal(0, 0.3, (pairs, 1, 1))
    offset += rng.normal(0, 0.1, (pairs, 3, 1)) * (1 - place**2)
    flat = offset.reshape(pairs, 51)
    last = np.where(rng.random(pairs) < 0.25, rng.integers(34, 51, pairs), 51)
    flat[np.arange(51) >= last[:, None]] = np.nan
    gaps = np.flatnonzero(rng.random(pairs) < 0.1)
    flat[gaps, rng.integers(0, 51, len(gaps))] = np.nan
    return offset


def chunk_ways() -> list[tuple[str, Callable[[], object], int]]:
    """(name, what to time, by how many to divide)."""
    rng = np.random.default_rng(1)
    reference, candidate = made_lines(rng, shared=True), made_lines(rng, shared=True)
    ragged = made_lines(rng, shared=False)
    unslotted = [replace(t, slot=np.full(len(t), NO_SLOT, np.int16)) for t in (reference, candidate)]
    lateral = [resample(t, GRID.stations, GRID.frame) for t in (reference, candidate)]
    matches = match(reference, candidate, GRID, *lateral)
    small = rng.normal(size=(FRAMES, LINES, 33, 2)).astype(np.float32)
    mask = rng.normal(size=(8, 2, 360, 640)).astype(np.float32)
    after = [a + rng.normal(0, 1e-4, a.shape).astype(np.float32) for a in (small, mask)]
    return [
        ("resample, points at shared x, per frame of 4 lines", lambda: _resampled(reference), FRAMES),
        ("resample, points anywhere, per frame of 4 lines", lambda: _resampled(ragged), FRAMES),
        ("match by slot, per frame", lambda: match(reference, candidate, GRID, *lateral), FRAMES),
        ("match by distance, per frame", lambda: match(*unslotted, GRID, *lateral), FRAMES),
        (
            "pair_metrics, per frame of 4 pairs",
            lambda: pair_metrics(reference, candidate, matches, GRID, *lateral),
            FRAMES,
        ),
        ("tensor_metrics, 264 float32, per frame", lambda: tensor_metrics(small, after[0]), FRAMES),
        ("tensor_metrics, 2x360x640 float32 (1.8 MB), per frame", lambda: tensor_metrics(mask, after[1]), len(mask)),
        ("accuracy_sums, per frame of 4 lines", lambda: accuracy_sums(reference, candidate, GRID, FRAMES), FRAMES),
        ("chamfer of 33 points, per pair", lambda: chamfer(reference, candidate), FRAMES * LINES),
    ]


def _resampled(lines: LineTable) -> np.ndarray:
    return resample(lines, GRID.stations, GRID.frame)


def made_lines(rng: np.random.Generator, shared: bool) -> LineTable:
    """FRAMES frames of LINES lane lines with slots, 33 points from 0 to 85 m, at the same x or anywhere."""
    count = FRAMES * LINES
    x = np.broadcast_to(np.linspace(0, 85, 33), (count, 33))
    if not shared:
        x = np.concatenate([x[:, :1], np.sort(rng.uniform(0.1, 84.9, (count, 31)), axis=1), x[:, -1:]], axis=1)
    lane = np.tile(3.6 * np.arange(LINES) - 5.4, FRAMES)
    y = lane[:, None] + 0.0005 * x**2 + rng.normal(0, 0.05, x.shape)
    return LineTable.from_points(
        np.repeat(np.arange(FRAMES), LINES),
        list(np.stack([x, y], axis=2)),
        slot=np.tile(np.arange(LINES), FRAMES),
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
