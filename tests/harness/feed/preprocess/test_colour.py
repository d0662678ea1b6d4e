"""Colour conversion against OpenCV, swscale, closed forms and itself."""

from __future__ import annotations

from dataclasses import replace

import av
import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cases.picture import Picture
from harness.errors import PreprocessError
from harness.feed.preprocess.colour import encode_nv12, split_planes, to_gray, to_rgb, to_rgb_u8

# (matrix, range) -> Y, Cb, Cr of pure red, from ITU-R BT.601-7 and BT.709-6
RED = {
    ("bt601", "limited"): (81, 90, 240),
    ("bt709", "limited"): (63, 102, 240),
    ("bt601", "full"): (76, 85, 255),
    ("bt709", "full"): (54, 99, 255),
}


def flat(y: int, cb: int, cr: int, **declared: str) -> Picture:
    data = np.concatenate([np.full((4, 4), y), np.tile([cb, cr], (2, 2))]).astype(np.uint8)
    return Picture(data, "nv12", 4, 4, **declared)


def noise(kind: str, seed: int = 0) -> Picture:
    rng = np.random.default_rng(seed)
    return Picture(rng.integers(0, 256, (36, 32), np.uint8), kind, 32, 24)


def smooth(height: int = 24, width: int = 32) -> np.ndarray:
    v, u = np.mgrid[:height, :width]
    return np.stack([120 + 3 * u, 200 - 4 * v, 60 + u + 2 * v], axis=-1).clip(0, 255).astype(np.uint8)


@pytest.mark.parametrize(("matrix", "span"), RED)
@pytest.mark.parametrize("arithmetic", ["float", "fixed"])
def test_the_standards_red_is_red(matrix: str, span: str, arithmetic: str) -> None:
    rgb = to_rgb(flat(*RED[matrix, span]), matrix=matrix, range=span, arithmetic=arithmetic)
    np.testing.assert_allclose(rgb[1, 1], [255, 0, 0], atol=2)


@pytest.mark.parametrize(("matrix", "span"), RED)
def test_declared_takes_what_the_recording_says(matrix: str, span: str) -> None:
    picture = flat(*RED[matrix, span], color_matrix=matrix, color_range=span)
    np.testing.assert_array_equal(to_rgb(picture), to_rgb(picture, matrix=matrix, range=span))


@pytest.mark.parametrize("kind", ["nv12", "yuv420p"])
def test_fixed_is_what_opencv_gives(kind: str) -> None:
    picture = noise(kind)
    code = cv2.COLOR_YUV2RGB_NV12 if kind == "nv12" else cv2.COLOR_YUV2RGB_I420
    rgb = to_rgb(picture, arithmetic="fixed", chroma="nearest")
    np.testing.assert_array_equal(rgb, cv2.cvtColor(picture.data, code))


@settings(deadline=None)
@given(st.integers(0, 255), st.integers(0, 255), st.integers(0, 255))
def test_our_integers_are_opencvs_where_chroma_is_flat(y: int, cb: int, cr: int) -> None:
    picture = flat(y, cb, cr)
    ours = to_rgb(picture, arithmetic="fixed", chroma="bilinear")
    np.testing.assert_array_equal(ours, cv2.cvtColor(picture.data, cv2.COLOR_YUV2RGB_NV12))


@pytest.mark.parametrize(("matrix", "span"), RED)
def test_fixed_is_float_rounded_to_one_level(matrix: str, span: str) -> None:
    picture = noise("nv12", seed=3)
    picture = replace(picture, data=picture.data.clip(16, 240))  # below black the car's integers clip earlier
    options = {"matrix": matrix, "range": span, "chroma": "nearest"}
    fixed, exact = to_rgb(picture, arithmetic="fixed", **options), to_rgb(picture, **options)
    assert exact.dtype == np.float32
    slack = 0.15 if (matrix, span) == ("bt601", "limited") else 0.01  # OpenCV has three decimals
    assert np.abs(fixed - exact).max() <= 0.5 + slack


@pytest.mark.parametrize("matrix", ["bt601", "bt709"])
@pytest.mark.parametrize("span", ["limited", "full"])
def test_swscale_agrees_on_a_smooth_picture(matrix: str, span: str) -> None:
    picture = encode_nv12(Picture(smooth(), "rgb24", 32, 24), matrix=matrix, range=span)
    frame = av.VideoFrame.from_ndarray(picture.data, format="nv12")
    theirs = frame.reformat(
        format="rgb24",
        src_colorspace="ITU709" if matrix == "bt709" else "ITU601",
        dst_colorspace="ITU709" if matrix == "bt709" else "ITU601",
        src_color_range="MPEG" if span == "limited" else "JPEG",
        dst_color_range="JPEG",
    ).to_ndarray()
    assert np.abs(to_rgb(picture).astype(float) - theirs)[2:-2, 2:-2].max() <= 5


