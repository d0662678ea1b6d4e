"""Part A5: whoever writes into what he is given, or uses again what he gave, changes no other rung and not his own."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

import engines
from engines.guest import read_only
from engines.protocol import CaseContext, Engine, ModelSource
from harness.model.card import load_card
from harness.replay.hooks import Hooks
from harness.replay.replay import replay
from tests.reliability.identity_model import straight_lines, write_card, write_case

FRAMES = 6
WRITERS = '''
import numpy as np
from harness.lines.decode.polyline import build as polyline

def in_place(picture):
    picture.data[..., 1] += 1.0
    return picture.data

def through_a_view(pixels):
    view = pixels.data[:]
    view[..., 1] += 1.0
    return view

class OneBuffer:
    """Gives the same array for every picture."""
    def __init__(self):
        self.buffer = None
    def __call__(self, picture):
        if self.buffer is None:
            self.buffer = np.empty_like(picture.data)
        self.buffer[:] = picture.data
        self.buffer[..., 1] += 1.0
        return self.buffer

class Scribbler:
    """Writes into the outputs, and hands out arrays that it overwrites at the next call."""
    slots = 4
    def __init__(self, card):
        self.inner = polyline(card.model_copy(update={"decoder": type(card.decoder)(name="polyline")}))
        self.last = None
    def decode(self, outputs):
        if self.last is not None:
            self.last.y[:] = 99
        self.last = self.inner.decode(outputs)
        for values in outputs.values():
            values[:] = np.nan
        return self.last
'''


@pytest.fixture(scope="module")
def case(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_case(tmp_path_factory.mktemp("cases"), frames=FRAMES)


def _lateral_m(run: Any, rung: str) -> np.ndarray[Any, Any]:
    """y of the first point of every line, [frames, slots]."""
    table = run.read("lines").filter(pl.col("rung") == rung).sort("frame", "line")
    return table["y"].list.first().to_numpy().reshape(FRAMES, -1)


WANTED = straight_lines(FRAMES)[:, 0, :, 0, 1]


@pytest.mark.parametrize("reference", ["train", "deploy"])
@pytest.mark.parametrize("op", ["in_place", "through_a_view", "OneBuffer"])
def test_a_preprocessing_function_that_writes(op: str, reference: str, case: Path, tmp_path: Path) -> None:
    steps = f'[preprocess]\ntrain = []\ndeploy = [{{ op = "users:{op}" }}]\n'
    card = write_card(tmp_path / "card", extra=steps, code=WRITERS)
    card.write_text(card.read_text().replace("[onnx]", f'reference = "{reference}/ort-fp32"\n[onnx]', 1))
    options: dict[str, Any] = {"engines": ["ort-fp32"], "cache": tmp_path / "cache"}
    run = replay(load_card(card), [case], out=tmp_path / "run", **options)
    np.testing.assert_allclose(_lateral_m(run, "train/ort-fp32"), WANTED, atol=1e-5)
    np.testing.assert_allclose(_lateral_m(run, "deploy/ort-fp32"), WANTED + 1, atol=1e-5)


class Writer:
    """An engine that spoils its inputs and gives the same arrays again and again."""

    name, uses_time, keeps_state = "writer", False, False
    provenance: Mapping[str, Any] = {}

    def __init__(self, inner: Engine) -> None:
        self._inner, self._given = inner, {}  # type: ignore[var-annotated]  # arrays by name and shape

    def start_case(self, context: CaseContext) -> None:
        self._inner.start_case(context)

    def seek(self, timestamp_ns: int) -> None:
        pass

    def infer(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
        outputs = self._inner.infer(inputs)
        for array in inputs.values():
            array[:] = -1
        for name, values in outputs.items():
            self._given.setdefault((name, values.shape), values.copy())[:] = values
        return {name: self._given[name, values.shape] for name, values in outputs.items()}

    def close(self) -> None:
        self._inner.close()


@pytest.mark.parametrize("batch", [1, 3])
def test_an_engine_that_writes(batch: int, case: Path, tmp_path: Path) -> None:
    card = write_card(tmp_path / "card")
    if batch > 1:
        _open_batch(card)

    def open_engine(name: str, source: ModelSource) -> Any:
        engine = engines.open(name, source)
        return Writer(engine) if name == "ort-fp32-none" else engine

    run = replay(
        load_card(card),
        [case],
        engines=["ort-fp32-none", "ort-fp32"],
        out=tmp_path / "run",
        batch=batch,
        cache=tmp_path / "cache",
        hooks=Hooks(open_engine=open_engine),
    )
    for rung in ("train/ort-fp32", "deploy/ort-fp32-none", "deploy/ort-fp32"):
        np.testing.assert_allclose(_lateral_m(run, rung), WANTED, atol=1e-5, err_msg=rung)


def _open_batch(card: Path) -> None:
    """Let the model take any batch."""
    import onnx

    model = onnx.load(card.parent / "identity.onnx")
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.shape.dim[0].dim_param = "batch"
    scores = onnx.helper.make_node("ReduceMean", ["x", "axes"], ["means"], keepdims=0)
    zeros = onnx.helper.make_node("Mul", ["means", "zero"], ["zeros"])
    model.graph.node[1].input[1] = "zeros"
    model.graph.node.insert(0, zeros)
    model.graph.node.insert(0, scores)
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.array([2, 3]), "axes"))
    onnx.save(model, card.parent / "identity.onnx")


def test_a_decoder_that_writes(case: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("harness.replay.case_loop.CHUNK_FRAMES", 2)
    card = write_card(tmp_path / "card", code=WRITERS, decoder="users:Scribbler")
    run = replay(load_card(card), [case], engines=["ort-fp32"], out=tmp_path / "run", cache=tmp_path / "cache")
    for rung in ("train/ort-fp32", "deploy/ort-fp32"):
        np.testing.assert_allclose(_lateral_m(run, rung), WANTED, atol=1e-5, err_msg=rung)


def test_what_ours_share_cannot_be_written_to() -> None:
    given = {"x": np.zeros(3, np.float32)}
    shared = read_only(given)
    with pytest.raises(ValueError, match="read-only"):
        shared["x"][0] = 1
    given["x"][0] = 2
    assert shared["x"][0] == 2  # a view, no copy
