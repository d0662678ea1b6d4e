"""Which of two runs is better, what is new, what differs: swapping the runs swaps the answers."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.compare import compare_runs
from harness.compare.text import github_lines, markdown
from harness.errors import UsageError
from harness.gate.pairs import paired, shown_ones
from harness.run.folder import Run
from tests.harness.report.fixture_run import Shape, make_run
from tests.run_folders import put_table
from tests.strategies import quick

SHAPE = Shape(cases=8, rungs=3, frames=16)


@pytest.fixture(scope="module")
def runs(tmp_path_factory) -> dict[str, Run]:
    """Eight drives: as they are, with every difference three times as large, and with very small ones."""
    folder = tmp_path_factory.mktemp("runs")
    return {
        "plain": make_run(folder / "plain", SHAPE),
        "bad": make_run(folder / "bad", replace(SHAPE, severity=3.0)),
        "good": make_run(folder / "good", replace(SHAPE, severity=0.02)),
    }


def test_the_run_with_smaller_differences_is_better_whichever_comes_first(runs):
    forth, back = (compare_runs([runs[a], runs[b]]).pairings[0] for a, b in (("plain", "bad"), ("bad", "plain")))
    assert (forth.answer, back.answer) == ("first", "second")
    told = {r.measure: r.answer for r in forth.measures}
    assert (told["bend"], told["offset_max"]) == ("first", "first")
    assert {r.measure: (r.better, r.worse) for r in back.measures} == {
        r.measure: (r.worse, r.better) for r in forth.measures
    }


def test_what_is_new_one_way_is_gone_the_other(runs):
    forth, back = (compare_runs([runs[a], runs[b]]).pairings[0] for a, b in (("good", "plain"), ("plain", "good")))
    assert forth.counts["new"] == back.counts["gone"] > 0
    assert forth.counts["gone"] == back.counts["new"]
    assert {(c.case, c.measure, c.band) for c in forth.changes if c.kind == "new"} == {
        (c.case, c.measure, c.band) for c in back.changes if c.kind == "gone"
    }


def test_a_run_is_the_same_as_itself(runs):
    pairing = compare_runs([runs["plain"], Run.open(runs["plain"].path)]).pairings[0]
    assert pairing.answer == "same"
    assert {kind for kind, count in pairing.counts.items() if count} == {"same"}
    assert pairing.differences == ()


def test_mixed_measures_answer_neither(tmp_path, runs):
    rows = runs["plain"].read("tensor_metrics")
    mixed = make_run(tmp_path / "mixed", replace(SHAPE, severity=0.02))
    put_table(mixed, "tensor_metrics", rows.with_columns(pl.col("rel_rms") * 50))
    pairing = compare_runs([runs["plain"], Run.open(mixed.path)]).pairings[0]
    assert pairing.answer == "neither"
    assert "tensor error" in pairing.sentence


def test_few_drives_answer_unknown(tmp_path):
    small = [make_run(tmp_path / str(s), Shape(cases=3, rungs=3, frames=8, severity=s)) for s in (1.0, 3.0)]
    pairing = compare_runs(small).pairings[0]
    assert pairing.answer == "unknown"
    assert "3 drives" in pairing.sentence


def test_only_common_cases_count_and_the_others_are_told(tmp_path, runs):
    fewer = make_run(tmp_path / "fewer", replace(SHAPE, cases=5, severity=3.0))
    meta = json.loads(json.dumps(fewer.meta))
    meta["cases"][0]["digest"] = "another"
    fewer.meta.update(meta)
    pairing = compare_runs([runs["plain"], fewer]).pairings[0]
    assert (len(pairing.cases), len(pairing.only_first), len(pairing.changed)) == (4, 3, 1)
    assert {c.case for c in pairing.changes} <= set(pairing.cases)


def test_what_the_runs_were_made_with_is_told(tmp_path, runs):
    other = make_run(tmp_path / "other", SHAPE, provenance={"trueline": "0.1.0", "python": "3.11.2", "torch": "2.14.0"})
    assert "versions: torch 2.13.0 -> 2.14.0" in compare_runs([runs["plain"], other]).pairings[0].differences


def test_one_run_is_no_comparison(runs):
    with pytest.raises(UsageError, match="one run is no comparison"):
        compare_runs([runs["plain"]])


def test_markdown_and_annotations_name_the_answer_and_what_is_new(runs):
    comparison = compare_runs([runs["good"], runs["plain"]])
    text = markdown(comparison)
    assert "good is better than plain" in text
    assert f"{comparison.pairings[0].counts['new']} new" in text
    assert "| new | bend |" in text
    lines = list(github_lines(comparison))
    assert lines[0].startswith("::warning title=new%3A")
    assert "good is better" in lines[-1]


@quick
@given(st.integers(0, 2**31), st.integers(6, 40), st.floats(-1, 1))
def test_the_interval_holds_the_median_as_often_as_it_says(seed, count, shift):
    rng = np.random.default_rng(seed)
    held = 0
    for _ in range(60):
        found = paired((rng.standard_cauchy(count) + shift).tolist())
        held += found.low <= shift <= found.high
    assert held >= 49  # 95 % of 60 is 57; fewer than 49 has a chance below 1e-4


def test_swapped_sides_give_swapped_answers():
    d = [0.1, 0.2, -0.05, 0.3, 0.4, 0.2, 0.1, 0.0]
    a, b = paired(d), paired([-x for x in d])
    assert (a.better, a.worse, a.low, a.high) == (b.worse, b.better, -b.high, -b.low)
    assert a.chance == b.chance


def test_among_many_measures_without_a_difference_few_are_told():
    rng = np.random.default_rng(0)
    told = [any(shown_ones(rng.uniform(size=20).tolist())) for _ in range(400)]
    assert np.mean(told) < 0.08
