"""An explanation as the report shows it."""

from __future__ import annotations

import pytest

from harness.errors import ReportError
from harness.ladder import explain
from harness.report.blame import MAX_ANOMALIES, blame_view
from harness.report.facts import read_facts
from harness.report.palette import rung_styles
from tests.harness.report.fixture_run import Shape, make_run


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return make_run(tmp_path_factory.mktemp("run"), Shape(cases=2, rungs=6))


def view(run, explanation):
    facts = read_facts(run.meta)
    return blame_view(explanation, facts, rung_styles(facts.ladder, facts.reference))


def test_an_explanation_of_the_ladder_is_read_whole(run):
    explanation = explain(run)
    found = view(run, explanation)
    first = explanation.suspects[0]
    assert found["summary"] == (
        f"{first.count} of {len(explanation.anomalies)} anomalies begin at {first.rung}: {first.factor}."
    )
    assert found["steps"]["deploy/ort-fp32-none"] == 0
    assert found["steps"][first.rung] == first.count
    assert [a["value"] for a in found["anomalies"]] == [f"{a.value:.3f} m" for a in explanation.anomalies]


def test_shares_are_told_as_measured_and_drawn_within_the_bar(run):
    raw = explain(run).to_json()
    anomaly = raw["anomalies"][0]
    for step, share in zip(anomaly["steps"], (1.5, None, -0.5), strict=True):
        step["share"] = share
    found = view(run, raw)["anomalies"][0]
    assert [s["text"] for s in found["steps"]] == ["150 %", "not measured", "−50 %"]
    assert found["widths"] == [100.0, 0.0, 0.0]


def test_what_was_not_measured_is_not_a_number(run):
    raw = explain(run).to_json()
    raw["anomalies"][0]["steps"][0] |= {"value": None, "added": None}
    raw["anomalies"][0] |= {"interaction": None}
    found = view(run, raw)["anomalies"][0]
    assert found["steps"][0]["added"] == "not measured"
    assert found["interaction"] == ""


def test_a_clean_run_blames_nobody(tmp_path):
    run = make_run(tmp_path, Shape(cases=1, rungs=4, severity=0.01))
    found = view(run, explain(run))
    assert found["summary"] == "No anomaly against train/torch-fp32 on the way to the car."
    assert found["suspects"] == []


def test_a_long_list_is_cut_and_says_so(run):
    raw = explain(run).to_json()
    raw["anomalies"] = raw["anomalies"][:1] * (MAX_ANOMALIES + 3)
    found = view(run, raw)
    assert (len(found["anomalies"]), found["left_out"]) == (MAX_ANOMALIES, 3)


def test_no_explanation_is_no_view_and_anything_else_is_refused(run):
    assert view(run, None) is None
    with pytest.raises(ReportError, match="explanation is int"):
        view(run, 3)
