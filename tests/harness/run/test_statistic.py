from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.gate import load_policy
from harness.gate.policy import Rule
from harness.run import rows as gate_rows
from harness.run.facts import read_facts
from harness.run.statistic import Measured, answer
from tests.harness.gate.gate_runs import FPS, ROOT, RUNG, FakeRun, make_run, policy_file, rule_text


def rule_of(**keys: Any) -> Rule:
    return Rule.model_validate({"id": "r", "metric": "bend", "rung": "*", "statistic": "max", "limit": "1 m"} | keys)


def number(run: FakeRun, rule: Rule, case: str = "a", rung: str = RUNG) -> Measured | None:
    return answer(run, read_facts(run.meta), rule.question, {rung: ROOT}).get((rung, case))


def known(run: FakeRun, rule: Rule) -> Measured:
    found = number(run, rule)
    assert found is not None
    return found


def slow(values: list[float | None], statistic: str) -> float:
    """The statistic by NumPy on the values that are there."""
    present = [v for v in values if v is not None]
    if not present:
        return math.nan
    if statistic.startswith("p"):
        return float(np.percentile(present, int(statistic[1:])))
    return float({"max": np.max, "mean": np.mean}[statistic](present))


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.none() | st.floats(0, 1e3), min_size=1, max_size=12),
    st.sampled_from(["max", "mean", "p50", "p95", "p99"]),
)
def test_a_statistic_is_numpys_on_the_values_that_are_there(values: list[float | None], statistic: str) -> None:
    found = known(make_run({"a": values, "b": [7.0]}), rule_of(statistic=statistic))
    assert found.compared == sum(v is not None for v in values)
    assert found.value == pytest.approx(slow(values, statistic), nan_ok=True)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.none() | st.floats(0, 1), min_size=1, max_size=12))
def test_the_worst_row_holds_the_worst_value(values: list[float | None]) -> None:
    run = make_run({"a": values})
    for row in run.rows["line_metrics"]:
        row["coverage"] = row["bend"]
    worst = [known(run, r).worst for r in (rule_of(), rule_of(metric="coverage", statistic="min", limit="0"))]
    present = [v for v in values if v is not None]
    for found, expected in zip(worst, (max, min), strict=True):
        if not present:
            assert found is None
            continue
        assert found is not None
        assert found.frame is not None
        assert found.value == values[found.frame] == expected(present)


def test_signed_metrics_are_judged_by_size() -> None:
    run = make_run({"a": [0.0, 0.0, 0.0]})
    for row, heading in zip(run.rows["line_metrics"], (0.1, -0.3, 0.2), strict=True):
        row["heading"] = heading
    found = known(run, rule_of(metric="heading", limit="1 rad"))
    assert found.value == pytest.approx(0.3)
    assert found.worst is not None
    assert found.worst.frame == 1


def test_bands_outputs_rungs_and_references_are_told_apart() -> None:
    run = make_run({"a": [0.1]})
    base = run.rows["line_metrics"][0]
    run.rows["line_metrics"] += [
        base | {"band": "mid", "bend": 0.2},
        base | {"band": "far", "bend": 0.4},
        base | {"reference": "deploy/torch-fp32", "bend": 9.0},
        base | {"rung": "deploy/other", "bend": 9.0},
    ]
    assert known(run, rule_of()).value == 0.4
    assert known(run, rule_of(band="mid")).value == 0.2
    assert known(run, rule_of(band=["near", "mid"])).value == 0.2
    tensors = {"case": "a", "frame": 0, "rung": RUNG, "reference": ROOT}
    run.rows["tensor_metrics"] = [tensors | {"output": o, "max_abs": v} for o, v in (("lanes", 1.0), ("prob.x", 5.0))]
    assert known(run, rule_of(metric="max_abs", limit="9")).value == 5.0
    assert known(run, rule_of(metric="max_abs", limit="9", output="l*s")).value == 1.0
    assert known(run, rule_of(metric="max_abs", limit="9", output="prob?x")).value == 5.0
    assert number(run, rule_of(metric="max_abs", limit="9", output="lane")) is None


