"""The real Polygraphy reads what we write, and we read what it writes; its package lies in a folder of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from contract_bindings import FOLDER, ROOT, Missing, install
from contract_machine import unmet
from filelock import FileLock

VERSION = "0.53.6"

THEIRS_READ_BY_US = """
import sys, pathlib
import numpy as np
from polygraphy.comparator import RunResults
from engines.formats.polygraphy import read_runs
path = pathlib.Path(sys.argv[1])
arrays = [{"lines": np.float32([[1 / 3, np.nan], [np.inf, i]]), "prob": np.float16([i])} for i in range(3)]
theirs = RunResults()
theirs.add(arrays, runtime=0.5, runner_name="onnxrt")
theirs.save(str(path))
(runner,) = (runs := read_runs(path))
assert runner == "onnxrt"
assert [i.runtime_s for i in runs[runner]] == [0.5] * 3
for got, want in zip(runs[runner], arrays, strict=True):
    assert list(got.outputs) == list(want)
    for name in want:
        assert got.outputs[name].dtype == want[name].dtype and got.outputs[name].tobytes() == want[name].tobytes()
"""

OURS_READ_BY_THEM = """
import sys, pathlib
import numpy as np
from polygraphy.comparator import Comparator, RunResults
from engines.formats.polygraphy import Iteration, write_runs
path = pathlib.Path(sys.argv[1])
arrays = [{"lines": np.float32([[1 / 3, 5], [7, i]]), "prob": np.float16([i])} for i in range(3)]
write_runs(path, "ours", [Iteration(a, 0.25) for a in arrays])
loaded = RunResults.load(str(path))
assert list(loaded.keys()) == ["ours"]
for got, want in zip(loaded["ours"], arrays, strict=True):
    assert got.runtime == 0.25 and list(got.keys()) == list(want)
    for name in want:
        assert got[name].dtype == want[name].dtype and got[name].tobytes() == want[name].tobytes()
other = RunResults()
moved = [{n: a + np.float16(i == 1) for n, a in frame.items()} for i, frame in enumerate(arrays)]
other.add(moved, runner_name="other")
loaded.extend(other)
(compared,) = Comparator.compare_accuracy(loaded)
checks = [all(frame.values()) for pair in compared.values() for frame in pair]
assert checks == [True, False, True], checks
"""

WHOLE_WAY = """
import sys, pathlib
from polygraphy.backend.onnxrt import OnnxrtRunner, SessionFromOnnx
from polygraphy.comparator import Comparator, RunResults, SimpleCompareFunc
from polygraphy.json import load_json
import harness
folder = pathlib.Path(sys.argv[1]).parent
sys.path.insert(0, str(pathlib.Path(harness.__file__).parents[1] / "tests" / "harness"))
from tests.harness.replay.bright_model import write_bright
from cases.synth import synth_cases
from harness.cli import main
card = write_bright(folder / "model")
case, = synth_cases(1, 1, 0.3, folder / "cases")
for command in (
    ["outputs", card, "--case", case, "--engine", "ort-fp32", "--out", folder / "ours.json",
     "--inputs", folder / "inputs.json"],
    ["outputs", card, "--case", case, "--engine", "emulated-bf16", "--out", folder / "rounded.json"],
):
    try:
        main([str(part) for part in command])
    except SystemExit as ended:
        assert not ended.code, command
session = SessionFromOnnx(str(card.with_name("model.onnx")))
theirs = Comparator.run([OnnxrtRunner(session)], data_loader=load_json(str(folder / "inputs.json")))
def agree(name):
    both = RunResults.load(str(folder / name))
    frames = len(both[0][1])
    assert frames == 6, frames
    both.extend(theirs)
    (compared,) = Comparator.compare_accuracy(both, compare_func=SimpleCompareFunc(atol=1e-5, rtol=0))
    return [all(frame.values()) for pair in compared.values() for frame in pair]
assert agree("ours.json") == [True] * 6
assert not any(agree("rounded.json"))
"""

TENSORS_REFUSED = """
import sys, pathlib
import torch
from polygraphy.comparator import RunResults
from engines.errors import RecordingError
from engines.formats.polygraphy import read_runs
path = pathlib.Path(sys.argv[1])
theirs = RunResults()
theirs.add([{"lines": torch.ones(2)}], runner_name="torch")
theirs.save(str(path))
try:
    read_runs(path)
except RecordingError as error:
    assert "is a torch tensor" in str(error), error
else:
    raise AssertionError("a torch tensor was read")
"""


@pytest.fixture(scope="module")
def site() -> Path:
    """Folder with the package, installed on first use."""
    folder = FOLDER / f"polygraphy-{VERSION}"
    FOLDER.mkdir(parents=True, exist_ok=True)
    with FileLock(FOLDER / "polygraphy.lock"):
        if not folder.is_dir():
            draft = FOLDER / f".draft-polygraphy-{os.getpid()}"
            try:
                install(draft, f"polygraphy=={VERSION}")
            except Missing as missing:
                unmet(f"Polygraphy {VERSION}: {missing}")
            draft.rename(folder)
    return folder


@pytest.mark.parametrize(
    "script", [THEIRS_READ_BY_US, OURS_READ_BY_THEM, WHOLE_WAY, TENSORS_REFUSED], ids=["theirs", "ours", "cli", "torch"]
)
def test_the_real_polygraphy_agrees(site: Path, script: str, tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(site), str(ROOT)])}
    command = [sys.executable, "-c", script, str(tmp_path / "runs.json")]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment, cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
