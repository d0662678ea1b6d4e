"""Engines that must be calibrated get frames of the replay's own cases, as the car's pipeline makes them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import engines
from cases.case import Case, open_case
from cases.synth import synth_cases
from engines.errors import EngineUnavailable
from engines.protocol import Engine, ModelSource
from harness.feed.inputs import InputBuilder, cameras_of, spread_frames
from harness.model.card import Card, load_card
from harness.replay.hooks import Hooks
from harness.replay.open import FRAMES, calibrated
from harness.replay.replay import replay
from tests.harness.tiny_model import write_tiny


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return synth_cases(1, 3, 0.4, tmp_path_factory.mktemp("cases"))


@pytest.fixture
def cases(folders: list[Path]) -> list[Case]:
    return [open_case(folder) for folder in folders]


@pytest.fixture
def card(tmp_path: Path) -> Card:
    return load_card(write_tiny(tmp_path / "tiny"))


def deploy_inputs(card: Card, case: Case) -> list[np.ndarray]:
    build = InputBuilder(card, case, "deploy")
    return [build(tick)["image"] for tick in case.ticks(cameras_of(card))]


def test_frames_are_the_deploy_pipelines_spread_over_all_cases(card: Card, cases: list[Case]) -> None:
    source = calibrated("trt-fp16", card.source(card.root / "cache"), card, cases)
    with np.load(source.options["trt-fp16"]["calibration"]) as npz:
        assert npz.files == ["image"]
        found = npz["image"]
    assert found.shape == (FRAMES, 1, 3, 36, 64)
    of_case = [[any(np.array_equal(f, d) for d in deploy_inputs(card, case)) for f in found] for case in cases]
    assert np.sum(of_case, axis=1).tolist() == [3, 3, 2]
    assert np.sum(of_case, axis=0).tolist() == [1] * FRAMES


def test_few_frames_and_many_cases_are_fine(card: Card, cases: list[Case]) -> None:
    assert len(list(spread_frames(card, cases * 4, FRAMES))) == FRAMES
    assert 0 < len(list(spread_frames(card, cases[:1], 1000))) <= len(cases[0].frame_numbers)


def test_the_same_frames_are_the_same_file(card: Card, cases: list[Case]) -> None:
    source = card.source(card.root / "cache")
    first, again, other = (
        calibrated("trt-fp16", source, card, c).options["trt-fp16"] for c in (cases, cases, cases[:1])
    )
    assert first == again != other
    assert len(list((card.root / "cache" / "calibration").iterdir())) == 2


def test_only_engines_that_want_frames_get_them(card: Card, cases: list[Case]) -> None:
    source = card.source(card.root / "cache")
    weak = replace(source, fp16="weak")
    own = [replace(source, options={"trt-fp16": {key: "a.file"}}) for key in ("plan", "calibration")]
    for name, of in [("ort-fp32", source), ("trt-fp32", source), ("trt-fp16", weak), *(("trt-fp16", o) for o in own)]:
        assert calibrated(name, of, card, cases) is of
    assert not (card.root / "cache").exists()
    assert calibrated("trt-bf16", source, card, cases) is not source
    beside = replace(source, options={"trt-fp16": {"workspace_mib": 64}, "trt-fp16:car": {"plan": "a.file"}})
    assert calibrated("trt-fp16:car", beside, card, cases) is beside
    assert calibrated("trt-fp16", beside, card, cases).options["trt-fp16"]["workspace_mib"] == 64


def test_a_replay_and_its_floor_open_engines_so(card: Card, folders: list[Path], tmp_path: Path) -> None:
    seen: list[tuple[str, ModelSource]] = []

    def fake(name: str, source: ModelSource) -> Engine:
        if name != "trt-fp16":
            return engines.open(name, source)
        seen.append((name, source))
        return engines.open("torch-fp32", source)

    replay(
        card, folders[:1], engines=["trt-fp16"], preprocess=["deploy"], out=tmp_path / "run", floor=True,
        hooks=Hooks(open_engine=fake), cache=tmp_path / "cache",
    )  # fmt: skip
    assert len(seen) == 2
    assert len({Path(source.options["trt-fp16"]["calibration"]).name for _, source in seen}) == 1
    for (_, source), cache in zip(seen, ("cache", "cache/rebuild"), strict=True):
        assert Path(source.options["trt-fp16"]["calibration"]).parent == (tmp_path / cache / "calibration").resolve()


def test_where_tensorrt_is_missing_the_rung_is_not_run(card: Card, folders: list[Path], tmp_path: Path) -> None:
    if engines.availability("trt-fp16")[0].available:
        pytest.skip("TensorRT is here")
    with pytest.raises(EngineUnavailable):
        engines.open("trt-fp16", card.source())
    run = replay(card, folders[:1], engines=["trt-fp16"], preprocess=["deploy"], out=tmp_path / "run", cache=tmp_path)
    assert {r["engine"]: r["status"] for r in run.rungs} == {"torch-fp32": "ok", "trt-fp16": "not_run"}
