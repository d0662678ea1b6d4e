"""Artefacts from elsewhere that cannot be used, at the command line.

What the reference cannot do without is one line on standard error and exit code 2; what another rung cannot, costs it.
"""

from __future__ import annotations

import base64
import json
import pickle
import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest

from cases.case import open_case
from cases.synth import synth_cases
from engines.formats.polygraphy import Iteration, write_runs
from harness.cli import main
from harness.gate import judge, load_policy
from harness.run.folder import Run
from tests.harness.replay.bright_model import BASE, write_bright

POLICY = """reference = "train/ort-fp32"
[[rules]]
id = "offset"
metric = "offset_max"
rung = "deploy/recorded"
statistic = "max"
limit = "9 m"
"""


class World:
    """A model of four operators, a case with a dump of it, and the command line."""

    def __init__(self, root: Path, case: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.root, self._capsys = root, capsys
        self.case = root / "cases" / case.name
        shutil.copytree(case, self.case)
        self.model = write_bright(root).with_name("model.onnx")
        self.moments = [int(t) for t in open_case(self.case).timestamps_ns]
        self.dump = self.case / "outputs" / "car"
        self.dump.mkdir(parents=True)

    def has_dump(self, place: str = "car") -> None:
        with (self.case / "case.toml").open("a") as file:
            file.write(f'\n[outputs.car]\npath = "outputs/{place}"\ntolerance_ms = 1\n')

    def replay(self, *engines: str) -> tuple[int, list[str]]:
        """Exit code and the lines of standard error that are errors or warnings."""
        command = ["replay", str(self.root), "--cases", str(self.case), "--engines", ",".join(engines)]
        with pytest.raises(SystemExit) as ended:
            main([*command, "--out", str(self.root / "run")])
        said = self._capsys.readouterr().err.splitlines()
        return int(ended.value.code or 0), [line for line in said if line.startswith("error") or "Traceback" in line]

    def refuses(self, *engines: str) -> str:
        """The one line of a replay that cannot be."""
        code, lines = self.replay(*engines)
        assert code == 2
        assert len(lines) == 1, lines
        assert " | where: " in lines[0]
        assert " | remedy: " in lines[0]
        return lines[0]

    def costs(self, engine: str) -> str:
        """Why a rung was not run in a replay that went on without it."""
        assert self.replay("ort-fp32", engine) == (0, [])
        status = {r["name"]: (r["status"], r["reason"]) for r in Run.open(self.root / "run").rungs}
        assert status.pop(f"deploy/{engine}")[0] == "not_run"
        assert {s for s, _ in status.values()} == {"ok"}
        return next(r["reason"] for r in Run.open(self.root / "run").rungs if r["name"] == f"deploy/{engine}")


@pytest.fixture(scope="module")
def case(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return synth_cases(1, 1, 0.2, tmp_path_factory.mktemp("cases"))[0]


@pytest.fixture
def world(tmp_path: Path, case: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> World:
    monkeypatch.chdir(tmp_path)
    return World(tmp_path, case, capsys)


def test_the_world_is_in_order(world: World) -> None:
    world.has_dump("all.npz")
    frames = len(world.moments)
    outputs = {"lines": np.stack([BASE] * frames), "scores": np.full((frames, 1, 2), 0.9, np.float32)}
    np.savez(world.case / "outputs" / "all.npz", timestamp_ns=np.int64(world.moments), **outputs)
    assert world.replay("ort-fp32", "recorded") == (0, [])


class Bomb:
    def __reduce__(self) -> tuple[object, ...]:
        return (pytest.fail, ("a pickle was read",))


def test_pickled_tensors_in_polygraphy_json(world: World) -> None:
    world.has_dump("car.json")
    path = world.case / "outputs" / "car.json"
    write_runs(path, "trt", [Iteration({"lines": BASE, "scores": np.float32([[0.9, 0.9]])}) for _ in world.moments])
    content = json.loads(path.read_text())
    pickled = {"tensor": base64.b64encode(pickle.dumps(Bomb())).decode(), "polygraphy_class": "Tensor"}
    content["lst"][0][1][0]["outputs"]["lines"]["values"] = pickled
    path.write_text(json.dumps(content))
    path.with_suffix(".timestamps").write_text("\n".join(map(str, world.moments)))
    line = world.costs("recorded")
    assert "output 'lines' is a torch tensor, which is a pickle and could run code" in line
    assert "car.json" in line


def test_truncated_raw_dumps(world: World) -> None:
    world.has_dump()
    for number, moment in enumerate(world.moments):
        folder = world.dump / str(moment)
        folder.mkdir()
        (folder / "lines.output.1.2.3.2.fp32.raw").write_bytes(BASE.tobytes()[: 48 if number else 40])
        (folder / "scores.output.1.2.fp32.raw").write_bytes(np.float32([0.9, 0.9]).tobytes())
    line = world.costs("recorded")
    assert "40 bytes, fp32 [1, 2, 3, 2] has 48" in line
    assert f"{world.moments[0]}/lines.output.1.2.3.2.fp32.raw" in line


@pytest.mark.filterwarnings("ignore::engines.dumps.PrecisionLoss")
def test_nan_in_trtexecs_json_is_what_the_car_computed(world: World) -> None:
    """trtexec writes bare `nan`, which is no JSON; it is read, and the verdict says what it is."""
    world.has_dump()
    for number, moment in enumerate(world.moments):
        values = ["nan" if number == 2 and k == 3 else f"{v:g}" for k, v in enumerate(BASE.ravel())]
        (world.dump / f"{moment}.json").write_text(
            f'[{{"name": "lines", "dimensions": "1x2x3x2", "values": [{", ".join(values)}]}},'
            ' {"name": "scores", "dimensions": "1x2", "values": [0.9, 0.9]}]'
        )
    assert world.replay("ort-fp32", "recorded") == (0, [])
    (world.root / "p.trueline.toml").write_text(POLICY)
    verdict = judge(Run.open(world.root / "run"), load_policy(world.root / "p.trueline.toml"))
    assert verdict.status == "NONFINITE"


@pytest.mark.filterwarnings("ignore::engines.dumps.PrecisionLoss")
def test_words_in_trtexecs_json_are_no_numbers(world: World) -> None:
    world.has_dump()
    for moment in world.moments:
        (world.dump / f"{moment}.json").write_text('[{"name": "lines", "dimensions": "1", "values": [broken]}]')
    assert "not readable as JSON" in world.costs("recorded")


def test_weights_outside_the_models_folder(world: World) -> None:
    model = onnx.load(world.model)
    onnx.external_data_helper.set_external_data(model.graph.initializer[0], "../weights.bin")
    model.graph.initializer[0].ClearField("raw_data")
    onnx.save(model, world.model)
    for engine in ("ort-fp32", "emulated-fp16"):
        line = world.refuses(engine)
        assert "weight 'base' lies in '../weights.bin', outside the model's folder" in line
        assert str(world.model) in line


def test_operators_that_nobody_has(world: World) -> None:
    world.model.write_bytes(world.model.read_bytes().replace(b"ReduceMean", b"ReduceMeen"))
    assert "ReduceMeen" in world.refuses("ort-fp32")


def test_a_model_that_was_cut_off(world: World) -> None:
    world.model.write_bytes(world.model.read_bytes()[:-30])
    assert "no ONNX model" in world.refuses("ort-fp32")
