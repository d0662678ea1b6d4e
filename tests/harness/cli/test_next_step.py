"""`trueline` alone says what lies here and what comes next, in commands that work as they stand."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import pytest

from harness.cli import main
from harness.cli.app import command_tree
from harness.cli.next_step import look_around, next_step

CARD = '[[inputs]]\nname = "image"\n[[outputs]]\nname = "lines"\n'
POLICY = '[[rules]]\nid = "bend"\n'


def _write(root: Path, **files: str) -> None:
    for name, text in files.items():
        path = root / name.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def _project(root: Path, stage: int) -> None:
    """Up to that stage: card, cases, policy, half a run, a whole one, a verdict, a report."""
    run = root / "runs" / "rc 1"
    steps = [
        (root / "model.toml", CARD),
        (root / "drives" / "tunnel" / "case.toml", 'id = "tunnel"'),
        (root / "release.trueline.toml", POLICY),
        (run / "run.json", json.dumps({"rungs": [], "finished": False})),
        (run / "run.json", json.dumps({"rungs": [], "finished": True})),
        (run / "verdict.json", json.dumps({"verdict": "FAIL"})),
        (run / "report.html", "<html>"),
    ]
    for path, text in steps[:stage]:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def _said(root: Path) -> str:
    return "\n".join(next_step(look_around(root), root))


STAGES = {
    0: "trueline demo",
    1: "trueline case import drive.mp4 --id drive_01 --out drives",
    2: "trueline run model.toml --cases drives --out runs/first",
    3: "trueline run model.toml --cases drives --policy release.trueline.toml --out runs/first",
    4: "The replay into runs/rc 1 has not finished",
    5: "trueline gate 'runs/rc 1' --policy release.trueline.toml",
    6: "runs/rc 1 is judged: FAIL. Next:",
    7: "Its report: runs/rc 1/report.html",
}


@pytest.mark.parametrize("stage", STAGES)
def test_each_stage_of_a_project_leads_to_the_next(stage: int, tmp_path: Path) -> None:
    _project(tmp_path, stage)
    assert STAGES[stage] in _said(tmp_path)


def _parses(command: list[str]) -> bool:
    """Whether the command line is one that `trueline` takes."""
    from typer.main import get_command

    tree = get_command(command_tree())
    context = tree.make_context("trueline", list(command), resilient_parsing=False)
    name, found, rest = tree.resolve_command(context, [*context._protected_args, *context.args])  # type: ignore[attr-defined]
    if hasattr(found, "resolve_command"):
        inner = found.make_context(name, rest, parent=context)
        name, found, rest = found.resolve_command(inner, [*inner._protected_args, *inner.args])
    return found.make_context(name, rest, parent=context) is not None


@pytest.mark.parametrize("stage", STAGES)
def test_every_command_that_is_said_is_one_that_trueline_takes(stage: int, tmp_path: Path) -> None:
    _project(tmp_path, stage)
    for line in re.findall(r"^    trueline (.*)$", _said(tmp_path), re.M):
        assert _parses(shlex.split(line)), line


def test_foreign_and_broken_files_are_passed_over(tmp_path: Path) -> None:
    _write(tmp_path, **{"pyproject.toml": "[project]\n", "broken.toml": "[", "latin.toml": "a = '\\xff'"})
    (tmp_path / "binary.toml").write_bytes(b"\xff\xfe\x00")
    _write(tmp_path, **{"other__run.json": "[1, 2]", ".venv__model.toml": CARD, "base.trueline.toml": "x = 1"})
    found = look_around(tmp_path)
    assert found.cards == found.runs == found.policies == found.cases == ()


def test_a_model_and_a_video_are_named_in_the_command(tmp_path: Path) -> None:
    _write(tmp_path, **{"lanes v2.onnx": "", "drive.MP4": "", "readme.txt": ""})
    assert "trueline init 'lanes v2.onnx' drive.MP4 --out lanes" in _said(tmp_path)


def test_what_init_wrote_into_a_folder_below_is_seen_from_above(tmp_path: Path) -> None:
    """The policy that extends a ready one, and the cases in their folder."""
    _write(tmp_path, **{
        "lanes.onnx": "", "lanes__model.toml": CARD, "lanes__cases__drive__case.toml": 'id = "drive"',
        "lanes__smoke.trueline.toml": 'extends = "smoke"',
    })  # fmt: skip
    wanted = "trueline run lanes/model.toml --cases lanes/cases --policy lanes/smoke.trueline.toml --out runs/first"
    assert wanted in _said(tmp_path)


def test_a_case_folder_itself_is_a_place_to_stand_in(tmp_path: Path) -> None:
    _write(tmp_path, **{"case.toml": 'id = "tunnel"', "model.toml": CARD})
    assert "--cases ." in _said(tmp_path)


def test_the_command_alone_is_no_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as ended:
        main([])
    assert ended.value.code == 0
    assert "trueline demo" in capsys.readouterr().out
