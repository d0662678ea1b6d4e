"""Several processes at one folder: one writes, and a reader sees what was there before or all of the new."""

from __future__ import annotations

import json
import multiprocessing
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from cases.synth import synth_cases
from harness.errors import RunError
from harness.model.card import load_card
from harness.replay.replay import replay
from harness.run.folder import Run
from harness.run.json import write_json
from tests.harness.plugin.plugin_suites import CONFTEST, write_suite
from tests.harness.tiny_model import write_tiny


def _write(path: Path, who: int) -> None:
    for _ in range(100):
        write_json(path, {"who": who, "long": [who] * 2000})


def test_a_json_file_with_two_writers_is_always_one_of_theirs(tmp_path: Path) -> None:
    path = tmp_path / "verdict.json"
    write_json(path, {"who": 0, "long": [0] * 2000})
    context = multiprocessing.get_context("spawn")
    writers = [context.Process(target=_write, args=(path, who)) for who in (1, 2)]
    for writer in writers:
        writer.start()
    seen = set()
    while any(writer.is_alive() for writer in writers):
        told = json.loads(path.read_text())
        assert told["long"] == [told["who"]] * 2000
        seen.add(told["who"])
    assert [writer.exitcode for writer in writers] == [0, 0]
    assert seen - {0}
    assert list(tmp_path.iterdir()) == [path]


def test_while_a_replay_writes_a_second_is_refused_and_a_reader_told(tmp_path: Path) -> None:
    card, cases = load_card(write_tiny(tmp_path)), synth_cases(3, 1, 0.3, tmp_path / "cases")
    out, met = tmp_path / "run", []

    def again(**more: Any) -> Run:
        settings: dict[str, Any] = {"engines": ["ort-fp32"], "steps": False, "cache": tmp_path / "cache"}
        return replay(card, cases, out=out, **settings, **more)

    def look(case: str, done: int, total: int) -> None:
        for act in (again, lambda: Run.open(out)):
            with pytest.raises(RunError) as told:
                act()
            met.append(told.value.what)

    whole = again(progress=look)
    assert set(met) == {"another replay is writing it", "the replay has not finished (0 of 1 case)"}
    met.clear()
    shutil.rmtree(out / "parts")
    (out / "events.parquet").write_bytes(b"")
    healed = again(progress=look)
    assert "the replay has not finished (0 of 1 case)" in met
    assert healed.read("lines").equals(whole.read("lines"))


@pytest.mark.slow
def test_two_pytest_sessions_in_one_root_judge_their_own_runs(tmp_path: Path) -> None:
    (tmp_path / "conftest.py").write_text(CONFTEST)
    write_suite(tmp_path, {"good": 1.0, "bad": 4.5, "fine": 2.0})
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-p", "no:hypothesispytest", str(tmp_path)]
    sessions = [
        subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        for _ in range(2)
    ]
    for session in sessions:
        said = session.communicate()[0]
        assert session.returncode == 1, said
        assert "1 failed, 2 passed" in said
        assert "NOT_RUN" not in said
        assert "toy: FAIL, profile cpu" in said
    assert len((tmp_path / "replays.log").read_text().splitlines()) == 2
