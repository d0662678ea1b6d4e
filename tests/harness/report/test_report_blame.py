"""An explanation as the report shows it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from harness.ladder import explain
from harness.ladder.view import headline
from harness.report.blame import MAX_FINDINGS, blame_view
from harness.report.palette import rung_styles
from harness.run.facts import read_facts
from tests.harness.report.fixture_run import Shape, make_run


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return make_run(tmp_path_factory.mktemp("run"), Shape(cases=2, rungs=6))


@pytest.fixture(scope="module")
def explanation(run):
    return explain(run)


def view(run, explanation):
    facts = read_facts(run.meta)
    return blame_view(explanation, rung_styles(facts.ladder, facts.reference))


def with_first(explanation, **changes):
    first = replace(explanation.findings[0], **changes)
    return replace(explanation, findings=(first, *explanation.findings[1:]))


def test_an_explanation_of_the_ladder_is_read_whole(run, explanation):
    found = view(run, explanation)
    first = explanation.suspects[0]
    assert found["summary"] == headline(explanation)
    assert f"{len(explanation.findings)} findings; {first.count} begin at {first.rung}" in found["summary"]
    assert [f["value"] for f in found["findings"]] == [f"{f.value:.3f} m" for f in explanation.findings]


def test_shares_are_told_as_measured_and_drawn_within_the_bar(run, explanation):
    path = explanation.findings[0].steps
    shares = (1.5, float("nan"), -0.5)
    steps = tuple(replace(path[0], share=share) for share in shares)
    found = view(run, with_first(explanation, steps=steps))["findings"][0]
    assert [s["text"] for s in found["steps"]] == ["150 %", "not measured", "−50 %"]
    assert found["widths"] == [100.0, 0.0, 0.0]


def test_what_was_not_measured_is_not_a_number(run, explanation):
    nan = float("nan")
    steps = (replace(explanation.findings[0].steps[0], value=nan, added=nan),)
    found = view(run, with_first(explanation, steps=steps, interaction=nan))["findings"][0]
    assert found["steps"][0]["added"] == "not measured"
    assert found["interaction"] == ""


def test_a_clean_run_blames_nobody(tmp_path):
    run = make_run(tmp_path, Shape(cases=1, rungs=4, severity=0.01))
    found = view(run, explain(run))
    assert found["summary"] == "No finding against train/torch-fp32 on 3 rungs."
    assert found["suspects"] == []


def test_a_long_list_is_cut_and_says_so(run, explanation):
    many = replace(explanation, findings=explanation.findings[:1] * (MAX_FINDINGS + 3))
    found = view(run, many)
    assert (len(found["findings"]), found["left_out"]) == (MAX_FINDINGS, 3)
