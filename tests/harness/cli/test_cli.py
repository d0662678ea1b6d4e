"""The command line: exit codes, one-line errors, JSON."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import numpy as np
import pytest

from cases.synth import synth_cases
from harness.cli import main
from tests.harness.tiny_model import write_tiny

POLICY = """
reference = "train/torch-fp32"
[profile.cpu]
engines = ["torch-fp32", "ort-fp32"]
[[rules]]
id = "offset"
metric = "offset_max"
rung = "deploy/*"
statistic = "max"
limit = "{limit} m"
"""


class Files:
    """A card, two cases, a run and two policies."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.card = write_tiny(root / "model")
        self.cases = root / "cases"
        synth_cases(1, 2, 0.5, self.cases)
        self.run = root / "run"
        self.wide, self.narrow = (root / f"{name}.trueline.toml" for name in ("wide", "narrow"))
        self.wide.write_text(POLICY.format(limit=5))
        self.narrow.write_text(POLICY.format(limit=1e-6))


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Files:
    files = Files(tmp_path_factory.mktemp("cli"))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(files.root)
        assert (
            _run("replay", files.card, "--cases", files.cases, "--engines", "torch-fp32,ort-fp32", "--out", files.run)
            == 0
        )
    return files


def _run(*arguments: object) -> int:
    with pytest.raises(SystemExit) as caught:
        main([str(a) for a in arguments])
    return int(caught.value.code or 0)


def test_a_finished_replay_says_so_as_json(files: Files, capsys: pytest.CaptureFixture[str]) -> None:
    command = ("replay", files.card, "--cases", files.cases, "--engines", "torch-fp32,ort-fp32", "--out", files.run)
    assert _run(*command, "--json") == 0
    assert json.loads(capsys.readouterr().out)["finished"]


def test_gate_exit_codes(files: Files, capsys: pytest.CaptureFixture[str]) -> None:
    assert _run("gate", files.run, "--policy", files.wide) == 0
    assert _run("gate", files.run, "--policy", files.narrow, "--junit", files.root / "junit.xml") == 1
    assert (files.root / "junit.xml").read_text().startswith("<?xml")
    capsys.readouterr()
    assert _run("gate", files.run, "--policy", files.narrow, "--json") == 1
    assert json.loads(capsys.readouterr().out)["verdict"] == "FAIL"


def test_a_gate_writes_for_pull_requests_and_workflows(files: Files, capsys: pytest.CaptureFixture[str]) -> None:
    page = files.root / "gate.md"
    assert _run("gate", files.run, "--policy", files.narrow, "--markdown", page, "--github") == 1
    told = page.read_text(encoding="utf-8").splitlines()
    assert told[0].startswith("**This verdict cannot tell")
    assert any(line.startswith("## ❌ FAIL: narrow: 0 of 1") for line in told)
    lines = [line for line in capsys.readouterr().out.splitlines() if not line.startswith("This verdict cannot tell")]
    assert next(line for line in lines if line).startswith("FAIL ")
    assert lines[-1].startswith("::error ")
    again = next(line for line in lines if line.strip().startswith("again:"))
    command = shlex.split(again.partition("trueline ")[2])
    assert _run(*command[:-1], files.root / "again", "--no-steps") == 0


def test_accepted_numbers_are_a_baseline(files: Files) -> None:
    policy = files.root / "accepting.trueline.toml"
    no_worse = POLICY.format(limit=0.001).replace('id = "', 'compare = "baseline"\nid = "')
    policy.write_text(no_worse)
    path = files.root / "accepting.accepted.toml"
    assert _run("accept", files.run, "--policy", policy, "--reason", "as it is") == 0
    assert _run("gate", files.run, "--policy", policy) == 3
    assert _run("gate", files.run, "--policy", policy, "--baseline", path) == 0


