import numpy as np
import pytest
from scipy.special import fresnel

from cases.synth.camera import Camera
from cases.synth.geometry import Pose, Road


def test_constant_curvature_is_a_circle():
    road = Road.from_knots([0, 500], [1 / 250, 1 / 250])
    center = np.array([0.0, 250.0])
    radius = np.hypot(road.x_m - center[0], road.y_m - center[1])
    np.testing.assert_allclose(radius, 250, atol=1e-4)
    np.testing.assert_allclose(road.heading_rad, road.s_m / 250, atol=1e-12)


def test_linear_curvature_is_a_clothoid():
    rate = 1 / (60 * 250)  # radius 250 m after 60 m
    road = Road.from_knots([0, 60], [0, 60 * rate])
    scale = np.sqrt(np.pi / rate)
    y, x = fresnel(road.s_m / scale)
    np.testing.assert_allclose(road.x_m, scale * x, atol=1e-4)
    np.testing.assert_allclose(road.y_m, scale * y, atol=1e-4)


@pytest.mark.parametrize("lateral_m", [-5.0, 0.0, 3.5])
def test_a_parallel_of_an_arc_is_the_concentric_arc(lateral_m):
    road = Road.from_knots([-50, 400], [1 / 300, 1 / 300])
    start = road.pose(20.0)
    view = road.seen_from(start, 20.0)
    x = np.linspace(0, 80, 41)
    y, s = view.parallel_at(lateral_m, x)
    radius = 300 - lateral_m
    np.testing.assert_allclose(y, 300 - np.sqrt(radius**2 - x**2), atol=2e-4)
    np.testing.assert_allclose(s - 20, 300 * np.arcsin(x / radius), atol=2e-3)


def test_a_view_moves_with_the_vehicle():
    road = Road.from_knots([0, 600], [0.002, -0.002])
    pose = road.pose(100.0, lateral_m=1.25, yaw_rad=0.01)
    view = road.seen_from(pose, 100.0)
    for s in (110.0, 180.0):
        x, y, _ = view.point(s, -2.0)
        there = road.pose(s, -2.0)
        cos, sin = np.cos(pose.yaw_rad), np.sin(pose.yaw_rad)
        world = pose.x_m + x * cos - y * sin, pose.y_m + x * sin + y * cos
        np.testing.assert_allclose(world, (there.x_m, there.y_m), atol=1e-4)


def test_beyond_the_view_there_is_no_line():
    road = Road.from_knots([0, 100], [0, 0])
    y, _ = road.seen_from(Pose(50, 0, 0), 50.0).parallel_at(0.0, np.array([49.0, 51.0]))
    assert np.isfinite(y[0])
    assert np.isnan(y[1])


def test_projection_is_k_times_the_inverse_of_the_extrinsics():
    camera = Camera(pitch_rad=0.05, y_m=0.2)
    points = np.random.default_rng(0).uniform((5, -8, 0), (80, 8, 3), (50, 3))
    in_camera = (np.linalg.inv(camera.extrinsics) @ np.column_stack([points, np.ones(50)]).T)[:3]
    pixels = camera.intrinsics @ in_camera
    np.testing.assert_allclose(camera.project(points), (pixels[:2] / pixels[2]).T, atol=1e-9)


def test_extrinsics_are_a_rotation_that_looks_ahead_and_down():
    rotation = Camera(pitch_rad=0.1).extrinsics[:3, :3]
    np.testing.assert_allclose(rotation @ rotation.T, np.eye(3), atol=1e-12)
    assert np.linalg.det(rotation) == pytest.approx(1)
    forward = rotation @ [0, 0, 1]
    assert forward[0] > 0.9
    assert forward[2] < 0


@pytest.mark.parametrize("shake_rad", [-0.004, 0.0, 0.006])
def test_ground_rows_invert_the_projection(shake_rad):
    camera = Camera()
    rows = camera.ground_rows(shake_rad)
    ground = np.column_stack([rows.x_m, np.zeros_like(rows.x_m), np.zeros_like(rows.x_m)])
    v = camera.project(ground, shake_rad)[:, 1]
    np.testing.assert_allclose(v, np.arange(rows.first, camera.height), atol=1e-6)
    one_left = camera.project(ground + np.array([0, 1, 0]), shake_rad)[:, 0]
    np.testing.assert_allclose(camera.center[0] - one_left, camera.focal_px / rows.range_m, rtol=1e-9)
    assert rows.first > camera.horizon_row(shake_rad)
    assert (rows.far_m[1:] == rows.near_m[:-1]).all()


def test_points_behind_the_camera_have_no_pixel():
    assert np.isnan(Camera().project([0.0, 0.0, 0.0])).all()
