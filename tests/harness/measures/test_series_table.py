"""The table of measures over time, from stores with planted behaviour."""

import math

import numpy as np
import polars as pl
import pytest

from harness.measures import series_table
from harness.measures.events import EventLog
from harness.measures.series import SeriesStore
from harness.measures.series_table import SeriesTable
from harness.model.grid import vehicle_grid
from harness.run.tables import TABLES

NAMES = {"case": "c1", "rung": "deploy/ort-fp32", "reference": "train/torch-fp32"}
LOOK_AHEAD = (10.0, 20.0, 40.0)


def table_of_store(store, log=None):
    table = SeriesTable(grid=vehicle_grid(), **NAMES)
    table.add(store)
    return table.table(log)


def table_of(offset, reference=None, fps=20.0, log=None, present=None, **ticks):
    """offset [frames, 3] of one track; unmatched where `present` is false."""
    frames = np.arange(len(offset))
    reference = np.zeros_like(offset) if reference is None else reference
    present = np.ones(len(offset), bool) if present is None else present
    with SeriesStore(LOOK_AHEAD) as store:
        store.clock.tick(frames, np.round(frames * 1e9 / fps).astype(np.int64), **ticks)
        store.append(
            frames, np.zeros(len(frames)), np.where(present[:, None], offset, np.nan), reference, matched=present
        )
        return table_of_store(store, log)


@pytest.mark.parametrize("fps", [5.0, 8.0, 10.0, 20.0, 60.0])
def test_a_track_under_a_quarter_of_a_second_has_no_value_whatever_it_does(fps, monkeypatch):
    rng = np.random.default_rng(int(fps))
    for length in range(1, math.ceil(series_table.SHORTEST_S * fps)):
        offset, reference = rng.normal(0, 5, (2, length, 3))
        given = {"reference": reference, "fps": fps, "present": rng.random(length) < 0.7}
        logs = [EventLog("m") for _ in range(2)]
        short = table_of(offset, log=logs[0], **given)
        with monkeypatch.context() as patched:
            patched.setattr(series_table, "SHORTEST_S", 0.0)
            looked_at = table_of(offset, log=logs[1], **given)
        assert short.equals(looked_at)
        assert [log.table("c1", "r", "q").height for log in logs] == [0, 0]


def swinging(fps=20.0, seconds=10):
    t = np.arange(round(seconds * fps)) / fps
    return 0.2 * np.sin(2 * np.pi * t)


def columns(*values):
    return np.stack(values, axis=1)


def test_one_row_per_track_and_station_with_the_columns_of_the_contract():
    table = table_of(np.zeros((100, 3)))
    assert dict(table.schema) == {
        k: v if isinstance(v, pl.DataType) else v() for k, v in TABLES["series_metrics"].items()
    }
    assert table["station"].to_list() == list(LOOK_AHEAD)
    assert table["frames"].to_list() == [100] * 3
    assert table["fps"].to_list() == pytest.approx([20.0] * 3)


def test_each_measure_sees_its_own_station_only():
    rng = np.random.default_rng(0)
    noise = rng.normal(scale=0.03, size=200)
    table = table_of(columns(np.full(200, 0.3), noise, swinging()))
    near, mid, far = table.rows(named=True)
    assert near["bias"] == pytest.approx(0.3)
    assert near["jitter"] == pytest.approx(0, abs=1e-6)
    assert mid["jitter"] == pytest.approx(0.035, rel=0.2)  # of the worst of 33 windows
    assert far["sway_rms"] == pytest.approx(0.2 / np.sqrt(2), rel=0.05)
    assert near["swing_pp"] == 0
    assert 0 < mid["swing_pp"] < 0.1  # what noise turns, far below a swing
    assert [r["swing_rate"] for r in (near, mid)] == [0, 0]
    assert far["swing_pp"] == pytest.approx(0.4, rel=0.02)
    assert far["swing_hz"] == pytest.approx(1.0, rel=0.02)
    assert far["swing_rate"] == pytest.approx(6.0)


def test_swings_become_events_at_their_frames():
    log = EventLog("m")
    table_of(columns(np.zeros(200), np.zeros(200), swinging()), log=log)
    (event,) = log.table("c1", "r", "ref").rows(named=True)
    assert (event["kind"], event["band"], event["track"], event["owner"]) == ("swing", "far", 0, "candidate")
    assert event["value"] == pytest.approx(0.4, rel=0.02)
    assert event["frame_start"] in range(4, 20)
    assert event["frame_end"] in range(180, 198)


