"""Seconds of swing in each case, episodes an hour in all drives."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.errors import PolicyError
from harness.gate.load import load_policy
from harness.gate.policy import Rule
from harness.gate.stats import dispersion_of, hours_needed, rate_bounds
from harness.gate.verdict import RungOutcome, Status
from tests.harness.gate.gate_runs import FPS, ROOT, RUNG, FakeRun, make_run, policy_file, rule_text
from tests.harness.gate.gate_runs import found as found_rung

KEYS = {"rung": RUNG, "reference": ROOT, "kind": "swing", "unit": "m", "threshold": 0.25, "value": 0.5}


def run_of(cases: dict[str, list[tuple[int, int]]], frames: int = 200, drives: dict[str, str] | None = None) -> FakeRun:
    """Swings of each case as (first, last) frame, on two stations of two lines each."""
    run = make_run({case: [0.0] * frames for case in cases})
    run.rows["series_metrics"] = [
        {"case": c, "rung": RUNG, "reference": ROOT, "track": 0, "station": 10.0, "swing_rate": 0.0} for c in cases
    ]
    run.rows["events"] = [
        KEYS | {"case": c, "frame_start": a + k, "frame_end": b + k, "track": k, "band": band, "owner": "candidate"}
        for c, spans in cases.items()
        for a, b in spans
        for k in (0, 1)
        for band in ("near", "mid")
    ]
    for case, drive in (drives or {}).items():
        run.case(case)["drive"] = drive
    return run


def judged(tmp_path: Path, run: FakeRun, **keys: Any) -> RungOutcome:
    return found_rung(tmp_path, run, rule_text(metric="event.swing", **keys))


def seconds(tmp_path: Path, run: FakeRun, limit: str = "0 s") -> RungOutcome:
    return judged(tmp_path, run, statistic="seconds", limit=limit)


def rate(tmp_path: Path, run: FakeRun, limit: str = "20 /h", **keys: Any) -> RungOutcome:
    return judged(tmp_path, run, statistic="episodes_per_h", scope="population", limit=limit, **keys)


def test_seconds_are_those_of_all_lines_and_stations_together(tmp_path: Path) -> None:
    run = run_of({"a": [(20, 59), (100, 119)], "b": []})
    assert seconds(tmp_path, run).status is Status.FAIL
    assert {c.case: c.value for c in seconds(tmp_path, run).cases} == pytest.approx({"a": (41 + 21) / FPS, "b": 0.0})
    assert seconds(tmp_path, run, "6.2 s").status is Status.PASS
    assert seconds(tmp_path, run_of({"b": []})).status is Status.PASS


def test_events_of_lines_and_stations_that_overlap_or_nearly_do_are_one_episode(tmp_path: Path) -> None:
    one = rate(tmp_path, run_of({"a": [(20, 59), (75, 90)]}))
    two = rate(tmp_path, run_of({"a": [(20, 59), (90, 110)]}))
    assert [r.statistics["episodes"] for r in (one, two)] == [1, 2]


def test_too_little_exposure_is_inconclusive_and_names_the_hours(tmp_path: Path) -> None:
    found = rate(tmp_path, run_of({"a": []}, frames=160))
    assert found.status is Status.INCONCLUSIVE
    assert found.statistics["upper"] == pytest.approx(674, abs=1)
    assert found.statistics["hours_needed"] == pytest.approx(3.0 / 20, rel=0.01)
    assert "0 episodes in 16 s of 1 drive," in found.reason
    assert "8.99 min with no further episode would pass" in found.reason


def test_enough_quiet_hours_pass_and_many_episodes_fail(tmp_path: Path) -> None:
    quiet = run_of({f"c{k}": [] for k in range(8)}, frames=1000)
    assert rate(tmp_path, quiet).status is Status.PASS
    assert rate(tmp_path, quiet, "10 /h").status is Status.INCONCLUSIVE
    swinging = run_of({f"c{k}": [(20, 59), (300, 340), (500, 540)] for k in range(8)}, frames=1000)
    assert rate(tmp_path, swinging).status is Status.FAIL


def test_clips_of_one_drive_are_one_drive(tmp_path: Path) -> None:
    """Sixteen clips, all swings in the four of one drive: twice as many drives would be needed to be sure."""
    clips = {f"c{k:02d}": [(20, 59)] * (k < 4) for k in range(32)}
    alone = rate(tmp_path, run_of(clips, frames=1000), "12 /h")
    together = rate(tmp_path, run_of(clips, frames=1000, drives={c: f"d{int(c[1:]) // 4}" for c in clips}), "12 /h")
    assert (alone.statistics["drives"], together.statistics["drives"]) == (32, 8)
    assert together.statistics["episodes"] == alone.statistics["episodes"] == 4
    assert together.statistics["upper"] > 1.5 * alone.statistics["upper"]
    assert alone.status is Status.PASS
    assert together.status is Status.INCONCLUSIVE


def test_few_drives_prove_nothing_however_long(tmp_path: Path) -> None:
    found = rate(tmp_path, run_of({"a": [], "b": []}, frames=8000))
    assert found.status is Status.INCONCLUSIVE
    assert "min_cases asks for 8 drives" in found.reason


@pytest.mark.parametrize(
    ("keys", "says"),
    [
        ({"scope": "each"}, "one short clip bounds no rate"),
        ({"scope": "population", "allowed_share": 0.1}, "allowed_share has no meaning"),
        ({"scope": "population", "compare": "baseline"}, "not against a baseline"),
    ],
)
def test_a_rate_is_of_a_population_and_against_a_limit(tmp_path: Path, keys: dict[str, Any], says: str) -> None:
    text = rule_text(metric="event.swing", statistic="episodes_per_h", limit="1 /h", **keys)
    with pytest.raises(PolicyError, match=says):
        load_policy(policy_file(tmp_path, text))


@pytest.mark.parametrize("drives", [8, 20, 50])
@pytest.mark.parametrize("mean", [0.5, 2.0, 10.0])
@pytest.mark.parametrize("spread", [0.0, 0.5, 1.0])
def test_a_rate_is_passed_or_failed_wrongly_in_few_of_a_hundred(drives: int, mean: float, spread: float) -> None:
    """Drives of unequal length, whose own rates scatter by gamma; the truth lies on the border. Nominal is 5 %."""
    rng = np.random.default_rng([drives, round(10 * mean), round(10 * spread)])
    wrong = np.zeros(2)
    for _ in range(500):
        hours = rng.lognormal(0, 0.7, drives)
        own = rng.gamma(1 / spread, spread, drives) if spread else np.ones(drives)
        bounds = rate_bounds(rng.poisson(mean * own * hours / hours.mean()), hours / hours.mean(), 0.95)
        wrong += (bounds.upper < mean, bounds.lower > mean)
    assert (wrong / 500 <= 0.085).all()


def test_equal_drives_have_no_dispersion_and_few_need_more() -> None:
    assert dispersion_of([2, 2, 2], [1, 1, 1], 0.95) == 1.0
    assert dispersion_of([0, 0], [1, 1], 0.95) == 1.0
    assert dispersion_of([12, 0, 0, 0], [1] * 4, 0.95) > dispersion_of([12, 0, 0, 0] * 4, [1] * 16, 0.95) > 5
    assert hours_needed(1.0, 0.95, 0, 1.0) == pytest.approx(2.996, abs=1e-3)
    assert hours_needed(0.0, 0.95, 0, 1.0) == float("inf")


def test_the_unit_of_a_rate_may_be_an_hour() -> None:
    rule = Rule.model_validate(
        {"id": "a", "metric": "event.swing", "rung": "*", "statistic": "episodes_per_h", "limit": "2 /h",
         "scope": "population"}
    )  # fmt: skip
    assert str(rule.limit) == "2/h"
