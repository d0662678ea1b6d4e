from __future__ import annotations

import json
import multiprocessing
import time
from pathlib import Path
from typing import Any

import pytest

from harness.errors import RunError, UsageError
from harness.plugin.shared import SharedError, once


def work(folder: Path) -> dict[str, Any]:
    """Slow enough for others to come while it runs."""
    folder.mkdir()
    with (folder.parent / "log").open("a") as log:
        log.write("worked\n")
    time.sleep(0.2)
    return {"answer": 42}


def broken(folder: Path) -> dict[str, Any]:
    raise RunError("no room", where=str(folder), remedy="make some")


def defective(folder: Path) -> dict[str, Any]:
    folder.mkdir()
    raise ZeroDivisionError


def ask(folder: Path) -> dict[str, Any]:
    return once(folder, "session", work)


def test_processes_of_a_session_do_the_work_once(tmp_path: Path) -> None:
    with multiprocessing.get_context("spawn").Pool(3) as pool:
        assert pool.map(ask, [tmp_path / "run"] * 6) == [{"answer": 42}] * 6
    assert (tmp_path / "log").read_text() == "worked\n"


def test_another_session_does_it_again_in_an_empty_folder(tmp_path: Path) -> None:
    once(tmp_path / "run", "monday", work)
    (tmp_path / "run" / "old").touch()
    once(tmp_path / "run", "tuesday", work)
    assert not (tmp_path / "run" / "old").exists()
    assert (tmp_path / "log").read_text() == "worked\n" * 2


def test_an_error_is_told_to_the_others_in_the_same_words(tmp_path: Path) -> None:
    with pytest.raises(RunError) as first:
        once(tmp_path / "run", "session", broken)
    with pytest.raises(SharedError) as second:
        once(tmp_path / "run", "session", work)
    assert str(second.value) == str(first.value)


def test_a_process_that_died_leaves_no_result(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError):
        once(tmp_path / "run", "session", defective)
    with pytest.raises(SharedError, match="another process of this session did not finish"):
        once(tmp_path / "run", "session", work)
    assert once(tmp_path / "run", "next", work) == {"answer": 42}


def test_a_folder_that_no_session_made_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "thesis.txt").touch()
    with pytest.raises(UsageError, match="no test session made it"):
        once(tmp_path / "run", "session", work)
    assert (tmp_path / "run" / "thesis.txt").exists()


@pytest.mark.parametrize("note", ["", "[]", "{"])
def test_a_damaged_note_counts_as_none(tmp_path: Path, note: str) -> None:
    (tmp_path / "run.session.json").write_text(note)
    assert once(tmp_path / "run", "session", work) == {"answer": 42}
    assert json.loads((tmp_path / "run.session.json").read_text())["session"] == "session"
