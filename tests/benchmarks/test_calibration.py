"""The calibration benchmark: its shortcut is the gate itself, its noise is what it says, good drives seldom fail."""

from __future__ import annotations

import dataclasses
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import beta

from benchmarks.calibration import cells, report
from benchmarks.calibration.cells import Unit, compute, kept, units
from benchmarks.calibration.definitions import changed
from benchmarks.calibration.drives import X_M, Version, as_measured, draw, relative_widths, widest_of
from benchmarks.calibration.faults import KINDS, Fault
from benchmarks.calibration.noise import FAMILIES, HELD_OUT
from benchmarks.calibration.numbers import Numbers, key_of, measured_run, numbers_of
from benchmarks.calibration.suites import JudgedVersion, judge_cases, questions_of, simulated_rules
from harness.gate import Policy, judge, load_policy
from harness.gate.verdict import Status

RELEASE = Path("release")
FAMILY = "0.5 s and white, t of 4 degrees"


@pytest.fixture(scope="module")
def policy() -> Policy:
    return load_policy(RELEASE)


def judged(version: Version, policy: Policy) -> JudgedVersion:
    return JudgedVersion.of(version, numbers_of(version, draw(version), questions_of([policy])), policy)


def failing(found: JudgedVersion) -> list[bool]:
    return [Status.FAIL in case for case in zip(*found.statuses().values(), strict=True)]


@pytest.mark.parametrize("family", FAMILIES)
def test_noise_has_variance_one_from_its_first_moment_on_and_is_correlated(family: str) -> None:
    drawn = FAMILIES[family](np.random.default_rng(1), (4000, 60), 10.0)
    assert drawn[:, :5].var() == pytest.approx(1, abs=0.25)  # heavy tails: a variance of few is uncertain
    assert drawn.var() == pytest.approx(1, abs=0.1)
    assert (drawn[:, 1:] * drawn[:, :-1]).mean() > 0.2


def test_families_of_the_verdict_are_none_that_limits_are_chosen_by() -> None:
    by_part = {part: {u.version.family for u in units() if u.part == part} for part in ("good", "choosing", "fault")}
    assert by_part["good"] == by_part["fault"] == set(HELD_OUT)
    assert not by_part["choosing"] & set(HELD_OUT)
    for seconds in cells.SECONDS:  # a run that is stopped early has met every family at every length
        first = [u.version.family for u in units()[:100] if (u.part, u.version.seconds) == ("good", seconds)]
        assert set(first) == set(HELD_OUT)


def test_every_cell_rests_on_twenty_thousand_cases_of_seeds_of_their_own() -> None:
    every = units()
    for seconds in cells.SECONDS:
        assert sum(u.version.cases for u in every if (u.part, u.version.seconds) == ("good", seconds)) >= 20_000
    assert len({u.name for u in every}) == len({u.version.seed for u in every}) == len(every)


def test_a_fault_of_a_size_moves_lines_by_that_size() -> None:
    rng = np.random.default_rng(0)
    for kind in KINDS:
        moved = Fault(kind, 0.5).offset_m(rng, (20, 150, 4, len(X_M)), 10.0, X_M)
        span = np.ptp(moved, axis=1).max() if kind.startswith("swing") else np.abs(moved).max()
        assert span == pytest.approx(0.0 if kind == "frozen" else 0.5, abs=0.03), kind


def test_numbers_that_are_kept_are_judged_as_the_run_itself(policy: Policy) -> None:
    version = Version(FAMILY, (7, 1), 4.0, 10, clips=2, level=3.5)
    drawn = draw(version)
    numbers = numbers_of(version, drawn, questions_of([policy]))
    rules, _ = simulated_rules(policy)
    asked = policy.model_copy(update={"profile": {}, "rules": tuple(rules)})
    whole = judge(measured_run(version, drawn), asked)
    told = judge_cases(version, numbers, policy, range(version.cases))
    assert {r.id: r.status for r in told} == {r.id: r.status for r in whole.rules}
    for a, b in zip(told, whole.rules, strict=True):
        assert [(c.status, c.value) for c in a.rungs[0].cases] == [(c.status, c.value) for c in b.rungs[0].cases], a.id
    assert any(r.status is Status.FAIL for r in told)
    assert any(r.status is Status.PASS for r in told)


def test_a_suite_fails_where_one_of_its_cases_does(policy: Policy) -> None:
    found = judged(Version(FAMILY, (7, 2), 4.0, 12, level=3.5), policy)
    fails = failing(found)
    assert 0 < sum(fails) < 12
    assert found.suites(12).failed == found.suites(12).suites == 1
    assert found.suites(1, shuffles=1).failed == sum(fails)


@pytest.mark.parametrize("seconds", [4.0, 15.0])
def test_no_line_of_a_good_drive_is_wider_than_any_that_was_measured(seconds: float) -> None:
    found = {}
    for unbounded in (False, True):
        drawn = draw(Version("bursts, t of 5 degrees", (7, 6), seconds, 400, unbounded=unbounded))
        both = (drawn.candidate - drawn.reference).astype(np.float64)
        whole = np.isfinite(both).all(axis=(1, 3))
        found[unbounded] = np.where(whole, relative_widths(np.nan_to_num(both)), 0.0)
    assert found[False].max() <= 1.001 * widest_of(seconds) < found[True].max()
    held = found[True] <= widest_of(seconds)
    np.testing.assert_allclose(found[False][held], found[True][held])  # the others stay as they were drawn


