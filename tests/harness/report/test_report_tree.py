"""The drawing of the ladder."""

from __future__ import annotations

from itertools import combinations

from harness.ladder import explain
from harness.report.palette import rung_styles
from harness.report.tree import NODE_HEIGHT, NODE_WIDTH, ladder_view, layout
from harness.run.facts import RungFact, read_facts
from tests.harness.report.fixture_run import LADDER, Shape, make_run

RUNGS = [RungFact(n, p, "ok", factors=tuple(f)) for n, p, f in LADDER]


def view(run):
    facts = read_facts(run.meta)
    return ladder_view(facts, rung_styles(facts.ladder, facts.reference), explain(run).findings)


def test_no_two_boxes_stand_in_one_place():
    places = layout(RUNGS)
    assert len(set(places.values())) == len(RUNGS)


def test_a_child_stands_one_column_right_of_its_parent_and_never_above():
    places = layout(RUNGS)
    for rung in RUNGS:
        if rung.parent:
            assert places[rung.name][0] == places[rung.parent][0] + 1
            assert places[rung.name][1] >= places[rung.parent][1]


def test_the_longest_chain_is_a_straight_line():
    places = layout(RUNGS)
    chain = ("train/torch-fp32", "deploy/torch-fp32", "deploy/ort-fp32-none", "deploy/ort-fp32")
    assert [places[n] for n in chain] == [(0, 0), (1, 0), (2, 0), (3, 0)]


def test_boxes_do_not_overlap_and_fit_the_drawing(tmp_path):
    drawing = view(make_run(tmp_path, Shape(cases=1, rungs=12, frames=4)))
    for a, b in combinations(drawing["nodes"], 2):
        assert abs(a["x"] - b["x"]) >= NODE_WIDTH or abs(a["y"] - b["y"]) >= NODE_HEIGHT
    assert all(n["x"] + NODE_WIDTH <= drawing["width"] for n in drawing["nodes"])
    assert all(n["y"] + NODE_HEIGHT <= drawing["height"] for n in drawing["nodes"])


def test_a_rung_without_its_parent_is_a_root_of_its_own():
    orphan = RungFact("deploy/x", "deploy/gone", "ok")
    assert layout([*RUNGS[:2], orphan])["deploy/x"][0] == 0


def test_the_steps_at_which_findings_begin_are_marked_with_their_number(tmp_path):
    run = make_run(tmp_path, Shape(cases=1, rungs=6))
    drawing, explanation = view(run), explain(run)
    assert {n["name"] for n in drawing["nodes"] if n["moved"]} == {s.rung for s in explanation.suspects}
    told = sum(int(n["text"].split()[0]) for n in drawing["nodes"] if n["moved"])
    assert told == len(explanation.findings)


def test_a_clean_run_has_no_marked_step(tmp_path):
    drawing = view(make_run(tmp_path, Shape(cases=1, rungs=6, severity=0.01)))
    assert not any(n["moved"] for n in drawing["nodes"])


def test_a_rung_that_did_not_run_says_so(tmp_path):
    run = make_run(tmp_path, Shape(cases=1, rungs=3))
    run.meta["rungs"][2] |= {"status": "crashed", "reason": "out of memory"}
    node = next(n for n in view(run)["nodes"] if n["name"] == "deploy/ort-fp32-none")
    assert (node["status"], node["text"], node["reason"]) == ("crashed", "crashed", "out of memory")
