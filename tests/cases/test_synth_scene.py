import numpy as np
import pytest

from cases.synth.render import render_frame
from cases.synth.scene import DASHED, DOUBLE, SLOTS, SOLID, TRUTH_X_M, draw_scene


@pytest.fixture(scope="module")
def scenes():
    return [draw_scene(seed, 6.0) for seed in range(300, 360)]


def test_a_longer_clip_begins_with_the_shorter():
    short, long = draw_scene(11, 2.0), draw_scene(11, 9.0)
    assert short.state(1.5) == long.state(1.5)
    assert (render_frame(short, 1.5).rgb == render_frame(long, 1.5).rgb).all()


def test_seeds_cover_every_kind_of_road(scenes):
    assert {len(s.markings) - 1 for s in scenes} == {2, 3, 4}
    assert {m.kind for s in scenes for m in s.markings} == {SOLID, DASHED, DOUBLE}
    assert {tuple(line is None for line in s.slot_lines()) for s in scenes} == {
        (True, False, False, False),
        (False, False, False, True),
        (False, False, False, False),
    }
    sharpest = [np.abs(s.road.curvature_per_m).max() for s in scenes]
    assert min(sharpest) < 0.0005
    assert max(sharpest) > 0.002


def test_slots_run_from_left_to_right_around_the_vehicle(scenes):
    for scene in scenes:
        y = scene.truth(scene.view(scene.state(3.0)))
        assert y.shape == (SLOTS, len(TRUTH_X_M))
        assert (np.isnan(y).all(axis=1) | np.isfinite(y).all(axis=1)).all()
        assert y[1, 0] > 0.5 > -0.5 > y[2, 0]
        assert (np.diff(y, axis=0)[np.isfinite(np.diff(y, axis=0))] < -2.5).all()


def test_the_vehicle_stays_in_its_lane_and_sways_slowly(scenes):
    t = np.arange(0, 6, 0.05)
    for scene in scenes[:20]:
        lateral = np.array([scene.state(x).lateral_m for x in t])
        left, right = (scene.markings[scene.ego_left + i].offset_m for i in (0, 1))
        assert (lateral < left - 0.8).all()
        assert (lateral > right + 0.8).all()
        acceleration = np.diff(lateral, n=2) / 0.05**2
        assert np.abs(acceleration).max() < 0.5


@pytest.mark.parametrize("seed", [5, 14, 21])
def test_ego_motion_is_the_derivative_of_the_pose(seed):
    scene, dt = draw_scene(seed, 8.0), 2e-2
    for t in (0.5, 3.7):
        before, now, after = (scene.state(t + k * dt) for k in (-1, 0, 1))
        step = np.hypot(after.pose.x_m - before.pose.x_m, after.pose.y_m - before.pose.y_m) / (2 * dt)
        assert now.ego.speed_mps == pytest.approx(step, rel=2e-4)
        course = np.arctan2(after.pose.y_m - before.pose.y_m, after.pose.x_m - before.pose.x_m)
        assert now.pose.yaw_rad == pytest.approx(course, abs=1e-4)
        turn = (after.pose.yaw_rad - before.pose.yaw_rad) / (2 * dt)
        assert now.ego.yaw_rate_radps == pytest.approx(turn, abs=2e-5)
        assert (now.ego.x_m, now.ego.y_m, now.ego.yaw_rad) == (now.pose.x_m, now.pose.y_m, now.pose.yaw_rad)


def test_lines_stand_still_in_the_world():
    """A point of a line, taken from one frame's truth to the world, lies on the line of a frame half a second later."""
    scene = draw_scene(21, 4.0)
    first, later = scene.state(1.0), scene.state(1.5)
    y_first, y_later = (scene.truth(scene.view(s)) for s in (first, later))
    for slot in range(SLOTS):
        if np.isnan(y_first[slot, 0]):
            continue
        world = _to_world(first.pose, TRUTH_X_M, y_first[slot])
        ahead, left = _from_world(later.pose, *world)
        inside = (ahead > 0) & (ahead < 60)
        np.testing.assert_allclose(left[inside], np.interp(ahead[inside], TRUTH_X_M, y_later[slot]), atol=2e-3)


def _to_world(pose, x, y):
    cos, sin = np.cos(pose.yaw_rad), np.sin(pose.yaw_rad)
    return pose.x_m + x * cos - y * sin, pose.y_m + x * sin + y * cos


def _from_world(pose, x, y):
    cos, sin = np.cos(pose.yaw_rad), np.sin(pose.yaw_rad)
    dx, dy = x - pose.x_m, y - pose.y_m
    return dx * cos + dy * sin, dy * cos - dx * sin
