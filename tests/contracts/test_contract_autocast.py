"""NVIDIA ModelOpt's real AutoCast behind strongly typed fp16, installed beside the project and never into it."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import contract_models as models
import numpy as np
import onnx
import pytest
from contract_bindings import ROOT
from contract_machine import Machine, modelopt_folder
from onnx import helper, numpy_helper

from engines.errors import EngineUnavailable
from engines.protocol import ModelSource
from engines.sealed import file_sha256
from engines.tensorrt.autocast import convert

Boot = Callable[..., Machine]
LARGE = 3000.0


@pytest.fixture
def modelopt(monkeypatch: pytest.MonkeyPatch) -> None:
    """ModelOpt can be found, by this process's metadata and by a child's imports."""
    pytest.importorskip("onnxruntime", reason="AutoCast runs the graph by ONNX Runtime")
    folder = modelopt_folder()
    monkeypatch.syspath_prepend(folder)
    monkeypatch.setenv("PYTHONPATH", str(folder))


@pytest.fixture
def scaled(place: Path, tmp_path: Path) -> ModelSource:
    """A convolution, and a scale whose result is large where the pictures are bright."""
    nodes = [
        helper.make_node("Conv", ["images", "weights"], ["raw"], name="first_conv", pads=[1, 1, 1, 1]),
        helper.make_node("Mul", ["raw", "factor"], ["lines"], name="scale"),
    ]
    factor = numpy_helper.from_array(np.float32(LARGE), "factor")
    io = models.value("images", models.IMAGES.shape), models.value("lines", [1, 4, 8, 12])
    path = models.save(place / "scaled.onnx", nodes, [io[0]], [io[1]], [models.conv_weights(), factor])
    return models.source(path, tmp_path / "cache", fp16="strong")


def frames(path: Path, brightness: float, count: int = 3) -> Path:
    images = np.stack([models.images(seed)["images"] for seed in range(count)]) * np.float32(brightness)
    np.savez(path, images=images)
    return path


def types_of(path: Path) -> dict[str, int]:
    return {tensor.name: tensor.data_type for tensor in onnx.load(path).graph.initializer}


def test_strong_fp16_runs_autocast_on_the_frames_given_and_keeps_what_would_not_fit(
    boot: Boot, scaled: ModelSource, modelopt: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine = boot("10.13.3.9")
    bright = frames(tmp_path / "bright.npz", 1.0)
    engine = machine.open("trt-fp16", scaled, calibration=bright)
    autocast = engine.provenance["autocast"]
    assert autocast["modelopt"] == "0.47.0"
    assert autocast["nodes_considered"] == 2
    assert autocast["nodes_converted"] == 1  # the scale's result exceeds fp16 on these frames
    assert engine.provenance["typing"] == "strong"
    (typed,) = (scaled.cache / "autocast").glob("*/model.onnx")
    types = types_of(typed)
    assert onnx.TensorProto.FLOAT16 in types.values()
    assert onnx.TensorProto.FLOAT in types.values()
    inputs = models.images()
    lines = engine.infer(inputs)["lines"]
    assert lines.dtype == np.float32
    full = machine.open("trt-fp32", scaled).infer(inputs)["lines"]
    error = np.sqrt(np.mean((lines - full) ** 2) / np.mean(full**2))
    assert 0 < error < 2e-3  # rounded to fp16 somewhere, and nowhere to inf
    ran: list[Any] = []
    monkeypatch.setattr(subprocess, "run", lambda *a, **k: ran.append(a))
    again = machine.open("trt-fp16", scaled, calibration=bright)
    assert dict(again.provenance) == dict(engine.provenance)
    assert ran == []  # found by content


def test_dark_frames_let_every_node_go_to_fp16(scaled: ModelSource, modelopt: None, tmp_path: Path) -> None:
    assert scaled.onnx is not None
    converted = convert("trt-fp16", scaled, scaled.onnx, "fp16", frames(tmp_path / "dark.npz", 1e-3))
    assert converted.facts["nodes_converted"] == converted.facts["nodes_considered"] == 2
    assert set(types_of(converted.path).values()) == {onnx.TensorProto.FLOAT16}
    assert [file.name for file in sorted(converted.path.parent.iterdir())] == [
        "autocast.json",
        "model.onnx",
        "seal.json",
    ]


def test_a_missing_modelopt_is_named(scaled: ModelSource, tmp_path: Path) -> None:
    assert scaled.onnx is not None
    with pytest.raises(EngineUnavailable, match="NVIDIA ModelOpt") as caught:
        convert("trt-fp16", scaled, scaled.onnx, "fp16", frames(tmp_path / "f.npz", 1.0))
    assert "nvidia-modelopt[onnx]" in caught.value.remedy


def test_a_replay_calibrates_on_frames_of_its_own_cases(
    boot: Boot, modelopt: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from cases.synth import synth_cases
    from harness.model.card import load_card
    from harness.replay.replay import replay

    monkeypatch.syspath_prepend(ROOT / "tests" / "harness")
    from tests.harness.tiny_model import write_tiny

    boot("10.13.3.9")
    card = load_card(write_tiny(tmp_path / "tiny"))
    run = replay(
        card,
        synth_cases(1, 1, 0.5, tmp_path / "cases"),
        engines=["ort-fp32", "trt-fp16"],
        preprocess=["deploy"],
        steps=False,
        out=tmp_path / "run",
        cache=tmp_path / "cache",
    )
    (rung,) = (r for r in run.rungs if r["engine"] == "trt-fp16")
    assert rung["status"] == "ok", rung["reason"]
    assert rung["provenance"]["autocast"]["nodes_converted"] > 0
    (frames,) = (tmp_path / "cache" / "calibration").iterdir()
    assert rung["provenance"]["autocast"]["calibration_sha256"] == file_sha256(frames)
    moved = run.read("line_metrics").filter(rung=rung["name"], reference="deploy/ort-fp32")["offset_max"].max()
    assert 0 < float(moved) < 0.1, "fp16 moves the lines, and by little"  # type: ignore[arg-type]  # a column of floats
