from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest

from harness.errors import PolicyError, RunError, UnitMismatch
from harness.gate import Status, judge, load_policy
from harness.gate.verdict import CaseOutcome
from tests.harness.gate.gate_runs import GUARDS, ROOT, RUNG, FakeRun, add_floor, found, judged, make_run, rule_text

CPU = '[profile.cpu]\nengines = ["ort-fp32"]\npreprocess = "deploy"\n'


def case(folder: Path, run: FakeRun, text: str, name: str = "a", **more: Any) -> CaseOutcome:
    return next(c for c in found(folder, run, text, **more).cases if c.case == name)


def test_each_case_stands_by_itself(tmp_path: Path) -> None:
    rung = found(tmp_path, make_run({"a": [0.01] * 50, "b": [0.01] * 49 + [0.2], "c": [0.15]}), rule_text())
    assert {c.case: c.status for c in rung.cases} == {"a": Status.PASS, "b": Status.FAIL, "c": Status.PASS}
    assert rung.status is Status.FAIL
    assert rung.reason == "case b: 0.2 m > 0.15 m at frame 49, track 0, band near (1 of 3 cases)"


def test_one_case_is_the_only_one(tmp_path: Path) -> None:
    for values, ends in (([0.01] * 50, "0.01 m <= 0.15 m (the only case)"), ([0.2] * 50, "band near (the only case)")):
        assert found(tmp_path, make_run({"a": values}), rule_text()).reason.endswith(ends)


def test_a_value_at_its_limit_passes_in_every_unit(tmp_path: Path) -> None:
    run = make_run({"a": [0.0]}, kink=math.radians(3), coverage=0.8)
    text = rule_text(metric="kink", limit="3 deg") + rule_text(
        id="c", metric="coverage", statistic="min", limit=">= 80 %"
    )
    text += rule_text(id="d", metric="kink", limit="2.999 deg")
    verdict = judged(tmp_path, run, text)
    assert [verdict.rule(r).status for r in ("bend", "c", "d")] == [Status.PASS, Status.PASS, Status.FAIL]  # type: ignore[union-attr]  # they are there


def test_values_are_told_in_the_unit_of_the_limit(tmp_path: Path) -> None:
    outcome = case(tmp_path, make_run({"a": [0.2]}), rule_text(limit="15 cm"))
    assert outcome.value == pytest.approx(20)
    assert outcome.reason == "20 cm > 15 cm"
    assert (outcome.worst.value, outcome.worst_unit) == (pytest.approx(20), "cm")  # type: ignore[union-attr]  # there is one


def test_a_counted_worst_row_keeps_the_metrics_own_unit(tmp_path: Path) -> None:
    run = make_run({"a": [0.0] * 20})
    keys = {"case": "a", "rung": RUNG, "reference": ROOT, "kind": "bend", "owner": "candidate"}
    run.rows["events"] = [keys | {"frame_start": 1, "frame_end": 2, "value": 0.25}]
    outcome = case(tmp_path, run, rule_text(metric="event.bend", statistic="count", limit="0 events"))
    assert outcome.reason == "1 event > 0 events"
    assert (outcome.worst.value, outcome.worst_unit) == (0.25, "m")  # type: ignore[union-attr]  # there is one


def test_a_percentage_of_the_image_height_becomes_pixels(tmp_path: Path) -> None:
    run = make_run({"a": [2.5]}, unit="px")
    assert case(tmp_path, run, rule_text(limit="0.5 %h")).reason == "0.625%h > 0.5%h"
    assert case(tmp_path, run, rule_text(limit="3 px")).status is Status.PASS


@pytest.mark.parametrize(("unit", "limit"), [("px", "0.15 m"), ("m", "2 px"), ("m", "0.5 %h")])
def test_a_run_in_the_other_unit_is_a_unit_mismatch(tmp_path: Path, unit: str, limit: str) -> None:
    with pytest.raises(UnitMismatch) as caught:
        judged(tmp_path, make_run({"a": [0.1]}, unit=unit), rule_text(limit=limit))
    assert "toy.trueline.toml, rule 'bend', limit" in caught.value.where


def test_low_coverage_cannot_hide_a_bend(tmp_path: Path) -> None:
    run = make_run({"a": [None, None]}, coverage=0.1)
    verdict = judged(
        tmp_path,
        run,
        rule_text(),
    )
    assert verdict.rule("bend").status is Status.NOT_RUN  # type: ignore[union-attr]  # it is there
    strict = load_policy(_write(tmp_path, rule_text() + GUARDS.replace(">= 0 %", ">= 80 %")))
    assert judge(run, strict).status is Status.FAIL


