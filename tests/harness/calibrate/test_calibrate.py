from __future__ import annotations

import io
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from harness.calibrate import calibrate, drives_needed, render
from harness.calibrate.drives import chance_on_drives
from harness.calibrate.limits import factor_held
from harness.calibrate.scores import over, score_of, scores_of
from harness.calibrate.suite import chance_on_suite, versions_needed
from harness.errors import UsageError
from harness.gate import Policy, judge, load_policy
from tests.harness.gate.gate_runs import FakeRun, make_run, policy_file, population_text, rule_text


def policy_of(folder: Path, text: str | None = None) -> Policy:
    return load_policy(policy_file(folder, text or rule_text()))


def version(bends: Sequence[float]) -> FakeRun:
    """A version whose near bend in case c0, c1, ... is as given."""
    return make_run({f"c{i}": [b, b] for i, b in enumerate(bends)})


def versions(rng: np.random.Generator, count: int, cases: int, middle: float = 0.05) -> list[FakeRun]:
    """Versions of one quality: bends vary with case, version and both."""
    case = rng.normal(0, 0.2, cases)
    return [version(middle * np.exp(case + rng.normal(0, 0.1) + rng.normal(0, 0.15, cases))) for _ in range(count)]


def test_a_score_is_one_at_the_limit_and_nothing_at_the_best(tmp_path: Path) -> None:
    text = rule_text() + rule_text(id="cover", metric="coverage", statistic="min", limit=">= 80 %")
    runs = [make_run({"a": [0.15]}, coverage=0.9), make_run({"a": [0.0]}, coverage=1.0)]
    policy = policy_of(tmp_path, text)
    scores = scores_of([judge(r, policy) for r in runs], policy)
    at = {rule.id: n for n, rule in enumerate(scores.rules)}
    assert scores.of_rule[:, at["bend"], 0] == pytest.approx([1.0, 0.0])
    assert scores.of_rule[:, at["cover"], 0] == pytest.approx([0.5, 0.0])


def test_of_what_is_better_the_more_there_is_a_score_above_one_is_too_little(tmp_path: Path) -> None:
    rule = policy_of(tmp_path, rule_text(id="lines", metric="lines", statistic="min", limit=">= 2 lines")).rules[0]
    assert [score_of(rule, n) for n in (4.0, 2.0, 1.0, 0.0)] == [0.5, 1.0, 2.0, math.inf]
    assert math.isnan(score_of(rule, math.nan))


def test_a_number_that_the_gate_passes_for_rounding_is_not_over(tmp_path: Path) -> None:
    policy = policy_of(tmp_path)
    runs = [version([0.15 * (1 + rounding)]) for rounding in (1e-12, 1e-6)]
    scores = scores_of([judge(r, policy) for r in runs], policy)
    assert [v.value for v in scores.verdicts] == ["PASS", "FAIL"]
    assert over(scores.of_version).tolist() == [False, True]


def test_a_score_above_one_is_what_the_gate_fails(tmp_path: Path) -> None:
    policy = policy_of(tmp_path)
    runs = [version([0.1, b]) for b in (0.1, 0.16)]
    scores = scores_of([judge(r, policy) for r in runs], policy)
    assert (scores.of_version > 1).tolist() == [False, True]
    assert [v.value for v in scores.verdicts] == ["PASS", "FAIL"]


def test_the_version_is_the_unit_on_the_same_suite() -> None:
    assert chance_on_suite(0, 5).upper == pytest.approx(1 - 0.05 ** (1 / 5))
    assert versions_needed(0) == 29
    assert chance_on_suite(0, 29).calibrated
    assert not chance_on_suite(0, 28).calibrated


def test_few_versions_calibrate_nothing_whatever_they_show(tmp_path: Path) -> None:
    found = calibrate(versions(np.random.default_rng(0), 3, 30, middle=0.001), policy_of(tmp_path))
    assert found.failing == 0
    assert not found.calibrated
    assert found.versions_needed == 29


def test_good_versions_far_from_the_limits_are_calibrated(tmp_path: Path) -> None:
    found = calibrate(versions(np.random.default_rng(0), 29, 8, middle=0.02), policy_of(tmp_path))
    assert found.calibrated
    console = Console(width=200, record=True, file=io.StringIO())
    render(found, console)
    assert console.export_text().startswith("CALIBRATED toy")


