"""The ten questions to a report (1 to 5, 9, 10) in a real browser, on runs whose answers are planted.

Each answer is visible at 800 pixels after two clicks at most, and is what the tables of the run say. Two runs with
their faults swapped must have their answers swapped; one run has an answer that nobody knows.
"""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from scipy.stats import beta

from cases.synth import write_synth_case
from harness.diagnosis.model import Diagnosis, Named
from harness.diagnosis.run import tensors_may_tell
from harness.gate import judge, load_policy
from harness.ladder import Explanation, explain
from harness.report import write_report
from harness.report.headline import worst_finding
from harness.run.folder import Run
from harness.run.json import write_json
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

PIPELINES = {
    "image": {
        "train": [], "deploy": [],
        "differences": [
            {"step": "resize", "option": "antialias", "train": "true", "deploy": "false",
             "words": "resize: antialias true -> false"},
            {"step": "colour", "option": "matrix", "train": "bt601", "deploy": "bt709",
             "words": "colour: matrix bt601 -> bt709"},
        ],
    }
}  # fmt: skip


@dataclass(frozen=True)
class Fault:
    """What is planted, and what a reader must then read."""

    bowed: dict[str, float]
    begins: str
    why: str
    whose: str


CAMERA, EXPORT = "camera & optics (preprocess)", "model export (export)"
PLANTED = {
    "resize": Fault(
        {"deploy/torch-fp32": 1.0, "train+resize/torch-fp32": 0.97}, "deploy/torch-fp32",
        "resize: antialias true -> false", CAMERA,
    ),
    "colour": Fault(
        {"deploy/torch-fp32": 0.9, "train+colour/torch-fp32": 0.88}, "deploy/torch-fp32",
        "colour: matrix bt601 -> bt709", CAMERA,
    ),
    "export": Fault({"deploy/ort-fp32-none": 1.0}, "deploy/ort-fp32-none", "export", EXPORT),
}  # fmt: skip
SEEN = (
    "const e = document.getElementById(arguments[0]); if (!e) return ['', false]; const b = e.getBoundingClientRect();"
    " return [e.innerText, b.width > 0 && b.left >= 0 && b.right <= innerWidth]"
)
IN_VIEW = (
    "const b = document.querySelector(arguments[0]).getBoundingClientRect();"
    " return b.width > 0 && b.left >= 0 && b.right <= innerWidth && b.bottom > 0 && b.top < innerHeight"
)


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    yield from chromium(tmp_path_factory.mktemp("profile"))


def planted(
    folder: Path, bowed: dict[str, float], seed: int, patch: pytest.MonkeyPatch, ladder: Any = None
) -> dict[str, Any]:
    """A run with one fault, its verdict, a diagnosis of its input tensors, and its report."""
    patch.setattr(fixture_run, "BOWED", bowed)
    patch.setattr(fixture_run, "SWUNG", {})
    if ladder is not None:
        patch.setattr(fixture_run, "LADDER", ladder)
    cases = [write_synth_case(seed + 10 * i, 1.0, folder / "cases", fps=20.0) for i in range(3)]
    shape = Shape(cases=3, rungs=6, frames=20, seed=seed)
    run = make_run(folder / "run", shape, case_paths=cases, pipelines=PIPELINES)
    policy = folder / "toy.trueline.toml"
    policy.write_text(POLICY)
    verdict = judge(run, load_policy(policy))
    explanation = explain(run, verdict)
    diagnose(run, explanation)
    path = write_report(run, verdict=verdict, explanation=explanation)
    return {"run": run, "verdict": verdict, "worst": worst_finding(explanation), "path": path}


def diagnose(run: Run, explanation: Explanation) -> None:
    """Leave a diagnosis in the run folder, as `trueline explain` does, where input tensors may tell of a finding."""
    case = next((f.case for f in explanation.findings if tensors_may_tell(f)), None)
    if case is not None:
        named = Named("channel_order", "R and B swapped", (), {}, "look at the camera's format")
        told = Diagnosis(
            "image", case, "the declared deploy pipeline's", "named", edits=(named,), explained=1.0, after=0.2
        )
        (run.path / "diagnosis").mkdir()
        about = {"run": run.meta["digest"], "asked": case}
        write_json(run.path / "diagnosis" / "image.json", told.to_json() | {"about": about})


@pytest.fixture(scope="module")
def reports(tmp_path_factory):
    found = {}
    with pytest.MonkeyPatch.context() as patch:
        for seed, (name, fault) in enumerate(PLANTED.items(), start=21):
            found[name] = planted(tmp_path_factory.mktemp(name), fault.bowed, seed, patch)
    return found


@pytest.fixture(params=list(PLANTED))
def asked(request, browser, reports):
    page = Page(browser)
    page.width(800)
    page.open(reports[request.param]["path"])
    yield request.param, reports[request.param], page
    page.browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
    assert page.console == []