def test_gates_over_time_are_in_one_file(files: Files, capsys: pytest.CaptureFixture[str]) -> None:
    path = files.root / "gates.sqlite"
    assert _run("gate", files.run, "--policy", files.wide, "--history", path) == 0
    assert _run("gate", files.run, "--policy", files.narrow, "--history", path) == 1
    capsys.readouterr()
    assert _run("history", path, "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert [(g["policy"], g["verdict"]) for g in told["gates"]] == [("wide", "PASS"), ("narrow", "FAIL")]
    assert told["drifts"] == []


def test_calibration_and_plan_are_the_gates(files: Files, capsys: pytest.CaptureFixture[str]) -> None:
    assert _run("gate", files.run, files.run, "--calibrate", "--policy", files.wide, "--json") == 3
    told = json.loads(capsys.readouterr().out)
    assert (told["calibrated"], told["failing"], told["versions_needed"]) == (False, 0, 29)
    assert _run("gate", "--plan", "0.1") == 0
    assert "22 for 90%" in capsys.readouterr().out


@pytest.mark.parametrize("more", [(), ("--calibrate",)])
def test_a_gate_of_the_wrong_number_of_runs_is_refused(files: Files, more: tuple[str, ...]) -> None:
    runs = (files.run,) if more else (files.run, files.run)
    assert _run("gate", *runs, *more, "--policy", files.wide) == 2
    assert _run("gate", *more) == 2


def test_a_gate_without_a_policy_asks_for_findings(files: Files, capsys: pytest.CaptureFixture[str]) -> None:
    code = _run("gate", files.run, "--json")
    verdict = json.loads(capsys.readouterr().out)
    assert verdict["policy"]["name"] == "default"
    assert _run("explain", files.run, "--json") == 0
    findings = json.loads(capsys.readouterr().out)["findings"]
    assert (code == 1) == bool(findings)


def test_the_floor_that_a_replay_measured_reaches_the_gate(files: Files, tmp_path: Path) -> None:
    run, policy = tmp_path / "run", tmp_path / "floor.trueline.toml"
    policy.write_text(
        '[[rules]]\nid = "f"\nmetric = "floor.offset_max"\nrung = "deploy/*"\nstatistic = "max"\nlimit = "1 mm"\n'
    )
    command = ("replay", files.card, "--cases", files.cases / "synth_00001", "--engines", "torch-fp32", "--no-steps")
    assert _run(*command, "--out", run, "--floor") == 0
    assert _run("gate", run, "--policy", policy) == 0
    assert _run("gate", files.run, "--policy", policy) == 3


def test_a_policy_that_expects_more_engines_is_not_run(files: Files) -> None:
    policy = files.root / "more.trueline.toml"
    policy.write_text(POLICY.format(limit=5).replace('"ort-fp32"]', '"ort-fp32", "ort-fp32-none"]'))
    assert _run("gate", files.run, "--policy", policy) == 3


def test_explain_and_report_work_on_a_run(files: Files, capsys: pytest.CaptureFixture[str]) -> None:
    assert _run("explain", files.run, "--json") == 0
    json.loads(capsys.readouterr().out)
    assert _run("explain", files.run) == 0
    assert _run("report", files.run, "--out", files.root / "report.html") == 0
    assert "<html" in (files.root / "report.html").read_text()[:2000]


def test_case_commands(files: Files, capsys: pytest.CaptureFixture[str]) -> None:
    assert _run("case", "check", files.cases) == 0
    assert _run("case", "show", files.cases / "synth_00001", "--out", files.root / "sheet.png", "--run", files.run) == 0
    assert (files.root / "sheet.png").stat().st_size > 10_000
    assert _run("case", "synth", "--seed", 5, "--count", 1, "--seconds", 0.2, "--out", files.root / "more") == 0
    capsys.readouterr()
    assert _run("case", "check", files.root / "more", "--json") == 0
    assert json.loads(capsys.readouterr().out)[0]["problems"] == []


def test_model_check_and_export(files: Files, capsys: pytest.CaptureFixture[str]) -> None:
    assert _run("model", "check", files.card, "--json") == 0
    levels = {f["where"]: f["level"] for f in json.loads(capsys.readouterr().out)}
    assert set(levels.values()) <= {"ok", "note"}
    assert {"torch-fp32", "ort-fp32", "decoder"} <= set(levels)
    assert _run("model", "export", files.card, "--out", files.root / "tiny.onnx") == 0
    assert (files.root / "tiny.onnx").stat().st_size > 1000
    assert re.search(r"tiny.onnx: opset \d\d\n", capsys.readouterr().err)


def test_engines_lists_every_engine(capsys: pytest.CaptureFixture[str]) -> None:
    assert _run("engines", "--json") == 0
    found = {e["name"]: e for e in json.loads(capsys.readouterr().out)}
    assert found["torch-fp32"]["available"]
    assert all(e["available"] or e["remedy"] for e in found.values())


BAD = {
    "batch of none": ("replay", "{card}", "--cases", "{cases}", "--out", "{root}/x", "--batch", "0"),
    "no card": ("replay", "{root}/none.toml", "--cases", "{cases}", "--out", "{root}/x"),
    "no cases": ("replay", "{card}", "--cases", "{root}/model", "--out", "{root}/x"),
    "unknown engine": ("replay", "{card}", "--cases", "{cases}", "--out", "{root}/x", "--engines", "trt-fp61"),
    "unknown pipeline": ("replay", "{card}", "--cases", "{cases}", "--out", "{root}/x", "--preprocess", "car"),
    "other plan": ("replay", "{card}", "--cases", "{cases}", "--out", "{run}", "--engines", "torch-fp32"),
    "missing option": ("replay", "{card}"),
    "unknown option": ("gate", "{run}", "--polciy", "x"),
    "unknown command": ("reply",),
    "no run": ("explain", "{root}/model"),
    "no policy": ("gate", "{run}", "--policy", "{root}/none.trueline.toml"),
    "bad policy": ("gate", "{run}", "--policy", "{card}"),
    "no case to show": ("case", "show", "{root}/model", "--out", "{root}/x.png"),
    "no source": ("case", "import", "{root}/none.mp4", "--id", "x", "--out", "{root}/imported"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_one_line_and_exit_code_2(files: Files, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    places = {"root": files.root, "card": files.card, "cases": files.cases, "run": files.run}
    assert _run(*(a.format(**places) for a in BAD[name])) == 2
    said = [line for line in capsys.readouterr().err.splitlines() if line.strip()]
    assert len(said) == 1, said
    assert said[0].startswith("error: ")
    assert "remedy: " in said[0]


def test_nan_prints_as_null(capsys: pytest.CaptureFixture[str]) -> None:
    from harness.terminal import print_json

    print_json({"a": float("nan"), "b": [1.5, float("inf")], "c": np.float64(2).item()})
    assert json.loads(capsys.readouterr().out) == {"a": None, "b": [1.5, None], "c": 2.0}


def test_the_whole_job_is_one_command(files: Files, capsys: pytest.CaptureFixture[str]) -> None:
    command = ("run", files.card, "--cases", files.cases, "--out", files.root / "job")
    assert _run(*command, "--policy", files.narrow, "--junit", files.root / "job.xml") == 1
    said = capsys.readouterr()
    assert "FAIL narrow" in said.out
    assert f"report: {files.root / 'job' / 'report.html'}" in said.err
    assert (files.root / "job.xml").exists()
    assert _run(*command, "--policy", files.wide, "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert found["verdict"]["verdict"] == "PASS"
    assert found["report"] == str(files.root / "job" / "report.html")


def test_a_second_replay_is_taken_from_the_cache_which_can_be_seen_and_cleared(
    files: Files, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    replay = ["replay", files.card, "--cases", files.cases, "--engines", "ort-fp32", "--preprocess", "train"]
    assert _run(*replay, "--out", "first", "--keep-tensors") == 0
    assert "reused" not in capsys.readouterr().err
    assert _run(*replay, "--out", "second") == 0
    assert "reused: 2 of 2 cases, from the cache" in capsys.readouterr().err
    assert _run("cache", "--json") == 0
    kept = {told["kind"]: told["entries"] for told in json.loads(capsys.readouterr().out)}
    assert kept["results/cases"] == 2
    assert kept["results/tensors"] == 2 * 2
    assert _run("cache", "--clear", "--json") == 0
    assert {told["kind"] for told in json.loads(capsys.readouterr().out)} == {"export"}
    assert _run(*replay, "--out", "third") == 0
    assert "reused" not in capsys.readouterr().err