def test_a_swing_of_the_reference_is_an_event_that_the_candidate_does_not_own():
    log = EventLog("m")
    reference = columns(*[swinging()] * 3)
    table = table_of(-reference, reference, log=log)
    assert table["swing_rate"].to_list() == [0, 0, 0]
    assert log.table("c1", "r", "ref")["owner"].to_list() == ["reference"] * 3


def test_ego_motion_uncovers_who_swings():
    """Alone, the candidate that stands still in the world looks like the one that follows the weaving car."""
    t = np.arange(400) / 20.0
    heading = 0.02 * np.sin(2 * np.pi * t)
    moved = np.concatenate([[0], np.cumsum(20 * np.sin(heading[:-1]))]) / 20
    seen = -(moved[:, None] + heading[:, None] * np.array(LOOK_AHEAD))
    # the candidate does not move with the car: its lines lag behind the world
    for ego, owner in (({}, "reference"), ({"speed_mps": np.full(400, 20.0), "yaw_rad": heading}, "candidate")):
        log = EventLog("m")
        table_of(-seen, seen, log=log, **ego)
        swings = log.table("c", "r", "ref").filter(kind="swing")
        assert set(swings["owner"]) == {owner}


def test_below_8_hz_swing_and_sway_are_not_run():
    table = table_of(columns(*[swinging(7.0)] * 3), fps=7.0)
    for name in ("swing_rate", "swing_pp", "swing_hz", "sway_rms"):
        assert table[name].null_count() == 3
    assert table["jitter"].null_count() == 0


@pytest.mark.parametrize(("offset", "swings"), [(swinging(), True), (np.zeros(200), False)])
def test_lines_that_split_swing_too_and_a_wrong_partner_in_some_frames_is_no_swing(offset, swings):
    """Every 25th frame has the other line's partner."""
    frames = np.arange(200)
    offset = np.where(frames % 25 == 12, offset + 3.0, offset)
    with SeriesStore(LOOK_AHEAD) as store:
        store.clock.tick(frames, frames * 50_000_000)
        store.append(frames, np.zeros(200), columns(*[offset] * 3), np.zeros((200, 3)), merging=True)
        table = table_of_store(store)
    assert (table["swing_rate"] > 0).to_list() == [swings] * 3
    assert table["frames"].to_list() == [200] * 3


def test_a_blinking_line_flickers_and_one_blink_does_not():
    log = EventLog("m")
    present = np.ones(400, bool)
    present[[100, 200, 300]] = False
    table = table_of(np.zeros((400, 3)), log=log, present=present)
    assert table["toggles_per_min"].to_list() == pytest.approx([18.0] * 3)
    (event,) = log.table("c", "r", "ref").rows(named=True)
    assert (event["kind"], event["frame_start"], event["frame_end"], event["unit"]) == ("flicker", 100, 301, "/min")
    log = EventLog("m")
    present[[100, 200]] = True
    table_of(np.zeros((400, 3)), log=log, present=present)
    assert log.table("c", "r", "ref").height == 0


def test_a_late_candidate_lags():
    rng = np.random.default_rng(0)
    road = np.convolve(rng.normal(size=300), np.hanning(20), "valid")[:220] * 0.1
    reference, late = columns(*[road[10:210]] * 3), columns(*[road[7:207]] * 3)
    assert table_of(late - reference, reference)["lag_frames"].to_list() == pytest.approx([3.0] * 3, abs=0.1)


def test_a_line_never_matched_has_nulls_and_a_case_of_one_frame_too():
    table = table_of(np.zeros((50, 3)), present=np.zeros(50, bool))
    for name in ("bias", "jitter", "sway_rms", "swing_rate", "lag_frames"):
        assert table[name].null_count() == 3, name
    assert table["frames"].to_list() == [0] * 3
    assert table_of(np.zeros((1, 3)))["fps"].null_count() == 3


def test_an_empty_case_gives_an_empty_table():
    with SeriesStore(LOOK_AHEAD) as store:
        assert table_of_store(store).height == 0
