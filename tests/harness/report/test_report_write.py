"""`write_report` on runs of every kind; harness/report/__init__.py."""

from __future__ import annotations

import json
import re

import polars as pl
import pytest

from harness.errors import ReportError, RunError
from harness.ladder import explain
from harness.report import write_report
from harness.report.budget import most_bytes
from harness.report.packing import unpacked
from harness.run.folder import Run
from harness.run.tables import TABLES, empty
from tests.harness.report.fixture_run import Shape, make_run
from tests.run_folders import put_table


def written(run, **options):
    text = write_report(run, **options).read_text(encoding="utf-8")
    data = json.loads(re.search(r'id="data">(.*?)</script>', text, re.S).group(1))
    return text.partition('<script type="application/json"')[0], data


def clip_of(run, case):
    """Head and streams of a clip in the report of a run."""
    text = (run.path / "report.html").read_text(encoding="utf-8")
    clip = json.loads(re.search(rf'data-clip="{case}">(.*?)</script>', text, re.S).group(1))
    return unpacked(clip["packed"])


def test_the_report_lies_in_the_run_folder_unless_told_otherwise(tmp_path):
    run = make_run(tmp_path / "run", Shape(cases=1, rungs=2, frames=5))
    assert write_report(run) == run.path / "report.html"
    assert write_report(run, tmp_path / "other.html").exists()
    assert not list(tmp_path.rglob("*.tmp"))


def test_a_folder_that_is_not_there_is_one_clear_line(tmp_path):
    run = make_run(tmp_path / "run", Shape(cases=1, rungs=1, frames=2))
    with pytest.raises(ReportError, match="cannot write the report: No such file"):
        write_report(run, tmp_path / "gone" / "report.html")


def test_a_foreign_run_json_is_one_clear_line(tmp_path):
    run = make_run(tmp_path, Shape(cases=1, rungs=1, frames=2))
    del run.meta["card"]
    with pytest.raises(RunError, match="lacks what every run has"):
        write_report(run)


def test_an_empty_run_says_that_it_is_empty(tmp_path):
    html, data = written(make_run(tmp_path, Shape(cases=0)))
    assert "This run has no cases." in html
    assert "There is no frame to show." in html
    assert data["opens"] is None


def test_a_run_of_which_nothing_was_compared_still_shows_its_cases(tmp_path):
    run = make_run(tmp_path, Shape(cases=2, rungs=1, frames=3))
    html, data = written(run)
    assert "highway_curve" in html
    assert (data["findings"], data["opens"]["frame"]) == ([], 0)


def test_a_run_without_rows_still_shows_its_ladder(tmp_path):
    run = make_run(tmp_path, Shape(cases=1, rungs=3, frames=3))
    for name in TABLES:
        put_table(run, name, empty(name))
    html, _ = written(Run.open(run.path))
    assert "No metric has a value" in html
    assert "deploy/ort-fp32-none" in html


def test_no_event_is_said_in_so_many_words(tmp_path):
    html, data = written(make_run(tmp_path, Shape(cases=2, rungs=4, severity=0.01)))
    assert "No finding against train/torch-fp32 on 3 rungs." in html
    assert data["findings"] == []
    assert data["opens"]["finding"] is None


def test_metrics_that_are_nan_leave_dashes(tmp_path):
    run = make_run(tmp_path, Shape(cases=1, rungs=3, frames=6))
    for name in ("line_metrics", "series_metrics", "tensor_metrics"):
        floats = [c for c, kind in TABLES[name].items() if kind == pl.Float64 and c not in ("station", "fps")]
        rows = run.read(name).with_columns(pl.lit(float("nan")).alias(c) for c in floats)
        put_table(run, name, rows)
    put_table(run, "events", empty("events"))
    html, _ = written(run)
    cells = re.findall(r"<t[dh][^>]*>([^<]*)", html)
    assert "–" in cells
    assert not any("nan" in cell.lower() for cell in cells)
    assert clip_of(run, "highway_curve")[1].keys() & {"0.offset", "0.bend"} == set()


def test_a_crashed_rung_and_one_that_never_ran_are_named_with_the_reason(tmp_path):
    run = make_run(tmp_path, Shape(cases=1, rungs=4, frames=10))
    run.meta["rungs"][2] |= {"status": "crashed", "reason": "frame 3: out of memory"}
    run.meta["rungs"][3] |= {"status": "not_run", "reason": "no GPU"}
    html, _ = written(run)
    assert "<strong>deploy/ort-fp32-none</strong> crashed: frame 3: out of memory" in html
    assert "<strong>deploy/ort-fp32</strong> was not run: no GPU" in html
    assert "1 crashed, 1 not run" in html


def test_one_frame_is_enough(tmp_path):
    html, data = written(make_run(tmp_path, Shape(cases=1, rungs=3, frames=1)))
    assert data["opens"]["case"] == "highway_curve"
    assert "1 frame," in html


def test_fifty_cases_by_twelve_rungs_stay_small_and_complete(tmp_path):
    run = make_run(tmp_path, Shape(cases=50, rungs=12, frames=4))
    path = write_report(run, explanation=explain(run))
    assert path.stat().st_size < most_bytes(50)
    text = path.read_text(encoding="utf-8")
    assert text.count('class="pick"') == 50
    data = json.loads(re.search(r'id="data">(.*?)</script>', text, re.S).group(1))
    assert len(data["firsts"]) == 50
    assert text.count('<script type="application/json" data-clip=') == 50


def test_a_verdict_stands_first_and_says_which_policy(tmp_path):
    verdict = {"verdict": "INCONCLUSIVE", "policy": {"name": "release", "profile": "cpu"}, "rules": []}
    html, _ = written(make_run(tmp_path, Shape(cases=1, rungs=2, frames=4)), verdict=verdict)
    assert html.index("INCONCLUSIVE</h1>") < html.index('id="ladder"')
    assert "policy release, profile cpu" in html


def test_the_same_run_gives_the_same_report(tmp_path):
    run = make_run(tmp_path, Shape(cases=2, rungs=4, frames=30))
    assert write_report(run, tmp_path / "a.html").read_bytes() == write_report(run, tmp_path / "b.html").read_bytes()