def _write(folder: Path, text: str) -> Path:
    path = folder / "own.trueline.toml"
    path.write_text(text)
    return path


def test_a_case_without_any_value_is_not_run(tmp_path: Path) -> None:
    rung = found(tmp_path, make_run({"a": [0.1], "b": [None]}), rule_text())
    assert rung.status is Status.NOT_RUN
    assert rung.reason == "case b: nothing to compare: bend has no value in this case (1 of 2 cases)"


def test_a_case_without_rows_is_not_run(tmp_path: Path) -> None:
    run = make_run({"a": [0.1], "b": [0.1]})
    for table in run.rows:
        run.rows[table] = [r for r in run.rows[table] if r["case"] == "a"]
    assert case(tmp_path, run, rule_text(), "b").status is Status.NOT_RUN


def test_too_few_compared_frames_are_not_run(tmp_path: Path) -> None:
    run = make_run({"a": [0.1] * 79})
    run.case("a")["frames"] = 100
    outcome = case(tmp_path, run, rule_text())
    assert outcome.status is Status.NOT_RUN
    assert outcome.reason == "compared on 79 of 100 frames, min_frames_share = 0.8"
    assert case(tmp_path, run, "min_frames_share = 0.5\n" + rule_text()).status is Status.PASS


@pytest.mark.parametrize(("status", "expected"), [("crashed", Status.CRASHED), ("not_run", Status.NOT_RUN)])
@pytest.mark.parametrize("name", [RUNG, ROOT])
def test_a_rung_that_did_not_finish_cannot_pass(tmp_path: Path, status: str, expected: Status, name: str) -> None:
    run = make_run({"a": [0.1]})
    run.rung(name).update(status=status, reason="out of memory")
    rung = found(tmp_path, run, rule_text())
    assert rung.status is expected
    assert rung.reason.startswith(name)
    assert "out of memory" in rung.reason
    assert {c.status for c in rung.cases} == {expected}


def test_a_rung_that_the_profile_expects_and_the_run_lacks_is_not_run(tmp_path: Path) -> None:
    text = '[profile.car]\nengines = ["ort-fp32", "trt-fp16"]\npreprocess = "deploy"\n' + rule_text()
    outcome = judged(tmp_path, make_run({"a": [0.1]}), text).rule("bend")
    assert outcome is not None
    assert {r.rung: r.status for r in outcome.rungs} == {RUNG: Status.PASS, "deploy/trt-fp16": Status.NOT_RUN}
    assert outcome.reason == "deploy/trt-fp16: the run has no rung deploy/trt-fp16"


def test_a_rule_that_looks_at_nothing_is_not_run(tmp_path: Path) -> None:
    verdict = judged(tmp_path, make_run({"a": [0.1]}), rule_text(rung="deploy/trt-*"))
    assert verdict.rule("bend").reason == "no rung matches 'deploy/trt-*'"  # type: ignore[union-attr]  # it is there
    assert verdict.status is Status.NOT_RUN


def test_a_rule_about_no_case_of_the_run_is_not_run(tmp_path: Path) -> None:
    rung = found(tmp_path, make_run({"a": [0.1]}), rule_text(cases="highway_*"))
    assert (rung.status, rung.reason) == (Status.NOT_RUN, "the run has no case that the rule is about")


def test_an_empty_run_passes_nothing(tmp_path: Path) -> None:
    assert judged(tmp_path, make_run({}), rule_text()).status is Status.NOT_RUN


def test_cases_and_tags_choose_what_a_rule_is_about(tmp_path: Path) -> None:
    run = make_run({"a_1": [0.9], "a_2": [0.1], "b_1": [0.9]})
    run.case("a_2")["tags"] = ["night", "rain"]
    assert [c.case for c in found(tmp_path, run, rule_text(cases="a_*")).cases] == ["a_1", "a_2"]
    assert [c.case for c in found(tmp_path, run, rule_text(tags=["rain", "night"])).cases] == ["a_2"]


def test_a_profile_leaves_rules_for_other_engines_out_and_says_so(tmp_path: Path) -> None:
    car = '[profile.car]\nengines = ["trt-fp16"]\npreprocess = "deploy"\n'
    text = CPU + car + rule_text() + rule_text(id="car", rung="deploy/trt-*")
    run = make_run({"a": [0.1]})
    verdict = judged(tmp_path, run, text, profile="cpu")
    assert verdict.status is Status.PASS
    assert [(r.id, r.required) for r in verdict.left_out] == [("car", True)]
    assert "the profile expects deploy/ort-fp32" in verdict.left_out[0].reason
    assert judged(tmp_path, run, text, profile="car").status is Status.NOT_RUN


