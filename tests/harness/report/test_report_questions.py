"""The ten questions to a report (1 to 5, 9, 10) in a real browser, on runs whose answers are planted.

Each answer is visible at 800 pixels after two clicks at most, and is what the tables of the run say. Two runs with
their faults swapped must have their answers swapped; one run has an answer that nobody knows.
"""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import pytest

from cases.synth import write_synth_case
from harness.gate import judge, load_policy
from harness.ladder import explain
from harness.report import write_report
from harness.report.headline import worst_finding
from tests.harness.report import fixture_run
from tests.harness.report.browser import Page, chromium
from tests.harness.report.fixture_run import Shape, make_run

pytestmark = pytest.mark.reports

POLICY = """
schema = 1
[teams]
preprocess = "camera & optics"
export = "model export"
[[rules]]
id = "bend"
metric = "bend"
rung = "deploy/*"
statistic = "max"
limit = "0.2 m"
[[rules]]
id = "missing"
metric = "missing"
rung = "deploy/*"
statistic = "max"
limit = 9
[[rules]]
id = "extra"
metric = "extra"
rung = "deploy/*"
statistic = "max"
limit = 9
[[rules]]
id = "coverage"
metric = "coverage"
rung = "deploy/*"
statistic = "min"
limit = "0 %"
"""

# which rung bows the lines: the preprocessing, the export, or a step that is several at once
PLANTED = {"preprocess": "deploy/torch-fp32", "export": "deploy/ort-fp32-none"}
SEEN = (
    "const e = document.getElementById(arguments[0]), b = e.getBoundingClientRect();"
    " return [e.innerText, b.width > 0 && b.left >= 0 && b.right <= innerWidth]"
)


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    yield from chromium(tmp_path_factory.mktemp("profile"))


def planted(folder: Path, where: str, seed: int, monkeypatch: pytest.MonkeyPatch, ladder: Any = None) -> dict[str, Any]:
    """A run with one fault, its verdict, and its report."""
    monkeypatch.setattr(fixture_run, "BOWED", {where: 1.0})
    monkeypatch.setattr(fixture_run, "SWUNG", {})
    if ladder is not None:
        monkeypatch.setattr(fixture_run, "LADDER", ladder)
    cases = [write_synth_case(seed + 10 * i, 1.0, folder / "cases", fps=20.0) for i in range(3)]
    run = make_run(folder / "run", Shape(cases=3, rungs=3, frames=20, seed=seed), case_paths=cases)
    policy = folder / "toy.trueline.toml"
    policy.write_text(POLICY)
    verdict = judge(run, load_policy(policy))
    explanation = explain(run, verdict)
    path = write_report(run, verdict=verdict, explanation=explanation)
    return {"run": run, "verdict": verdict, "worst": worst_finding(explanation), "path": path}


@pytest.fixture(scope="module")
def reports(tmp_path_factory):
    found = {}
    with pytest.MonkeyPatch.context() as patch:
        for seed, (name, rung) in enumerate(PLANTED.items(), start=21):
            found[name] = planted(tmp_path_factory.mktemp(name), rung, seed, patch)
    return found


@pytest.fixture(params=list(PLANTED))
def asked(request, browser, reports):
    page = Page(browser).open(reports[request.param]["path"])
    page.width(800)
    page.settled()
    yield request.param, reports[request.param], page
    page.browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
    assert page.console == []


def test_1_may_it_go(asked):
    _, told, page = asked
    said = page.run("return document.querySelector('h1').innerText")
    assert said.removeprefix("✕") == told["verdict"].status.value == "FAIL"


def test_2_what_failed_where_by_how_much(asked):
    _, told, page = asked
    worst = told["worst"]
    text, visible = page.run(SEEN, "answer-what")
    rows = told["run"].read("line_metrics").filter(case=worst.case, rung=worst.rung, band=worst.band)
    assert visible
    assert f"{rows['bend'].max():.3f} m" in text or f"{rows['bend'].max():.2f} m" in text
    assert all(part in text for part in ("bend", "breaks rule bend", worst.case, worst.band, worst.rung))


def test_3_show_it(asked):
    """The picture is there without a click; one click plays it: the frame is that of the largest bend."""
    _, told, page = asked
    worst = told["worst"]
    rows = told["run"].read("line_metrics").filter(case=worst.case, rung=worst.rung, band=worst.band)
    frame = rows.sort("bend", descending=True)["frame"][0]
    assert f"frame {frame}:" in page.run(SEEN, "first-caption")[0]
    assert page.run("return document.querySelectorAll('.first > button > svg .mark-gap:not(.edge)').length") == 1
    page.click(".first .bare")
    assert page.run("return document.getElementById('picture').dataset.frame") == str(frame)
    assert page.run("return drawn(Player.sceneNow()).strokes.map(s => s.kind)").count("gap") == 1


def test_4_which_step_and_option(asked):
    name, _, page = asked
    text, visible = page.run(SEEN, "answer-why")
    assert visible
    assert f"begins at {PLANTED[name]}: {name}" in text
    page.click("nav [href='#ladder']")
    rows = page.run("return [...document.querySelectorAll('#waterfall tr')].map(r => [r.className, r.innerText])")
    (blamed,) = [text for kind, text in rows if kind == "blamed"]
    assert blamed.startswith(PLANTED[name])


def test_5_whose(asked):
    name, _, page = asked
    text, visible = page.run(SEEN, "answer-whose")
    assert (text, visible) == (
        {"preprocess": "camera & optics (preprocess)", "export": "model export (export)"}[name],
        True,
    )


def test_9_how_sure_and_how_much_more_data(asked):
    """Three of three drives: the lower bound at 95 % is 0.05 ** (1 / 3); 29 without a fault exclude a tenth."""
    _, told, page = asked
    text, visible = page.run(SEEN, "answer-sure")
    same = len({f.case for f in explain(told["run"], told["verdict"]).findings if f.measure == told["worst"].measure})
    assert visible
    assert f"the same in {same} of 3 drives: between {0.05 ** (1 / 3):.0%} and 100%" in text
    assert "29 drives" in text
    assert "noise floor was not measured" in text


def test_10_replay_just_this(asked):
    _, told, page = asked
    worst = told["worst"]
    text, visible = page.run(SEEN, "answer-again")
    words = shlex.split(text)
    assert visible
    assert words[:3] == ["trueline", "replay", "model.toml"]
    assert words[words.index("--only") + 1] == f"{worst.case}:{worst.frame_start}-{worst.frame_end}"
    assert set(words[words.index("--engines") + 1].split(",")) >= {"torch-fp32", worst.rung.split("/")[1]}


def test_swapped_faults_swap_the_answers(browser, reports):
    seen = {}
    for name in PLANTED:
        page = Page(browser).open(reports[name]["path"])
        seen[name] = [page.text(f"answer-{what}") for what in ("why", "whose")]
    assert all(a != b for a, b in zip(*seen.values(), strict=True))


def test_nobody_knows_whose_a_step_of_several_factors_is(browser, tmp_path, monkeypatch):
    ladder = [
        ("train/torch-fp32", None, []),
        ("deploy/ort-fp32", "train/torch-fp32", ["preprocess", "export", "graph-optimisation"]),
    ]
    told = planted(tmp_path, "deploy/ort-fp32", 23, monkeypatch, ladder)
    page = Page(browser).open(told["path"])
    assert page.text("answer-whose") == "unknown: no single step is to blame"
    assert "begins at deploy/ort-fp32" in page.text("answer-why")