def test_the_bands_of_a_series_are_its_look_ahead_stations() -> None:
    run = make_run({"a": [0.0]})
    series = {"case": "a", "rung": RUNG, "reference": ROOT, "track": 0}
    run.rows["series_metrics"] = [
        series | {"station": s, "jitter": j} for s, j in ((10.0, 1.0), (20.0, 2.0), (40.0, 3.0))
    ]
    for band, jitter in (("near", 1.0), ("mid", 2.0), ("far", 3.0)):
        found = known(run, rule_of(metric="jitter", band=band))
        assert found.value == jitter
        assert found.worst is not None
        assert found.worst.station == {"near": 10.0, "mid": 20.0, "far": 40.0}[band]
    run.rows["series_metrics"] = run.rows["series_metrics"][2:]
    assert number(run, rule_of(metric="jitter", band="near")) is None


def test_a_rate_is_per_minute_of_compared_frames() -> None:
    run = make_run({"a": [0.0] * 30})
    for row in run.rows["frame_metrics"][:6]:
        row["missing"] = 2
    assert known(run, rule_of(metric="missing", statistic="count", limit="0")).value == 12
    per_min = known(run, rule_of(metric="missing", statistic="rate_per_min", limit="0 /min")).value
    assert per_min == pytest.approx(12 / (30 / FPS / 60))
    run.rows["frame_metrics"] = run.rows["frame_metrics"][:6]
    doubled = known(run, rule_of(metric="missing", statistic="rate_per_min", limit="0 /min")).value
    assert doubled == pytest.approx(5 * per_min)


def test_the_share_of_missing_and_extra_lines_is_of_lines() -> None:
    run = make_run({"a": [0.0] * 4})
    run.rows["frame_metrics"][0] |= {"missing": 1, "extra": 4}
    assert known(run, rule_of(metric="missing", statistic="share", limit="0")).value == pytest.approx(1 / 5)
    assert known(run, rule_of(metric="extra", statistic="share", limit="0")).value == pytest.approx(4 / 8)


def test_the_share_of_lines_where_there_are_none_is_unknown() -> None:
    run = make_run({"a": [0.0]})
    run.rows["frame_metrics"][0] |= {"matched": 0}
    assert known(run, rule_of(metric="missing", statistic="share", limit="0")).compared == 0
    assert known(run, rule_of(metric="missing", statistic="count", limit="0")).compared == 1


def test_a_flag_is_counted_where_it_is_known() -> None:
    run = make_run({"a": [0.0] * 4})
    for row, flag in zip(run.rows["line_metrics"], (True, False, None, True), strict=True):
        row["class_flip"] = flag
    assert known(run, rule_of(metric="class_flip", statistic="share", limit="0")).value == pytest.approx(2 / 3)
    assert known(run, rule_of(metric="class_flip", statistic="count", limit="0")).value == 2


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_values_that_are_not_finite_are_counted(value: float) -> None:
    assert known(make_run({"a": [0.1, value]}), rule_of()).nonfinite == 1


def test_a_perfect_signal_to_noise_ratio_is_infinite_and_fine() -> None:
    run = make_run({"a": [0.0]})
    row = {"case": "a", "frame": 0, "rung": RUNG, "reference": ROOT, "output": "o", "snr_db": math.inf}
    run.rows["tensor_metrics"] = [row]
    found = known(run, rule_of(metric="snr_db", statistic="min", limit="40 dB"))
    assert (found.value, found.nonfinite) == (math.inf, 0)
    run.rows["tensor_metrics"] = [row | {"snr_db": -math.inf}]
    assert known(run, rule_of(metric="snr_db", statistic="min", limit="40 dB")).nonfinite == 1


def test_a_table_of_one_row_a_case_has_no_place_to_look_at() -> None:
    run = make_run({"a": [0.0]})
    run.rows["latency"] = [{"case": "a", "rung": RUNG, "p50_ms": 1.0, "p99_ms": 7.0, "frames": 9}]
    found = known(run, rule_of(metric="p99_ms", limit="9 ms"))
    assert (found.value, found.worst) == (7.0, None)


def event(kind: str, value: float, owner: str | None = "candidate", band: str = "near") -> dict[str, Any]:
    keys = {"case": "a", "rung": RUNG, "reference": ROOT, "frame_start": 3, "frame_end": 9, "track": 1}
    return keys | {"kind": kind, "value": value, "owner": owner, "band": band, "unit": "m", "threshold": 0.1}