def test_only_the_rungs_of_the_profile_are_judged(tmp_path: Path) -> None:
    run = make_run({"a": [0.1]}, rungs=(RUNG, "deploy/torch-fp32"))
    for row in run.rows["line_metrics"]:
        row["bend"] = 0.9 if row["rung"] == "deploy/torch-fp32" else 0.1
    assert judged(tmp_path, run, CPU + rule_text()).status is Status.PASS
    assert judged(tmp_path, run, rule_text()).status is Status.FAIL


def test_the_profile_must_be_chosen_where_there_are_several(tmp_path: Path) -> None:
    car = '[profile.car]\nengines = "trt-fp16"\n'
    run = make_run({"a": [0.1]})
    with pytest.raises(PolicyError, match="2 profiles and none was chosen"):
        judged(tmp_path, run, CPU + car + rule_text())
    with pytest.raises(PolicyError, match="no profile 'gpu'"):
        judged(tmp_path, run, CPU + rule_text(), profile="gpu")
    assert judged(tmp_path, run, CPU.replace("cpu", "default") + car + rule_text()).status is Status.PASS


def test_the_reference_is_not_compared_with_itself(tmp_path: Path) -> None:
    rung = found(tmp_path, make_run({"a": [0.1]}), rule_text(rung="*"))
    assert (rung.rung, rung.reference) == (RUNG, ROOT)


def test_accuracy_is_judged_on_the_reference_too(tmp_path: Path) -> None:
    run = make_run({"a": [0.1]})
    run.rows["accuracy"] = [
        {"case": "a", "rung": r, "band": "near", "lateral_mae": v} for r, v in ((ROOT, 0.2), (RUNG, 0.1))
    ]
    outcome = judged(tmp_path, run, rule_text(id="mae", metric="lateral_mae", rung="*", limit="0.15 m")).rule("mae")
    assert outcome is not None
    assert {(r.rung, r.status) for r in outcome.rungs} == {(ROOT, Status.FAIL), (RUNG, Status.PASS)}


def test_a_rule_may_compare_with_the_parent(tmp_path: Path) -> None:
    run = make_run({"a": [0.1]})
    parent = "deploy/torch-fp32"
    run.rung(RUNG)["parent"] = parent
    run.meta["rungs"].append(run.rung(RUNG) | {"name": parent, "parent": ROOT})
    for table in ("line_metrics", "frame_metrics"):
        run.rows[table] += [r | {"reference": parent, "bend": 0.01} for r in run.rows[table]]
    text = rule_text(limit="0.05 m", rung=RUNG, reference="parent")
    policy = load_policy(
        _write(tmp_path, text + GUARDS.replace('rung = "*"', f'rung = "{RUNG}"\nreference = "parent"'))
    )
    rung = judge(run, policy).rules[0].rungs[0]
    assert (rung.reference, rung.status) == (parent, Status.PASS)
    assert found(tmp_path, run, rule_text(limit="0.05 m", rung=RUNG)).status is Status.FAIL


def test_events_are_told_only_against_the_root(tmp_path: Path) -> None:
    run = make_run({"a": [0.1]})
    run.rung(RUNG)["parent"] = "deploy/torch-fp32"
    run.meta["rungs"].append(run.rung(RUNG) | {"name": "deploy/torch-fp32", "parent": ROOT})
    for table in ("line_metrics", "frame_metrics"):
        run.rows[table] += [r | {"reference": "deploy/torch-fp32"} for r in run.rows[table]]
    keys = {"metric": "event.kink", "statistic": "count", "limit": "0", "rung": RUNG}
    for row in run.rows["line_metrics"]:
        row["kink"] = 0.0
    assert found(tmp_path, run, rule_text(**keys)).status is Status.PASS
    rung = found(tmp_path, run, rule_text(**keys, reference="parent"))
    assert (rung.status, rung.reason) == (Status.NOT_RUN, f"events are told only against the run's reference {ROOT}")


def test_a_reference_that_was_not_compared_with_is_not_run(tmp_path: Path) -> None:
    run = make_run({"a": [0.1]})
    assert found(tmp_path, run, 'reference = "train/ort-fp32"\n' + rule_text()).status is Status.NOT_RUN