def test_a_stretch_that_is_wider_than_any_that_was_measured_is_told_and_left_out(policy: Policy) -> None:
    version = Version(FAMILY, (7, 8), 15.0, 12)
    drawn = draw(version)
    assert as_measured(drawn, version.fps).all()
    shaken = drawn.candidate.copy()
    shaken[3:5, 40:60, 1] += 0.25 * np.sin(np.arange(20))[None, :, None]
    among = as_measured(dataclasses.replace(drawn, candidate=shaken), version.fps)
    np.testing.assert_array_equal(~among, np.isin(np.arange(12), [3, 4]))
    found = JudgedVersion(version, Numbers((), *np.zeros((3, 0, 12))), policy, {})
    for size in (8, 12):
        cut = list(found._cut(size, 3, among))
        assert all(among[cases].all() and len(cases) == min(size, among.sum()) for cases in cut)


def test_a_lasting_offset_is_no_width() -> None:
    assert relative_widths(np.full((1, 20, 4, len(X_M)), 5.0)).max() < 1e-9


def test_what_a_frozen_candidate_sleeps_through_is_how_far_the_road_moves_meanwhile() -> None:
    awake = draw(Version(FAMILY, (7, 7), 6.0, 30))
    asleep = draw(Version(FAMILY, (7, 7), 6.0, 30, fault=Fault("frozen", 2.5)))
    assert (awake.slept_through_m == 0).all()
    near = np.nanmax(np.abs(asleep.candidate - awake.candidate)[..., np.searchsorted(X_M, 20)], axis=(1, 2))
    assert np.corrcoef(near, asleep.slept_through_m)[0, 1] > 0.9
    assert np.abs(near - asleep.slept_through_m).max() < 0.25  # the rest is the noise of lab and candidate


def test_clips_of_a_drive_share_its_effects() -> None:
    version = Version(FAMILY, (7, 3), 4.0, 200, clips=10)
    drawn = draw(version)
    ego_left = (drawn.candidate - drawn.reference)[:, :, 1, :20]
    offset = np.nanmean(ego_left, axis=(1, 2)).reshape(20, 10)
    assert offset.mean(axis=1).std() > 2 * offset.std(axis=1).mean() / np.sqrt(10)


@pytest.fixture(scope="module")
def good(policy: Policy) -> list[JudgedVersion]:
    """20 cases of each held-out family."""
    return [judged(Version(family, (11, k), 6.0, 20), policy) for k, family in enumerate(HELD_OUT)]


def test_good_drives_seldom_fail_and_never_for_another_reason_than_told(good: list[JudgedVersion]) -> None:
    broken = Counter(name for found in good for name, every in found.statuses().items() if Status.FAIL in every)
    assert sum(sum(failing(found)) for found in good) <= 3, broken


def test_every_measure_of_a_good_drive_stays_well_below_its_limit(good: list[JudgedVersion], policy: Policy) -> None:
    rules = {r.id: r for r in policy.rules}
    for name in good[0].values():
        worst = np.concatenate([found.values()[name] for found in good])
        limit = rules[name].limit.value
        typical = float(np.nanmedian(worst))
        assert typical <= 0.6 * limit if rules[name].higher_is_worse else typical >= limit, (name, typical, limit)


@pytest.mark.parametrize(
    "fault", [Fault("bend near", 0.4), Fault("swing 1 Hz", 0.5), Fault("offset", 0.15)], ids=lambda f: f.kind
)
def test_planted_faults_are_caught(fault: Fault, policy: Policy) -> None:
    found = judged(Version("levels, t of 5 degrees", (12, 0), 6.0, 10, fault=fault), policy)
    assert sum(failing(found)) >= 8


def test_a_unit_is_computed_once_and_gives_the_same_numbers_anew(policy: Policy, tmp_path: Path) -> None:
    unit = Unit("good", 0, Version(FAMILY, (7, 4), 4.0, 2))
    questions = questions_of([policy])
    assert compute(unit, tmp_path / "a", questions)
    assert not compute(unit, tmp_path / "a", questions)
    assert compute(unit, tmp_path / "b", questions)
    wanted = [key_of(q) for q in questions]
    first, again = kept(unit, tmp_path / "a", wanted), kept(unit, tmp_path / "b", wanted)
    assert first is not None
    assert again is not None
    for column in ("value", "compared", "open"):
        np.testing.assert_array_equal(getattr(first, column), getattr(again, column))
    other = dataclasses.replace(unit, place=1)
    assert kept(other, tmp_path / "a", wanted) is None


def test_what_is_kept_of_another_definition_is_told(
    policy: Policy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    questions = questions_of([policy])
    monkeypatch.setattr("benchmarks.calibration.definitions.SECONDS", 4.0)
    assert changed(tmp_path, questions) == []
    assert changed(tmp_path, questions) == []
    monkeypatch.setattr("harness.measures.jitter._SHARE", 0.9)
    assert changed(tmp_path, questions) == [f"jitter max {band}" for band in ("near", "mid", "far")]


def test_the_interval_is_clopper_and_pearsons_where_suites_are_independent() -> None:
    rng = np.random.default_rng(2)
    shares = [0.0] * 95 + [1.0] * 5
    assert report.clustered_interval(shares, 1) == pytest.approx((beta.ppf(0.05, 5, 96), beta.ppf(0.95, 6, 95)))
    alike = (rng.random((200, 12)) < 0.05).mean(axis=1)
    apart = np.repeat(rng.random(200) < 0.05, 1).astype(float)
    width = [np.diff(report.clustered_interval(list(s), 12))[0] for s in (alike, apart)]
    assert width[1] > 2 * width[0]
