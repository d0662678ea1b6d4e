"""What a planted fault does to pipelines, weights and outputs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from cases.picture import Picture
from engines.errors import RecordingGap
from engines.protocol import CaseContext, ModelSource
from harness.faults import FAULTS, Site
from harness.faults.car import Car, with_car
from harness.faults.modules import batch_statistics
from harness.faults.steps import Stale
from harness.feed.preprocess import build_pipeline, differing_steps
from harness.model.card import Card, load_card
from tests.harness.faults.seeker import NETWORK, write_model


@pytest.fixture(scope="module")
def card(tmp_path_factory: pytest.TempPathFactory) -> Card:
    return load_card(write_model(tmp_path_factory.mktemp("plants")))


# the network of this card is fed 0 to 1 and its pipeline has no crop: these two find no step
PREPROCESS = sorted(
    n for n, f in FAULTS.items() if f.stage == "preprocess" and n not in ("missing_mean_std", "crop_off")
)


@pytest.mark.parametrize("name", PREPROCESS)
def test_a_preprocessing_fault_changes_one_step_of_deploy_and_nothing_of_train(card, name, tmp_path):
    planted = FAULTS[name].plant(Site(card, tmp_path), 1.0)
    assert planted.card.preprocess.train == card.preprocess.train
    assert differing_steps(card.preprocess.deploy, planted.card.preprocess.deploy) == (planted.step,)


def test_planting_twice_is_refused_or_undone_but_never_silent(card, tmp_path):
    once = FAULTS["rb_swap"].plant(Site(card, tmp_path), 1.0).card
    twice = FAULTS["rb_swap"].plant(Site(once, tmp_path), 1.0).card
    assert not differing_steps(card.preprocess.deploy, twice.preprocess.deploy)


def test_swapped_colours_are_exactly_swapped(card, tmp_path):
    spec = card.inputs[0]
    planted = FAULTS["rb_swap"].plant(Site(card, tmp_path), 1.0).card
    rgb = np.random.default_rng(0).integers(0, 255, (80, 128, 3), np.uint8)
    picture = Picture(rgb, "rgb24", 128, 80)
    right, wrong = (build_pipeline(c.preprocess.deploy, spec)(picture) for c in (card, planted))
    np.testing.assert_array_equal(wrong[:, ::-1], right)


def test_a_stale_pipeline_gives_the_picture_of_three_moments_ago(card, tmp_path):
    planted = FAULTS["stale_frame"].plant(Site(card, tmp_path), 1.0).card
    fresh, stale = (build_pipeline(c.preprocess.deploy, card.inputs[0]) for c in (card, planted))
    pictures = [Picture(np.full((80, 128, 3), 20 * k, np.uint8), "rgb24", 128, 80) for k in range(6)]
    seen = [float(stale(p).mean()) for p in pictures]
    shown = [float(fresh(p).mean()) for p in pictures]
    assert seen == [*[shown[0]] * 4, shown[1], shown[2]]


def test_every_case_begins_with_a_queue_of_its_own():
    one, other = Stale(1), Stale(1)
    assert [one(1), one(2)] == [1, 1]
    assert other(5) == 5


def test_batch_statistics_is_what_training_mode_computes(card):
    module = batch_statistics("network:Seeker", str(card.root), {}).eval()
    scope: dict[str, object] = {"__name__": "network_of_test"}
    exec(compile(NETWORK, "network.py", "exec"), scope)
    trained = scope["Seeker"]().train()  # type: ignore[operator]  # defined by the source above
    module.load_state_dict(trained.state_dict())
    image = torch.rand(1, 3, 40, 64)
    with torch.no_grad():
        torch.testing.assert_close(module(image)[0], trained(image)[0], rtol=1e-4, atol=1e-4)


def test_the_other_checkpoint_is_near_its_own_and_the_same_every_time(card, tmp_path):
    from safetensors.torch import load_file

    own = load_file(card.torch.weights)
    made = []
    for k in "ab":
        FAULTS["wrong_checkpoint"].plant(Site(card, tmp_path / k), 1.0)
        made.append(load_file(tmp_path / k / "other_checkpoint-1.safetensors"))
    assert own.keys() == made[0].keys()
    for name, value in own.items():
        assert torch.equal(made[0][name], made[1][name])
        if name.endswith(("running_mean", "running_var", "tracked")):
            assert torch.equal(made[0][name], value)
        elif value.any():
            assert not torch.equal(made[0][name], value)
            assert (made[0][name] - value).abs().max() < 0.5 * (value.std() if value.numel() > 1 else value.abs()).max()


class _Counting:
    """An engine that gives its number of calls."""

    name, uses_time, provenance = "ort-fp32", False, {}

    def start_case(self, context):
        self.calls = 0

    def seek(self, timestamp_ns):
        pass

    def infer(self, inputs):
        self.calls += 1
        lines = np.zeros((1, 4, 40, 2), np.float32)
        lines[..., 0] = np.linspace(0, 80, 40)
        return {"lines": lines, "scores": np.ones((1, 4), np.float32)}

    def close(self):
        pass


def drive(change, frames=41, fps=20.0):
    car = Car("recorded", _Counting(), change)
    car.start_case(CaseContext("c", Path()))
    given = []
    for k in range(frames):
        car.seek(10**9 + round(k * 1e9 / fps))
        try:
            given.append(car.infer({})["lines"][0, 0, :, 1])
        except RecordingGap:
            given.append(None)
    return given


def test_dropped_frames_are_three_in_a_row_every_twenty(card, tmp_path):
    given = drive(FAULTS["dropped_frames"].plant(Site(card, tmp_path), 1.0).car)
    assert [k for k, lines in enumerate(given) if lines is None] == [17, 18, 19, 37, 38, 39]


def test_the_bow_is_02_m_high_in_the_middle_of_the_far_band(card, tmp_path):
    (lines, *_) = drive(FAULTS["far_bow"].plant(Site(card, tmp_path), 1.0).car, frames=1)
    ahead = np.linspace(0, 80, 40)
    assert lines[ahead < 40] == pytest.approx(0)
    assert lines.max() == pytest.approx(0.2, abs=0.001)
    assert ahead[lines.argmax()] == pytest.approx(60, abs=2)


def test_the_swing_follows_the_clock_of_the_case(card, tmp_path):
    given = drive(FAULTS["swing_1hz"].plant(Site(card, tmp_path), 1.0).car)
    expected = 0.2 * np.sin(2 * np.pi * np.arange(41) / 20)
    assert [float(g[5]) for g in given] == pytest.approx(expected.tolist(), abs=1e-6)


def test_rows_of_a_y_first_model_and_of_given_stations_are_moved_too(card, tmp_path):
    def moved(outputs, **options):
        decoder = card.decoder.model_copy(update=options)
        plant = FAULTS["swing_1hz"].plant(Site(card.model_copy(update={"decoder": decoder}), tmp_path), 1.0)
        return plant.car(outputs, 0.25, 0)["lines"]

    both = np.zeros((1, 4, 3, 2), np.float32)
    np.testing.assert_allclose(moved({"lines": both}, axes="yx")[..., 0], 0.2, atol=1e-6)
    np.testing.assert_allclose(moved({"lines": both}, axes="yx")[..., 1], 0)
    only = moved({"lines": np.zeros((1, 4, 3), np.float32)}, stations=(10, 20, 30))
    np.testing.assert_allclose(only, 0.2, atol=1e-6)
    assert not both.any(), "the engine's own array was written to"


def test_a_car_without_a_fault_records_what_it_computed():
    opened = with_car(lambda name, source: _Counting())
    source = ModelSource("m", Path(), (), ())
    assert isinstance(opened("recorded", source), Car)
    assert isinstance(opened("ort-fp32", source), _Counting)