def test_a_limit_within_what_versions_do_is_uncalibrated_and_says_which(tmp_path: Path) -> None:
    found = calibrate(versions(np.random.default_rng(0), 29, 8, middle=0.1), policy_of(tmp_path))
    assert not found.calibrated
    assert set(found.worst_rules) == {"bend"}
    console = Console(width=200, record=True, file=io.StringIO())
    render(found, console)
    text = console.export_text()
    assert text.startswith("UNCALIBRATED toy")
    assert "bend: broken by" in text


def test_limits_that_are_suggested_hold_for_versions_not_seen(tmp_path: Path) -> None:
    policy = policy_of(tmp_path)
    over = []
    for seed in range(30):
        rng = np.random.default_rng(seed)
        runs = versions(rng, 21, 6, middle=0.1)
        (bend,) = [s for s in calibrate(runs[:20], policy).limits if s.rule == "bend"]
        worst = max(r["bend"] for r in runs[20].rows["line_metrics"])
        over.append(worst > bend.holds)
    assert np.mean(over) <= 0.2  # 5 % nominal: 0.2 has a chance below 0.2 % there


def test_the_order_statistic_is_taken_once_there_are_enough() -> None:
    values = np.arange(1.0, 20.0)
    assert factor_held(values) == 19.0
    assert factor_held(np.arange(1.0, 40.0)) == 38.0
    assert factor_held(values[:5]) > 5.0


@pytest.mark.parametrize("middle", [0.3, 0.6, 1.2])
def test_the_chance_on_new_drives_grows_with_the_scores(middle: float) -> None:
    rng = np.random.default_rng(1)
    scores = middle * np.exp(rng.normal(0, 0.2, 20) + rng.normal(0, 0.1, (6, 1)) + rng.normal(0, 0.1, (6, 20)))
    near, far = chance_on_drives(scores), chance_on_drives(scores * 0.8)
    assert 0 <= far.lower <= far.estimate <= far.upper <= 1
    assert far.estimate <= near.estimate
    assert chance_on_drives(scores, drives=200).estimate >= near.estimate


def test_a_fault_that_is_caught_is_larger_than_the_room_left(tmp_path: Path) -> None:
    (bend,) = [s for s in calibrate([version([0.05] * 4)] * 2, policy_of(tmp_path)).limits if s.rule == "bend"]
    assert bend.caught == pytest.approx(0.2)  # against a difference of 0.05 the other way
    assert bend.typical == pytest.approx(0.05)


@pytest.mark.parametrize(
    ("share", "power", "drives"), [(0.1, 0.9, 22), (0.5, 0.9, 4), (1.0, 0.9, 1), (0.01, 0.95, 299)]
)
def test_drives_needed_to_meet_a_defect(share: float, power: float, drives: int) -> None:
    assert drives_needed(share, power) == drives
    assert 1 - (1 - share) ** drives >= power
    assert drives == 1 or 1 - (1 - share) ** (drives - 1) < power


def test_a_crash_is_no_good_version(tmp_path: Path) -> None:
    bad = version([0.05, 0.05])
    bad.meta["rungs"][1].update(status="crashed", reason="bad alloc")
    found = calibrate([version([0.05, 0.05]), bad], policy_of(tmp_path))
    assert found.failing == 1
    assert found.new_drives is None
    assert math.isfinite(found.suite.upper)


@pytest.mark.parametrize("kind", ["one", "other cases", "population only"])
def test_what_cannot_be_calibrated_is_refused_in_one_line(tmp_path: Path, kind: str) -> None:
    runs = [version([0.05]), version([0.05, 0.06] if kind == "other cases" else [0.05])]
    text = population_text() if kind == "population only" else rule_text()
    policy = (
        load_policy(policy_file(tmp_path, text, guards=kind != "population only"))
        if kind != "population only"
        else load_policy(policy_file(tmp_path, population_text(metric="kink", limit="3 deg"), guards=False))
    )
    with pytest.raises(UsageError) as caught:
        calibrate(runs[:1] if kind == "one" else runs, policy)
    assert "\n" not in str(caught.value)
