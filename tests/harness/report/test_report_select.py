"""Which frames a report shows."""

from __future__ import annotations

import polars as pl

from harness.ladder import explain
from harness.ladder.words import sentence
from harness.model.grid import vehicle_grid
from harness.report.finding import WorstFrame
from harness.report.select import choose, frames_of, worst_frames
from tests.harness.report.fixture_run import Shape, make_run
from tests.run_folders import put_table


def frame(case: str, kind: str, severity: float, number: int = 0) -> WorstFrame:
    return WorstFrame(case, number, "deploy/a", kind, 0, "far", severity, 1.0, "m", number, number, severity)


def test_every_finding_with_a_frame_is_shown_on_its_rung_and_names_the_others(tmp_path):
    findings = explain(make_run(tmp_path, Shape(cases=1, rungs=6))).findings
    found = frames_of(findings)
    assert [f.sentence for f in found] == [sentence(f) for f in findings if f.frame is not None]
    first = next(f for f in findings if len(f.rungs) > 1)
    shown = next(f for f in found if f.sentence == sentence(first))
    assert (shown.rung, {shown.rung, *shown.also}) == (first.rung, set(first.rungs))


def test_one_bad_case_does_not_fill_the_list():
    found = [frame("bad", "bend", 9 - i / 10, i * 10) for i in range(20)]
    found += [frame(f"case{i}", "bend", 2.0 - i / 10) for i in range(5)]
    chosen = choose(found, 8)
    assert len({f.case for f in chosen}) == 6


def test_a_mild_kind_is_not_crowded_out():
    found = [frame(f"case{i}", "bend", 9.0) for i in range(20)] + [frame("other", "flicker", 1.1)]
    assert "flicker" in {f.kind for f in choose(found, 6)}


def select(run, cases, most=24):
    return worst_frames(
        run,
        found=frames_of(explain(run).findings),
        cases=cases,
        reference=run.meta["reference"],
        grid=vehicle_grid(),
        most=most,
    )


def test_the_frame_shown_is_the_worst_of_the_event(tmp_path):
    run = make_run(tmp_path, Shape(cases=1, rungs=2))
    bend = next(f for f in select(run, ["highway_curve"]) if f.kind == "bend")
    rows = run.read("line_metrics").filter(rung=bend.rung, track=bend.track, band=bend.band)
    assert bend.frame == rows.sort("bend", descending=True)["frame"][0]
    assert bend.frame_start < bend.frame < bend.frame_end


def test_a_case_without_events_shows_its_largest_bend(tmp_path):
    run = make_run(tmp_path, Shape(cases=2, rungs=2, severity=0.05))
    shown = select(run, ["highway_curve", "rain_at_dusk"])
    assert [f.kind for f in shown] == ["largest_bend"] * 2
    assert all(0 < f.severity < 1 for f in shown)


def test_where_no_bend_was_measured_the_largest_offset_is_shown(tmp_path):
    run = make_run(tmp_path, Shape(cases=1, rungs=2, severity=0.05))
    rows = run.read("line_metrics").with_columns(pl.lit(None, pl.Float64).alias("bend"))
    put_table(run, "line_metrics", rows)
    (shown,) = select(run, ["highway_curve"])
    assert shown.kind == "largest_offset"
    assert shown.value == rows["offset_max"].abs().max()


def test_a_case_of_which_nothing_was_compared_shows_its_first_frame(tmp_path):
    run = make_run(tmp_path, Shape(cases=1, rungs=1))
    (shown,) = select(run, ["highway_curve", "never_replayed"])[:1]
    assert (shown.kind, shown.frame) == ("first", 0)


def test_every_case_has_a_frame_however_few_findings_are_shown(tmp_path):
    run = make_run(tmp_path, Shape(cases=20, rungs=3, frames=8))
    cases = [c["id"] for c in run.meta["cases"]]
    assert {f.case for f in select(run, cases, most=4)} == set(cases)


def test_the_first_of_the_findings_stays_the_first(tmp_path):
    run = make_run(tmp_path, Shape(cases=3, rungs=6))
    found = frames_of(explain(run).findings)
    mild = found[-1]
    shown = worst_frames(
        run, found=[mild, *found[:-1]], cases=[c["id"] for c in run.meta["cases"]], reference=run.meta["reference"],
        grid=vehicle_grid(), most=5,
    )  # fmt: skip
    assert (shown[0].case, shown[0].kind, shown[0].track) == (mild.case, mild.kind, mild.track)


def test_one_moment_is_not_shown_twice(tmp_path):
    run = make_run(tmp_path, Shape(cases=1, rungs=4))
    shown = select(run, ["highway_curve"])
    assert len({(f.kind, f.rung, f.frame // 3) for f in shown}) >= len(shown) - 1
    assert not [
        (a, b)
        for i, a in enumerate(shown)
        for b in shown[:i]
        if (a.kind, a.rung) == (b.kind, b.rung) and abs(a.frame - b.frame) <= 2
    ]
