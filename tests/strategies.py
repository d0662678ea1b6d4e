"""Hypothesis strategies that several tests share: offsets on stations, lines, tables of lines, output tensors.

Long arrays come from a drawn seed: drawing them number by number takes far longer than measuring them. Their numbers
are multiples of 1/64, so that float32 holds them exactly and equal values turn up.
"""

from __future__ import annotations

import numpy as np
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from harness.lines.table import CLOSED, NO_SLOT, OPEN, LineTable
from harness.model.grid import Grid, image_grid, vehicle_grid

__all__ = ["grids", "line_tables", "offsets", "polylines", "quick", "tensors"]

# a busy machine must not fail a law
quick = settings(deadline=None, max_examples=60)

VEHICLE = vehicle_grid()
IMAGE = image_grid(640, 360, (350, 170))


def grids() -> st.SearchStrategy[Grid]:
    """The two frames, and a grid whose bands do not touch."""
    return st.sampled_from([VEHICLE, IMAGE, vehicle_grid(((2, 18), (25, 45), (50, 90)))])


@st.composite
def offsets(draw: st.DrawFn, bands: int = 3, stations: int = 17, max_pairs: int = 3) -> np.ndarray:
    """Offsets [pairs, bands, stations] of noise or few spikes; NaN at either end and here and there.

    Neighbouring bands share their edge, as the bands of a grid do.
    """
    pairs = draw(st.integers(0, max_pairs))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    values = rng.integers(-192, 193, (pairs, bands, stations)) / 64
    if draw(st.booleans()):
        values *= rng.random(values.shape) < 0.1
    flat = values.reshape(pairs, bands * stations)
    place = np.arange(flat.shape[1])
    for row in flat:
        near, far = draw(st.integers(0, 6)), draw(st.integers(flat.shape[1] // 2, flat.shape[1]))
        row[(place < near) | (place >= far)] = np.nan
        row[draw(st.lists(st.integers(0, flat.shape[1] - 1), max_size=4))] = np.nan
    values[:, 1:, 0] = values[:, :-1, -1]
    return values


def polylines(grid: Grid = VEHICLE, max_points: int = 9, tidy: bool = False) -> st.SearchStrategy[np.ndarray]:
    """Points [points, 2] in the grid's frame: in any order and with points that are not finite unless `tidy`."""
    return st.integers(0, 2**32 - 1).map(lambda seed: _polyline(np.random.default_rng(seed), grid, max_points, tidy))


def _polyline(rng: np.random.Generator, grid: Grid, max_points: int, tidy: bool) -> np.ndarray:
    near, far = grid.edges[0][0], grid.edges[2][1]
    ends = np.array([min(near, far) - 10, max(near, far) + 10]) * 64
    count = int(rng.integers(2 if tidy else 0, max_points + 1))
    # half of them roughly a lane line, half of them anything
    along = rng.integers(*ends, count) / 64
    if tidy or rng.random() < 0.5:
        along = np.unique(along)[:: 1 if near < far else -1]
    if tidy and len(along) < 2:
        along = np.array([near, far], float)
    beside = rng.integers(-20 * 64, 20 * 64, len(along)) / 64
    if rng.random() < 0.7:
        beside = rng.choice([-1.75, 1.75, 5.25]) + beside / 64
    points = np.stack([along, beside] if grid.frame == "vehicle" else [beside, along], axis=1).astype(np.float32)
    if not tidy and len(points) and rng.random() < 0.1:
        points[rng.integers(len(points)), rng.integers(2)] = rng.choice([np.nan, np.inf])
    return points


@st.composite
def line_tables(draw: st.DrawFn, grid: Grid = VEHICLE, max_lines: int = 6, frames: int = 3) -> LineTable:
    """Lines of a few frames: with and without slots, open and closed, with unusable points."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    count = draw(st.integers(0, max_lines))
    with_slots = draw(st.booleans())
    return LineTable.from_points(
        np.sort(rng.integers(0, frames, count)),
        [_polyline(rng, grid, 9, tidy=False) for _ in range(count)],
        slot=rng.choice([NO_SLOT, 0, 1], count) if with_slots else NO_SLOT,
        category=rng.integers(0, 3, count),
        score=rng.random(count),
        topology=rng.choice([OPEN, OPEN, OPEN, CLOSED], count),
    )


@st.composite
def tensors(draw: st.DrawFn, max_elements: int = 12) -> tuple[np.ndarray, np.ndarray]:
    """Two outputs [frames, elements] of one dtype, often close to each other, at times not finite."""
    dtype = draw(st.sampled_from([np.float32, np.float64, np.float16, np.int64, np.bool_]))
    shape = (draw(st.integers(1, 4)), draw(st.integers(0, max_elements)))
    if np.dtype(dtype).kind != "f":
        sides = [draw(hnp.arrays(np.int8, shape)).astype(dtype) for _ in range(2)]
        return sides[0], sides[1]
    wide = st.floats(width=16) | st.sampled_from([0.0, -0.0, 1.0, 6e-8])
    before = draw(hnp.arrays(np.float64, shape, elements=wide))
    change = draw(hnp.arrays(np.float64, shape, elements=st.sampled_from([0.0, 0.0, 1e-7, -1e-3, 2.0, np.nan])))
    with np.errstate(over="ignore", invalid="ignore"):
        return before.astype(dtype), (before + change).astype(dtype)
