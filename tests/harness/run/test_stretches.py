from __future__ import annotations

import math
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.gate.policy import Rule
from harness.run import rows as run_rows
from harness.run.facts import read_facts
from harness.run.question import Question
from harness.run.statistic import Asked, Measured, answer, answers
from harness.run.stretches import NO_ROW, Stretches, worst_of_parts
from tests.harness.gate.gate_runs import FPS, ROOT, RUNG, FakeRun, make_run

OTHER = "deploy/other"
SOME = st.none() | st.floats(0, 10, width=32)


def question(**keys: Any) -> Question:
    rule = {"id": "r", "metric": "bend", "rung": "*", "statistic": "max", "limit": "1 m"} | keys
    return Rule.model_validate(rule).question


def run_of_lines(rows: list[dict[str, Any]], frames: int = 40) -> FakeRun:
    """One case; rows of line_metrics in the table's order."""
    run = make_run({"a": [0.0] * frames}, rungs=(RUNG, OTHER))
    key = {"case": "a", "rung": RUNG, "reference": ROOT, "coverage": 1.0, "track": 0, "band": "near"}
    rows = [key | row for row in rows]
    run.rows["line_metrics"] = sorted(rows, key=lambda r: (r["frame"], r["rung"], r["track"], r["band"]))
    return run


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(SOME, st.integers(0, 2)), min_size=1, max_size=20), st.booleans())
def test_the_worst_of_a_part_is_the_first_of_the_worst_there_are(
    rows: list[tuple[float | None, int]], higher: bool
) -> None:
    ordered = sorted(enumerate(rows), key=lambda r: r[1][1])
    values = np.array([math.nan if v is None else v for _, (v, _) in ordered])
    parts = np.array([part for _, (_, part) in ordered])
    starts = np.flatnonzero(np.append(True, np.diff(parts) != 0))
    found, where = worst_of_parts(values, np.array([k for k, _ in ordered]), starts, higher=higher)
    for part, value, row in zip(parts[starts], found, where, strict=True):
        own = [(v, k) for k, (v, p) in enumerate(rows) if p == part and v is not None]
        if not own:
            assert (math.isnan(value), row) == (True, NO_ROW)
            continue
        best = max(v for v, _ in own) if higher else min(v for v, _ in own)
        assert (value, row) == (best, min(k for v, k in own if v == best))


def test_a_stretch_is_one_case_rung_reference_place_and_track_in_time_order() -> None:
    rows = [
        {"frame": f, "track": t, "band": b, "rung": r, "bend": 1.0}
        for f in range(3)
        for t in (0, None)
        for b in ("near", "far")
        for r in (RUNG, OTHER)
    ]
    table = pl.DataFrame([{"case": "a", "reference": ROOT} | r for r in rows])
    stretches = Stretches(table)
    assert len(stretches) == 8
    assert stretches.lengths.tolist() == [3] * 8
    assert np.diff(stretches.cases).min() >= 0
    assert sorted(set(stretches.cases.tolist())) == [0, 1]
    for start, key in zip(stretches.starts, stretches.keys.iter_rows(named=True), strict=True):
        own = table[stretches.order[start : start + 3]]
        assert own["frame"].to_list() == [0, 1, 2]
        assert own.select(stretches.keys.columns).unique().rows(named=True) == [key]


def slow_sustained(rows: list[dict[str, Any]], hold_s: float) -> float:
    """The largest value of any line of which every value of more than `hold_s` on end is as large or larger."""
    window = math.floor(hold_s * FPS + 1e-9) + 1
    best = 0.0
    for track, band in {(r["track"], r["band"]) for r in rows}:
        own = {r["frame"]: r["bend"] for r in rows if (r["track"], r["band"]) == (track, band)}
        for last in own:
            held = [own.get(f) for f in range(last - window + 1, last + 1)]
            if all(v is not None for v in held):
                best = max(best, min(v for v in held if v is not None))
    return best


@settings(max_examples=40, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(0, 25), st.integers(0, 1), st.sampled_from(["near", "far"]), SOME),
        min_size=1, max_size=60, unique_by=lambda r: r[:3],
    ),
    st.sampled_from([0.0, 0.1, 0.2, 0.35]),
)  # fmt: skip
def test_what_a_line_holds_is_the_least_of_frames_on_end(
    rows: list[tuple[int, int, str, float | None]], hold_s: float
) -> None:
    told = [dict(zip(("frame", "track", "band", "bend"), row, strict=True)) for row in rows]
    run = run_of_lines(told)
    asked = question(statistic="sustained", hold_s=hold_s)
    found = answer(run, read_facts(run.meta), asked, {RUNG: ROOT})[RUNG, "a"]
    if all(r["bend"] is None for r in told):
        assert found.compared == 0
    else:
        assert found.value == slow_sustained(told, hold_s)


def questions() -> list[Asked]:
    asked = [question(statistic=s) for s in ("max", "mean", "p50", "p99", "sustained")]
    asked += [question(band=b) for b in ("near", "far")]
    asked += [question(metric="coverage", statistic="p1", limit=">= 80 %")]
    asked += [question(metric="missing", limit="0 lines"), question(metric="event.bend", statistic="count", limit="0")]
    return [Asked(q, references) for q in asked for references in ({RUNG: ROOT}, {RUNG: ROOT, OTHER: ROOT})]


def run_of_noise(seed: int) -> FakeRun:
    rng = np.random.default_rng(seed)
    rows = [
        {"frame": f, "track": t, "band": b, "rung": r, "bend": float(rng.gamma(2.0)) if rng.random() > 0.05 else None}
        for f in range(40)
        for t in range(3)
        for b in ("near", "mid", "far")
        for r in (RUNG, OTHER)
    ]
    return run_of_lines(rows)


def test_questions_asked_together_have_the_answers_they_have_alone() -> None:
    run = run_of_noise(1)
    facts = read_facts(run.meta)
    together = answers(run, facts, questions())
    assert together == [answer(run, facts, a.question, a.references) for a in questions()]
    assert any(isinstance(m, Measured) and m.value > 0 for found in together for m in found.values())


def test_a_long_case_is_read_a_rung_at_a_time_with_the_same_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    run = run_of_noise(2)
    facts = read_facts(run.meta)
    whole = answers(run, facts, questions())
    monkeypatch.setattr(run_rows, "LONG_CASE_FRAMES", 10)
    batches = list(run_rows.in_batches(run.table("line_metrics"), facts, [RUNG, OTHER]))
    assert [b["rung"].unique().to_list() for b in batches] == [[RUNG], [OTHER]]
    assert answers(run, facts, questions()) == whole