def test_1_may_it_go(asked):
    _, told, page = asked
    said = page.run("return document.querySelector('h1').innerText")
    assert said.removeprefix("✕") == told["verdict"].status.value == "FAIL"
    assert page.run(IN_VIEW, "h1")


@pytest.mark.parametrize(
    ("changed", "answer"), [({}, "PASS"), ({"status": "not_run", "reason": "no such GPU"}, "NOT RUN")]
)
def test_1_it_may_go_and_nobody_knows(browser, tmp_path, changed, answer):
    run = make_run(tmp_path / "run", Shape(cases=2, rungs=2, frames=12, severity=0.01))
    for rung in run.meta["rungs"][1:]:
        rung |= changed
    policy = tmp_path / "toy.trueline.toml"
    policy.write_text(POLICY)
    verdict = judge(run, load_policy(policy))
    page = Page(browser)
    page.width(800)
    page.open(write_report(run, verdict=verdict))
    assert page.run("return document.querySelector('h1').innerText").endswith(answer)
    why, visible = page.run(SEEN, "answer-why")
    assert visible
    assert ("unknown" in why) == (answer != "PASS")


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
    assert page.run("return document.getElementById('picture').dataset.pictured") == "true"
    assert page.run(IN_VIEW, "#picture")
    assert page.run("return drawn(Player.sceneNow()).strokes.map(s => s.kind)").count("gap") == 1


def test_4_which_step_and_option(asked):
    name, _, page = asked
    text, visible = page.run(SEEN, "answer-why")
    assert visible
    assert f"begins at {PLANTED[name].begins}: " in text
    assert PLANTED[name].why in text
    assert not any(other.why in text for key, other in PLANTED.items() if key != name and ":" in other.why)
    page.click("nav [href='#ladder']")
    rows = page.run("return [...document.querySelectorAll('#waterfall tr')].map(r => [r.className, r.innerText])")
    (blamed,) = [text for kind, text in rows if kind == "blamed"]
    assert blamed.startswith(PLANTED[name].begins)


def test_4_what_differs_in_the_input_tensors(asked):
    """Told where the step is the input's, on the first screen and at the finding; never of the export."""
    name, _, page = asked
    text, visible = page.run(SEEN, "answer-inputs")
    if PLANTED[name].whose == EXPORT:
        assert (text, page.text("frame-inputs")) == ("", "")
        return
    assert visible
    assert "with R and B swapped" in text
    assert "with R and B swapped" in page.text("frame-inputs")
    page.click("#answer-inputs a")
    assert page.run(IN_VIEW, "#mismatch")
    assert "look at the camera's format" in page.run("return document.getElementById('ladder').innerText")


def test_5_whose(asked):
    name, _, page = asked
    assert page.run(SEEN, "answer-whose") == [PLANTED[name].whose, True]


def test_9_how_sure_and_how_much_more_data(asked):
    """Clopper and Pearson's bounds of the drives in which a bend is over its threshold; 29 without exclude a tenth."""
    _, told, page = asked
    text, visible = page.run(SEEN, "answer-sure")
    same = len({f.case for f in explain(told["run"], told["verdict"]).findings if f.measure == told["worst"].measure})
    assert visible
    lower, upper = beta.ppf(0.05, same, 4 - same), 1.0 if same == 3 else beta.ppf(0.95, same + 1, 3 - same)
    assert f"the same in {same} of 3 drives: between {lower:.0%} and {upper:.0%}" in text
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


def test_swapped_faults_swap_the_answers(browser, reports, tmp_path):
    """The same seeds and cases with the faults exchanged: what was said of one run is said of the other."""
    names = ("resize", "export")
    swapped = {}
    with pytest.MonkeyPatch.context() as patch:
        for seed, name in zip((23, 21), ("resize", "export"), strict=True):
            swapped[name] = planted(tmp_path / name, PLANTED[name].bowed, seed, patch)
    seen = {}
    for which, found in (("before", reports), ("after", swapped)):
        for name in names:
            page = Page(browser).open(found[name]["path"])
            seen[which, name] = [page.text(f"answer-{what}") for what in ("why", "whose")]
    assert [seen["before", name] for name in names] == [seen["after", name] for name in names]
    assert all(a != b for a, b in zip(seen["before", "resize"], seen["before", "export"], strict=True))


def test_nobody_knows_whose_a_step_of_several_factors_is(browser, tmp_path, monkeypatch):
    ladder = [
        ("train/torch-fp32", None, []),
        ("deploy/ort-fp32", "train/torch-fp32", ["preprocess", "export", "graph-optimisation"]),
    ]
    told = planted(tmp_path, {"deploy/ort-fp32": 1.0}, 23, monkeypatch, ladder)
    page = Page(browser).open(told["path"])
    assert page.text("answer-whose") == "unknown: no single step is to blame"
    assert "begins at deploy/ort-fp32" in page.text("answer-why")
