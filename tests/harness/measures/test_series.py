"""Laws of the time axis and of the store that feeds the measures over time."""

import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from harness.errors import MetricError
from harness.measures.series import SeriesStore, fill_short_gaps
from harness.measures.timeline import time_axis
from harness.measures.windows import runs_of

FPS = 20.0
STEP_NS = int(1e9 / FPS)


def slow_fill(values, longest):
    out = values.astype(float).copy()
    i = 0
    while i < len(out):
        if np.isnan(values[i]):
            j = i
            while j < len(out) and np.isnan(values[j]):
                j += 1
            if i > 0 and j < len(out) and j - i <= longest:
                for k in range(i, j):
                    out[k] = values[i - 1] + (values[j] - values[i - 1]) * (k - i + 1) / (j - i + 1)
            i = j
        else:
            i += 1
    return out


sparse = hnp.arrays(np.float64, st.integers(0, 40), elements=st.sampled_from([np.nan, 0.0, 1.0, -2.5]))


@given(sparse, st.integers(0, 6))
def test_short_gaps_are_bridged_and_long_ones_are_not(values, longest):
    np.testing.assert_allclose(fill_short_gaps(values, longest), slow_fill(values, longest))


@given(hnp.arrays(np.bool_, st.integers(0, 60)))
def test_runs_rebuild_their_flags(flags):
    rebuilt = np.zeros_like(flags)
    for a, b in zip(*runs_of(flags), strict=True):
        assert b > a
        assert not rebuilt[max(a - 1, 0) : b].any(), "runs touch"
        rebuilt[a:b] = True
    np.testing.assert_array_equal(rebuilt, flags)


def placed(times):
    """Places and rate."""
    axis = time_axis(times)
    return axis.place, axis.fps


@given(st.lists(st.floats(-0.06, 0.06), min_size=2, max_size=60), st.sampled_from([8.0, 10.0, 25.0, 30.0]))
def test_clock_jitter_never_moves_a_frame_off_its_place(jitter, fps):
    times = np.round((np.arange(len(jitter)) + jitter) * 1e9 / fps).astype(np.int64)
    index, _ = placed(times)
    np.testing.assert_array_equal(index, np.arange(len(times)))


@given(st.sets(st.integers(1, 60), max_size=20))
def test_dropped_frames_leave_holes_of_their_own_length(dropped):
    kept = np.array([f for f in range(62) if f not in dropped])
    index, fps = placed(kept * STEP_NS)
    if np.median(np.diff(kept)) == 1:
        assert fps == pytest.approx(FPS)
        holes = np.diff(kept)
        np.testing.assert_array_equal(np.diff(index), np.minimum(holes, 21))


@given(st.lists(st.integers(-3_000_000, 3_000_000), min_size=12, max_size=12))
def test_a_dropped_frame_leaves_its_hole_under_clock_jitter_too(jitter_ns):
    kept = np.array([0, 1, 2, 3, 4, 5, 7, 8, 9, 10, 11, 12])
    index, _ = placed(kept * STEP_NS + np.array(jitter_ns))
    np.testing.assert_array_equal(index, kept)


def test_rate_of_one_frame_is_unknown():
    index, fps = placed([5])
    assert index.tolist() == [0]
    assert np.isnan(fps)


def test_a_clock_that_drifts_keeps_one_frame_a_step():
    times = np.round(np.arange(100_000) * 1e9 / 29.97).astype(np.int64)
    index, fps = placed(times)
    assert index[-1] == 99_999
    assert fps == pytest.approx(29.97, rel=1e-4)


def test_a_pause_of_an_hour_is_kept_as_a_second():
    index, _ = placed([0, STEP_NS, 3_600_000_000_000, 3_600_000_000_000 + STEP_NS])
    assert index.tolist() == [0, 1, 22, 23]


def rows(rng, frames, lines):
    frame = np.repeat(np.arange(frames), lines)
    track = np.tile(np.arange(lines), frames)
    return frame, track, rng.normal(size=(len(frame), 3)), rng.normal(size=(len(frame), 3))


@pytest.mark.parametrize("spool_bytes", [64, 1 << 20])
@pytest.mark.parametrize("chunk", [1, 7, 50])
def test_chunks_and_spooling_change_nothing(spool_bytes, chunk):
    frame, track, offset, reference = rows(np.random.default_rng(0), 50, 3)
    with SeriesStore((10, 20, 40), spool_bytes=spool_bytes) as store:
        for a in range(0, 50, chunk):
            frames = np.arange(a, min(a + chunk, 50))
            store.clock.tick(frames, frames * STEP_NS)
            part = (frame >= a) & (frame < a + chunk)
            store.append(frame[part], track[part], offset[part], reference[part])
        for series in store.tracks():
            own = track == series.track
            np.testing.assert_array_equal(series.offset, offset[own].astype(np.float32))
            np.testing.assert_array_equal(series.reference, reference[own].astype(np.float32))
            np.testing.assert_allclose(series.candidate, (offset + reference)[own], atol=1e-6)
            assert series.frame.tolist() == list(range(50))
            assert series.in_candidate.all()
            assert series.fps == pytest.approx(FPS)


