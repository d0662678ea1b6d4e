"""Which swaps of preprocessing steps run, and which steps go together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cases.case import Case, open_case
from cases.synth import synth_cases
from harness.feed.inputs import InputBuilder, cameras_of, is_variant, steps_of_card
from harness.feed.probes import StepProbes, step_probes
from harness.feed.swaps import Swap
from harness.model.card import Card, PreprocessPart, load_card
from tests.harness.tiny_model import write_tiny

Steps = list[dict[str, Any]]
RGB, NORMALISE = {"op": "to_rgb"}, {"op": "normalise"}
SIZE = [64, 36]  # of the network's input
WIDE, CROP = {"op": "resize", "size": [64, 40]}, {"op": "crop", "box": [0, 4, 64, 36]}
FIT = {"op": "letterbox", "step": "resize", "size": SIZE}


@pytest.fixture(scope="module")
def case(tmp_path_factory: pytest.TempPathFactory) -> Case:
    return open_case(synth_cases(6, 1, 0.1, tmp_path_factory.mktemp("cases"))[0])


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Card:
    folder = tmp_path_factory.mktemp("tiny")
    (folder / "car_steps.py").write_text(
        "import numpy as np\n\n\n"
        "def jpeg(pixels):\n"
        "    if pixels.dtype != np.uint8:\n"
        "        raise TypeError('8-bit pixels only')\n"
        "    return pixels // 2 * 2\n\n\n"
        "def scale(pixels):\n"
        "    rows, columns = (np.linspace(0, n - 1, m).astype(int) for n, m in zip(pixels.shape, (36, 64)))\n"
        "    return np.ascontiguousarray(pixels[rows][:, columns]).astype(np.uint8)\n\n\n"
        "def scrawl(pixels):\n"
        "    pixels[:] = 0\n"
        "    return pixels\n\n\n"
        "class Broken:\n"
        "    def __init__(self):\n"
        "        raise OSError('no licence')\n"
    )
    return load_card(write_tiny(folder))


def _with(tiny: Card, train: Steps, deploy: Steps) -> Card:
    return tiny.model_copy(update={"preprocess": PreprocessPart(train=train, deploy=deploy)})


def _probes(card: Card, case: Case, reference: str = "train") -> StepProbes:
    return step_probes(card, case, reference, steps_of_card(card))


def _names(swaps: Sequence[Swap]) -> list[str]:
    return [s.name for s in swaps]


def test_every_step_goes_in_and_out_by_itself_where_it_can(tiny: Card, case: Case) -> None:
    found = _probes(tiny, case)
    steps = ("colour", "resize", "round")
    assert found.steps == steps
    assert _names(found.swaps) == [f"train+{s}" for s in steps] + [f"deploy-{s}" for s in steps]
    assert found.refused == {}


def test_a_single_step_needs_no_swap(tiny: Card, case: Case) -> None:
    found = _probes(_with(tiny, [RGB, FIT, NORMALISE], [{"op": "to_bgr"}, FIT, NORMALISE]), case)
    assert found == StepProbes(("colour",))


def test_steps_that_need_each_other_are_swapped_together(tiny: Card, case: Case) -> None:
    card = _with(tiny, [RGB, WIDE, CROP, NORMALISE], [{"op": "to_bgr"}, FIT, NORMALISE])
    found = _probes(card, case)
    assert _names(found.swaps) == [
        "train+colour", "train+resize+crop", "deploy-colour", "deploy-resize+crop"
    ]  # fmt: skip
    assert set(_names(list(found.refused))) == {"train+resize", "train+crop", "deploy-resize", "deploy-crop"}
    assert "needs shape [1, 3, 36, 64]" in found.refused[Swap("train", "+", ("crop",))]


def test_steps_that_cannot_be_taken_apart_are_one_name(tiny: Card, case: Case) -> None:
    found = _probes(_with(tiny, [RGB, WIDE, CROP, NORMALISE], [RGB, FIT, NORMALISE]), case)
    assert found.steps == ("resize+crop",)
    assert found.swaps == ()
    assert len(found.refused) == 4


def test_a_step_of_the_cards_own_that_fails_on_the_picture_costs_only_its_swap(tiny: Card, case: Case) -> None:
    resize = {"op": "resize", "size": SIZE}
    fixed = {**resize, "arithmetic": "fixed"}
    car = [{**RGB, "arithmetic": "fixed"}, fixed, {"op": "round_u8"}, {"op": "car_steps:jpeg"}, NORMALISE]
    found = _probes(_with(tiny, [RGB, resize, NORMALISE], car), case)
    assert "8-bit pixels only" in found.refused[Swap("train", "+", ("jpeg",))]
    assert "train+round+jpeg" in _names(found.swaps)
    assert "deploy-jpeg" in _names(found.swaps)


def test_a_class_that_cannot_be_made_costs_only_its_swap(tiny: Card, case: Case) -> None:
    broken = {"op": "car_steps:Broken"}
    found = _probes(_with(tiny, [RGB, FIT, NORMALISE], [{"op": "to_bgr"}, FIT, broken, NORMALISE]), case)
    assert "no licence" in found.refused[Swap("train", "+", ("Broken",))]
    assert {"train+colour", "deploy-Broken"} <= set(_names(found.swaps))


def test_a_step_that_replaces_two_is_swapped_with_both(tiny: Card, case: Case) -> None:
    """The crop would fit the recorded picture too, and a second scaling runs: both say nothing about their step."""
    scale, jpeg = {"op": "car_steps:scale"}, {"op": "car_steps:jpeg"}
    card = _with(tiny, [RGB, WIDE, CROP, NORMALISE], [{"op": "to_bgr"}, scale, jpeg, NORMALISE])
    found = _probes(card, case)
    assert _names(found.swaps) == [
        "train+colour",
        "train+scale+resize+crop",
        "train+scale+jpeg+resize+crop",
        "deploy-colour",
        "deploy-jpeg",
        "deploy-scale+jpeg+resize+crop",
    ]
    assert found.refused[Swap("train", "+", ("resize",))].startswith("step 'crop' would see ")
    assert found.refused[Swap("train", "+", ("scale",))].startswith("step 'resize' would see 64x36 pixels")


def test_a_box_belongs_to_the_size_it_was_written_for(tiny: Card, case: Case) -> None:
    """Either crop fits either resize, and with the other one cuts out something else."""
    lab, car = ([{"op": "resize", "size": [64 + 2 * n, 36]}, {"op": "crop", "box": [n, 0, 64, 36]}] for n in (8, 4))
    found = _probes(_with(tiny, [RGB, *lab, NORMALISE], [{"op": "to_bgr"}, *car, NORMALISE]), case)
    assert _names(found.swaps) == ["train+colour", "train+resize+crop", "deploy-colour", "deploy-resize+crop"]


def test_a_letterbox_in_the_place_of_a_resize_is_swapped_with_it(tiny: Card, case: Case) -> None:
    fit = {"op": "letterbox", "size": SIZE}
    found = _probes(_with(tiny, [RGB, {"op": "resize", "size": SIZE}, NORMALISE], [RGB, fit, NORMALISE]), case)
    assert found.steps == ("letterbox+resize",)


def test_a_crop_before_a_resize_that_both_have_goes_by_itself(tiny: Card, case: Case) -> None:
    lab, car = {"op": "crop", "box": [0, 0, 200, 120]}, {"op": "crop", "box": [8, 0, 200, 100]}
    resize = {"op": "resize", "size": SIZE}
    found = _probes(_with(tiny, [RGB, lab, {**resize, "antialias": True}], [RGB, car, resize]), case)
    assert _names(found.swaps) == [f"{p}{s}" for p in ("train+", "deploy-") for s in ("crop", "resize")]


@pytest.mark.parametrize("reference", ["train", "deploy"])
def test_swaps_stand_after_the_reference_and_the_other_pipeline(tiny: Card, case: Case, reference: str) -> None:
    other = {"train": "deploy", "deploy": "train"}[reference]
    assert {s.base + s.sign for s in _probes(tiny, case, reference).swaps} == {f"{reference}+", f"{other}-"}


HALF = {"op": "resize", "step": "half", "size": [128, 80]}
AREA = {"op": "resize", "size": SIZE, "kernel": "area"}
colours = st.sampled_from([RGB, {"op": "to_bgr"}, {**RGB, "arithmetic": "fixed"}])
shapes = st.sampled_from(
    [[WIDE, CROP], [FIT], [AREA], [HALF, WIDE, CROP], [{"op": "crop", "box": [8, 8, 128, 72]}, AREA]]
)
pipelines = st.builds(lambda colour, shape: [colour, *shape, NORMALISE], colours, shapes)


@settings(deadline=None, max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(pipelines, pipelines)
def test_whatever_differs_the_swaps_give_the_network_its_shape(
    tiny: Card, case: Case, train: Steps, deploy: Steps
) -> None:
    card = _with(tiny, train, deploy)
    steps, found = steps_of_card(card), _probes(_with(tiny, train, deploy), case)
    tick = next(case.ticks(cameras_of(card)))
    for swap in found.swaps:
        assert InputBuilder(card, case, swap.name)(tick)["image"].shape == (1, 3, 36, 64)
        assert set(swap.steps) < set(steps)
    for sign in "+-":
        able = {s for swap in found.swaps if swap.sign == sign for s in swap.steps}
        unable = {s for swap in found.refused if swap.sign == sign for s in swap.steps}
        assert all(found.refused.values())
        assert len(steps) < 2 or able | unable == set(steps)
    assert (found.swaps == ()) == (len(found.steps) < 2)


def test_the_card_knows_its_pipelines_by_name(tiny: Card) -> None:
    assert all(is_variant(tiny, v) for v in ("train", "deploy", "train+resize", "deploy-resize+round"))
    assert not any(is_variant(tiny, v) for v in ("lab", "train+gamma", "deploy-resize+gamma"))


def test_a_step_that_writes_into_its_pixels_spoils_no_other_rung(tiny: Card, case: Case) -> None:
    """RGB pictures reach a step unconverted: without a copy it would write into the recording."""
    resize = {"op": "resize", "size": SIZE}
    card = _with(tiny, [resize], [{**RGB, "arithmetic": "fixed"}, {"op": "car_steps:scrawl"}, resize, NORMALISE])
    tick = next(case.ticks(["front"]))
    data = np.full((72, 128, 3), 200, np.uint8)
    picture = replace(tick.pictures["front"], data=data, pixel_format="rgb24", width=128, height=72)
    InputBuilder(card, case, "deploy")(replace(tick, pictures={"front": picture}))
    assert (data == 200).all()
