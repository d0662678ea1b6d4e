"""Tracks: a line keeps its identity from frame to frame."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.lines.table import CLOSED, LineTable
from harness.measures.tracks import NO_TRACK, Tracker

GATE = 1.5


def table(frames, **columns):
    return LineTable.from_points(frames, [np.zeros((2, 2))] * len(frames), **columns)


def flat(lateral, stations=17):
    return np.repeat(np.asarray(lateral, float)[:, None], stations, axis=1)


def test_slots_are_tracks():
    frames = [0, 0, 1, 1]
    tracks = Tracker(GATE, slots=4).update(table(frames, slot=[3, 1, 1, 3]), flat([2, -2, -2, 2]))
    assert tracks.track.tolist() == [3, 1, 1, 3]
    assert not tracks.merging.any()


def test_lines_without_a_slot_begin_after_the_slots():
    tracks = Tracker(GATE, slots=4).update(table([0, 0], slot=[3, -1]), flat([2, -2]))
    assert tracks.track.tolist() == [3, 4]


@given(st.integers(0, 1000), st.lists(st.integers(1, 9), max_size=5))
def test_shuffled_lines_keep_their_tracks_however_chunks_fall(seed, cuts):
    """Four lanes drift by up to 0.5 m a frame, in any order, and half a metre is less than the gate."""
    rng = np.random.default_rng(seed)
    lanes = np.array([-5.25, -1.75, 1.75, 5.25])
    frames, truth, lateral = [], [], []
    for frame in range(30):
        lanes = lanes + rng.uniform(-0.5, 0.5)
        order = rng.permutation(4)
        frames += [frame] * 4
        truth += order.tolist()
        lateral += lanes[order].tolist()
    frames, lateral = np.array(frames), np.array(lateral)
    tracker, found = Tracker(GATE), []
    edges = [0, *[c for c in np.cumsum(cuts) if c < 30], 30]
    for a, b in pairwise(edges):
        part = (frames >= a) & (frames < b)
        found += tracker.update(table(frames[part]), flat(lateral[part])).track.tolist()
    renamed = dict(zip(truth[:4], found[:4], strict=True))
    assert found == [renamed[t] for t in truth]
    assert set(found) == {0, 1, 2, 3}


def follow(lateral_by_frame, **kwargs):
    tracker = Tracker(GATE, **kwargs)
    frames = [f for f, lanes in enumerate(lateral_by_frame) for _ in lanes]
    return tracker.update(table(frames), flat([y for lanes in lateral_by_frame for y in lanes]))


def test_a_short_absence_keeps_the_track_and_a_long_one_loses_it():
    assert follow([[1.0], [], [], [1.2]]).track.tolist() == [0, 0]
    assert follow([[1.0], *[[]] * 6, [1.2]]).track.tolist() == [0, 1]


def test_a_jump_beyond_the_gate_is_another_line():
    assert follow([[0.0], [1.6]]).track.tolist() == [0, 1]


def test_a_line_that_bends_away_far_ahead_keeps_its_track():
    near, far = np.zeros((4, 17)), np.array([0, 3, 6, 9])[:, None] * np.ones((4, 17))
    tracks = Tracker(GATE).update(table([0, 1, 2, 3]), np.concatenate([near, far], axis=1))
    assert tracks.track.tolist() == [0, 0, 0, 0]


def test_closed_lines_and_lines_out_of_reach_have_no_track():
    lateral = flat([1.0, np.nan, -1.0])
    tracks = Tracker(GATE).update(table([0, 0, 0], topology=[CLOSED, 0, 0]), lateral)
    assert tracks.track.tolist() == [NO_TRACK, NO_TRACK, 0]


def test_lines_that_meet_ahead_are_merging_and_parallel_ones_are_not():
    ahead = np.linspace(0, 1, 17)
    meeting = np.stack([3.5 * (1 - ahead), 0 * ahead, 0 * ahead - 3.5])
    tracks = Tracker(GATE).update(table([0, 0, 0]), meeting)
    assert tracks.merging.tolist() == [True, True, False]
    double = Tracker(GATE).update(table([0, 0]), flat([0.0, 0.2]))
    assert not double.merging.any()


@pytest.mark.parametrize("cut", [None, 2])
def test_a_line_that_appears_beside_another_marks_both_in_that_frame(cut):
    frames = np.array([0, 1, 2, 2, 3, 3])
    lateral = flat([0, 0, 0, 1, 0, 1])
    tracker = Tracker(GATE)
    if cut is None:
        merging = tracker.update(table(frames), lateral).merging
    else:
        parts = [frames < cut, frames >= cut]
        merging = np.concatenate([tracker.update(table(frames[p]), lateral[p]).merging for p in parts])
    assert merging.tolist() == [False, False, True, True, False, False]


def test_no_lines_are_no_tracks():
    tracker = Tracker(GATE)
    assert len(tracker.update(LineTable.empty(), np.zeros((0, 17))).track) == 0
    assert tracker.update(table([3]), flat([0.0])).track.tolist() == [0]


def test_a_line_that_starts_beyond_the_near_band_is_followed_too() -> None:
    lateral = np.full((4, 51), np.nan)
    lateral[[0, 2], 20:] = 3.0  # one line beyond the near band in both frames
    lateral[[1, 3], :] = -1.0
    lines = LineTable.from_points([0, 0, 1, 1], [[[0, 0], [1, 0]]] * 4)
    assert Tracker(1.5).update(lines, lateral).track.tolist() == [0, 1, 0, 1]


def test_what_meets_beyond_the_merge_stations_does_not_merge() -> None:
    lateral = np.tile([[3.0], [-3.0]], (1, 51))
    lateral[:, 34:] = 0.0
    lines = LineTable.from_points([0, 0], [[[0, 0], [1, 0]]] * 2)
    assert Tracker(1.5).update(lines, lateral).merging.all()
    assert not Tracker(1.5, merge_stations=17).update(lines, lateral).merging.any()
