"""Multi-input and recurrent models: what reaches the network."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from cases.case import Case, open_case
from cases.schema import CameraMeta
from cases.writer import CaseWriter
from harness.errors import CardError, PreprocessError
from harness.feed.inputs import InputBuilder, cameras_of, initial_state, steps_of_card
from harness.model.card import Card, load_card
from harness.replay.replay import replay

FRAMES = 6
K = ((50.0, 0.0, 16.0), (0.0, 50.0, 8.0), (0.0, 0.0, 1.0))

NETWORK = '''
import torch
from torch import nn


class Many(nn.Module):
    """Shifts four straight lines by what every input says; the hidden state counts frames."""

    def forward(self, front, rear, k, speed, delta, bias, hidden):
        hidden = hidden + 1
        x = torch.linspace(0, 80, 9)
        y = torch.tensor([3.0, 1.0, -1.0, -3.0])[:, None].expand(4, 9) + 0.1 * hidden.sum() + 0 * k.sum()
        y = y + front.mean() - rear.mean() + 0 * speed.sum() + delta.sum() * 0 + bias.sum()
        return torch.stack([x.expand_as(y), y], -1)[None], torch.ones(1, 4), hidden
'''

CARD = """
schema = 1
name = "many"
inputs = [
    {name = "front", shape = [1, 1, 4, 8], layout = "NCHW", source = "camera.front"},
    {name = "rear", shape = [1, 1, 4, 8], layout = "NCHW", source = "camera.rear"},
    {name = "k", shape = [3, 3], source = "calib.front.K"},
    {name = "speed", shape = [1], source = "ego.speed_mps"},
    {name = "delta", shape = [3], source = "ego.pose_delta"},
    {name = "bias", shape = [2], source = "const:0.25"},
    {name = "hidden", shape = [1, 2], source = "state"},
]
outputs = [{name = "lines"}, {name = "scores"}, {name = "hidden_out"}]
[state]
hidden_out = "hidden"
[torch]
factory = "many:Many"
[decoder]
name = "polyline"
"""


@pytest.fixture(scope="module")
def card(tmp_path_factory: pytest.TempPathFactory) -> Card:
    folder = tmp_path_factory.mktemp("many")
    (folder / "many.py").write_text(NETWORK)
    (folder / "model.toml").write_text(CARD)
    return load_card(folder)


@pytest.fixture(scope="module")
def case(tmp_path_factory: pytest.TempPathFactory) -> Case:
    """Two tensor cameras, driving a quarter circle of radius 10 m at one radian per second."""
    folder = tmp_path_factory.mktemp("cases")
    turn = np.linspace(0, math.pi / 2, FRAMES)
    with CaseWriter(folder, id="circle", fps=20, lossy=False) as writer:
        for name, level in (("front", 0.5), ("rear", 0.5)):
            meta = CameraMeta(kind="tensors", pixel_format="tensor", intrinsics=K)
            camera = writer.add_camera(name, meta)
            (camera / "tensors").mkdir(exist_ok=True)
            np.save(camera / "tensors" / "t.npy", np.full((FRAMES, 1, 1, 4, 8), level, np.float32))
        rows = [
            {
                "frame": k, "timestamp_ns": k * 50_000_000, "camera": name, "index": k, "speed_mps": 10.0,
                "yaw_rate_radps": 1.0, "x_m": 10 * math.sin(turn[k]), "y_m": 10 * (1 - math.cos(turn[k])),
                "yaw_rad": turn[k],
            }
            for k in range(FRAMES) for name in ("front", "rear")
        ]  # fmt: skip
        writer.set_frames(pl.DataFrame(rows))
    return open_case(folder / "circle")


def test_every_source_reaches_its_input(card: Card, case: Case) -> None:
    build = InputBuilder(card, case, "train")
    first, second = (build(tick) for tick in list(case.ticks(cameras_of(card)))[:2])
    assert set(first) == {"front", "rear", "k", "speed", "delta", "bias"}
    assert first["k"].tolist() == [list(row) for row in K]
    assert first["speed"].tolist() == [10.0]
    assert first["bias"].tolist() == [0.25, 0.25]
    assert first["delta"].tolist() == [0, 0, 0]
    step = math.pi / 2 / (FRAMES - 1)
    chord = [10 * math.sin(step), 10 * (1 - math.cos(step)), step]
    assert second["delta"] == pytest.approx(chord, abs=1e-5)


def test_every_step_of_a_circle_looks_alike_from_the_vehicle(card: Card, case: Case) -> None:
    build = InputBuilder(card, case, "train")
    deltas = np.array([build(tick)["delta"] for tick in case.ticks(cameras_of(card))])[1:]
    assert deltas == pytest.approx(np.broadcast_to(deltas[0], deltas.shape), abs=1e-5)


def test_state_starts_at_zero_in_every_case_and_is_fed_back(card: Card, case: Case, tmp_path: Path) -> None:
    assert initial_state(card)["hidden"].tolist() == [[0, 0]]
    run = replay(card, [case.root], engines=["torch-fp32", "ort-fp32"], preprocess=["train"], out=tmp_path / "run",
                 cache=tmp_path / "cache")  # fmt: skip
    lines = run.read("lines").filter(line=0)
    for rung in ("train/torch-fp32", "train/ort-fp32"):
        y = lines.filter(rung=rung)["y"].list.first().to_numpy()
        assert y == pytest.approx(3.5 + 0.2 * np.arange(1, FRAMES + 1), abs=1e-5)


def test_two_cameras_are_asked_for_once_each(card: Card) -> None:
    assert cameras_of(card) == ("front", "rear")
    assert steps_of_card(card) == ()


def test_a_camera_the_case_lacks_is_named(card: Card, case: Case) -> None:
    other = card.model_copy(update={"inputs": (card.inputs[0].model_copy(update={"source": "camera.left"}),)})
    with pytest.raises(PreprocessError, match=r"camera 'left'.*\['front', 'rear'\]"):
        InputBuilder(other, case, "train")


def test_calibration_the_case_lacks_is_named(card: Card, case: Case) -> None:
    other = card.model_copy(update={"inputs": (card.inputs[2].model_copy(update={"source": "calib.front.E"}),)})
    with pytest.raises(PreprocessError, match=r"calib.front.E"):
        InputBuilder(other, case, "train")


def test_an_ego_value_that_does_not_exist_is_named(card: Card, case: Case) -> None:
    other = card.model_copy(update={"inputs": (card.inputs[3].model_copy(update={"source": "ego.altitude"}),)})
    with pytest.raises(CardError, match=r"ego.altitude.*ego.speed_mps"):
        InputBuilder(other, case, "train")
