import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engines.alignment import NONE, align, estimate_shift, likely_unit

MS = 1_000_000
times = st.lists(st.integers(0, 10**6), min_size=1, max_size=25, unique=True).map(lambda t: np.array(sorted(t)))


def clock(frames, step_ms=50, start_ms=1_700_000_000_000):
    return (start_ms + np.arange(frames) * step_ms) * MS


@given(case=times, dump=times, tolerance=st.integers(0, 10**5))
def test_pairs_are_each_others_nearest_within_the_tolerance_and_no_frame_answers_twice(case, dump, tolerance):
    position = align(case, dump, tolerance).position
    paired = np.flatnonzero(position != NONE)
    assert len(set(position[paired].tolist())) == len(paired)
    for frame in paired:
        gap = abs(dump[position[frame]] - case[frame])
        assert gap <= tolerance
        assert gap == np.abs(dump - case[frame]).min()
        assert gap == np.abs(case - dump[position[frame]]).min()


@given(case=times, tolerance=st.integers(0, 10**5), seed=st.integers(0, 99))
def test_a_dump_of_some_of_the_frames_pairs_exactly_these(case, tolerance, seed):
    kept = np.flatnonzero(np.random.default_rng(seed).random(len(case)) < 0.7)
    if len(kept):
        position = align(case, case[kept], tolerance).position
        assert (position[kept] == np.arange(len(kept))).all()
        assert (position != NONE).sum() == len(kept)


def test_a_frame_is_dropped_only_where_the_dumps_own_rhythm_asks_for_it():
    case = clock(40)
    lossy = align(case, np.delete(case, [10, 11, 25]), 5 * MS)
    assert np.flatnonzero(lossy.dropped).tolist() == [10, 11, 25]
    assert not align(case, case[::3], 5 * MS).dropped.any(), "it keeps every third frame"
    assert not align(case, case[12:30], 5 * MS).dropped.any(), "it began later and ended earlier"


@pytest.mark.parametrize(
    ("dump", "comparable"),
    [
        (clock(40), True),
        (clock(40)[::3], True),
        (clock(40)[5:12], True),
        (clock(120, step_ms=50 / 3), True),
        (np.delete(clock(40), np.arange(4, 40, 5)), True),
        (clock(40) + 37 * MS, False),
        (clock(40) // MS, False),
        (clock(40)[:2], False),
        (np.unique(clock(40) + np.random.default_rng(0).integers(-24, 24, 40) * MS), False),
        (clock(40) + 3600_000 * MS, False),
    ],
)
def test_what_can_be_compared(dump, comparable):
    dump = np.asarray(dump, np.int64)
    assert align(clock(40), dump, 5 * MS).comparable is comparable


@given(
    late_ms=st.floats(-500, 500),
    frames=st.integers(20, 200),
    step_ms=st.sampled_from([33, 50, 100]),
    lost=st.integers(0, 3),
    seed=st.integers(0, 99),
)
def test_a_constant_offset_is_found(late_ms, frames, step_ms, lost, seed):
    case = clock(frames, step_ms)
    rng = np.random.default_rng(seed)
    inner = rng.choice(np.arange(1, frames - 1), lost, replace=False)
    dump = np.delete(case, inner) + round(late_ms * MS) + rng.integers(-MS, MS, frames - lost)
    found = estimate_shift(case, dump, 5 * MS)
    assert abs(found.offset_ns - late_ms * MS) < 1.5 * MS
    assert found.matched == frames - lost


def test_no_offset_explains_times_without_a_rhythm():
    rng = np.random.default_rng(1)
    case, dump = clock(60), np.sort(rng.choice(3_000_000_000, 60, replace=False)) + clock(1)[0]
    assert estimate_shift(case, dump, 5 * MS).matched < 30


@pytest.mark.parametrize("start_ms", [1_700_000_000_000, 0])
@pytest.mark.parametrize("late_ms", [0, 37])
@pytest.mark.parametrize(("unit", "factor"), [("us", 1_000), ("ms", MS), ("ns", 1)])
def test_the_unit_is_guessed_from_the_times(unit, factor, late_ms, start_ms):
    case = clock(40, 50, start_ms)
    dump = (case + late_ms * MS) // factor
    assert likely_unit(case, dump, 5 * MS) == ("" if unit == "ns" else unit)


def test_seconds_are_guessed_where_frames_are_seconds_apart():
    case = clock(30, 1000)
    assert likely_unit(case, case // 10**9, 5 * MS) == "s"
