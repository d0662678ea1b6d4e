"""Planted faults of space and coverage, drawn as lines and judged: each must come out as it says."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from harness.gate import Status, judge, load_policy
from harness.gate.default import policy_of
from harness.gate.policy import Rule
from harness.model.grid import vehicle_grid
from harness.run.folder import Run
from harness.run.units import Limit
from tests.harness.planted import X_M, drawn, planted_run

RELEASE = Path(__file__).parents[3] / "examples" / "roadlines" / "release.trueline.toml"
FRAMES = 200
LANES_M = np.array([-5.4, -1.8, 1.8, 5.4])


def lanes(frames: int = FRAMES) -> np.ndarray:
    """Four straight lanes, [frames, lines, points]."""
    return np.broadcast_to(LANES_M[:, None], (frames, 4, len(X_M))).copy()


def ruled(run: Run, **keys: object) -> tuple[Status, str]:
    """What one rule finds, and why."""
    guards = [
        Rule(id="missing", metric="missing", rung="*", statistic="max", limit=Limit(9, "lines")),
        Rule(id="extra", metric="extra", rung="*", statistic="max", limit=Limit(9, "lines")),
        Rule(id="coverage", metric="coverage", rung="*", statistic="min", limit=Limit(0, "%", ">=")),
    ]
    rule = judge(run, policy_of([Rule.model_validate({"id": "r", "rung": "*"} | keys), *guards])).rules[0]
    return rule.status, rule.reason


def default(run: Run) -> dict[str, Status]:
    """Status of every rule of the default policy."""
    return {r.id: r.status for r in judge(run).rules}


def cut(lateral: np.ndarray, reach_m: float) -> np.ndarray:
    return np.where(reach_m >= X_M, lateral, np.nan)


def test_lines_that_are_the_same_pass_all_there_is(tmp_path: Path) -> None:
    run = planted_run(tmp_path, drawn(lanes()), drawn(lanes()), frames=FRAMES)
    assert set(default(run).values()) == {Status.PASS}


def test_a_hook_beyond_the_last_whole_band_fails(tmp_path: Path) -> None:
    """The reference ends at 70 m, the candidate hooks by 3 m from 50 m on; other lines reach farther."""
    before = lanes()
    before[:, 1] = cut(before[:, 1], 70)
    after = before + 3 * np.clip((X_M - 50) / 20, 0, None) ** 2 * (LANES_M == -1.8)[:, None]
    found = default(planted_run(tmp_path, drawn(before), drawn(after), frames=FRAMES))
    assert found["bend-far"] is found["offset_max-far"] is Status.FAIL


def test_a_line_that_ends_sooner_fails_by_its_reach(tmp_path: Path) -> None:
    before = lanes()
    before[:, 1] = cut(before[:, 1], 70)
    after = before.copy()
    after[:, 1] = cut(after[:, 1], 42)
    found = default(planted_run(tmp_path, drawn(before), drawn(after), frames=FRAMES))
    assert found["reach_gap"] is Status.FAIL


def test_values_that_are_mostly_null_are_no_pass(tmp_path: Path) -> None:
    """One ego line loses its far band in nineteen of twenty frames; where it is, it is perfect."""
    before, after = lanes(), lanes()
    lost = np.arange(FRAMES) % 20 > 0
    after[lost, 1] = cut(after[lost, 1], 42)
    run = planted_run(tmp_path, drawn(before), drawn(after), frames=FRAMES)
    rule = {"metric": "offset_max", "statistic": "max", "limit": "0.3 m"}
    status, reason = ruled(run, **rule, band="far")
    assert status is Status.NOT_RUN
    assert "10 of the 200 far frames of track" in reason
    assert ruled(run, **rule, band=["near", "far"])[0] is ruled(run, **rule)[0] is Status.NOT_RUN
    assert ruled(run, **rule, band=["near", "mid"])[0] is Status.PASS


def test_what_is_broken_where_it_was_measured_is_broken(tmp_path: Path) -> None:
    before, after = lanes(), lanes()
    lost = np.arange(FRAMES) % 20 > 0
    after[lost, 1] = cut(after[lost, 1], 42)
    after[~lost, 1] += 1
    run = planted_run(tmp_path, drawn(before), drawn(after), frames=FRAMES)
    assert ruled(run, metric="offset_max", statistic="max", limit="0.3 m", band="far")[0] is Status.FAIL


def test_a_band_that_the_reference_never_covers_does_not_count_unless_it_is_named(tmp_path: Path) -> None:
    short = cut(lanes(), 42)
    run = planted_run(tmp_path, drawn(short), drawn(short), frames=FRAMES)
    rule = {"metric": "bend", "statistic": "sustained", "limit": "0.15 m"}
    assert ruled(run, **rule)[0] is Status.PASS
    assert ruled(run, **rule, band=["near", "mid"])[0] is Status.PASS
    for band in ("far", ["near", "far"]):
        status, reason = ruled(run, **rule, band=band)
        assert status is Status.NOT_RUN
    assert "no line in the far band" in reason
    assert judge(run).status is Status.PASS


def test_a_band_too_short_for_a_kink_does_not_count_unless_it_is_named(tmp_path: Path) -> None:
    """As in pictures whose far band is a few rows; a kink elsewhere is seen still."""
    grid = vehicle_grid()
    grid = replace(grid, thresholds=replace(grid.thresholds, kink_length=(4.0, 8.0, 45.0)))
    bent = lanes()
    bent[:, 1] += np.maximum(X_M - 12, 0) * 0.1  # a corner of 5.7 degrees at 12 m
    rule = {"metric": "kink", "statistic": "max", "limit": "3 deg"}
    same = planted_run(tmp_path / "same", drawn(lanes()), drawn(lanes()), frames=FRAMES, grid=grid)
    assert ruled(same, **rule)[0] is Status.PASS
    assert ruled(same, **rule, band="far")[0] is Status.NOT_RUN
    status, reason = ruled(same, **rule, band=["near", "far"])
    assert status is Status.NOT_RUN
    assert "kink has no value in the far band, which is too short for it" in reason
    corner = planted_run(tmp_path / "corner", drawn(lanes()), drawn(bent), frames=FRAMES, grid=grid)
    assert ruled(corner, **rule)[0] is Status.FAIL
    none = replace(grid, thresholds=replace(grid.thresholds, kink_length=(45.0, 45.0, 45.0)))
    blind = planted_run(tmp_path / "blind", drawn(lanes()), drawn(lanes()), frames=FRAMES, grid=none)
    assert ruled(blind, **rule)[0] is Status.NOT_RUN


def test_a_track_of_under_a_second_is_not_asked(tmp_path: Path) -> None:
    before, after = lanes(), lanes()
    before[15:, 0] = after[15:, 0] = np.nan
    after[:15, 0] = cut(after[:15, 0], 42)
    run = planted_run(tmp_path, drawn(before), drawn(after), frames=FRAMES)
    assert ruled(run, metric="bend", statistic="sustained", limit="0.3 m", band="far")[0] is Status.PASS


def test_swing_that_is_null_on_both_ego_lines_is_no_pass(tmp_path: Path) -> None:
    """Both ego lines come and go so fast that no stretch is long enough to look for a swing."""
    before, after = lanes(), lanes()
    away = np.arange(FRAMES) % 18 > 9
    after[away, 1:3] = np.nan
    run = planted_run(tmp_path, drawn(before), drawn(after), frames=FRAMES)
    null = run.read("series_metrics").filter(pl.col("swing_rate").is_null())["track"].unique()
    assert len(null) == 2
    status, reason = ruled(run, metric="event.swing", statistic="count", limit="0 events")
    assert status is Status.NOT_RUN, reason


def test_a_line_that_blinks_in_both_leaves_no_rule_over_time_open(tmp_path: Path) -> None:
    """A clip of 4 s at 10 frames a second; an outer line comes and goes in lab and car alike."""
    before = lanes(40)
    before[np.arange(40) % 11 > 6, 0] = np.nan
    rng = np.random.default_rng(0)
    after = before + 0.01 * rng.standard_normal((40, 4, 1))
    run = planted_run(tmp_path, drawn(before), drawn(after), frames=40, fps=10.0)
    for metric in ("jitter", "tremble", "step"):
        assert ruled(run, metric=metric, statistic="max", limit="0.1 m")[0] is Status.PASS
    after[np.arange(40) % 11 > 6, 1:3] = np.nan
    run = planted_run(tmp_path / "b", drawn(before), drawn(after), frames=40, fps=10.0)
    assert ruled(run, metric="jitter", statistic="max", limit="0.1 m")[0] is Status.NOT_RUN


def test_one_line_bowed_for_one_second_is_not_diluted(tmp_path: Path) -> None:
    """An ego line is bowed by 2 m for 1 s of 30 s: pooled over lines and bands its p99 is 2 cm."""
    frames = 600
    before = lanes(frames)
    after = before + 0.01
    bow = 2 * np.clip(1 - ((X_M - 10) / 10) ** 2, 0, None)
    after[100:120, 1] += bow
    run = planted_run(tmp_path, drawn(before), drawn(after), frames=frames)
    for statistic in ("p99", "sustained"):
        assert ruled(run, metric="bend", statistic=statistic, limit="0.15 m", band="near")[0] is Status.FAIL
    pooled = run.read("line_metrics")["bend"].quantile(0.99)
    assert pooled is not None
    assert pooled < 0.15


@pytest.mark.parametrize(("frames", "broken"), [(4, False), (5, True)])
def test_a_bend_fails_once_it_lasts_longer_than_it_may(tmp_path: Path, frames: int, broken: bool) -> None:
    """0.2 s at 20 frames a second are four frames."""
    before, after = lanes(), lanes()
    for first in (20, 60, 120):
        after[first : first + frames, 1] += np.clip(1 - ((X_M - 10) / 10) ** 2, 0, None)
    run = planted_run(tmp_path, drawn(before), drawn(after), frames=FRAMES)
    rule = {"metric": "bend", "statistic": "sustained", "limit": "0.15 m"}
    assert ruled(run, **rule)[0] is (Status.FAIL if broken else Status.PASS)
    assert ruled(run, **rule, hold_s=0.4)[0] is Status.PASS


def test_a_bend_with_a_gap_in_it_is_two_bends(tmp_path: Path) -> None:
    before, after = lanes(), lanes()
    after[20:27, 1] += np.clip(1 - ((X_M - 10) / 10) ** 2, 0, None)
    after[23, 1] = np.nan
    run = planted_run(tmp_path, drawn(before), drawn(after), frames=FRAMES)
    assert ruled(run, metric="bend", statistic="sustained", limit="0.15 m")[0] is Status.PASS


def ramp(size_m: float) -> tuple[np.ndarray, np.ndarray]:
    """Lanes, and the same turned from 40 m on by so much at 80 m on every third frame, left and right in turn."""
    before = lanes()
    frame = np.arange(FRAMES)
    sign = np.where(frame % 3 == 0, np.where(frame % 6 == 0, 1.0, -1.0), 0.0)
    return before, before + size_m * sign[:, None, None] * np.clip((X_M - 40) / 40, 0, None)


@pytest.mark.parametrize("size_m", [0.3, 0.6, 1.0, 2.0])
def test_a_linear_ramp_far_ahead_fails_though_it_neither_bends_nor_kinks(tmp_path: Path, size_m: float) -> None:
    before, after = ramp(size_m)
    run = planted_run(tmp_path, drawn(before), drawn(after), frames=FRAMES)
    found = default(run)
    assert found["bend-far"] is Status.PASS
    assert found["heading"] is Status.FAIL
    release = judge(run, load_policy(RELEASE), "cpu")
    names = ["heading-far-event"] + ["heading-far"] * (size_m >= 1) + ["offset-far"] * (size_m >= 2)
    for name in names:
        rule = release.rule(name)
        assert rule is not None
        assert rule.status is Status.FAIL, name
