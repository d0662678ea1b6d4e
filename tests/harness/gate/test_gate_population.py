from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats as scipy_stats

from harness.errors import UnitMismatch
from harness.gate import Status
from harness.gate.stats import Bounds, cases_needed, share_bounds
from harness.measures.tensor import tensor_metrics
from tests.harness.gate.gate_runs import FakeRun, add_floor, baseline_text, found, judged, make_run, population_text


@settings(max_examples=100, deadline=None)
@given(st.integers(1, 200), st.floats(0, 1), st.floats(0.51, 0.999))
def test_share_bounds_are_scipys_one_sided_exact_intervals(cases: int, share: float, confidence: float) -> None:
    violations = round(share * cases)
    bounds = share_bounds(violations, cases, confidence)
    for side, bound in (("greater", bounds.lower), ("less", bounds.upper)):
        interval = scipy_stats.binomtest(violations, cases, alternative=side).proportion_ci(confidence, "exact")
        assert bound == pytest.approx(interval.low if side == "greater" else interval.high, abs=1e-9)


@pytest.mark.parametrize(("allowed", "needed"), [(0.01, 299), (0.05, 59), (0.1, 29), (0.25, 11), (0.5, 5)])
def test_the_fewest_cases_that_can_pass(allowed: float, needed: int) -> None:
    assert cases_needed(allowed, 0.95) == needed


@settings(max_examples=50, deadline=None)
@given(st.floats(0.02, 0.9), st.floats(0.6, 0.99), st.integers(0, 6))
def test_cases_needed_is_the_first_number_that_proves_it(allowed: float, confidence: float, violations: int) -> None:
    needed = cases_needed(allowed, confidence, violations)
    assert share_bounds(violations, needed, confidence).upper <= allowed
    assert needed == violations + 1 or share_bounds(violations, needed - 1, confidence).upper > allowed


def test_between_the_bounds_nothing_is_proven() -> None:
    bounds = Bounds(0.2, 0.1, 0.3)
    assert [bounds.proves(a) for a in (0.09, 0.1, 0.2, 0.3)] == [False, None, None, True]


def pass_and_fail_rates(cases: int, true_share: float, allowed: float, confidence: float) -> tuple[float, float]:
    """Exact probability of PASS and of FAIL, by adding up every outcome."""
    weight = scipy_stats.binom.pmf(range(cases + 1), cases, true_share)
    proofs = [share_bounds(k, cases, confidence).proves(allowed) for k in range(cases + 1)]
    return (
        float(sum(w for w, p in zip(weight, proofs, strict=True) if p is True)),
        float(sum(w for w, p in zip(weight, proofs, strict=True) if p is False)),
    )


@pytest.mark.parametrize("cases", [8, 20, 50, 100])
@pytest.mark.parametrize("allowed", [0.05, 0.1, 0.35, 0.5])
@pytest.mark.parametrize("confidence", [0.9, 0.95])
def test_a_share_is_passed_or_failed_wrongly_no_more_often_than_promised(
    cases: int, allowed: float, confidence: float
) -> None:
    wrong_pass, _ = pass_and_fail_rates(cases, allowed + 1e-9, allowed, confidence)
    _, wrong_fail = pass_and_fail_rates(cases, allowed, allowed, confidence)
    assert wrong_pass <= 1 - confidence + 1e-9
    assert wrong_fail <= 1 - confidence + 1e-9


def sample(good: int, bad: int = 0) -> FakeRun:
    cases = {f"good_{i:02d}": [0.1, 0.1] for i in range(good)} | {f"bad_{i:02d}": [0.1, 0.9] for i in range(bad)}
    return make_run(cases)


