"""Geometric ops against closed forms."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pytest

from harness.errors import PreprocessError
from harness.feed.preprocess.geometry import crop, letterbox, undistort_maps, undistorted, warp

K = np.array([[300.0, 0, 64], [0, 300.0, 36], [0, 0, 1]])


@dataclass
class Calibration:
    distortion_model: str = "opencv"
    distortion: np.ndarray = field(default_factory=lambda: np.zeros(4))
    intrinsics: np.ndarray | None = field(default_factory=lambda: K)
    width: int = 128
    height: int = 72


def ramp(width: int = 128, height: int = 72) -> np.ndarray:
    v, u = np.mgrid[:height, :width]
    return np.stack([u, v, u + v], axis=-1).astype(np.float32)


def test_crop_keeps_the_pixels_of_its_box() -> None:
    np.testing.assert_array_equal(crop(ramp(), (10, 5, 20, 8))[0, 0], [10, 5, 15])
    assert crop(ramp(), (10, 5, 20, 8)).shape == (8, 20, 3)


@pytest.mark.parametrize("box", [(-1, 0, 5, 5), (0, 0, 129, 5), (0, 70, 5, 3), (3, 3, 0, 5)])
def test_a_box_outside_the_picture_is_named(box: tuple[int, int, int, int]) -> None:
    with pytest.raises(PreprocessError, match="leaves the picture of 128x72"):
        crop(ramp(), box)


@pytest.mark.parametrize(("anchor", "top"), [("center", 28), ("topleft", 0)])
def test_letterbox_keeps_the_aspect_and_pads(anchor: str, top: int) -> None:
    boxed = letterbox(ramp() + 1, (128, 128), pad=-5, anchor=anchor)
    np.testing.assert_allclose(boxed[top : top + 72], ramp() + 1)
    assert (np.delete(boxed, np.s_[top : top + 72], axis=0) == -5).all()


def test_a_warp_moves_pixels_by_its_matrix() -> None:
    shift = [[1, 0, 7], [0, 1, 3], [0, 0, 1]]
    moved = warp(ramp(), shift, (128, 72))
    np.testing.assert_allclose(moved[3:, 7:], ramp()[:-3, :-7], atol=1e-3)
    back = warp(moved, shift, (128, 72), inverse=True)
    np.testing.assert_allclose(back[:-3, :-7], ramp()[:-3, :-7], atol=1e-3)


def test_a_perspective_warp_samples_the_source_there() -> None:
    matrix = np.array([[1.1, 0.1, 4], [0.02, 1.2, 2], [0.0005, 0.001, 1]])
    warped = warp(ramp(), matrix.tolist(), (60, 50))
    source = np.linalg.solve(matrix, [30, 25, 1])
    np.testing.assert_allclose(warped[25, 30, :2], source[:2] / source[2], atol=0.05)


@pytest.mark.parametrize(("model", "coefficients"), [("opencv", [0.0] * 4), ("none", [0.3, 0, 0, 0])])
def test_no_distortion_moves_nothing(model: str, coefficients: list[float]) -> None:
    maps = undistort_maps(Calibration(model, np.array(coefficients)), (128, 72))
    np.testing.assert_allclose(undistorted(ramp(), maps), ramp(), atol=1e-3)


def test_radial_distortion_samples_the_closed_form() -> None:
    k1, k2 = -0.3, 0.1
    maps = undistort_maps(Calibration("opencv", np.array([k1, k2, 0, 0])), (128, 72))
    x, y = (100 - 64) / 300, (10 - 36) / 300
    r2 = x * x + y * y
    factor = 1 + k1 * r2 + k2 * r2 * r2
    assert maps[0][10, 100] == pytest.approx(64 + 300 * x * factor, abs=1e-3)
    assert maps[1][10, 100] == pytest.approx(36 + 300 * y * factor, abs=1e-3)


def test_the_fisheye_model_samples_the_closed_form() -> None:
    k1 = 0.05
    maps = undistort_maps(Calibration("fisheye", np.array([k1, 0, 0, 0])), (128, 72))
    x, y = (100 - 64) / 300, (10 - 36) / 300
    r = np.hypot(x, y)
    theta = np.arctan(r)
    factor = theta * (1 + k1 * theta**2) / r
    assert maps[0][10, 100] == pytest.approx(64 + 300 * x * factor, abs=1e-3)


@pytest.mark.parametrize("calibration", [None, Calibration(intrinsics=None)])
def test_a_case_without_calibration_is_named(calibration: Calibration | None) -> None:
    with pytest.raises(PreprocessError, match=r"which the case does not have.*remedy: add intrinsics"):
        undistort_maps(calibration, (128, 72))


def test_a_calibration_of_another_size_is_named() -> None:
    with pytest.raises(PreprocessError, match="is for 128x72, the picture here is 64x36"):
        undistort_maps(Calibration(), (64, 36))
