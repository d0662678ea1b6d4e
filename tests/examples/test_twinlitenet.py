"""Our TwinLiteNet computes what the published ONNX file computes, from the authors' checkpoint."""

from __future__ import annotations

import itertools
from pathlib import Path

import av
import numpy as np
import pytest
import torch

import engines
from cases.picture import Picture
from engines.torch_model import build_module, read_state
from harness.feed.preprocess import build_pipeline
from harness.model.card import Card, load_card

EXAMPLE = Path(__file__).parents[2] / "examples" / "twinlitenet"
CLIPS = ("solid_white_right", "highway_curve", "concrete_bridge")
LOGIT_TOLERANCE = 1e-3  # logits reach 9; measured: README.md of the example


@pytest.fixture(scope="module")
def card(shared_data: Path) -> Card:
    card = load_card(EXAMPLE / "torch.toml")
    assert card.torch is not None
    assert card.torch.weights is not None
    if not card.torch.weights.is_file():
        pytest.skip(f"no checkpoint at {card.torch.weights}")
    return card


@pytest.fixture(scope="module")
def published(shared_data: Path) -> Card:
    card = load_card(EXAMPLE / "model.toml")
    assert card.onnx is not None
    if not card.onnx.file.is_file():
        pytest.skip(f"no published model at {card.onnx.file}")
    return card


@pytest.fixture(scope="module")
def outputs_of(card: Card, published: Card, tmp_path_factory: pytest.TempPathFactory):
    """A function: input tensors to the outputs of the published file, of our network, and of our export."""
    cache = tmp_path_factory.mktemp("cache")
    opened = {
        "published": engines.open("ort-fp32", published.source(cache)),
        "network": engines.open("torch-fp32", card.source(cache), denormals="flush"),
        "export": engines.open("ort-fp32", card.source(cache)),
    }
    yield lambda inputs: {name: engine.infer(inputs) for name, engine in opened.items()}
    for engine in opened.values():
        engine.close()


def largest_gap(outputs) -> float:
    reference = outputs["published"]
    assert set(reference) == {"da", "ll"}
    assert min(np.abs(value).max() for value in reference.values()) > 1  # logits, not zeros
    return max(
        float(np.abs(outputs[other][key] - value).max())
        for other in ("network", "export")
        for key, value in reference.items()
    )


def test_both_cards_describe_one_model() -> None:
    ours, theirs = (load_card(EXAMPLE / name) for name in ("torch.toml", "model.toml"))
    differing = {key for key in type(ours).model_fields if getattr(ours, key) != getattr(theirs, key)}
    assert differing <= {"name", "path", "reference", "torch", "onnx", "export"}


def test_the_checkpoint_fits_key_for_key(card: Card) -> None:
    assert card.torch is not None
    assert card.torch.weights is not None
    state = read_state(card.torch.weights)
    module = build_module(card.source())
    assert len(state) == 183
    assert set(module.state_dict()) == set(state)
    assert all(torch.equal(value, state[key]) for key, value in module.state_dict().items())
    assert sum(p.numel() for p in module.parameters()) == 439_633


def test_it_is_the_published_network_on_noise(outputs_of) -> None:
    noise = np.random.default_rng(0).random((1, 3, 360, 640), np.float32)
    assert largest_gap(outputs_of({"images": noise})) < LOGIT_TOLERANCE


@pytest.mark.parametrize("clip", CLIPS)
def test_it_is_the_published_network_on_the_clips(clip: str, card: Card, outputs_of, shared_data: Path) -> None:
    video = shared_data / "clips" / f"{clip}.mp4"
    if not video.is_file():
        pytest.skip(f"no clip at {video}")
    picture = frame_of(video, number=60)
    (spec,) = card.inputs
    image = build_pipeline(card.preprocess.steps_of(spec.name, "train"), spec)(picture)
    assert 0.2 < image.mean() < 0.8
    assert largest_gap(outputs_of({spec.name: image})) < LOGIT_TOLERANCE


def frame_of(video: Path, number: int) -> Picture:
    with av.open(str(video)) as container:
        frame = next(itertools.islice(container.decode(video=0), number, None))
    return Picture(frame.to_ndarray(format="rgb24"), "rgb24", frame.width, frame.height, "bt709")
