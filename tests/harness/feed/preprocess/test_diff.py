"""The differences of two pipelines, as data and in words."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings

from harness.feed.preprocess import differences, differing_steps
from tests.harness.feed.preprocess.step_lists import step_lists

Steps = list[dict[str, Any]]
quick = settings(deadline=None, max_examples=200)
RGB, NORMALISE, SIZE = {"op": "to_rgb"}, {"op": "normalise"}, {"size": [64, 66]}
RESIZE, CROP = {"op": "resize", **SIZE}, {"op": "crop", "box": [0, 0, 64, 66]}


@quick
@given(step_lists())
def test_a_pipeline_does_not_differ_from_itself(steps: Steps) -> None:
    assert differences(steps, steps) == ()


@quick
@given(step_lists(), step_lists())
def test_every_differing_step_is_told_and_no_other(train: Steps, deploy: Steps) -> None:
    assert {d.step for d in differences(train, deploy)} == set(differing_steps(train, deploy))


@quick
@given(step_lists(), step_lists())
def test_the_other_way_round_train_and_deploy_change_places(train: Steps, deploy: Steps) -> None:
    there = {(d.step, d.option): (d.train, d.deploy) for d in differences(train, deploy)}
    back = {(d.step, d.option): (d.deploy, d.train) for d in differences(deploy, train)}
    assert there == back


@quick
@given(step_lists(), step_lists())
def test_the_words_tell_the_two_values_apart(train: Steps, deploy: Steps) -> None:
    for d in differences(train, deploy):
        before, arrow, after = d.words.partition(" -> ")
        assert d.step in d.words or d.step == "order"
        if arrow:
            assert before.rpartition(" ")[2] != after or d.step == "order"


@pytest.mark.parametrize(
    ("train", "deploy", "words"),
    [
        ([{**RESIZE, "antialias": True}], [RESIZE], "resize: antialias true -> false"),
        ([RGB], [{"op": "to_bgr"}], "colour: to_rgb -> to_bgr"),
        (
            [{**NORMALISE, "mean": [0.485, 0.456, 0.406]}],
            [{**NORMALISE, "mean": [0.5, 0.4, 0.5]}],
            "normalise: mean [0.485, 0.456, 0.406] -> [0.5, 0.4, 0.5]",
        ),
        ([NORMALISE], [{**NORMALISE, "scale": 1 / 255}], "normalise: scale none -> 0.00392157"),
        (
            [{**NORMALISE, "scale": 1 / 255}],
            [{**NORMALISE, "scale": 0.0039215687}],
            "normalise: scale 0.00392156863 -> 0.0039215687",
        ),
        ([], [{"op": "prep:jpeg", "quality": 60}], "only in deploy: jpeg (prep:jpeg, quality 60)"),
        ([CROP], [], "only in train: crop (box [0, 0, 64, 66])"),
        ([RGB, RESIZE, CROP], [RGB, CROP, RESIZE], "order: resize, crop -> crop, resize"),
        ([RESIZE], [{"op": "letterbox", "step": "resize", **SIZE}], "resize: resize -> letterbox"),
        ([RESIZE], [{"op": "letterbox", "step": "resize", "pad": 0, **SIZE}], "resize: resize -> letterbox (pad 0)"),
        ([], [{"op": "nv12", "range": "full"}], "only in deploy: nv12 (range full)"),
        ([], [{"op": "round_u8"}], "only in deploy: round (round_u8)"),
        ([{"op": "p:f"}], [{"op": "p:f", "gain": 2}], "f: gain none -> 2"),
    ],
)  # fmt: skip
def test_step_and_option_are_named(train: Steps, deploy: Steps, words: str) -> None:
    assert [d.words for d in differences(train, deploy)] == [words]


def test_another_op_is_told_with_the_options_both_have() -> None:
    deploy = [{"op": "to_bgr", "chroma": "nearest", "arithmetic": "fixed"}]
    assert [(d.option, d.train, d.deploy) for d in differences([RGB], deploy)] == [
        ("op", "to_rgb", "to_bgr"),
        ("chroma", "bilinear", "nearest"),
        ("arithmetic", "float", "fixed"),
    ]


def test_one_number_for_all_channels_is_no_difference() -> None:
    assert differences([{**NORMALISE, "mean": 0.5}], [{**NORMALISE, "mean": [0.5, 0.5, 0.5]}]) == ()
    assert differences([{"op": "p:f", "gain": 2}], [{"op": "p:f", "gain": [2, 2]}]) != ()


def test_a_default_of_the_cards_own_function_is_no_difference(tmp_path: Path) -> None:
    (tmp_path / "prep_defaults.py").write_text(
        "def jpeg(pixels, quality=90, *, tables=None):\n    return pixels\n\n\n"
        "class Blur:\n    def __init__(self, radius=2):\n        pass\n"
    )
    bare = [{"op": "prep_defaults:jpeg"}, {"op": "prep_defaults:Blur"}]
    spelled = [{**bare[0], "quality": 90}, {**bare[1], "radius": 2}]
    assert differences(bare, spelled, tmp_path) == ()
    (other,) = differences(bare, [{**bare[0], "quality": 60}, bare[1]], tmp_path)
    assert other.words == "jpeg: quality 90 -> 60"


def test_a_value_that_is_no_number_equals_itself() -> None:
    steps = [[{"op": "letterbox", **SIZE, "pad": float("nan")}] for _ in range(2)]
    assert differences(*steps) == ()
