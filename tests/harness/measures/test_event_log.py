"""Events: consecutive frames are one event, however the chunks fall."""

from itertools import pairwise

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.measures.events import Event, EventLog
from harness.run.catalogue import event_kinds
from harness.run.tables import BANDS, TABLES

LIMITS = (0.15, 0.15, 0.30)


def slow_events(values, limits):
    """values [frames, tracks, bands]; frame by frame."""
    found = []
    for track in range(values.shape[1]):
        for band in range(3):
            run = []
            for frame in [*range(len(values)), None]:
                if frame is not None and values[frame, track, band] > limits[band]:
                    run.append(frame)
                    continue
                if run:
                    worst = max(values[f, track, band] for f in run)
                    found.append((run[0], run[-1], track, BANDS[band], worst))
                run = []
    return sorted(found)


@given(st.integers(0, 10_000), st.integers(1, 40), st.integers(1, 3), st.lists(st.integers(1, 15), max_size=6))
def test_agrees_with_the_slow_way_however_chunks_fall(seed, frames, tracks, cuts):
    rng = np.random.default_rng(seed)
    values = rng.choice([0.0, 0.1, 0.15, 0.2, 0.4, np.nan], size=(frames, tracks, 3))
    log = EventLog("m")
    edges = [0, *[c for c in np.cumsum(cuts) if c < frames], frames]
    for a, b in pairwise(edges):
        frame = np.repeat(np.arange(a, b), tracks)
        log.bands("bend", frame, np.tile(np.arange(tracks), b - a), values[a:b].reshape(-1, 3), LIMITS)
    table = log.table("case", "deploy/ort-fp32", "train/torch-fp32")
    assert dict(table.schema) == {k: v if isinstance(v, pl.DataType) else v() for k, v in TABLES["events"].items()}
    assert sorted(table.select("frame_start", "frame_end", "track", "band", "value").rows()) == slow_events(
        values, LIMITS
    )


def test_a_value_at_its_threshold_is_no_event_and_nan_is_none():
    log = EventLog("m")
    log.bands("bend", np.array([3]), 0, np.array([[0.15, np.nan, 0.3001]]), LIMITS)
    assert log.table("c", "r", "ref").select("band", "value", "threshold", "unit", "owner").rows() == [
        ("far", 0.3001, 0.3, "m", "candidate")
    ]


def test_a_missing_line_counts_its_frames():
    log = EventLog("px")
    log.frames("missing", np.array([4, 5, 6]), 2)
    log.frames("missing", np.array([7, 10]), 2)
    log.frames("extra", np.array([7, 7, 8]))
    rows = log.table("c", "r", "ref").select("kind", "frame_start", "frame_end", "track", "value", "unit").rows()
    assert rows == [
        ("extra", 7, 8, None, 2.0, "frames"),
        ("missing", 4, 7, 2, 4.0, "frames"),
        ("missing", 10, 10, 2, 1.0, "frames"),
    ]


def test_nonfinite_keeps_the_worst_count():
    log = EventLog("m")
    log.frames("nonfinite", np.array([1, 2]), value=[5, 90])
    assert log.table("c", "r", "ref")["value"].to_list() == [90.0]


def test_a_whole_event_keeps_its_owner():
    log = EventLog("px")
    log.add(Event("swing", 10, 40, 1, 2, 9.0, 5.0, "both"))
    row = log.table("c", "r", "ref").row(0, named=True)
    assert (row["owner"], row["band"], row["unit"]) == ("both", "far", "px")


def test_no_events_is_an_empty_table_of_the_same_columns():
    assert EventLog("m").table("c", "r", "ref").columns == list(TABLES["events"])


@pytest.mark.parametrize("kind", sorted(event_kinds()))
def test_every_kind_makes_a_row(kind):
    log = EventLog("m")
    log.add(Event(kind, 0, 1, 0, 0, 2.0, 1.0))
    assert log.table("c", "r", "ref").height == 1
