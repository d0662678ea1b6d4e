"""The card of examples/twinlitenet: what it says is what the published model needs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from cases.picture import Picture
from harness.feed.preprocess import build_pipeline, differing_steps, mixed_steps
from harness.lines.decode import build_decoder
from harness.model.card import Card, load_card

CARD = Path(__file__).parents[3] / "examples" / "twinlitenet" / "model.toml"


@pytest.fixture
def card() -> Card:
    return load_card(CARD)


@pytest.fixture(params=[("rgb24", (540, 960, 3)), ("yuv420p", (810, 960))], ids=["rgb24", "yuv420p"])
def picture(request: pytest.FixtureRequest) -> Picture:
    kind, shape = request.param
    return Picture(np.random.default_rng(0).integers(0, 256, shape, np.uint8), kind, 960, 540, "bt709")


def test_every_rung_of_the_card_gives_the_networks_input(card: Card, picture: Picture) -> None:
    (spec,) = card.inputs
    train, deploy = (card.preprocess.steps_of(spec.name, name) for name in ("train", "deploy"))
    swapped = [mixed_steps(train, deploy, step) for step in differing_steps(train, deploy)]
    assert differing_steps(train, deploy) == ("nv12", "colour", "round", "normalise")
    for steps in (train, deploy, *swapped):
        tensor = build_pipeline(steps, spec)(picture)
        assert (tensor.shape, tensor.dtype) == ((1, 3, 360, 640), np.float32)
        assert 0 <= tensor.min() < 0.2
        assert 0.8 < tensor.max() <= 1


def test_its_lines_are_pixels_of_the_networks_image(card: Card) -> None:
    ll = np.full((1, 1, 2, 360, 640), -1.0, np.float32)
    ll[..., 0, :, :] = 1
    ll[..., 230:340, 200:208] *= -1
    lines = build_decoder(card).decode({"ll": ll})
    assert len(lines) == 1
    np.testing.assert_allclose(lines.x, 203.5, atol=0.01)
    assert (lines.y[0], lines.y[-1]) == (339, 230)
    assert card.grid.stations[0, 0] > card.grid.stations[2, -1] > 0


def test_it_is_the_onnx_file_that_runs_in_the_lab(card: Card, shared_data: Path) -> None:
    assert card.onnx is not None
    assert card.onnx.file.resolve() == (shared_data / "models" / "twinlitenet.onnx").resolve()
    assert card.reference_rung == "train/ort-fp32"
