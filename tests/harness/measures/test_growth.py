from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from benchmarks.state_growth import simulate
from harness.measures.growth import MIN_STEPS, DivergenceLog, Growth, growth_of

FPS = 20.0


def growth(divergence: Any, **more: Any) -> Growth:
    log = DivergenceLog()
    log.add(np.arange(1, len(divergence) + 1), divergence)
    return log.growth(FPS, **more)


@pytest.mark.parametrize("power", [0.0, 0.5, 1.0, 2.0])
@pytest.mark.parametrize("steps", [40, 1000, 20_000])
def test_a_power_of_the_step_has_that_exponent_and_no_doubling_time(power: float, steps: int) -> None:
    found = growth(3e-6 * np.arange(1.0, steps + 1) ** power)
    assert found.growth == pytest.approx(power, abs=0.02)
    assert math.isnan(found.doubling_s)


@pytest.mark.parametrize("doubling_s", [0.2, 1.0, 5.0])
@pytest.mark.parametrize("level", [1.0, 1e9])
def test_an_exponential_has_its_doubling_time_whether_it_levels_off_or_not(doubling_s: float, level: float) -> None:
    seconds = np.arange(1, 2001) / FPS
    found = growth(np.minimum(1e-6 * 2 ** np.minimum(seconds / doubling_s, 900), level))
    assert found.doubling_s == pytest.approx(doubling_s, rel=0.1)
    assert found.growth > 1


@settings(max_examples=50, deadline=None)
@given(st.floats(1e-12, 1e12), st.integers(MIN_STEPS, 400))
def test_the_unit_of_a_divergence_does_not_matter(unit: float, steps: int) -> None:
    values = np.random.default_rng(steps).lognormal(size=steps) * np.arange(1, steps + 1)
    one, other = growth(values), growth(values * unit)
    assert other.growth == pytest.approx(one.growth, abs=1e-6)
    assert other.late == pytest.approx(one.late * unit)
    assert growth(values, scale=unit).late == pytest.approx(one.late / unit)


def test_the_slope_is_the_one_of_theil_and_sen() -> None:
    rng = np.random.default_rng(0)
    step, level = np.sort(rng.uniform(1, 1000, 30)), rng.lognormal(sigma=0.3, size=30)
    for values in (level, level / step):
        wanted = stats.theilslopes(np.log(values), np.log(step))[0]
        assert growth_of(step, values, 1.0)[0] == pytest.approx(wanted)


def test_chunks_add_up() -> None:
    values = np.random.default_rng(1).lognormal(size=777)
    log = DivergenceLog()
    for part in np.array_split(np.arange(777), 13):
        log.add(part + 1, values[part])
    whole = growth(values)
    found = log.growth(FPS)
    assert (found.steps, found.growth, found.early, found.late) == pytest.approx(
        (whole.steps, whole.growth, whole.early, whole.late)
    )


def test_bits_that_never_differ_do_not_grow() -> None:
    found = growth(np.zeros(100), scale=0.0)
    assert (found.growth, found.early, found.late) == (0, 0, 0)
    assert math.isnan(found.doubling_s)


@pytest.mark.parametrize("share", [0.3, 0.5, 0.6])
def test_a_divergence_that_sets_in_late_grows(share: float) -> None:
    quiet = round(300 * share)
    for level in (0.0, 1e-7):
        assert growth(np.r_[np.full(quiet, level), np.geomspace(1e-7, 1, 300 - quiet)]).growth > 1


def test_a_change_of_scene_is_no_growth() -> None:
    assert abs(growth(np.r_[np.full(150, 1.0), np.full(150, 6.0)]).growth) < 0.1


def test_a_short_case_has_no_growth_but_a_level() -> None:
    found = growth(np.full(MIN_STEPS - 1, 0.25))
    assert math.isnan(found.growth)
    assert found.late == 0.25


def test_steps_mostly_without_a_divergence_tell_no_growth() -> None:
    values = np.full(600, np.nan)
    values[::5] = 1.0
    found = growth(values)
    assert found.steps == 120
    assert math.isnan(found.growth)
    nothing = growth(np.full(100, np.nan))
    assert nothing.steps == 0
    assert math.isnan(nothing.late)


def test_early_is_the_first_second_and_late_the_last_half() -> None:
    found = growth(np.r_[np.full(22, 1.0), np.full(300, 5.0), np.full(400, 2.0)])
    assert found.early == pytest.approx(1.0)
    assert 2.0 <= found.late < 2.6  # bins of a quarter of a doubling: the half is about the half


@pytest.mark.parametrize(
    ("kind", "low", "high"),
    [("contracting 0.9", -0.05, 0.25), ("random walk", 0.4, 0.6), ("drift", 0.65, 1.05), ("expanding 1.1", 1.3, 6.0)],
)
def test_recurrences_are_told_apart(kind: str, low: float, high: float) -> None:
    found = [growth(simulate(kind, 400, 1e-6, seed)) for seed in range(5)]
    assert all(low < f.growth < high for f in found), [f.growth for f in found]
    doubling = [f.doubling_s for f in found]
    if kind == "expanding 1.1":
        assert doubling == pytest.approx([math.log(2) / math.log(1.1) / FPS] * 5, rel=0.1)
    else:
        assert np.isnan(doubling).all()
