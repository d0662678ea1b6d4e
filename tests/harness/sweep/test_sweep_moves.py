"""Moves of the picture: inverse to their inverse, and what a camera that truly moved would see."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cases.case import Calibration
from cases.synth.camera import Camera
from harness.errors import CannotTell
from harness.sweep import PERTURBATIONS
from harness.sweep.geometric import height, pitch, shift_right, warp_maps, warped
from harness.sweep.lens import View

CAMERA = Camera()
SIZE = (CAMERA.width, CAMERA.height)
MOVES = [p for p in PERTURBATIONS.values() if p.move is not None]
LENSES = {
    "none": np.zeros(0),
    "opencv": np.array([-0.12, 0.03, 0.001, -0.0005, 0.0]),
    "fisheye": np.array([0.02, -0.005, 0.001, 0.0]),
}


def _view(model: str = "none") -> View:
    return View(SIZE, Calibration(*SIZE, CAMERA.intrinsics, model, LENSES[model], CAMERA.extrinsics))


def _ground(count: int = 40) -> np.ndarray:
    rng = np.random.default_rng(0)
    return np.column_stack([rng.uniform(8, 60, count), rng.uniform(-5, 5, count)])


@pytest.mark.parametrize("model", LENSES)
@pytest.mark.parametrize("what", MOVES, ids=lambda p: p.name)
@pytest.mark.parametrize("sign", [1, -1])
def test_a_move_back_is_the_inverse_of_the_move(what: object, model: str, sign: int) -> None:
    move = what.move(sign * what.severities[-1], _view(model))  # type: ignore[attr-defined]
    points = np.column_stack([a.ravel() for a in np.meshgrid(np.linspace(90, 550, 7), np.linspace(210, 330, 5))])
    np.testing.assert_allclose(move.source(move.target(points)), points, atol=1e-4)


@pytest.mark.parametrize("model", LENSES)
def test_ground_points_are_found_again_through_any_lens(model: str) -> None:
    lens = _view(model).lens
    np.testing.assert_allclose(lens.ground(lens.of_ground(_ground())), _ground(), atol=1e-4)


@given(st.floats(-0.8, 0.8))
def test_pitch_shows_what_a_pitched_camera_sees(degrees: float) -> None:
    points = np.column_stack([_ground(), np.zeros(40)])
    seen, shaken = CAMERA.project(points), CAMERA.project(points, np.radians(degrees))
    np.testing.assert_allclose(pitch(degrees, _view()).target(seen), shaken, atol=1e-6)


@given(st.floats(-0.1, 0.1))
def test_height_shows_what_a_lifted_camera_sees_of_the_ground(metres: float) -> None:
    points = np.column_stack([_ground(), np.zeros(40)])
    lifted = Camera(z_m=CAMERA.z_m + metres).project(points)
    np.testing.assert_allclose(height(metres, _view()).target(CAMERA.project(points)), lifted, atol=1e-6)


def test_height_leaves_the_sky_alone() -> None:
    sky = np.array([[100.0, 20.0], [500.0, 100.0]])
    np.testing.assert_array_equal(height(0.1, _view()).target(sky), sky)


def test_a_shift_moves_pixels_by_what_it_says() -> None:
    rng = np.random.default_rng(0)
    picture = rng.uniform(0, 255, (12, 20, 3)).astype(np.float32)
    moved = warped(picture, warp_maps(shift_right(2.0, _view()), (20, 12)))
    np.testing.assert_allclose(moved[:, 2:], picture[:, :-2], atol=1e-3)
    np.testing.assert_allclose(moved[:, :2], picture[:, :1].repeat(2, 1), atol=1e-3)
    half = warped(picture, warp_maps(shift_right(0.5, _view()), (20, 12)))
    np.testing.assert_allclose(half[:, 1:], (picture[:, 1:] + picture[:, :-1]) / 2, atol=1e-3)


def test_the_camera_of_another_picture_size_tells_nothing() -> None:
    view = View((320, 180), _view().calibration)
    with pytest.raises(CannotTell, match="640x360"):
        view.lens  # noqa: B018  # a property that raises
