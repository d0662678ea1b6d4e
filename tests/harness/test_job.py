"""The job is one order of steps, and every door goes through it."""

from __future__ import annotations

import ast
import json
from pathlib import Path

import pytest

import trueline
from cases.synth import synth_cases
from harness.gate import Status, load_policy
from harness.job import conclude, run_job
from harness.model.card import load_card
from tests.harness.tiny_model import write_tiny

ROOT = Path(__file__).parents[2]
CARD = "tiny.toml"
POLICY = """
[profile.cpu]
engines = ["torch-fp32", "ort-fp32"]
[[rules]]
id = "offset"
metric = "offset_max"
rung = "deploy/*"
statistic = "max"
limit = "{limit} m"
"""


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("job")
    write_tiny(root / "model")
    synth_cases(1, 2, 0.5, root / "drives")
    (root / "narrow.trueline.toml").write_text(POLICY.format(limit=1e-6))
    (root / "wide.trueline.toml").write_text(POLICY.format(limit=50))
    return root


def _job(files: Path, policy: str, **more: object) -> trueline.JobResult:
    card = load_card(files / "model" / CARD)
    return run_job(card, [files / "drives"], policy=files / f"{policy}.trueline.toml", out=files / "run", **more)


def test_a_failed_limit_is_explained_and_both_are_in_the_report(files: Path) -> None:
    result = _job(files, "narrow")
    assert result.verdict.status is Status.FAIL
    text = result.report.read_text(encoding="utf-8") if result.report else ""
    assert "No anomaly" not in text
    assert "No finding" not in text
    assert result.explanation.suspects
    assert result.explanation.suspects[0].rung in text.partition('id="ladder"')[0]
    assert json.loads((files / "run" / "verdict.json").read_text())["verdict"] == "FAIL"


def test_a_job_on_a_finished_run_judges_anew(files: Path) -> None:
    assert _job(files, "narrow").verdict.exit_code == 1
    wide = _job(files, "wide")
    assert wide.verdict.exit_code == 0
    assert json.loads((files / "run" / "verdict.json").read_text())["verdict"] == "PASS"


def test_without_a_policy_the_verdict_is_whether_there_is_a_finding(files: Path) -> None:
    card = load_card(files / "model" / CARD)
    result = run_job(card, [files / "drives"], engines=["torch-fp32"], out=files / "unjudged")
    assert (result.verdict.status is Status.PASS) == (not result.explanation.findings)
    assert result.verdict.policy["name"] == "default"


def test_the_engines_are_those_of_the_profile(files: Path) -> None:
    rungs = {r["name"] for r in _job(files, "wide").run.rungs}
    assert "deploy/ort-fp32" in rungs
    assert not any("none" in name for name in rungs)


def test_a_policy_that_cannot_be_used_is_told_before_anything_runs(files: Path) -> None:
    with pytest.raises(trueline.TruelineError, match="no profile 'gpu'"):
        run_job(
            load_card(files / "model" / CARD),
            [files / "drives"],
            policy=files / "wide.trueline.toml",
            profile="gpu",
            out=files / "never",
        )
    assert not (files / "never").exists()


def test_paths_may_be_text_and_the_whole_job_is_one_public_call(
    files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(files)
    card = trueline.load_card(f"model/{CARD}")
    result = trueline.run_job(card, ["drives"], policy="wide.trueline.toml", baseline="run", out="again")
    assert result.report == Path("again/report.html")
    assert trueline.Run.open("again").meta["finished"]


def test_a_report_that_cannot_be_written_does_not_undo_a_verdict(files: Path) -> None:
    done = _job(files, "wide")
    (files / "blocked" / "report.html").mkdir(parents=True)
    result = conclude(done.run, done.verdict, files / "blocked")
    assert result.report is None
    assert "no report: ReportError" in result.remarks[-1]
    assert (files / "blocked" / "verdict.json").exists()


def test_progress_counts_every_frame(files: Path) -> None:
    told: list[tuple[str, int, int]] = []
    card = load_card(files / "model" / CARD)
    policy = load_policy(files / "wide.trueline.toml")
    run_job(card, [files / "drives"], policy=policy, out=files / "fresh", progress=lambda *news: told.append(news))
    assert {what for what, _, _ in told} == {"synth_00001", "synth_00002"}
    assert told[-1][1] == told[-1][2]


def _calls(path: Path) -> set[str]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return {n.func.id for n in ast.walk(tree) if isinstance(n, ast.Call) and isinstance(n.func, ast.Name)}


@pytest.mark.parametrize(
    ("door", "call"),
    [("harness/cli/run.py", "run_job"), ("harness/cli/demo.py", "run_job"), ("harness/plugin/session.py", "conclude")],
)
def test_every_door_to_the_job_leaves_the_order_to_it(door: str, call: str) -> None:
    calls = _calls(ROOT / door)
    assert call in calls
    assert not calls & {"explain", "write_report", "write_verdict"}
