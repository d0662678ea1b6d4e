"""Time series small enough to embed, without losing a peak."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.report.series import _axis, case_series, min_max_buckets, pack, points_per_trace, unpack
from harness.run.facts import read_facts
from tests.harness.report.fixture_run import Shape, make_run
from tests.run_folders import put_table
from tests.strategies import quick


@st.composite
def offsets(draw: st.DrawFn, fewest: int, most: int) -> np.ndarray:
    """A series with gaps, of any size between noise and metres; drawn from a seed, which is quick."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    values = rng.normal(0, 10 ** rng.uniform(-6, 2), rng.integers(fewest, most + 1)).astype(np.float32)
    values[rng.random(len(values)) < draw(st.sampled_from([0.0, 0.2, 1.0]))] = np.nan
    return values


@quick
@given(offsets(0, 200))
def test_packing_keeps_gaps_and_rounds_by_one_part_in_sixty_thousand(values):
    back = unpack(pack(values))
    assert (np.isnan(back) == np.isnan(values)).all()
    largest = np.nanmax(np.abs(values), initial=0.0) if np.isfinite(values).any() else 0.0
    assert np.nanmax(np.abs(back - values), initial=0.0) <= largest / 65000


@quick
@given(offsets(40, 400), st.integers(2, 20))
def test_buckets_keep_the_extremes_and_invent_nothing(values, half):
    few = min_max_buckets(values, 2 * half)
    assert len(few) == 2 * half
    if np.isfinite(values).any():
        assert np.nanmin(few) == np.nanmin(values)
        assert np.nanmax(few) == np.nanmax(values)
    assert set(few[np.isfinite(few)].tolist()) <= set(values[np.isfinite(values)].tolist())


def test_the_order_inside_a_bucket_is_that_of_time():
    assert min_max_buckets(np.array([3, 0, 0, 5], np.float32), 2).tolist() == [0, 5]
    assert min_max_buckets(np.array([3, 5, 0, 1], np.float32), 2).tolist() == [5, 0]


@pytest.mark.parametrize(("traces", "points"), [(0, 2000), (10, 2000), (1000, 600), (10**6, 120)])
def test_many_traces_get_fewer_points_each(traces, points):
    assert points_per_trace(traces) == points


def test_a_series_is_what_the_table_says(tmp_path):
    run = make_run(tmp_path, Shape(cases=2, rungs=3, frames=9))
    facts = read_facts(run.meta)
    found = case_series(run, "highway_curve", frames=9, fps=20.0, rungs=facts.ladder, reference=facts.reference)
    assert found["t"] == [round(i / 20, 4) for i in range(9)]
    rows = run.read("line_metrics")
    for trace in found["traces"]:
        name = facts.ladder[trace["rung"]]
        own = rows.filter(case="highway_curve", rung=name, track=trace["track"], band=trace["band"]).sort("frame")
        assert unpack(trace["d"]) == pytest.approx(own["offset_mean"].to_numpy(), abs=1e-5)
    assert len(found["traces"]) == 2 * 3 * 3  # rungs, tracks, bands


def test_a_line_without_a_track_is_no_series(tmp_path):
    run = make_run(tmp_path, Shape(cases=1, rungs=2, frames=5))
    rows = run.read("line_metrics").with_columns(pl.when(pl.col("track") != 1).then(pl.col("track")).alias("track"))
    put_table(run, "line_metrics", rows)
    facts = read_facts(run.meta)
    found = case_series(run, "highway_curve", frames=5, fps=20.0, rungs=facts.ladder, reference=facts.reference)
    assert {t["track"] for t in found["traces"]} == {0, 2}


def test_a_long_clip_is_bucketed_to_the_limit(tmp_path):
    run = make_run(tmp_path, Shape(cases=1, rungs=2, frames=101))
    facts = read_facts(run.meta)
    found = case_series(
        run, "highway_curve", frames=101, fps=20.0, rungs=facts.ladder, reference=facts.reference, max_points=20
    )
    assert found["bucketed"]
    assert len(found["t"]) == 20
    assert found["t"] == sorted(found["t"])
    assert all(len(unpack(t["d"])) == 20 for t in found["traces"])


@pytest.mark.parametrize(
    "numbers",
    [
        np.arange(20) - 100,
        np.r_[np.arange(10), 2 * 10**10 + np.arange(10)],
        10**9 + np.arange(20),
        2**62 + np.arange(20),
        np.r_[-(2**62), np.arange(18), 2**62],
        np.r_[-(2**63), 2**63 - 1],
    ],
    ids=["negative", "a leap", "beyond 1e9", "beyond 2^53", "two leaps", "both ends"],
)
def test_any_frame_number_has_its_point_and_a_leap_is_one_gap(numbers):
    axis = _axis(np.random.default_rng(0).permutation(numbers), 20)
    assert len(axis) <= 3 * len(numbers)
    assert set(numbers.tolist()) <= set(axis.tolist())
    assert all(b > a for a, b in pairwise(axis.tolist()))
    apart = [(a, b) for a, b in pairwise(sorted(numbers.tolist())) if b > a + 1]
    assert all(any(a < n < b for n in axis.tolist()) for a, b in apart)


def test_missing_frames_of_a_clip_are_points_without_a_value():
    assert _axis(np.array([3, 5]), 9).tolist() == list(range(9))
    assert _axis(np.array([5003, 5006]), 9).tolist() == [5003, 5004, 5005, 5006]
    assert _axis(np.zeros(0, np.int64), 3).tolist() == [0, 1, 2]