@pytest.mark.parametrize("rung", [RUNG, ROOT])
def test_outputs_that_are_not_finite_outrank_a_failure(tmp_path: Path, rung: str) -> None:
    run = make_run({"a": [0.9]})
    run.rows["frame_metrics"].append({"case": "a", "frame": 0, "rung": rung, "reference": "none", "nonfinite": 7})
    outcome = case(tmp_path, run, rule_text())
    assert (outcome.status, outcome.reason) == (
        Status.NONFINITE,
        f"{rung} gave outputs that are not finite, up to 7 in a frame",
    )


def test_a_metric_that_is_not_finite_is_no_pass(tmp_path: Path) -> None:
    assert case(tmp_path, make_run({"a": [0.1, math.nan]}), rule_text()).status is Status.NONFINITE
    assert case(tmp_path, make_run({"a": [0.1, math.inf]}), rule_text(statistic="p50")).status is Status.NONFINITE


def test_an_engine_noisier_than_the_limit_is_inconclusive(tmp_path: Path) -> None:
    run = make_run({"a": [0.01], "b": [0.9]})
    rung = found(tmp_path, add_floor(run, "bend", 0.051), rule_text())
    assert {c.status for c in rung.cases} == {Status.INCONCLUSIVE}
    assert "engine too noisy: 3 x its noise floor is 0.153 m, the limit leaves 0.15 m" in rung.reason
    assert found(tmp_path, run, "noise_factor = 2\n" + rule_text()).status is Status.FAIL
    quieter = add_floor(make_run({"a": [0.01], "b": [0.9]}), "bend", 0.05)
    assert found(tmp_path, quieter, rule_text()).status is Status.FAIL


def test_the_noise_floor_never_widens_a_limit(tmp_path: Path) -> None:
    run = make_run({"a": [0.151]})
    assert found(tmp_path, add_floor(run, "bend", 0.0499), rule_text()).status is Status.FAIL


def test_a_floor_of_coverage_is_held_against_what_the_limit_leaves(tmp_path: Path) -> None:
    run = make_run({"a": [0.1]}, coverage=0.95)
    text = rule_text(id="c", metric="coverage", statistic="min", limit=">= 90 %")
    assert judged(tmp_path, add_floor(run, "coverage", 0.03), text).rule("c").status is Status.PASS  # type: ignore[union-attr]  # it is there
    noisy = judged(tmp_path, add_floor(run, "coverage", 0.04), text).rule("c")
    assert noisy is not None
    assert "is 12%, the limit leaves 10%" in noisy.reason


def test_a_floor_says_nothing_about_counts(tmp_path: Path) -> None:
    run = make_run({"a": [0.0]})
    text = rule_text(metric="event.bend", statistic="count", limit="0")
    assert found(tmp_path, add_floor(run, "bend", 9.0), text).status is Status.PASS


@pytest.mark.parametrize(("bend", "expected"), [(0.9, Status.INCONCLUSIVE), (0.1, Status.PASS)])
def test_the_car_is_not_blamed_for_a_lossy_case(tmp_path: Path, bend: float, expected: Status) -> None:
    run = make_run({"a": [bend]}, rungs=("deploy/recorded",))
    run.rung("deploy/recorded")["factors"] = ["car"]
    run.case("a")["lossy"] = True
    assert case(tmp_path, run, rule_text()).status is expected
    run.case("a")["lossy"] = False
    assert case(tmp_path, run, rule_text()).status is (Status.FAIL if bend > 0.15 else Status.PASS)


def test_other_rungs_are_judged_on_lossy_cases(tmp_path: Path) -> None:
    run = make_run({"a": [0.9]})
    run.case("a")["lossy"] = True
    assert case(tmp_path, run, rule_text()).status is Status.FAIL


def test_a_run_json_without_what_a_gate_needs_says_so(tmp_path: Path) -> None:
    run = make_run({"a": [0.1]})
    del run.meta["reference"]
    with pytest.raises(RunError, match=r"run\.json lacks what every run has: KeyError"):
        judged(tmp_path, run, rule_text())
    run = make_run({"a": [0.1]})
    run.rung(RUNG)["status"] = "fine"
    with pytest.raises(RunError, match="has status 'fine'"):
        judged(tmp_path, run, rule_text())


def test_judging_twice_says_the_same(tmp_path: Path) -> None:
    run = make_run({"b": [0.1, 0.2, 0.2], "a": [0.2, 0.1, 0.2]})
    assert judged(tmp_path, run, rule_text()).to_json() == judged(tmp_path, run, rule_text()).to_json()
