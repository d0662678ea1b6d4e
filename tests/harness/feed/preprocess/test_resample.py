"""Resizing against torch, OpenCV and slow loops."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.feed.preprocess.resample import axis_weights, resize

sides = st.integers(3, 40)
sizes = st.tuples(sides, sides, sides, sides)


def picture(width: int, height: int) -> np.ndarray:
    return np.random.default_rng(width * 100 + height).integers(0, 256, (height, width, 3), np.uint8)


def by_torch(pixels: np.ndarray, size: tuple[int, int], **options: object) -> np.ndarray:
    tensor = torch.from_numpy(pixels.astype(np.float32)).permute(2, 0, 1)[None]
    return F.interpolate(tensor, (size[1], size[0]), **options)[0].permute(1, 2, 0).numpy()


@settings(deadline=None)
@given(sizes, st.sampled_from(["bilinear", "cubic"]), st.booleans())
def test_torch_agrees(size: tuple[int, int, int, int], kernel: str, antialias: bool) -> None:
    pixels, target = picture(*size[:2]), size[2:]
    mode = {"bilinear": "bilinear", "cubic": "bicubic"}[kernel]
    ours = resize(pixels, target, kernel=kernel, antialias=antialias)
    assert ours.dtype == np.float32
    np.testing.assert_allclose(ours, by_torch(pixels, target, mode=mode, antialias=antialias), atol=0.02)


@settings(deadline=None)
@given(sizes, st.sampled_from(["bilinear", "cubic"]))
def test_torch_agrees_on_aligned_corners(size: tuple[int, int, int, int], kernel: str) -> None:
    pixels, target = picture(*size[:2]), size[2:]
    mode = {"bilinear": "bilinear", "cubic": "bicubic"}[kernel]
    ours = resize(pixels, target, kernel=kernel, coordinates="align-corners")
    np.testing.assert_allclose(ours, by_torch(pixels, target, mode=mode, align_corners=True), atol=0.02)


@settings(deadline=None)
@given(sizes)
def test_torch_agrees_on_both_kinds_of_nearest(size: tuple[int, int, int, int]) -> None:
    pixels, target = picture(*size[:2]), size[2:]
    for coordinates, mode, half in (("half-pixel", "nearest-exact", 1), ("asymmetric", "nearest", 0)):
        ours = resize(pixels, target, kernel="nearest", coordinates=coordinates)
        assert ours.dtype == np.uint8
        columns, rows = (_between_samples(*pair, half) for pair in zip(size[:2], target, strict=True))
        theirs = by_torch(pixels, target, mode=mode)
        np.testing.assert_array_equal(ours[rows][:, columns], theirs[rows][:, columns])


def _between_samples(source: int, target: int, half: int) -> np.ndarray:
    """Where the position is on no edge between two cells: there torch's float32 falls to either side."""
    return (2 * np.arange(target) + half) * source % (2 * target) != 0


@pytest.mark.parametrize("factor", [2, 3, 5])
def test_area_is_the_mean_of_each_block(factor: int) -> None:
    pixels = picture(6 * factor, 4 * factor)
    blocks = pixels.reshape(4, factor, 6, factor, 3).mean(axis=(1, 3))
    np.testing.assert_allclose(resize(pixels, (6, 4), kernel="area"), blocks, atol=1e-3)


@pytest.mark.parametrize(("source", "target"), [(40, 15), (33, 32), (30, 10)])
def test_area_weights_are_opencvs(source: int, target: int) -> None:
    column = picture(1, source)
    weighted = np.einsum("ts,sxc->txc", axis_weights(source, target, "area"), column.astype(np.float64))
    np.testing.assert_allclose(weighted, resize(column, (1, target), kernel="area"), atol=1e-2)


def opencv_fixed(pixels: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """OpenCV's 8-bit INTER_LINEAR, written out: 11-bit weights, 4 bits dropped between the passes."""

    def taps(source: int, target: int) -> tuple[np.ndarray, ...]:
        position = (np.arange(target) + 0.5) * (source / target) - 0.5
        first = np.floor(position).astype(int)
        part = (position - first).astype(np.float32)
        index = first.clip(0, source - 1), (first + 1).clip(0, source - 1)
        return *index, np.rint((1 - part) * 2048).astype(int), np.rint(part * 2048).astype(int)

    left, right, a, b = taps(pixels.shape[1], size[0])
    upper, lower, c, d = taps(pixels.shape[0], size[1])
    wide = pixels.astype(int)
    row = wide[:, left] * a[:, None] + wide[:, right] * b[:, None]
    c, d = c[:, None, None], d[:, None, None]
    return ((((row[upper] >> 4) * c) >> 16) + (((row[lower] >> 4) * d) >> 16) + 2) >> 2


@pytest.mark.parametrize(("source", "target"), [((96, 54), (64, 36)), ((31, 17), (64, 36)), ((50, 40), (33, 21))])
def test_fixed_is_opencvs_eleven_bits(source: tuple[int, int], target: tuple[int, int]) -> None:
    pixels = picture(*source)
    ours = resize(pixels, target, arithmetic="fixed")
    assert ours.dtype == np.uint8
    np.testing.assert_array_equal(ours, opencv_fixed(pixels, target))
    np.testing.assert_array_equal(ours, cv2.resize(pixels, target))


@settings(deadline=None)
@given(sizes, st.booleans(), st.sampled_from(["half-pixel", "align-corners", "asymmetric"]))
def test_fixed_on_floats_rounds_only_the_weights(size: tuple[int, ...], antialias: bool, coordinates: str) -> None:
    pixels, target = picture(*size[:2]).astype(np.float32), size[2:]
    options = {"antialias": antialias, "coordinates": coordinates}
    fixed, exact = resize(pixels, target, arithmetic="fixed", **options), resize(pixels, target, **options)
    assert fixed.dtype == np.float32
    assert np.abs(fixed - exact).max() <= 255 * 2 * 0.5 / 2048 * 26


@settings(deadline=None)
@given(sides, sides)
def test_asymmetric_samples_where_it_says(source: int, target: int) -> None:
    weights = axis_weights(source, target, "bilinear", coordinates="asymmetric")
    position = np.arange(target) * source / target
    inner = (position > 1) & (position < source - 2)
    np.testing.assert_allclose((weights @ np.arange(source))[inner], position[inner], atol=1e-9)


@settings(deadline=None)
@given(
    sides, sides, st.sampled_from(["bilinear", "cubic", "area"]), st.booleans(),
    st.sampled_from(["half-pixel", "align-corners", "asymmetric"]),
)  # fmt: skip
def test_a_flat_picture_stays_flat(source: int, target: int, kernel: str, antialias: bool, coordinates: str) -> None:
    weights = axis_weights(source, target, kernel, antialias=antialias, coordinates=coordinates)
    np.testing.assert_allclose(weights.sum(axis=1), 1)


@pytest.mark.parametrize("kernel", ["nearest", "bilinear", "cubic", "area"])
@pytest.mark.parametrize("arithmetic", ["float", "fixed"])
@pytest.mark.parametrize("coordinates", ["half-pixel", "align-corners", "asymmetric"])
def test_the_same_size_changes_nothing(kernel: str, arithmetic: str, coordinates: str) -> None:
    pixels = picture(20, 14)
    same = resize(pixels, (20, 14), kernel=kernel, antialias=True, coordinates=coordinates, arithmetic=arithmetic)
    np.testing.assert_allclose(same, pixels, atol=1e-4)
