"""Which frames a report shows."""

from __future__ import annotations

from typing import Any

import polars as pl
import pytest

from harness.report.finding import WorstFrame
from harness.report.select import candidates, choose, worst_events, worst_frames
from harness.run.tables import TABLES
from tests.harness.report.fixture_run import Shape, make_run

LADDER = ["train/a", "deploy/a", "deploy/b", "deploy/c"]
NAN = float("nan")


def event(**given: Any) -> dict[str, Any]:
    base = {
        "case": "one", "rung": "deploy/a", "kind": "bend", "frame_start": 3, "frame_end": 8, "track": 0, "band": "far",
        "reference": "train/a", "value": 0.6, "threshold": 0.3, "unit": "m", "owner": "candidate",
    }  # fmt: skip
    return base | given


def events(*rows: dict[str, Any]) -> pl.LazyFrame:
    return pl.LazyFrame(list(rows), schema=TABLES["events"])


def frame(case: str, kind: str, severity: float, number: int = 0, owner: str = "candidate") -> WorstFrame:
    return WorstFrame(case, number, "deploy/a", kind, 0, "far", severity, 1.0, "m", owner, number, number, severity)


def test_an_event_that_travels_down_the_ladder_is_one_finding_at_its_first_rung():
    found = candidates(
        events(event(), event(rung="deploy/b", value=0.62), event(rung="deploy/c", value=0.61)), LADDER, "train/a"
    )
    assert [(f.rung, f.also) for f in found] == [("deploy/a", ("deploy/b", "deploy/c"))]


def test_a_rung_with_only_a_trace_of_the_event_is_not_where_it_begins():
    (found,) = candidates(events(event(value=0.31), event(rung="deploy/b", value=0.9)), LADDER, "train/a")
    assert found.rung == "deploy/b"


def test_another_moment_is_not_the_same_event():
    (found,) = candidates(
        events(event(), event(rung="deploy/b", value=0.6, frame_start=50, frame_end=60)), LADDER, "train/a"
    )
    assert found.also == ()


def test_events_against_the_parent_are_not_counted_again():
    found = candidates(events(event(rung="deploy/b", reference="deploy/a", value=9.0)), LADDER, "train/a")
    assert found == []


@pytest.mark.parametrize(
    ("given", "severity"),
    [
        ({"value": 0.6, "threshold": 0.3}, 2.0),
        ({"kind": "missing", "value": 8.0, "threshold": 1.0, "unit": "frames"}, 4.0),
        ({"kind": "nonfinite", "value": 1.0, "threshold": 1.0, "unit": "count"}, 1000.0),
        ({"value": NAN}, 0.0),
        ({"value": None}, 0.0),
        ({"threshold": 0.0}, 1000.0),
    ],
)
def test_severity_is_comparable_over_kinds(given, severity):
    assert worst_events(events(event(**given)), "train/a")["severity"].to_list() == [severity]


def test_the_reference_s_own_events_come_last():
    found = candidates(events(event(owner="reference", value=9.0), event(case="two", value=0.4)), LADDER, "train/a")
    assert [f.case for f in found] == ["two", "one"]


def test_one_bad_case_does_not_fill_the_list():
    found = [frame("bad", "bend", 9 - i / 10, i * 10) for i in range(20)]
    found += [frame(f"case{i}", "bend", 2.0 - i / 10) for i in range(5)]
    chosen = choose(found, 8)
    assert len({f.case for f in chosen}) == 6


def test_a_mild_kind_is_not_crowded_out():
    found = [frame(f"case{i}", "bend", 9.0) for i in range(20)] + [frame("other", "flicker", 1.1)]
    assert "flicker" in {f.kind for f in choose(found, 6)}


def select(run, cases, max_frames=12):
    reference, ladder = run.meta["reference"], [r["name"] for r in run.meta["rungs"]]
    return worst_frames(
        run,
        found=candidates(run.table("events"), ladder, reference),
        cases=cases,
        reference=reference,
        limits={"near": 0.15, "mid": 0.15, "far": 0.3},
        unit="m",
        max_frames=max_frames,
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
    rows.write_parquet(run.path / "line_metrics.parquet")
    (shown,) = select(run, ["highway_curve"])
    assert shown.kind == "largest_offset"
    assert shown.value == rows["offset_max"].abs().max()


def test_a_case_of_which_nothing_was_compared_shows_its_first_frame(tmp_path):
    run = make_run(tmp_path, Shape(cases=1, rungs=1))
    (shown,) = select(run, ["highway_curve", "never_replayed"])[:1]
    assert (shown.kind, shown.frame) == ("first", 0)


def test_every_case_has_a_frame_and_only_the_worst_have_pictures(tmp_path):
    run = make_run(tmp_path, Shape(cases=20, rungs=3, frames=8))
    cases = [c["id"] for c in run.meta["cases"]]
    shown = select(run, cases, max_frames=4)
    assert {f.case for f in shown} == set(cases)
    assert [f.pictured for f in shown] == [True] * 4 + [False] * (len(shown) - 4)


def test_one_moment_is_not_shown_twice(tmp_path):
    run = make_run(tmp_path, Shape(cases=1, rungs=4))
    shown = select(run, ["highway_curve"])
    assert len({(f.rung, f.frame // 3) for f in shown}) >= len(shown) - 1
    assert not [
        (a, b) for i, a in enumerate(shown) for b in shown[:i] if a.rung == b.rung and abs(a.frame - b.frame) <= 2
    ]