@pytest.mark.parametrize(
    ("good", "bad", "allowed", "expected"),
    [
        (8, 0, 0.5, Status.PASS),
        (8, 0, 0.1, Status.INCONCLUSIVE),
        (28, 0, 0.1, Status.INCONCLUSIVE),
        (29, 0, 0.1, Status.PASS),
        (7, 1, 0.5, Status.PASS),
        (6, 2, 0.5, Status.INCONCLUSIVE),
        (1, 7, 0.5, Status.FAIL),
        (0, 8, 0.5, Status.FAIL),
        (5, 3, 0.1, Status.FAIL),
        (6, 2, 0.1, Status.INCONCLUSIVE),
        (7, 0, 0.5, Status.INCONCLUSIVE),
        (0, 7, 0.1, Status.INCONCLUSIVE),
    ],
)
def test_a_population_passes_and_fails_only_by_proof(
    tmp_path: Path, good: int, bad: int, allowed: float, expected: Status
) -> None:
    rung = found(tmp_path, sample(good, bad), population_text(allowed_share=allowed))
    assert rung.status is expected
    assert rung.statistics["violations"] == bad


def test_eight_clean_cases_say_what_they_can_and_what_they_need(tmp_path: Path) -> None:
    rung = found(tmp_path, sample(8), population_text(allowed_share=0.1))
    assert rung.reason == (
        "0 of 8 cases violate the limit, so at most 31.2% of all do; allowed 10.0%; "
        "29 cases with no further violation would pass"
    )
    assert rung.statistics["cases_needed"] == 29


def test_too_few_cases_are_inconclusive_whatever_they_show(tmp_path: Path) -> None:
    assert "min_cases asks for 8 cases" in found(tmp_path, sample(7), population_text()).reason
    assert found(tmp_path, sample(7), population_text(min_cases=5)).status is Status.PASS


def test_the_unit_is_the_case_never_the_frame(tmp_path: Path) -> None:
    long = make_run({f"c{i}": [0.1] * 400 for i in range(2)})
    assert found(tmp_path, long, population_text()).status is Status.INCONCLUSIVE


def test_a_case_without_a_number_keeps_a_population_from_passing(tmp_path: Path) -> None:
    run = sample(20)
    for row in run.rows["line_metrics"][:2]:
        row["bend"] = None
    rung = found(tmp_path, run, population_text())
    assert rung.status is Status.NOT_RUN
    assert rung.reason.startswith("1 of 20 cases without a number, good_00: nothing to compare")
    run.rows["frame_metrics"][0]["nonfinite"] = 1
    assert found(tmp_path, run, population_text()).status is Status.NONFINITE


def test_a_proven_failure_outranks_a_case_without_a_number(tmp_path: Path) -> None:
    run = sample(0, 20)
    for row in run.rows["line_metrics"][:2]:
        row["bend"] = None
    assert found(tmp_path, run, population_text()).status is Status.FAIL


def test_a_population_without_cases_is_not_run(tmp_path: Path) -> None:
    assert found(tmp_path, make_run({"a": [None]}), population_text()).status is Status.NOT_RUN


def jitter(fps: dict[str, float]) -> FakeRun:
    run = sample(8)
    for name, value in fps.items():
        run.case(name)["fps"] = value
    keys = {"rung": "deploy/ort-fp32", "reference": "train/torch-fp32", "track": 0, "station": 10.0}
    run.rows["series_metrics"] = [keys | {"case": c["id"], "jitter": 0.01} for c in run.meta["cases"]]
    return run


def test_jitter_of_unequal_frame_rates_is_not_pooled(tmp_path: Path) -> None:
    text = population_text(metric="jitter", limit="0.02 m")
    assert found(tmp_path, jitter({}), text).status is Status.PASS
    rung = found(tmp_path, jitter({"good_03": 20.0}), text)
    assert rung.status is Status.NOT_RUN
    assert rung.reason == "jitter is comparable only at equal frame rates, the cases have 10 to 20 frames/s"
    assert found(tmp_path, jitter({"good_03": 10.1}), text).status is Status.PASS  # 1 % apart is one rate


def spread(mean: float, cases: int = 8, seed: int = 3) -> FakeRun:
    """Cases whose mean bends scatter by 5 mm around `mean`; equal seeds scatter alike."""
    noise = np.random.default_rng(seed).normal(0, 0.005, cases)
    return make_run({f"c{i:02d}": [float(mean + n)] * 2 for i, n in enumerate(noise - noise.mean())})


def against(folder: Path, run: FakeRun, baseline: FakeRun | None, **keys: Any) -> tuple[Status, str]:
    rung = found(folder, run, baseline_text(**keys), baseline=baseline)
    return rung.status, rung.reason


