"""Pipelines: what comes out, and what a wrong card is told."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from cases.picture import Picture
from harness.errors import PreprocessError
from harness.feed.preprocess import build_pipeline, differing_steps, mixed_steps
from harness.model.card import InputSpec

TRAIN = [
    {"op": "to_rgb"},
    {"op": "resize", "size": [32, 18], "antialias": True},
    {"op": "normalise", "mean": [0.5, 0.5, 0.5], "std": 0.25},
]
DEPLOY = [
    {"op": "nv12"},
    {"op": "to_rgb", "matrix": "bt601", "range": "limited", "chroma": "nearest", "arithmetic": "fixed"},
    {"op": "resize", "size": [32, 18], "arithmetic": "fixed"},
    {"op": "round_u8"},
    {"op": "normalise", "scale": 1 / 255, "mean": [0.5, 0.5, 0.5], "std": 0.25},
]
KINDS = ("rgb24", "bgr24", "gray8", "nv12", "yuv420p")


def spec(**changes: object) -> InputSpec:
    fields = {"name": "images", "shape": (1, 3, 18, 32), "layout": "NCHW", "source": "camera.front"}
    return InputSpec(**(fields | changes))


def picture(kind: str = "rgb24") -> Picture:
    shape = {"rgb24": (36, 64, 3), "bgr24": (36, 64, 3), "gray8": (36, 64)}.get(kind, (54, 64))
    return Picture(np.random.default_rng(0).integers(0, 256, shape, np.uint8), kind, 64, 36)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("base", ["train", "deploy"])
def test_every_single_swap_runs_on_every_kind_of_picture(kind: str, base: str) -> None:
    ours, theirs = (TRAIN, DEPLOY) if base == "train" else (DEPLOY, TRAIN)
    unswapped = build_pipeline(ours, spec())(picture(kind))
    assert differing_steps(TRAIN, DEPLOY) == ("nv12", "colour", "resize", "round", "normalise")
    for step in differing_steps(TRAIN, DEPLOY):
        tensor = build_pipeline(mixed_steps(ours, theirs, step), spec())(picture(kind))
        assert tensor.shape == (1, 3, 18, 32)
        assert tensor.dtype == np.float32
        assert np.abs(tensor - unswapped).max() < 4


def test_the_car_pipeline_is_the_lab_pipeline_to_a_few_levels_on_a_smooth_picture() -> None:
    v, u = np.mgrid[:36, :64]
    smooth = Picture(np.stack([100 + u, 150 - v, 90 + v], -1).astype(np.uint8), "rgb24", 64, 36)
    lab, car = (build_pipeline(steps, spec())(smooth) for steps in (TRAIN, DEPLOY))
    assert 0 < np.abs(lab - car).max() * 0.25 * 255 < 6


@pytest.mark.parametrize(
    ("changes", "shape"),
    [
        ({}, (1, 3, 18, 32)),
        ({"layout": "NHWC", "shape": (1, 18, 32, 3)}, (1, 18, 32, 3)),
        ({"shape": ("batch", 3, "height", "width")}, (1, 3, 18, 32)),
        ({"dtype": "float16"}, (1, 3, 18, 32)),
    ],
)
def test_the_tensor_has_the_inputs_shape_dtype_and_layout(changes: dict, shape: tuple[int, ...]) -> None:
    tensor = build_pipeline(TRAIN, spec(**changes))(picture())
    assert tensor.shape == shape
    assert tensor.dtype == changes.get("dtype", "float32")
    assert tensor.flags.c_contiguous


def test_an_explicit_layout_is_kept() -> None:
    wanted = build_pipeline(TRAIN, spec())(picture())
    given = build_pipeline([*TRAIN, {"op": "layout", "layout": "NCHW"}], spec(layout="none"))(picture())
    np.testing.assert_array_equal(given, wanted)


def test_no_steps_pass_a_tensor_through_uncopied() -> None:
    data = np.ones((1, 3, 18, 32), np.float32)
    assert build_pipeline([], spec())(Picture(data, "tensor", 0, 0)) is data
    np.testing.assert_array_equal(build_pipeline([], spec())(Picture(data[0], "tensor", 0, 0)), data)


def test_no_step_writes_to_the_picture() -> None:
    for kind in KINDS:
        source = picture(kind)
        kept = source.data.copy()
        for steps in (TRAIN, DEPLOY):
            build_pipeline(steps, spec())(source)
        np.testing.assert_array_equal(source.data, kept)


def test_a_dotted_path_is_found_beside_the_card(tmp_path: Path) -> None:
    (tmp_path / "my_ops_beside_card.py").write_text("def halve(pixels, by=2):\n    return pixels / by\n")
    steps = [TRAIN[0], {"op": "my_ops_beside_card:halve", "by": 4}, *TRAIN[1:2]]
    pipeline = build_pipeline(steps, spec(), root=tmp_path)
    assert pipeline.steps == ("colour", "halve", "resize")
    whole = build_pipeline(TRAIN[:2], spec())(picture())
    np.testing.assert_allclose(pipeline(picture()), whole / 4, rtol=1e-5, atol=1e-4)


def test_a_class_keeps_its_state_from_picture_to_picture_of_one_pipeline(tmp_path: Path) -> None:
    (tmp_path / "counting_op_beside_card.py").write_text(
        "class Count:\n"
        "    def __init__(self, start):\n        self.n = start\n"
        "    def __call__(self, pixels):\n        self.n += 1\n        return pixels * 0 + self.n\n"
    )
    steps = [TRAIN[0], {"op": "counting_op_beside_card:Count", "start": 5}, TRAIN[1]]
    one, other = (build_pipeline(steps, spec(), root=tmp_path) for _ in range(2))
    assert [float(one(picture()).max()) for _ in range(3)] == [6, 7, 8]
    assert float(other(picture()).max()) == 6


@pytest.mark.parametrize(
    ("steps", "message"),
    [
        ([{"op": "resise"}], "no op 'resise'.*use one of nv12, to_rgb"),
        ([{"step": "colour"}], "a step without op"),
        ([{"op": "resize"}], "op 'resize': size: Field required"),
        ([{"op": "resize", "size": [1, 2], "kernal": "area"}], "kernal: Extra inputs.*its options are size, kernel"),
        ([{"op": "resize", "size": [1, 2], "kernel": "lanczos"}], r"kernel: .*'nearest'.*got 'lanczos'"),
        ([{"op": "to_rgb"}, {"op": "to_bgr"}], "step name 'colour' is used 2 times"),
        ([{"op": "no_such_module_here:f"}], "cannot import 'no_such_module_here'"),
        ([{"op": "math:pi"}], "'math:pi' is no function but float"),
    ],
)
def test_a_wrong_card_is_told_what_and_where(steps: list[dict], message: str) -> None:
    with pytest.raises(PreprocessError, match=message) as caught:
        build_pipeline(steps, spec(), where="model.toml preprocess.train")
    assert "model.toml preprocess.train" in caught.value.where


@pytest.mark.parametrize(
    ("steps", "message"),
    [
        (TRAIN[1:], r"step 'resize' cannot take a rgb24 picture, uint8 \[36, 64, 3\].*put to_rgb"),
        ([TRAIN[1], TRAIN[0]], "step 'resize' cannot take"),
        ([TRAIN[0], {"op": "nv12"}], r"step 'nv12' cannot take float32 \[36, 64, 3\].*before every op on pixels"),
        (TRAIN[:1], r"needs shape \[1, 3, 18, 32\] \(NCHW\), the steps \['colour'\] gave \[1, 3, 36, 64\]"),
        ([TRAIN[0], {"op": "crop", "box": [0, 0, 80, 9]}], "leaves the picture.*step crop"),
        ([*TRAIN, {"op": "layout", "layout": "NCHW"}, {"op": "crop", "box": [0, 0, 1, 1]}], "needs pixels"),
        ([TRAIN[0], {"op": "undistort"}], "camera matrix"),
        ([], r"gave \[1, 3, 36, 64\]"),
    ],
)
def test_a_step_that_cannot_run_is_named_with_what_reached_it(steps: list[dict], message: str) -> None:
    with pytest.raises(PreprocessError, match=message):
        build_pipeline(steps, spec())(picture())


def test_fractions_are_not_cut_off_silently_for_an_integer_input() -> None:
    with pytest.raises(PreprocessError, match=r"is uint8, the steps .* gave float32.*round_u8"):
        build_pipeline(TRAIN[:2], spec(dtype="uint8"))(picture())
    assert build_pipeline([*TRAIN[:2], {"op": "round_u8"}], spec(dtype="uint8"))(picture()).dtype == np.uint8