@settings(deadline=None)
@given(st.tuples(*[st.integers(0, 255)] * 3), st.sampled_from(["mean", "first"]))
def test_flat_colours_survive_nv12(colour: tuple[int, int, int], chroma: str) -> None:
    picture = Picture(np.full((4, 6, 3), colour, np.uint8), "rgb24", 6, 4)
    assert np.abs(to_rgb(encode_nv12(picture, chroma=chroma)) - np.float32(colour)).max() <= 2.5


def test_opencvs_encoder_agrees_where_chroma_is_its_first_pixel() -> None:
    rgb = np.random.default_rng(1).integers(0, 256, (24, 32, 3), np.uint8)
    ours = encode_nv12(Picture(rgb, "rgb24", 32, 24), chroma="first")
    theirs = Picture(cv2.cvtColor(rgb, cv2.COLOR_RGB2YUV_I420), "yuv420p", 32, 24)
    for mine, other in zip(split_planes(ours), split_planes(theirs), strict=True):
        assert np.abs(mine.astype(int) - other).max() <= 1


def test_repacking_keeps_every_sample() -> None:
    picture = noise("yuv420p")
    packed = encode_nv12(picture)
    assert packed.pixel_format == "nv12"
    for before, after in zip(split_planes(picture), split_planes(packed), strict=True):
        np.testing.assert_array_equal(before, after)


def test_nv12_is_of_the_matrix_asked_for_whatever_was_recorded() -> None:
    recorded = encode_nv12(Picture(smooth(), "rgb24", 32, 24), matrix="bt709", range="full")
    car = encode_nv12(recorded)
    assert (car.color_matrix, car.color_range) == ("bt601", "limited")
    assert np.abs(to_rgb(car) - to_rgb(recorded))[2:-2, 2:-2].max() < 5
    assert np.abs(to_rgb(car, matrix="bt709") - to_rgb(recorded)).max() > 10


@pytest.mark.parametrize(("siting", "at_u", "at_v"), [("left", 0, 0.5), ("center", 0.5, 0.5), ("topleft", 0, 0)])
def test_bilinear_chroma_is_exact_on_a_ramp(siting: str, at_u: float, at_v: float) -> None:
    v, u = np.mgrid[:12, :16]
    cr = 100 + 2 * (2 * u + at_u) + 0 * v
    cb = 90 + 4 * (2 * v + at_v) + 0 * u
    chroma = np.stack([cb, cr], -1).astype(np.uint8)
    data = np.concatenate([np.full((24, 32), 128, np.uint8), chroma.reshape(12, 32)])
    rgb = to_rgb(Picture(data, "nv12", 32, 24, "bt601", "full", siting), chroma="bilinear").astype(float)
    v, u = np.mgrid[:24, :32]
    red, blue = 128 + 1.402 * (100 + 2 * u - 128), 128 + 1.772 * (90 + 4 * v - 128)
    inner = slice(2, -2)
    np.testing.assert_allclose(rgb[inner, inner, 0], red.clip(0, 255)[inner, inner], atol=0.01)
    np.testing.assert_allclose(rgb[inner, inner, 2], blue.clip(0, 255)[inner, inner], atol=0.01)


def test_packed_pictures_keep_their_numbers() -> None:
    rgb = smooth()
    for data, kind in ((rgb, "rgb24"), (rgb[..., ::-1], "bgr24")):
        picture = Picture(data, kind, 32, 24)
        np.testing.assert_array_equal(to_rgb(picture), rgb)
        np.testing.assert_array_equal(to_rgb_u8(picture), rgb)
    gray = Picture(rgb[..., 0], "gray8", 32, 24)
    np.testing.assert_array_equal(to_rgb_u8(gray), np.repeat(rgb[..., :1], 3, axis=2))


@pytest.mark.parametrize("kind", ["nv12", "rgb24", "gray8"])
def test_the_gray_of_a_gray_picture_is_itself(kind: str) -> None:
    ramp = np.tile(np.arange(20, 220, 10, dtype=np.uint8), (4, 1))
    picture = Picture(ramp, "gray8", 20, 4)
    if kind != "gray8":
        picture = Picture(np.repeat(ramp[..., None], 3, axis=2), "rgb24", 20, 4)
    if kind == "nv12":
        picture = encode_nv12(picture)
    np.testing.assert_allclose(to_gray(picture)[..., 0], ramp, atol=0.8)
    assert to_gray(picture, arithmetic="fixed").dtype == np.uint8


def test_planes_that_contradict_the_size_are_named() -> None:
    with pytest.raises(PreprocessError, match=r"nv12 of 32x20 must be uint8 \[30, 32\].*got uint8 \[36, 32\]"):
        to_rgb(Picture(noise("nv12").data, "nv12", 32, 20))


def test_a_tensor_has_no_colours() -> None:
    with pytest.raises(PreprocessError, match="no colours in a tensor picture"):
        to_rgb(Picture(np.zeros((1, 3, 2, 2), np.float32), "tensor", 0, 0))


def test_odd_sides_cannot_be_420() -> None:
    with pytest.raises(PreprocessError, match="5x4"):
        encode_nv12(Picture(np.zeros((4, 5, 3), np.uint8), "rgb24", 5, 4))
