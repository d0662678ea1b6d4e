"""Output tensors for other tools: what is written is what the engine gave, frame by frame, with its moments."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import engines
from cases.case import open_case
from cases.synth import synth_cases
from engines.dumps import Dump, Wanted
from engines.errors import EngineCrashed, RecordingGap
from engines.formats.polygraphy import read_runs
from engines.protocol import DumpSpec, Engine, ModelSource
from harness.cli import main
from harness.errors import UsageError
from harness.feed.inputs import InputBuilder, cameras_of
from harness.model.card import Card, load_card
from harness.replay.hooks import Hooks
from harness.replay.polygraphy import write_outputs
from tests.harness.tiny_model import write_tiny


@pytest.fixture(scope="module")
def card(tmp_path_factory: pytest.TempPathFactory) -> Card:
    return load_card(write_tiny(tmp_path_factory.mktemp("tiny")))


@pytest.fixture(scope="module")
def case(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return synth_cases(1, 1, 0.3, tmp_path_factory.mktemp("cases"))[0]


def expected(card: Card, case: Path, preprocess: str) -> list[dict[str, np.ndarray]]:
    """What the engine gives, asked without the harness."""
    engine, opened = engines.open("torch-fp32", card.source()), open_case(case)
    build = InputBuilder(card, opened, preprocess)
    return [engine.infer(build(tick)) for tick in opened.ticks(cameras_of(card))]


@pytest.mark.parametrize("preprocess", ["train", "deploy", "train+resize"])
def test_what_is_written_is_what_the_engine_gives(card: Card, case: Path, preprocess: str, tmp_path: Path) -> None:
    out = tmp_path / "out.json"
    wanted = expected(card, case, preprocess)
    assert write_outputs(card, case, out, engine="torch-fp32", preprocess=preprocess) == len(wanted) == 6
    runs = read_runs(out)
    assert list(runs) == [f"{preprocess}/torch-fp32"]
    (frames,) = runs.values()
    for got, want in zip(frames, wanted, strict=True):
        assert got.runtime_s is not None
        assert list(got.outputs) == ["lines", "scores"]
        for name, array in want.items():
            assert got.outputs[name].tobytes() == array.tobytes()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["out.json", "out.timestamps"]


def test_the_file_is_a_dump_that_can_be_replayed(card: Card, case: Path, tmp_path: Path) -> None:
    write_outputs(card, case, tmp_path / "car.json", engine="torch-fp32")
    dump = Dump(DumpSpec(tmp_path / "car.json", 0), Wanted(("lines", "scores")))
    for moment, want in zip(open_case(case).timestamps_ns, expected(card, case, "deploy"), strict=True):
        (position,) = np.flatnonzero(dump.timestamps_ns == moment)
        np.testing.assert_array_equal(dump.read(position)["lines"], want["lines"])


class Unsteady:
    """Has no outputs for the second frame, and fails at the one named; its state counts frames."""

    name, uses_time, provenance = "unsteady", True, {}

    def __init__(self, fails_at: int) -> None:
        self._fails_at, self._asked = fails_at, 0
        self.fed: list[float] = []

    def start_case(self, context: object) -> None:
        self._asked = 0

    def seek(self, timestamp_ns: int) -> None:
        self._asked += 1

    def infer(self, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        if self._asked == 2:
            raise RecordingGap("nothing near", where="dump", remedy="none")
        if self._asked == self._fails_at:
            raise EngineCrashed("it broke", where="engine", remedy="fix it")
        self.fed.append(float(inputs["hidden"][0]))
        return {"lines": np.float32([self._asked]), "hidden_out": inputs["hidden"] + 1}

    def close(self) -> None:
        """Nothing to free."""


def recurrent(card: Card) -> Card:
    fields = card.model_dump(by_alias=True)
    fields["inputs"] += ({"name": "hidden", "shape": (1,), "source": "state"},)
    return Card(**{**fields, "outputs": ({"name": "lines"}, {"name": "hidden_out"}), "state": {"hidden_out": "hidden"}})


def opening(engine: object) -> Hooks:
    def give(name: str, source: ModelSource) -> Engine:
        assert isinstance(engine, Engine)
        return engine

    return replace(Hooks(), open_engine=give)


def test_gaps_are_left_out_and_state_is_fed_back(card: Card, case: Path, tmp_path: Path) -> None:
    out, engine = tmp_path / "out.json", Unsteady(99)
    assert (
        write_outputs(recurrent(card), case, out, engine="x", inputs=tmp_path / "in.json", hooks=opening(engine)) == 5
    )
    assert engine.fed == [0, 1, 2, 3, 4]
    assert [float(i.outputs["lines"][0]) for i in read_runs(out)["deploy/x"]] == [1, 3, 4, 5, 6]
    moments = [int(line) for line in (tmp_path / "out.timestamps").read_text().split()]
    assert moments == np.delete(open_case(case).timestamps_ns, 1).tolist()


def test_an_engine_that_fails_leaves_nothing(card: Card, case: Path, tmp_path: Path) -> None:
    with pytest.raises(EngineCrashed):
        write_outputs(
            recurrent(card), case, tmp_path / "out.json", engine="x", inputs=tmp_path / "in.json",
            hooks=opening(Unsteady(4)),
        )  # fmt: skip
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"preprocess": "car"}, "no pipeline 'car'"),
        ({"out": "out.npz"}, "no name for Polygraphy's JSON"),
        ({"out": "absent/out.json"}, "no folder"),
        ({"inputs": "in.txt"}, "no name for Polygraphy's JSON"),
    ],
)
def test_impossible_wishes_are_one_line(
    card: Card, case: Path, changes: dict[str, str], what: str, tmp_path: Path
) -> None:
    given = {"out": "out.json", **changes}
    places = {key: tmp_path / value for key, value in given.items() if key != "preprocess"}
    with pytest.raises(UsageError, match=what):
        write_outputs(card, case, engine="torch-fp32", preprocess=given.get("preprocess", "deploy"), **places)
    assert list(tmp_path.iterdir()) == []


def test_two_cases_are_too_many(card: Card, case: Path, tmp_path: Path) -> None:
    synth_cases(5, 2, 0.1, tmp_path / "cases")
    with pytest.raises(UsageError, match="2 cases in"):
        write_outputs(card, tmp_path / "cases", tmp_path / "out.json", engine="torch-fp32")


def test_the_command(card: Card, case: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    arguments = ["outputs", str(card.path), "--case", str(case), "--engine", "torch-fp32", "--out", "out.json"]
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert not ended.value.code
    assert len(read_runs(tmp_path / "out.json")["deploy/torch-fp32"]) == 6