@pytest.mark.parametrize(("mean", "expected"), [(0.03, Status.PASS), (0.05, Status.INCONCLUSIVE), (0.09, Status.FAIL)])
def test_a_candidate_is_held_against_its_baseline(tmp_path: Path, mean: float, expected: Status) -> None:
    assert against(tmp_path, spread(mean, seed=4), spread(0.05))[0] is expected


def test_an_identical_candidate_is_no_worse(tmp_path: Path) -> None:
    status, reason = against(tmp_path, spread(0.05), spread(0.05), limit="0 m")
    assert status is Status.PASS
    assert reason == (
        "0 of 8 cases are worse than the baseline by more than 0 m (mean 0 m), "
        "so at most 31.2% of all do; allowed 32.0%"
    )


def test_pairing_removes_what_both_share(tmp_path: Path) -> None:
    hard = {f"c{i}": [0.02 * i] * 2 for i in range(8)}
    worse = {k: [v + 0.005 for v in values] for k, values in hard.items()}
    assert against(tmp_path, make_run(worse), make_run(hard))[0] is Status.PASS


def test_less_coverage_is_worse(tmp_path: Path) -> None:
    runs = [make_run({f"c{i}": [0.0] for i in range(8)}, coverage=c) for c in (0.9, 0.95)]
    text = baseline_text(id="cover", metric="coverage", limit="2 %")
    for (run, baseline), expected in ((runs, Status.FAIL), (runs[::-1], Status.PASS)):
        outcome = judged(tmp_path, run, text, baseline=baseline).rule("cover")
        assert outcome is not None
        assert outcome.status is expected
        assert {c.status for c in outcome.rungs[0].cases} == {expected}


def test_the_pair_is_kept_with_each_case(tmp_path: Path) -> None:
    rung = found(tmp_path, spread(0.05), baseline_text(), baseline=spread(0.04))
    for case in rung.cases:
        assert case.value - (case.baseline or 0) == pytest.approx(0.01)


def test_without_a_baseline_the_comparison_is_not_run(tmp_path: Path) -> None:
    status, reason = against(tmp_path, spread(0.05), None)
    assert status is Status.NOT_RUN
    assert "no baseline was given" in reason


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"digest": "other"}, "the baseline saw another recording under this id"),
        ({"fps": 20.0}, "the baseline saw another recording under this id"),
        ({"id": "c99"}, "the baseline does not have this case"),
        ({"frames": 9}, "in the baseline, compared on 2 of 9 frames"),
    ],
)
def test_a_case_is_paired_only_with_itself(tmp_path: Path, change: dict[str, Any], words: str) -> None:
    baseline = spread(0.05, cases=12)
    baseline.case("c03").update(change)
    status, reason = against(tmp_path, spread(0.05, cases=12), baseline)
    assert status is Status.NOT_RUN
    assert words in reason


def test_leaving_out_a_hard_case_is_no_improvement(tmp_path: Path) -> None:
    status, reason = against(tmp_path, spread(0.05, cases=11), spread(0.05, cases=12))
    assert status is Status.NOT_RUN
    assert "c11: the baseline has this case, the run does not" in reason


def test_a_baseline_that_did_not_run_the_rung_proves_nothing(tmp_path: Path) -> None:
    baseline = spread(0.05)
    baseline.rung("deploy/ort-fp32").update(status="not_run", reason="no GPU")
    status, reason = against(tmp_path, spread(0.05), baseline)
    assert status is Status.NOT_RUN
    assert "in the baseline, deploy/ort-fp32 was not run: no GPU" in reason


def test_too_few_pairs_are_inconclusive(tmp_path: Path) -> None:
    assert against(tmp_path, spread(0.5, cases=7), spread(0.05, cases=7))[0] is Status.INCONCLUSIVE


def test_a_noisy_engine_cannot_be_compared_within_its_noise(tmp_path: Path) -> None:
    rung = found(tmp_path, add_floor(spread(0.05), "bend", 0.004), baseline_text(), baseline=spread(0.05))
    assert rung.status is Status.INCONCLUSIVE
    assert "engine too noisy" in rung.reason


