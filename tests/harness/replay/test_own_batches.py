"""Small models run in batches by themselves, and no table but latency tells."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import engines
from harness.model.card import Card, load_card
from harness.replay import own_batches
from harness.replay.replay import replay
from harness.run.folder import Run
from harness.run.tables import TABLES
from tests.reliability.identity_model import write_case

LINES, POINTS = 4, 33
CARD = """schema = 1
name = "rows"
reference = "train/ort-fp32-none"
inputs = [{name = "x", shape = ["n", 4, 33, 2], source = "camera.front"}]
outputs = [{name = "lines"}, {name = "scores"}]
[onnx]
file = "rows.onnx"
[decoder]
name = "polyline"
lines = "lines"
scores = "scores"
"""


def write_model(folder: Path, *, mixes: bool = False, fixed: bool = False, extra: str = "") -> Card:
    """Lines as they come plus a millimetre of arithmetic; `mixes` adds the mean of all rows of a batch."""
    folder.mkdir()
    rng = np.random.default_rng(3)
    rows: int | str = 1 if fixed else "n"
    size = LINES * POINTS * 2
    weights = [
        numpy_helper.from_array(rng.normal(0, 1e-5, (size, size)).astype(np.float32), "w"),
        numpy_helper.from_array(np.array([-1, size]), "flat"),
        numpy_helper.from_array(np.array([-1, LINES, POINTS, 2]), "full"),
        numpy_helper.from_array(rng.normal(0, 1e-3, (size, LINES)).astype(np.float32), "v"),
    ]
    nodes = [
        helper.make_node("Reshape", ["x", "flat"], ["f"]),
        helper.make_node("MatMul", ["f", "w"], ["g"]),
        helper.make_node("Reshape", ["g", "full"], ["h"]),
        helper.make_node("Add", ["x", "h"], ["sum"]),
        helper.make_node("MatMul", ["f", "v"], ["s"]),
        helper.make_node("Sigmoid", ["s"], ["scores"]),
        helper.make_node("ReduceMean", ["h"], ["m"], axes=[0], keepdims=1),
        helper.make_node("Add", ["sum", "m"], ["lines"]) if mixes else helper.make_node("Identity", ["sum"], ["lines"]),
    ]
    if extra:
        nodes.append(helper.make_node(extra, ["scores"], ["unused"]))
    graph = helper.make_graph(
        nodes,
        "rows",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [rows, LINES, POINTS, 2])],
        [
            helper.make_tensor_value_info("lines", TensorProto.FLOAT, [rows, LINES, POINTS, 2]),
            helper.make_tensor_value_info("scores", TensorProto.FLOAT, [rows, LINES]),
        ],
        weights,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, folder / "rows.onnx")
    (folder / "model.toml").write_text(CARD.replace('"n"', "1") if fixed else CARD)
    return load_card(folder)


def replayed(card: Card, cases: Path, out: Path, **options: Any) -> Run:
    return replay(card, [cases], engines=["ort-fp32"], preprocess=["train"], out=out, cache=out.parent / "c", **options)


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Rows of every call of an ONNX Runtime engine."""
    from engines.ort_engine import OrtEngine

    found: list[int] = []
    infer = OrtEngine.infer

    def counted(self: OrtEngine, inputs: Any) -> Any:
        found.append(len(next(iter(inputs.values()))))
        return infer(self, inputs)

    monkeypatch.setattr(OrtEngine, "infer", counted)
    monkeypatch.setattr(own_batches, "SMALL_NS", 10**12)  # whatever else this machine does
    return found


def test_no_table_but_latency_tells_of_batches(
    tmp_path: Path, calls: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    card = write_model(tmp_path / "m")
    cases = [write_case(tmp_path / "cases", frames=frames, name=f"c{frames}") for frames in (30, 64, 150)]
    assert len(cases) == 3
    by_itself = replayed(card, tmp_path / "cases", tmp_path / "a")
    assert calls.count(own_batches.SIZE) == 2 * (2 * 2 + 5)  # two orders tried in two cases, 86 frames of the third
    calls.clear()
    monkeypatch.setattr("harness.replay.case_loop.may_batch", lambda *_: False)
    alone = replayed(card, tmp_path / "cases", tmp_path / "b")
    assert set(calls) == {1}
    for name in TABLES:
        if name != "latency":
            assert by_itself.read(name).equals(alone.read(name)), name
    assert by_itself.read("latency")["frames"].max() < alone.read("latency")["frames"].max()


@pytest.mark.parametrize(
    "kind", [{"mixes": True}, {"fixed": True}, {"extra": "NonZero"}], ids=["mixes rows", "one row", "looks at values"]
)
def test_a_model_whose_rows_are_not_their_own_runs_frame_by_frame(
    tmp_path: Path, calls: list[int], kind: dict[str, Any]
) -> None:
    write_case(tmp_path / "cases", frames=100)
    replayed(write_model(tmp_path / "m", **kind), tmp_path / "cases", tmp_path / "a")
    assert calls.count(own_batches.SIZE) <= 2  # a batch that was tried
    assert calls.count(1) >= 2 * 100


def test_a_clip_that_stands_still_proves_nothing(tmp_path: Path) -> None:
    card = write_model(tmp_path / "m", mixes=True)
    engine = engines.open("ort-fp32", card.source(tmp_path / "c"))
    still = {"x": np.ones((1, LINES, POINTS, 2), np.float32)}
    batches = own_batches.OwnBatches(engine)
    for _ in range(own_batches.ALONE):
        batches.ran_alone(still, [1])
    assert not batches.proven
    engine.close()


def test_a_failure_inside_a_batch_is_of_its_own_frame(
    tmp_path: Path, calls: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    from engines.errors import EngineCrashed
    from engines.ort_engine import OrtEngine

    card = write_model(tmp_path / "m")
    write_case(tmp_path / "cases", frames=120)
    infer = OrtEngine.infer
    seen: list[float] = []

    def failing(self: OrtEngine, inputs: Any) -> Any:
        if self.name == "ort-fp32" and len(calls) > 2 * own_batches.ALONE and len(inputs["x"]) > 1:
            seen.append(1.0)
            raise EngineCrashed("too many", where="here", remedy="none")
        return infer(self, inputs)

    monkeypatch.setattr(OrtEngine, "infer", failing)
    run = replayed(card, tmp_path / "cases", tmp_path / "a")
    assert seen
    assert [rung["status"] for rung in run.rungs] == ["ok", "ok"]
    assert run.read("frame_metrics").group_by("rung").len()["len"].to_list() == [120, 120]
