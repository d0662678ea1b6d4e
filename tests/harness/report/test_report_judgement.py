"""A verdict as the report shows it."""

from __future__ import annotations

import json
from dataclasses import dataclass

import pytest

from harness.errors import ReportError
from harness.gate import judge, load_policy
from harness.report.judgement import GLYPHS, STATUSES, judgement_view, worst_status
from tests.harness.report.fixture_run import Shape, make_run

POLICY = """
[[rules]]
id = "bow"
metric = "offset_max"
rung = "deploy/*"
statistic = "max"
limit = "55 cm"
note = "no bow may leave the lab"

[[rules]]
id = "steady"
metric = "jitter"
rung = "deploy/*"
statistic = "max"
limit = "0.5 m"

[[rules]]
id = "hint"
metric = "event.swing"
rung = "deploy/*"
statistic = "count"
limit = "0 events"
required = false
"""


@pytest.fixture(scope="module")
def verdict(tmp_path_factory):
    folder = tmp_path_factory.mktemp("verdict")
    (folder / "release.trueline.toml").write_text(POLICY)
    run = make_run(folder / "run", Shape(cases=2, rungs=4, swing=0.5))
    return judge(run, load_policy(folder / "release.trueline.toml"))


def test_a_verdict_of_the_gate_is_read_whole(verdict):
    view = judgement_view(verdict)
    assert view["status"] == "FAIL"
    assert view["policy"] == "release"
    assert view["sentence"] == "Of 2 required rules, 1 failed and 1 passed."
    assert view["detail"].startswith("bow: deploy/torch-fp32")
    bow = view["rules"][0]
    assert (bow["id"], bow["what"], bow["limit"]) == ("bow", "max offset", "55 cm")
    assert bow["note"] == "no bow may leave the lab"
    assert bow["definition"].startswith("Largest lateral distance")
    assert [r["rung"] for r in bow["rungs"]] == ["deploy/torch-fp32", "deploy/ort-fp32-none", "deploy/ort-fp32"]
    assert view["cases"] == {"highway_curve": "FAIL", "rain_at_dusk": "PASS"}


def test_rules_stand_worst_first_and_required_before_advisory(verdict):
    assert [(r["id"], r["required"]) for r in judgement_view(verdict)["rules"]] == [
        ("bow", True), ("hint", False), ("steady", True),
    ]  # fmt: skip


def test_a_failed_rule_says_where_to_look(verdict):
    at = judgement_view(verdict)["rules"][0]["at"]
    assert (at["case"], at["rung"]) == ("highway_curve", "deploy/torch-fp32")
    assert 0 <= at["frame"] < 60


def test_the_worst_value_is_that_of_the_worst_rung_whichever_way_is_worse():
    def rung(name, value):
        case = {"case": "one", "verdict": "PASS", "value": value}
        return {"rung": name, "verdict": "PASS", "reason": f"case one: {value}", "cases": [case]}

    def worst(metric):
        rule = {
            "id": "r",
            "metric": metric,
            "verdict": "PASS",
            "rungs": [rung("a", 0.9), rung("b", 0.7), rung("c", 1.0)],
        }
        (found,) = judgement_view({"rules": [rule]})["rules"]
        return found["value"], found["reason"]

    assert worst("jitter") == ("1", "c: case one: 1.0")
    assert worst("coverage") == ("0.7", "b: case one: 0.7")


def test_the_object_and_its_file_read_the_same(verdict):
    assert judgement_view(json.loads(json.dumps(verdict.to_json()))) == judgement_view(verdict)


def test_an_advisory_rule_does_not_touch_a_case(verdict):
    raw = verdict.to_json()
    for rule in raw["rules"]:
        rule["required"] = rule["id"] != "bow"
    assert judgement_view(raw)["cases"]["rain_at_dusk"] == "FAIL"  # by "hint", now required
    assert judgement_view(verdict)["cases"]["rain_at_dusk"] == "PASS"


def test_no_verdict_is_no_view():
    assert judgement_view(None) is None


def test_a_verdict_without_rules_is_told_as_such():
    assert judgement_view({"verdict": "NOT_RUN"})["sentence"] == "No required rule was judged."


@pytest.mark.parametrize("wrong", [3, "FAIL", ["FAIL"]])
def test_what_is_no_verdict_is_refused_in_one_line(wrong):
    with pytest.raises(ReportError, match="verdict is") as error:
        judgement_view(wrong)
    assert "\n" not in str(error.value)


def test_a_dataclass_without_to_json_is_read_by_its_fields():
    @dataclass
    class Plain:
        verdict: str = "PASS"

    assert judgement_view(Plain())["status"] == "PASS"


def test_statuses_are_the_gate_s_and_each_has_a_sign_besides_its_colour():
    from harness.gate import Status

    assert tuple(s.value for s in Status) == STATUSES
    assert set(GLYPHS) == set(STATUSES)
    assert worst_status(["PASS", "NOT_RUN", "FAIL"]) == "FAIL"
    assert worst_status([]) == "NOT_RUN"


def test_a_pass_is_told_by_the_number_nearest_its_limit():
    def rule(id: str, value: float, limit: float, **more: object) -> dict:
        case = {"case": f"case of {id}", "verdict": "PASS", "value": value, "reason": f"{value} m <= {limit} m"}
        rung = {"rung": "deploy/ort-fp32", "verdict": "PASS", "reason": "", "cases": [case]}
        told = {"id": id, "metric": "bend", "verdict": "PASS", "limit_value": limit, "compare": "limit"}
        return told | {"rungs": [rung]} | more

    rules = [
        rule("first", 0.1, 1.0), rule("near", 0.4, 0.5), rule("events", 0.0, 0.0),
        rule("advice", 0.9, 1.0, required=False), rule("coverage", 0.99, 0.8, higher_is_worse=False),
        rule("baseline", 0.1, 0.1, compare="baseline"),
    ]  # fmt: skip
    view = judgement_view({"verdict": "PASS", "rules": rules})
    assert view is not None
    assert view["detail"] == (
        "nothing is over a limit; nearest to one is near: 0.4 m <= 0.5 m, 80% of it, case case of near, "
        "on deploy/ort-fp32"
    )
    assert judgement_view({"verdict": "PASS", "rules": [rules[2]]})["detail"] == ""
