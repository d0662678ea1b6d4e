"""Diagnosis of a run: with the car's dumped inputs, and without."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from typer.testing import CliRunner

from cases.case import Case, open_case
from cases.synth import synth_cases
from harness.cli.app import command_tree
from harness.cli.demo import example_folder
from harness.diagnosis.model import Diagnosis
from harness.diagnosis.recorded import chosen_frames, diagnose_recorded
from harness.diagnosis.run import diagnose_run, told_diagnoses
from harness.errors import DiagnosisError
from harness.feed.inputs import InputBuilder
from harness.model.card import Card, load_card
from harness.replay.replay import replay
from harness.run.folder import Run


@pytest.fixture(scope="module")
def cases(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return synth_cases(9000, 1, 0.6, tmp_path_factory.mktemp("cases"))


@pytest.fixture(scope="module")
def run(cases: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("runs")
    card = load_card(example_folder() / "baseline.toml")
    return replay(card, cases, engines=("torch-fp32",), out=folder / "run", cache=folder / "cache", steps=False)


def tensors(card: Card, case: Case, pipeline: str = "deploy") -> NDArray[Any]:
    build = InputBuilder(card, case, pipeline)
    return np.stack([build(tick)["image"] for tick in case.ticks()])


def test_a_dump_is_held_against_the_declared_deploy_pipeline(run: Run, cases: list[Path], tmp_path: Path) -> None:
    case = open_case(cases[0])
    car = tensors(load_card(example_folder() / "baseline.toml"), case)[:, :, ::-1]
    np.savez(tmp_path / "car.npz", image=car, timestamp_ns=case.timestamps_ns)
    (solved,) = diagnose_run(run, dump=tmp_path / "car.npz")
    assert [e.name for e in solved.diagnosis.edits] == ["channel_order"]
    assert solved.diagnosis.lines == ('{ op = "to_bgr", chroma = "nearest", arithmetic = "fixed" }',)
    assert solved.diagnosis.expected == "the declared deploy pipeline's"


def test_times_of_another_drive_are_refused(run: Run, cases: list[Path], tmp_path: Path) -> None:
    case = open_case(cases[0])
    car = tensors(load_card(example_folder() / "baseline.toml"), case)
    np.savez(tmp_path / "car.npz", image=car, timestamp_ns=case.timestamps_ns + 10**15)
    with pytest.raises(DiagnosisError, match="0 of 12 dumped frames belong to a moment"):
        diagnose_run(run, dump=tmp_path / "car.npz")


def test_explain_has_it_and_keeps_it_with_its_picture(run: Run) -> None:
    class Found:
        stage, case = "preprocess", str(run.meta["cases"][0]["id"])

    (first,), why = told_diagnoses(run, [Found])
    assert why == ""
    assert first.expected == "the lab's"
    assert {"antialias"} <= {name for e in first.edits for name in e.names}
    told = json.loads((run.path / "diagnosis" / "image.json").read_text())
    assert told["sentence"] == first.sentence
    assert (run.path / "diagnosis" / "image.png").read_bytes().startswith(b"\x89PNG")
    assert told_diagnoses(run, [Found]) == ([first], "")


def test_a_folder_that_cannot_be_written_keeps_nothing_and_tells_all_the_same(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    from harness.diagnosis import run as module

    def refuse(*_: Any, **__: Any) -> None:
        raise OSError(30, "Read-only file system")

    class Found:
        stage, case = "car", "another"

    told = Diagnosis("image", "another", "the lab's", "same")
    monkeypatch.setattr(module, "diagnose_run", lambda *_, **__: [SimpleNamespace(diagnosis=told, pictures=None)])
    monkeypatch.setattr(module, "write_picture", lambda pictures, told, path: path)
    monkeypatch.setattr(module, "write_json", refuse)
    found, why = told_diagnoses(run, [Found])
    assert found == [told]
    assert "the diagnosis is not kept: cannot write the diagnosis: Read-only file system" in why


def test_a_step_of_the_cards_own_is_not_run_unasked(run: Run) -> None:
    own = {"train": [{"op": "prep:jpeg", "step": "jpeg"}], "deploy": []}
    meta: Mapping[str, Any] = {**run.meta, "pipelines": {"image": own}}
    found, why = told_diagnoses(Run(run.path, dict(meta)), [])
    assert found == []
    assert "prep:jpeg is a step of the card's own" in why


def test_what_the_recording_contradicts_comes_first(cases: list[Path]) -> None:
    card = load_card(example_folder() / "baseline.toml")
    wrong = [{"op": "nv12", "matrix": "bt709"}, {**card.preprocess.deploy[1], "matrix": "bt601"}]
    part = card.preprocess.model_copy(update={"deploy": [*wrong, *card.preprocess.deploy[2:]]})
    told = card.model_copy(update={"preprocess": part})
    case = open_case(cases[0])
    made = tensors(told, case)
    frames = dict(enumerate(made))
    found = diagnose_recorded(told, case, told.inputs[0], frames, expected="the declared deploy pipeline's").diagnosis
    assert found.sentence.startswith("step nv12 encodes bt709, the deploy pipeline uses bt601; ")
    assert found.status == "same"


def test_the_command_compares_two_files(tmp_path: Path, cases: list[Path]) -> None:
    lab = tensors(load_card(example_folder() / "baseline.toml"), open_case(cases[0]))
    np.savez(tmp_path / "lab.npz", image=lab)
    np.savez(tmp_path / "car.npz", image=lab[:, :, ::-1])
    arguments = ["diagnose", str(tmp_path / "lab.npz"), str(tmp_path / "car.npz"), "--json"]
    result = CliRunner().invoke(command_tree("diagnose"), arguments)
    assert result.exit_code == 0, result.output
    (told,) = json.loads(result.stdout)
    assert [e["name"] for e in told["edits"]] == ["channel_order"]
    assert (tmp_path / "diagnosis" / "image.png").exists()


@pytest.mark.parametrize("count", [2, 3, 7, 12, 500])
def test_frames_that_decide_are_none_that_numbers_were_fitted_on(count: int) -> None:
    frames = chosen_frames(range(count))
    assert frames.kept_back
    assert not set(frames.fitted) & set(frames.kept_back)


@pytest.mark.parametrize("hold", [2, 3, 4, 5, 6])
@pytest.mark.parametrize("count", [*range(6, 60), 500])
def test_a_picture_that_is_held_is_new_in_some_of_the_frames_looked_at_only(count: int, hold: int) -> None:
    frames = chosen_frames(range(count))
    assert not set(frames.fitted) & set(frames.kept_back)
    for moments in (frames.fitted, frames.kept_back):
        assert len({at % hold for at in moments}) > 1


def test_frames_of_a_dump_of_every_second_frame_are_taken_as_they_are() -> None:
    assert {at % 2 for at in chosen_frames(range(0, 60, 2)).fitted} == {0}


def test_one_frame_in_common_is_refused() -> None:
    with pytest.raises(DiagnosisError, match="1 frame of the car"):
        chosen_frames([4])
