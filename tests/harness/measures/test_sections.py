"""A case measured in sections has the measures over time that it has as a whole."""

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from harness.measures.events import EventLog
from harness.measures.sections import OVERLAP_S
from harness.measures.series import SeriesStore
from harness.measures.series_table import SeriesTable
from harness.model.grid import vehicle_grid

FPS = 20
FRAMES, SECTION = 3000, 1000
NAMES = {"case": "c1", "rung": "deploy/ort-fp32", "reference": "train/torch-fp32"}


def measured(offset, reference, section, drawn=None, chunk=250):
    """(table, events) of one track, offset and reference [frames]; frames that are not `drawn` have no candidate."""
    drawn = np.ones(len(offset), bool) if drawn is None else drawn
    log, table = EventLog("m"), SeriesTable(grid=vehicle_grid(), **NAMES)
    with SeriesStore((10.0, 20.0, 40.0)) as store:
        for first in range(0, len(offset), chunk):
            frames = np.arange(first, min(first + chunk, len(offset)))
            store.clock.tick(frames, frames * (10**9 // FPS))
            values = np.repeat(np.where(drawn, offset, np.nan)[frames, None], 3, axis=1)
            store.append(
                frames,
                np.zeros(len(frames)),
                values,
                np.repeat(reference[frames, None], 3, axis=1),
                matched=drawn[frames],
            )
            if frames[-1] + 1 < len(offset) and (frames[-1] + 1) % section == 0:
                table.add(store)
                context = store.clock.since(OVERLAP_S)
                store.forget(context)
                store.clock.forget(context)
        table.add(store)
    rows = table.table(log)
    return rows, log.table("c1", "r", "q")


def sine(seconds, width_m, hz):
    """Whole sines of that peak-to-peak width."""
    return width_m / 2 * np.sin(2 * np.pi * hz * np.arange(round(seconds * FPS)) / FPS)


def road(seed=0):
    """A reference that wanders smoothly, and noise of a centimetre for the offset."""
    rng = np.random.default_rng(seed)
    slow = np.convolve(rng.normal(0, 1, FRAMES), np.hanning(101) / 50, "same")
    return rng.normal(0, 0.01, FRAMES), slow


def planted(kind, at, offset, reference):
    """Something that a measure over time is there for, around one frame."""
    offset, reference = offset.copy(), reference.copy()
    if kind == "swing":
        part = sine(8, 0.8, 0.5)
    elif kind == "wander":
        part = sine(24, 1.2, 0.12)
    elif kind == "tremble":
        part = sine(3, 0.4, 5.0)
    elif kind == "glitch":
        part = np.full(1, 1.5)
    elif kind == "drift":
        part = np.full(6 * FPS, 0.5)
    else:
        part = np.full(FRAMES - at, 0.8)
    first = at if kind in ("glitch", "step") else at - len(part) // 2
    offset[first : first + len(part)] += part
    return offset, reference


@pytest.mark.parametrize("at", [SECTION, SECTION - 1, SECTION + 7, 2 * SECTION - 30, 1500])
@pytest.mark.parametrize("kind", ["swing", "wander", "tremble", "glitch", "drift", "step"])
def test_what_lies_across_a_seam_is_found_once_and_as_large(kind, at):
    offset, reference = planted(kind, at, *road())
    whole, events = measured(offset, reference, FRAMES)
    parts, found = measured(offset, reference, SECTION)
    column = "swing_pp" if kind == "swing" else kind
    # a turning point that has no leg before it, and what the road explains, depend a little on what came before
    np.testing.assert_allclose(parts[column].to_numpy(), whole[column].to_numpy(), rtol=0.1)
    assert found.filter(pl.col("kind") == kind).height == events.filter(pl.col("kind") == kind).height > 0


@pytest.mark.parametrize("seed", range(3))
def test_counts_are_equal_and_numbers_close(seed):
    offset, reference = road(seed)
    drawn = np.random.default_rng(seed).random(FRAMES) > 0.02
    drawn[SECTION - 60 : SECTION + 60] = True
    whole, parts = (measured(offset, reference, n, drawn)[0] for n in (FRAMES, SECTION))
    exact = ["track", "station", "fps", "frames", "reference_frames", "toggles_per_min", "lag_frames"]
    assert_frame_equal(parts.select(exact), whole.select(exact))
    near = ["bias", "drift", "jitter", "tremble", "sway_rms", "swing_rate"]
    assert_frame_equal(parts.select(near), whole.select(near), rel_tol=0.15, abs_tol=2e-3)
    assert whole["frames"].max() < FRAMES


@pytest.mark.parametrize("late", [0, 3])
def test_a_delay_is_told_of_all_sections(late):
    _, reference = road()
    reference *= 3
    offset = np.roll(reference, late) - reference
    whole, parts = (measured(offset, reference, n)[0]["lag_frames"] for n in (FRAMES, SECTION))
    np.testing.assert_allclose(parts.to_numpy(), whole.to_numpy(), atol=0.05)
    assert whole.to_list() == pytest.approx([late] * 3, abs=0.05)


def test_a_track_that_is_over_counts_in_its_own_section_alone():
    offset, _ = road()
    with SeriesStore((10.0, 20.0, 40.0)) as store:
        table = SeriesTable(grid=vehicle_grid(), **NAMES)
        for first, track in ((0, 0), (SECTION, 1)):
            frames = np.arange(first, first + SECTION)
            store.clock.tick(frames, frames * (10**9 // FPS))
            values = np.repeat(offset[frames, None], 3, axis=1)
            store.append(frames, np.full(SECTION, track), values, values)
            table.add(store)
            context = store.clock.since(OVERLAP_S)
            store.forget(context)
            store.clock.forget(context)
        table.add(store)
    assert table.table()["frames"].to_list() == [SECTION] * 6