def test_a_baseline_in_another_unit_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(UnitMismatch, match="the baseline's lengths are in px, the run's in m"):
        judged(tmp_path, spread(0.05), baseline_text(), baseline=make_run({"a": [1.0]}, unit="px"))


def test_tensors_that_are_equal_in_both_runs_are_no_worse(tmp_path: Path) -> None:
    """The measure's own numbers of equal tensors, not an infinity that no difference can be taken of."""
    same = np.ones((3, 4), np.float32)
    values = tensor_metrics(same, same)["snr_db"]
    assert np.isfinite(values).all()
    text = baseline_text(metric="snr_db", limit="1 dB")
    runs = [sample(8), sample(8)]
    keys = {"rung": "deploy/ort-fp32", "reference": "train/torch-fp32", "output": "lines"}
    for run in runs:
        run.rows["tensor_metrics"] = [
            keys | {"case": c["id"], "frame": k, "snr_db": float(v)}
            for c in run.meta["cases"]
            for k, v in enumerate(values)
        ]
    assert found(tmp_path, runs[0], text, baseline=runs[1]).status is Status.PASS
    for row in runs[0].rows["tensor_metrics"]:
        row["snr_db"] = 60.0
    assert found(tmp_path, runs[0], text, baseline=runs[1]).status is Status.FAIL


def drives(run: FakeRun, clips: int) -> FakeRun:
    """The run, its cases cut from drives of so many clips each."""
    for number, case in enumerate(run.meta["cases"]):
        case["drive"] = f"drive {number // clips}"
    return run


def test_clips_of_one_drive_count_as_one(tmp_path: Path) -> None:
    rung = found(tmp_path, drives(sample(29), 10), population_text(allowed_share=0.1))
    assert rung.status is Status.INCONCLUSIVE
    assert "0 of 3 drives violate the limit; min_cases asks for 8 drives" in rung.reason
    assert found(tmp_path, sample(29), population_text(allowed_share=0.1)).status is Status.PASS


def test_one_bad_clip_makes_a_bad_drive(tmp_path: Path) -> None:
    rung = found(tmp_path, drives(sample(16, 4), 2), population_text(allowed_share=0.5))
    assert rung.statistics["violations"] == 2
    assert rung.statistics["drives"] == 10


def test_clips_that_resemble_each_other_pass_wrongly_no_more_often_than_promised(tmp_path: Path) -> None:
    """Ten clips a drive, of which a tenth of the drives is bad as a whole: what is allowed is just exceeded."""
    rng = np.random.default_rng(8)
    wrong = 0
    for _ in range(40):
        bad = rng.random(29) < 0.11
        cases = {f"d{d:02d}_{c}": [0.9 if bad[d] else 0.1] for d in range(29) for c in range(3)}
        rung = found(tmp_path, drives(make_run(cases), 3), population_text(allowed_share=0.1))
        wrong += rung.status is Status.PASS
    assert wrong <= 6  # nominal 5 % of 40; 0.6 % to see more


@pytest.mark.parametrize("shape", ["log-normal", "one in ten"])
def test_skewed_differences_pass_wrongly_no_more_often_than_promised(tmp_path: Path, shape: str) -> None:
    """A fifth of all drives is worse by more than the margin and most hardly differ: Student's t passed 11 to 43 %."""
    rng = np.random.default_rng(2)
    wrong = 0
    for _ in range(60):
        worse = (
            rng.lognormal(0, 1, 20) / np.exp(0.8416) * 0.01 if shape == "log-normal" else (rng.random(20) < 0.2) * 0.3
        )
        base = {f"c{i:02d}": [0.01] for i in range(20)}
        run = make_run({f"c{i:02d}": [0.01 + float(w)] for i, w in enumerate(worse)})
        status, _ = against(tmp_path, run, make_run(base), allowed_share=0.2)
        wrong += status is Status.PASS
    assert wrong <= 8


def test_any_statistic_of_a_case_may_be_compared_in_a_population(tmp_path: Path) -> None:
    status, _ = against(tmp_path, spread(0.05), spread(0.05), statistic="p95")
    assert status is Status.PASS
