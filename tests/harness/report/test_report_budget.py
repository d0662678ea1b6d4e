"""A report stays within its bytes: the worst first, omissions told, beyond a hundred cases a page for each."""

from __future__ import annotations

import json
import re

import pytest

from cases.synth import write_synth_case
from harness.report import write_report
from harness.report.budget import Budget, most_bytes
from tests.harness.report.fixture_run import Shape, make_run


def test_three_cases_take_three_megabytes_and_a_hundred_twenty_five():
    assert [most_bytes(n) for n in (1, 3, 100, 500)] == [3_000_000, 3_000_000, 25_000_000, 25_000_000]


def test_the_next_case_takes_about_twice_its_share_at_most_and_the_last_all_that_is_left():
    budget = Budget(1000, 4)
    assert budget.share() == 400
    budget.spend(400)
    assert budget.share() == 300
    budget.spend(100)
    budget.spend(300)
    assert budget.share() == 200


def test_what_does_not_fit_is_left_out_and_told(tmp_path, monkeypatch):
    import harness.report.writing as writing

    cases = [write_synth_case(seed, 2.0, tmp_path / "cases", fps=20.0) for seed in (3, 4)]
    run = make_run(tmp_path / "run", Shape(cases=2, rungs=4, frames=40), case_paths=cases)
    whole = write_report(run, tmp_path / "whole.html")
    monkeypatch.setattr(writing, "most_bytes", lambda cases: 420_000)
    few = write_report(run, tmp_path / "few.html")
    assert few.stat().st_size < 420_000 < whole.stat().st_size
    data = json.loads(re.search(r'id="data">(.*?)</script>', few.read_text(encoding="utf-8"), re.S).group(1))
    left, kept = map(int, re.search(r"the pictures of (\d+) of (\d+) frames", data["omissions"]).groups())
    dropped = re.search(r"(\d+) of 80 frames of 1 case", data["omissions"])  # whole frames, where lines have no room
    assert kept == 80 - (int(dropped.group(1)) if dropped else 0)
    held = few.read_text(encoding="utf-8").count('":"UklG')  # WebP in base64 begins so
    assert held + left >= kept - 1
    first = data["findings"][0]
    clip = re.search(rf'data-clip="{first["case"]}">(.*?)</script>', few.read_text(encoding="utf-8"), re.S).group(1)
    assert str(first["frame"]) in json.loads(clip)["pictures"]


@pytest.mark.parametrize("cases", [101])
def test_beyond_a_hundred_cases_each_has_a_page_and_a_plain_link(tmp_path, cases):
    run = make_run(tmp_path / "run", Shape(cases=cases, rungs=2, frames=2, tracks=1, severity=0.01))
    text = write_report(run).read_text(encoding="utf-8")
    links = re.findall(r'<a href="(report_cases/\d+\.html)">', text)
    assert len(set(links)) == cases
    assert text.count('<script type="application/json" data-clip=') == 1
    for link in links[:3]:
        page = (run.path / link).read_text(encoding="utf-8")
        assert page.count('<script type="application/json" data-clip=') == 1
        assert '<a href="../report.html">All cases</a>' in page
