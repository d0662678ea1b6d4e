"""The pipelines that judge robustness: outside what training can draw, and none of them moves a line."""

from __future__ import annotations

from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np
import pytest

from cases.synth import camera_picture, draw_scene, render_frame
from cases.synth.scene import SOLID
from engines.dotted import load_dotted
from harness.feed.preprocess import build_pipeline
from harness.feed.preprocess.colour import to_rgb
from harness.model.card import load_card

ROOT = Path(__file__).parents[2] / "examples" / "roadlines"
CARD = load_card(ROOT / "baseline.toml")
UNSEEN = load_dotted("unseen:UNSEEN", ROOT)
CHOICES = {
    "to_rgb": {
        "arithmetic": ("float", "fixed"), "chroma": ("bilinear", "nearest"),
        "matrix": ("declared", "bt709"), "range": ("declared", "full"),
    },
    "resize": {"kernel": ("bilinear", "area", "cubic"), "antialias": (False, True), "arithmetic": ("float", "fixed")},
}  # fmt: skip


def tensor(steps, picture):
    """8-bit steps of brightness, before normalisation."""
    return build_pipeline(steps, CARD.inputs[0], root=ROOT)(picture)[0] * 0.25 * 255


def support():
    """Every pipeline that a mixture can be: the steps of the train pipeline with all choices."""
    colour, crop, resize, normalise = CARD.preprocess.train
    for first, last in product(*(
        [dict(zip(options, values, strict=True)) for values in product(*options.values())]
        for options in CHOICES.values()
    )):  # fmt: skip
        if not (last["kernel"] == "area" and last["antialias"]):
            yield [{**colour, **first}, crop, {**resize, **last}, normalise]


@pytest.fixture(scope="module")
def picture():
    return camera_picture(render_frame(draw_scene(31, 2.0), 1.0).rgb)


@pytest.fixture(scope="module")
def drawable(picture):
    return [tensor(steps, picture) for steps in support()]


def distance(steps, picture, drawable):
    """Smallest RMS difference to anything a mixture can be, 8-bit steps."""
    own = tensor(steps, picture)
    return min(float(np.sqrt(((own - other) ** 2).mean())) for other in drawable)


def test_what_a_mixture_draws_is_in_the_support(picture, drawable):
    random_steps, rng = load_dotted("data:random_steps", ROOT), np.random.default_rng(5)
    assert len(drawable) == 160
    for _ in range(8):
        steps = random_steps(CARD.preprocess.train, rng)
        assert distance(steps, picture, drawable) == 0


def test_the_cards_deploy_pipeline_is_within_the_support_but_for_rounding(picture, drawable):
    assert distance(CARD.preprocess.deploy, picture, drawable) < 0.3


@pytest.mark.parametrize("name", UNSEEN)
def test_an_unseen_pipeline_lies_outside_the_support(name, picture, drawable):
    rounding = 1 / np.sqrt(12)
    assert distance(UNSEEN[name], picture, drawable) > 2 * rounding


@pytest.fixture(scope="module")
def painted():
    """Pictures of several roads with fresh solid paint, and of the same roads without."""
    found = []
    for seed in (6, 9, 12, 15):
        scene = draw_scene(seed, 2.0)
        scene = replace(scene, vehicles=(), trees=(), look=replace(scene.look, noise=0.0, shadow=1.0))
        fresh = {"kind": SOLID, "dash_m": 1.0, "period_m": 1.0, "wear": 0.0}
        roads = [tuple(replace(m, **fresh, strength=strength) for m in scene.markings) for strength in (1.0, 0.0)]
        found.append([camera_picture(render_frame(replace(scene, markings=m), 1.0).rgb) for m in roads])
    return found


@pytest.mark.parametrize("name", UNSEEN)
def test_an_unseen_pipeline_moves_no_line(name, painted):
    """It sees a line where the train pipeline sees it, to a twentieth of a pixel on average, left and right."""
    shifts = [[_shift(UNSEEN[name], pair, half) for pair in painted] for half in (slice(0, 80), slice(80, 160))]
    assert np.abs(np.concatenate([np.concatenate(side) for side in shifts])).mean() < 0.5
    for side in shifts:
        assert len(np.concatenate(side)) > 40
        assert abs(np.concatenate(side).mean()) < 0.05


def test_the_law_finds_a_shift_of_half_a_recorded_pixel(painted):
    """What the nearest pixel does at a ratio of 4: it is right of the middle and below it."""
    colour, crop, resize, normalise = CARD.preprocess.train
    nearest = [colour, crop, {"op": "resize", "size": resize["size"], "kernel": "nearest"}, normalise]
    found = np.concatenate([_shift(nearest, pair, slice(0, 80)) for pair in painted])
    assert -0.4 < found.mean() < -0.1


def _shift(steps, pair, half):
    """How far right of where the train pipeline has it the paint of each row lies, pixels; rows 40 on."""
    own, lab = (_middles(s, pair, half) for s in (steps, CARD.preprocess.train))
    return (own - lab)[np.isfinite(own - lab)]


def _middles(steps, pair, half):
    """Mean column of the paint of each row; NaN where there is hardly any."""
    paint = np.clip((tensor(steps, pair[0]) - tensor(steps, pair[1])).sum(axis=0)[40:, half], 0, None)
    total = paint.sum(axis=1)
    return np.where(total > 60, (paint * np.arange(paint.shape[1])).sum(axis=1) / np.maximum(total, 1), np.nan)


def test_yuyv_of_a_grey_picture_is_its_luma_and_colours_are_those_of_the_float_conversion(picture):
    found = load_dotted("unseen:yuyv_to_rgb", ROOT)(picture)
    assert np.abs(found - to_rgb(picture)).mean() < 1.5