@pytest.mark.parametrize("held", [1, 7, 1 << 15])
def test_however_many_tracks_are_sorted_at_once_each_has_its_own_rows(monkeypatch, held):
    monkeypatch.setattr("harness.measures.series._HELD_ROWS", held)
    rng = np.random.default_rng(2)
    frame = np.sort(rng.integers(0, 30, 300))
    track = rng.integers(0, 40, 300)
    frame, track = np.unique(np.stack([frame, track]), axis=1)
    offset, reference = rng.normal(size=(2, len(frame), 3)).astype(np.float32)
    with SeriesStore((10, 20, 40), spool_bytes=64) as store:
        store.clock.tick(np.arange(30), np.arange(30) * STEP_NS)
        for a in range(0, 30, 4):
            part = (frame >= a) & (frame < a + 4)
            store.append(frame[part], track[part], offset[part], reference[part])
        found = list(store.tracks())
    assert [s.track for s in found] == sorted(set(track.tolist()))
    for series in found:
        own = track == series.track
        at = frame[own] - series.frame[0]
        np.testing.assert_array_equal(series.offset[at], offset[own])
        np.testing.assert_array_equal(series.reference[at], reference[own])
        assert series.in_reference.sum() == own.sum()
        assert (series.frame[0], series.frame[-1]) == (frame[own][0], frame[own][-1])


def test_a_track_spans_its_own_life_with_holes_in_it():
    with SeriesStore((10, 20, 40)) as store:
        store.clock.tick(range(100, 110), np.arange(10) * STEP_NS)
        offset = np.array([[1, 1, np.nan], [np.nan] * 3, [2, 2, 2]])
        store.append([102, 103, 106], [4, 4, 4], offset, np.zeros((3, 3)), merging=[False, False, True])
        store.append([104], [-1], np.zeros((1, 3)), np.zeros((1, 3)))
        (series,) = store.tracks()
    assert series.frame.tolist() == [102, 103, 104, 105, 106]
    assert series.in_reference.tolist() == [True, True, False, False, True]
    assert series.in_candidate.tolist() == [True, False, False, False, True]
    assert series.merging.tolist() == [False, False, False, False, True]
    np.testing.assert_array_equal(series.offset[:, 0], [1, np.nan, np.nan, np.nan, 2])


def test_a_frame_without_a_time_is_an_error():
    with SeriesStore((10, 20, 40)) as store:
        store.clock.tick([0, 1], [0, STEP_NS])
        store.append([7], [0], np.zeros((1, 3)), np.zeros((1, 3)))
        with pytest.raises(MetricError, match="frames that the clock does not know"):
            list(store.tracks())


@pytest.mark.slow
def test_memory_stays_flat_over_100_000_frames():
    lines, chunk = 4, 500
    rng = np.random.default_rng(1)
    frame, track, offset, reference = rows(rng, chunk, lines)
    tracemalloc.start()
    with SeriesStore((10, 20, 40)) as store:
        for a in range(0, 100_000, chunk):
            store.clock.tick(np.arange(a, a + chunk), np.arange(a, a + chunk) * STEP_NS)
            store.append(frame + a, track, offset, reference)
        _, while_filling = tracemalloc.get_traced_memory()
        for series in store.tracks():
            assert len(series.offset) == 100_000
            del series
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert while_filling < 4e6
    assert peak < 9e6, "more than one track was dense at once"


@pytest.mark.parametrize("rates", [(20, 24), (24, 20), (20, 15), (30, 20, 30), (10, 15)])
@pytest.mark.parametrize("jitter", [0.0, 0.06])
def test_a_rate_that_changes_within_a_clip_stretches_no_time(rates, jitter):
    """Eight seconds at each rate, the clock shaking: a line that moves by 1 Hz throughout still does."""
    rng = np.random.default_rng(0)
    parts = [k * 8 + np.arange(8 * fps) / fps for k, fps in enumerate(rates)]
    seconds = np.concatenate(parts) + np.concatenate([rng.uniform(-jitter, jitter, 8 * f) / f for f in rates])
    axis = time_axis(np.round(seconds * 1e9).astype(np.int64))
    assert np.abs(axis.place / axis.fps - seconds).max() < 0.02 * seconds[-1]
    frames = np.arange(len(seconds))
    sine = np.sin(2 * np.pi * seconds)
    with SeriesStore((10, 20, 40)) as store:
        store.clock.tick(frames, np.round(seconds * 1e9).astype(np.int64))
        store.append(frames, np.zeros(len(frames)), np.tile(sine[:, None], 3), np.zeros((len(frames), 3)))
        (series,) = store.tracks()
    crossings = np.flatnonzero(np.diff(np.sign(series.offset[:, 0])) > 0)
    assert len(crossings) in (8 * len(rates) - 1, 8 * len(rates))
    assert np.median(np.diff(crossings)) / series.fps == pytest.approx(1.0, abs=0.06)
    assert (np.diff(series.frame) >= 0).all()


def test_frames_dropped_regularly_are_no_change_of_rate():
    kept = np.array([f for f in range(400) if f < 200 or f % 2 == 0])
    axis = time_axis(kept * STEP_NS)
    np.testing.assert_array_equal(axis.place, kept)
    assert axis.joined.sum() == 200
