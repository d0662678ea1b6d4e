from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from numpy.typing import NDArray

import engines
from cases.synth import synth_cases
from engines.protocol import Engine, ModelSource, Tensors
from harness.model.card import Card, load_card
from harness.replay.hooks import Hooks
from harness.replay.open import BatchRow
from harness.replay.replay import replay
from harness.run.rungs import build_tree, probes_of
from tests.harness.replay.test_replay import Wrapped
from tests.harness.tiny_model import write_tiny
from tests.run_folders import finish_run


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Card:
    return load_card(write_tiny(tmp_path_factory.mktemp("tiny")))


@pytest.fixture(scope="module")
def cases(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return synth_cases(1, 1, 0.6, tmp_path_factory.mktemp("cases"))


def _noisy_ort(sigma: float) -> Hooks:
    """ort-fp32 with white noise on every coordinate of every line, anew at every call."""
    rng = np.random.default_rng(0)

    def noise(call: int, outputs: Tensors) -> Tensors:
        lines = outputs["lines"].copy()
        lines[..., 1] += rng.normal(0, sigma, lines[..., 1].shape).astype(np.float32)
        return outputs | {"lines": lines}

    def open_engine(name: str, source: ModelSource) -> Engine:
        engine = engines.open(name, source)
        return Wrapped(engine, noise) if name == "ort-fp32" else engine  # type: ignore[return-value]  # structural

    return Hooks(open_engine=open_engine)


def test_a_quiet_engine_has_no_floor_and_a_noisy_one_has_its_own(tiny: Card, cases: list[Path], tmp_path: Path) -> None:
    options: dict[str, Any] = {"engines": ["ort-fp32"], "preprocess": ["deploy"], "steps": False, "floor": True}
    quiet = replay(tiny, cases, out=tmp_path / "quiet", cache=tmp_path / "cache", **options)
    noisy = replay(tiny, cases, out=tmp_path / "noisy", cache=tmp_path / "cache", hooks=_noisy_ort(0.02), **options)
    floors = quiet.read("floors")
    assert floors.filter(probe="repeat")["value"].max() == 0
    assert floors.filter(probe="rebuild")["value"].max() == 0
    assert 0 < quiet.floors()["offset_max"] < 1e-4  # other order of sums
    assert 0.04 < noisy.floors()["bend"] < 0.4
    offset = noisy.read("floors").filter(rung="deploy/ort-fp32", probe="repeat", metric="offset_mean")["value"]
    assert 0.01 < offset.max() < 0.1
    assert noisy.read("floors").filter(rung="deploy/torch-fp32")["value"].max() == 0


def test_probes_leave_every_other_table_alone(tiny: Card, cases: list[Path], tmp_path: Path) -> None:
    options: dict[str, Any] = {"engines": ["ort-fp32"], "preprocess": ["deploy"], "cache": tmp_path / "cache"}
    with_floor = replay(tiny, cases, out=tmp_path / "with", floor=True, **options)
    without = replay(tiny, cases, out=tmp_path / "without", **options)
    for name in ("lines", "line_metrics", "frame_metrics", "tensor_metrics", "series_metrics", "events", "accuracy"):
        assert with_floor.read(name).equals(without.read(name)), name
    assert without.floors() == {}
    assert without.read("floors").height == 0
    assert set(with_floor.read("latency")["rung"]) == set(without.read("latency")["rung"])


def test_what_cannot_be_probed_says_why(tiny: Card, cases: list[Path], tmp_path: Path) -> None:
    options: dict[str, Any] = {"engines": ["ort-fp32"], "preprocess": ["deploy"], "steps": False, "floor": True}
    run = replay(tiny, cases, out=tmp_path / "run", cache=tmp_path / "cache", **options)
    said = {(p["rung"], p["probe"]): (p["status"], p["reason"]) for p in run.meta["probes"]}
    assert said["deploy/ort-fp32", "reorder"][0] == "ok"
    assert said["deploy/torch-fp32", "reorder"][0] == "not_run"
    assert "batch size is fixed" in said["deploy/ort-fp32", "batch-row"][1]


def test_every_engine_of_the_last_pipeline_is_probed_and_dumps_are_not() -> None:
    rungs = build_tree("train/torch-fp32", ["ort-fp32", "recorded"], ["train", "deploy"], ["a", "b"])
    assert {p.base.name for p in probes_of(rungs)} == {"deploy/torch-fp32", "deploy/ort-fp32"}


class Mixing:
    """A model whose rows leak into each other, as a batch-dependent normalisation would."""

    name = "mixing"

    def infer(self, inputs: dict[str, NDArray[Any]]) -> Tensors:
        return {"y": inputs["x"] - inputs["x"].mean()}


class Clean(Mixing):
    def infer(self, inputs: dict[str, NDArray[Any]]) -> Tensors:
        return {"y": 2 * inputs["x"]}


@pytest.mark.parametrize(("engine", "same"), [(Clean(), True), (Mixing(), False)])
def test_a_batch_row_tells_whether_rows_leak(engine: Any, same: bool) -> None:
    row = BatchRow(engine)
    one, two = np.full((1, 3), 5, np.float32), np.arange(3, dtype=np.float32)[None]
    row.infer({"x": one})
    again = row.infer({"x": two})["y"]
    assert again.shape == (1, 3)
    assert np.array_equal(again, engine.infer({"x": two})["y"]) == same


def test_floors_reach_the_gate(tmp_path: Path) -> None:
    from harness.run.folder import CaseParts, write_tables

    with CaseParts(tmp_path / "parts", "c") as parts:
        for value in (0.01, 0.03):
            parts.add(
                "floors", {"rung": "r", "probe": "repeat", "metric": "bend", "band": "near", "value": value, "count": 1}
            )
        parts.commit()
    write_tables(tmp_path, ["c"], {})
    assert finish_run(tmp_path, {"rungs": [], "cases": []}).floors() == {"bend": 0.03}
    assert pl.read_parquet(tmp_path / "floors.parquet").height == 2
