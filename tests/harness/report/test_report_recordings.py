"""Cases are found where they lie now, and pictures that are missing are told."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from cases.case import open_case
from cases.synth import write_synth_case
from harness.errors import RunError
from harness.report import write_report
from harness.report.recordings import MAX_TOLD, missing_pictures
from harness.run.folder import Run
from harness.run.recordings import Recordings
from tests.harness.report.fixture_run import Shape, make_run


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_synth_case(3, 0.5, tmp_path_factory.mktemp("recorded"))


def _meta(folder: Path, path: str) -> dict:
    case = open_case(folder)
    return {"cases": [{"id": case.id, "path": path, "digest": case.digest()}]}


def _project(root: Path, recorded: Path) -> tuple[Path, Path]:
    """PROJECT/drives/synth_00003 and the run folder PROJECT/runs/rc1."""
    case = root / "drives" / recorded.name
    shutil.copytree(recorded, case)
    (root / "runs" / "rc1").mkdir(parents=True)
    return case, root / "runs" / "rc1"


def test_a_project_that_was_moved_keeps_its_pictures(tmp_path: Path, recorded: Path) -> None:
    case, _ = _project(tmp_path / "here", recorded)
    meta = _meta(case, str(case))
    shutil.move(tmp_path / "here", tmp_path / "there")
    found = Recordings(meta, tmp_path / "there" / "runs" / "rc1").open(case.name)
    assert found.root == tmp_path / "there" / "drives" / case.name


def test_a_relative_path_is_found_from_any_folder(
    tmp_path: Path, recorded: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    case, run = _project(tmp_path / "project", recorded)
    meta = _meta(case, f"drives/{case.name}")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    for folder in (tmp_path / "project", elsewhere):
        monkeypatch.chdir(folder)
        assert Recordings(meta, Path(os.path.relpath(run))).open(case.name).root.resolve() == case


def test_where_the_caller_says_goes_first(tmp_path: Path, recorded: Path) -> None:
    case, run = _project(tmp_path, recorded)
    given = tmp_path / "archive" / "renamed"
    shutil.copytree(recorded, given)
    assert Recordings(_meta(case, str(case)), run, [tmp_path / "archive"]).open(case.name).root == given
    shutil.rmtree(case)
    assert Recordings(_meta(given, str(case)), run, [given]).open(case.name).root == given


def test_another_recording_of_the_same_name_is_not_shown(tmp_path: Path, recorded: Path) -> None:
    case, run = _project(tmp_path, recorded)
    meta = _meta(case, str(case))
    meta["cases"][0]["digest"] = "0" * 64
    with pytest.raises(RunError, match="the case was changed after the replay"):
        Recordings(meta, run).open(case.name)


def test_a_case_that_is_gone_says_what_to_do(tmp_path: Path, recorded: Path) -> None:
    meta = _meta(recorded, "/gone/synth_00003")
    with pytest.raises(RunError, match=r"no such case folder .*/gone/synth_00003.*--cases DIR"):
        Recordings(meta, tmp_path).open(recorded.name)


def test_the_report_says_how_many_pictures_are_missing_and_why(tmp_path: Path) -> None:
    run = make_run(tmp_path, Shape(cases=2, rungs=4, frames=20))
    told: list[str] = []
    text = write_report(Run.open(tmp_path), tell=told.append).read_text(encoding="utf-8")
    assert len(told) == 1
    assert told[0].startswith("The pictures of 2 of 2 cases are missing. ")
    for case in run.meta["cases"]:
        assert f"{case['id']}: no such case folder ({case['path']})" in told[0]
    assert '<p class="notice">The pictures of 2 of 2 cases are missing. ' in text


def test_a_report_with_every_picture_says_nothing(tmp_path: Path, recorded: Path) -> None:
    make_run(tmp_path, Shape(cases=1, rungs=4, frames=4), case_paths=[recorded])
    told: list[str] = []
    text = write_report(Run.open(tmp_path), tell=told.append).read_text(encoding="utf-8")
    assert told == []
    assert "cases are missing" not in text


def test_many_reasons_are_counted() -> None:
    notes = {f"c{i}": "no picture: gone" for i in range(MAX_TOLD + 3)}
    assert missing_pictures(notes, 20).endswith(f"c{MAX_TOLD - 1}: gone; and 3 more.")
    assert missing_pictures({}, 20) == ""
