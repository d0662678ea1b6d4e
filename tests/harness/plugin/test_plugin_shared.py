from __future__ import annotations

import multiprocessing
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness.errors import RunError, UsageError
from harness.plugin.shared import SharedError, SharedFolder


def work(shared: SharedFolder, content: str = "") -> Callable[[], dict[str, Any]]:
    """Slow enough for others to come while it runs; leaves a line in OUT/log and a folder with a file."""

    def done() -> dict[str, Any]:
        folder = shared.claim("run")
        folder.mkdir()
        (folder / "table").write_text(content)
        with (shared.out / "log").open("a") as log:
            log.write("worked\n")
        time.sleep(0.2)
        return {"folder": str(folder)}

    return done


def broken() -> dict[str, Any]:
    raise RunError("no room", where="run", remedy="make some")


def defective() -> dict[str, Any]:
    raise ZeroDivisionError


def ask(out: Path) -> dict[str, Any]:
    shared = SharedFolder(out, "session")
    return shared.once("run", work(shared))


def judge_slowly(out: Path, session: str, rounds: int) -> list[str]:
    """A session that reads its own results for a while, as one that judges a large run does."""
    shared = SharedFolder(out, session)
    folder = Path(shared.once("run", work(shared, session))["folder"])
    found = []
    for _ in range(rounds):
        found.append((folder / "table").read_text())
        time.sleep(0.02)
    return found


def begin_and_die(out: Path) -> None:
    shared = SharedFolder(out, "dies")
    shared.once("run", work(shared, "half"))
    import os

    os._exit(9)


def test_processes_of_a_session_do_the_work_once(tmp_path: Path) -> None:
    with multiprocessing.get_context("spawn").Pool(3) as pool:
        assert pool.map(ask, [tmp_path] * 6) == [{"folder": str(tmp_path / "run")}] * 6
    assert (tmp_path / "log").read_text() == "worked\n"


def test_two_sessions_at_once_read_nothing_but_their_own_results(tmp_path: Path) -> None:
    sessions = ["monday", "tuesday", "wednesday"]
    with multiprocessing.get_context("spawn").Pool(3) as pool:
        found = pool.starmap(judge_slowly, [(tmp_path, name, 25) for name in sessions], chunksize=1)
    assert found == [[name] * 25 for name in sessions]
    assert (tmp_path / "log").read_text() == "worked\n" * 3


def test_a_session_does_not_go_on_with_the_results_of_one_that_has_ended(tmp_path: Path) -> None:
    before = SharedFolder(tmp_path, "monday")
    before.once("run", work(before))
    (tmp_path / "run" / "old").touch()
    before.close()
    after = SharedFolder(tmp_path, "tuesday")
    assert after.once("run", work(after)) == {"folder": str(tmp_path / "run")}
    assert not (tmp_path / "run" / "old").exists()


def test_a_session_beside_another_has_a_folder_of_its_own_which_is_swept_later(tmp_path: Path) -> None:
    first, second, third = (SharedFolder(tmp_path, name) for name in ("monday", "tuesday", "wednesday"))
    first.once("run", work(first, "first"))
    beside = Path(second.once("run", work(second, "second"))["folder"])
    assert beside != tmp_path / "run"
    assert (tmp_path / "run" / "table").read_text() == "first"
    first.close()
    second.close()
    assert beside.exists()
    third.once("run", work(third, "third"))
    assert not beside.exists()
    assert (tmp_path / "run" / "table").read_text() == "third"
    assert len([p for p in (tmp_path / ".sessions").iterdir() if p.is_dir()]) == 1


def test_what_a_killed_session_left_is_swept(tmp_path: Path) -> None:
    process = multiprocessing.get_context("spawn").Process(target=begin_and_die, args=(tmp_path,))
    process.start()
    process.join()
    assert process.exitcode == 9
    assert (tmp_path / "run" / "table").read_text() == "half"
    shared = SharedFolder(tmp_path, "next")
    shared.once("run", work(shared, "whole"))
    assert (tmp_path / "run" / "table").read_text() == "whole"
    assert len([p for p in (tmp_path / ".sessions").iterdir() if p.is_dir()]) == 1


def test_an_error_is_told_to_the_others_in_the_same_words(tmp_path: Path) -> None:
    one, other = SharedFolder(tmp_path, "session"), SharedFolder(tmp_path, "session")
    with pytest.raises(RunError) as first:
        one.once("run", broken)
    with pytest.raises(SharedError) as second:
        other.once("run", work(other))
    assert str(second.value) == str(first.value)


def test_a_process_that_died_leaves_no_result(tmp_path: Path) -> None:
    one, other = SharedFolder(tmp_path, "session"), SharedFolder(tmp_path, "next")
    with pytest.raises(ZeroDivisionError):
        one.once("run", defective)
    with pytest.raises(SharedError, match="another process of this session did not finish"):
        SharedFolder(tmp_path, "session").once("run", work(one))
    assert other.once("run", work(other)) == {"folder": str(tmp_path / "run")}


def test_a_folder_that_no_session_made_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "thesis.txt").touch()
    shared = SharedFolder(tmp_path, "session")
    with pytest.raises(UsageError, match="no test session made it"):
        shared.once("run", work(shared))
    assert (tmp_path / "run" / "thesis.txt").exists()


@pytest.mark.parametrize("content", [b"", b"[]", b'{"state', b'{"state": 7}', b"\xff\x00"])
def test_damaged_notes_block_nothing_and_tell_nothing(tmp_path: Path, content: bytes) -> None:
    shared = SharedFolder(tmp_path, "session")
    shared.once("run", work(shared))
    (note,) = (tmp_path / ".sessions").glob("*/run.json")
    note.write_bytes(content)
    (tmp_path / ".sessions" / "run.owner").write_bytes(content)
    assert shared.once("run", work(shared)) == {"folder": str(tmp_path / "run")}
    assert (tmp_path / "log").read_text() == "worked\n" * 2