def with_series(run: FakeRun, swing_rate: float | None) -> FakeRun:
    row = {"case": "a", "rung": RUNG, "reference": ROOT, "track": 1, "station": 10.0, "swing_rate": swing_rate}
    run.rows["series_metrics"] = [row]
    return run


SWING = {"metric": "event.swing", "statistic": "count", "limit": "0"}


def test_only_the_candidates_own_swings_count() -> None:
    run = with_series(make_run({"a": [0.0] * 20}), 1.0)
    run.rows["events"] = [
        event("swing", v, o) for v, o in ((0.3, "candidate"), (0.9, "reference"), (0.8, "both"), (0.7, None))
    ]
    assert known(run, rule_of(**SWING)).value == 1
    worst = known(run, rule_of(**SWING | {"statistic": "max", "limit": "1 m"}))
    assert worst.value == 0.3
    assert str(worst.worst) == "frames 3-9, track 1, band near"


def test_no_event_is_zero_only_where_one_was_looked_for() -> None:
    run = make_run({"a": [0.0] * 20})
    assert number(run, rule_of(**SWING)) is None
    assert number(with_series(run, None), rule_of(**SWING)) is None
    assert known(with_series(run, 0.0), rule_of(**SWING)).value == 0
    bend = {"metric": "event.bend", "statistic": "count", "limit": "0"}
    assert known(run, rule_of(**bend)).value == 0
    assert number(make_run({"a": [None]}), rule_of(**bend)) is None


def test_events_are_told_apart_by_kind_and_band() -> None:
    run = with_series(make_run({"a": [0.0] * 20}), 1.0)
    run.rows["events"] = [event("bend", 0.2), event("bend", 0.4, band="far"), event("kink", 0.1), event("swing", 0.3)]
    bend = {"metric": "event.bend", "statistic": "rate_per_min", "limit": "0 /min"}
    assert known(run, rule_of(**bend)).value == pytest.approx(2 / (20 / FPS / 60))
    assert known(run, rule_of(**bend | {"band": "near"})).value == pytest.approx(1 / (20 / FPS / 60))


def test_outputs_that_are_not_finite_are_found_in_both_tables() -> None:
    run = make_run({"a": [0.0, 0.0], "b": [0.0]})
    run.rows["frame_metrics"][1]["nonfinite"] = 4
    run.rows["tensor_metrics"] = [
        {"case": "b", "frame": 0, "rung": RUNG, "output": "o", "reference": ROOT, "nonfinite": 2}
    ]
    assert gate_rows.nonfinite_counts(run) == {(RUNG, "a"): 4, (RUNG, "b"): 2}


def test_cases_are_read_a_few_at_a_time_and_none_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    run = make_run({name: [0.1, i / 10] for i, name in enumerate(("b_10", "b_9", "B", "ü", "a"))})
    run.rows["line_metrics"].sort(key=lambda row: row["case"].encode())
    facts = read_facts(run.meta)
    whole = answer(run, facts, rule_of(statistic="p50").question, {RUNG: ROOT})
    assert len(whole) == 5
    for frames in (1, 2, 4, 5):
        monkeypatch.setattr(gate_rows, "BATCH_FRAMES", frames)
        heights = [b.height for b in gate_rows.in_batches(run.table("line_metrics"), facts, [RUNG])]
        assert sum(heights) == 10
        assert max(heights) <= max(2, frames)
        assert answer(run, facts, rule_of(statistic="p50").question, {RUNG: ROOT}) == whole


def test_of_several_worst_rows_the_first_is_told() -> None:
    worst = known(make_run({"a": [0.1, 0.3, 0.3, 0.2]}), rule_of()).worst
    assert worst is not None
    assert worst.frame == 1


def test_a_rule_reads_the_same_from_a_policy_file(tmp_path: Path) -> None:
    policy = load_policy(policy_file(tmp_path, rule_text(statistic="p95", limit="1 m")))
    run = make_run({"a": [0.1, 0.2, 0.3]})
    assert known(run, policy.rules[0]) == known(run, rule_of(statistic="p95"))
