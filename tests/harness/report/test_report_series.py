"""Time series small enough to embed, without losing a peak."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.report.clip import frames_of_case, lines_of_case
from harness.report.packing import MISSING
from harness.report.series import case_series, min_max_buckets, swing_signal
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


def made(run, case="highway_curve", frames=None, **more):
    facts = read_facts(run.meta)
    lines = lines_of_case(run, case, facts.ladder)
    every = frames_of_case(run, case, ()) if frames is None else frames
    return facts, *case_series(
        run, case, lines, every, fps=20.0, rungs=facts.ladder, reference=facts.reference, grid=facts.grid,
        quantum=0.001, **more,
    )  # fmt: skip


def told(streams, name):
    values = np.cumsum(streams[name])
    return np.where(values == MISSING, np.nan, values * 1e-4)


def test_offset_and_bend_are_what_the_table_says(tmp_path):
    run = make_run(tmp_path, Shape(cases=2, rungs=3, frames=9))
    facts, head, streams = made(run)
    rows = run.read("line_metrics")
    for i, (rung, track, band) in enumerate(head["traces"]):
        own = rows.filter(case="highway_curve", rung=facts.ladder[rung], track=track, band=band).sort("frame")
        for signal, column in (("offset", "offset_mean"), ("bend", "bend")):
            assert told(streams, f"{i}.{signal}") == pytest.approx(own[column].to_numpy(), abs=6e-5)
    assert len(head["traces"]) == 2 * 3 * 3  # rungs, tracks, bands


def test_swing_and_jitter_are_those_of_the_lines_at_the_look_ahead(tmp_path):
    run = make_run(tmp_path, Shape(cases=1, rungs=4, frames=60))
    facts, head, streams = made(run)
    rung = facts.ladder.index("deploy/ort-fp32")  # the fixture swings it
    at = head["traces"].index([rung, 0, "mid"])
    rows = run.read("lines").filter(case="highway_curve", track=0).sort("frame")
    own, lab = (
        np.array([np.interp(20.0, r["x"], r["y"]) for r in rows.filter(rung=name).iter_rows(named=True)])
        for name in (facts.ladder[rung], facts.reference)
    )
    offset = own - lab
    assert told(streams, f"{at}.swing") == pytest.approx(swing_signal(offset, 20.0), abs=2e-4)
    wobble = np.abs(np.diff(offset, n=2)) / np.sqrt(6)
    assert told(streams, f"{at}.jitter")[1:-1] == pytest.approx(wobble, abs=2e-4)


def test_a_line_without_a_track_is_no_series(tmp_path):
    run = make_run(tmp_path, Shape(cases=1, rungs=2, frames=5))
    for name in ("line_metrics", "lines"):
        none = pl.when(pl.col("track") != 1).then(pl.col("track")).alias("track")
        put_table(run, name, run.read(name).with_columns(none))
    assert {track for _, track, _ in made(run)[1]["traces"]} == {0, 2}


def test_a_long_clip_is_bucketed_to_the_limit(tmp_path):
    run = make_run(tmp_path, Shape(cases=1, rungs=2, frames=101))
    _, head, streams = made(run, max_points=20)
    assert head["bucketed"]
    assert len(head["steps"]) == 20
    assert head["steps"] == sorted(head["steps"])
    assert len(streams["0.offset"]) == 20


@pytest.mark.parametrize(
    "numbers",
    [
        np.arange(20) - 100,
        np.r_[np.arange(10), 2 * 10**10 + np.arange(10)],
        2**62 + np.arange(20),
        np.r_[-(2**63), np.arange(18), 2**63 - 1],
    ],
    ids=["negative", "a leap", "beyond 2^53", "both ends"],
)
def test_any_frame_number_has_its_place(tmp_path, numbers):
    run = make_run(tmp_path, Shape(cases=1, rungs=2, frames=20))
    for name in ("lines", "line_metrics", "frame_metrics"):
        put_table(run, name, run.read(name).with_columns(frame=pl.col("frame").replace_strict(range(20), numbers)))
    assert frames_of_case(run, "highway_curve", ()).tolist() == numbers.tolist()
    _, _, streams = made(run)
    assert len(streams["0.offset"]) == 20
