from dataclasses import replace

import numpy as np
import pytest

from cases.synth.geometry import Road
from cases.synth.render import _painted_before, render_clip, render_frame
from cases.synth.scene import DASHED, SOLID, TRUTH_X_M, Marking, draw_scene


def _fresh(scene, strength=1.0):
    """The scene with new solid paint, no shade, no noise and nothing in the way."""
    markings = tuple(
        replace(m, wear=0.0, kind=SOLID, dash_m=1.0, period_m=1.0, strength=strength) for m in scene.markings
    )
    look = replace(scene.look, shadow=1.0, noise=0.0)
    return replace(scene, vehicles=(), trees=(), seams_m=(), markings=markings, look=look)


def test_the_same_seed_gives_the_same_bytes_and_another_seed_others():
    first, second, other = (list(render_clip(seed, 0.15)) for seed in (5, 5, 6))
    assert len(first) == 3
    for (rgb, lines, ego), (rgb2, lines2, ego2) in zip(first, second, strict=True):
        assert rgb.tobytes() == rgb2.tobytes()
        assert lines.tobytes() == lines2.tobytes()
        assert ego == ego2
    assert (first[0][0] != other[0][0]).mean() > 0.5


def test_any_moment_can_be_rendered_alone():
    clip = list(render_clip(8, 0.25))
    alone = render_frame(draw_scene(8, 0.25), 4 / 20)
    assert (clip[4][0] == alone.rgb).all()
    np.testing.assert_array_equal(clip[4][1], alone.lines)


@pytest.mark.parametrize("seed", range(40, 48))
def test_truth_projects_onto_the_middle_of_the_paint(seed):
    scene = draw_scene(seed, 5.0)
    frame = render_frame(_fresh(scene), 2.0)
    bare = render_frame(_fresh(scene, strength=0.0), 2.0)
    paint = np.abs(frame.rgb.astype(float) - bare.rgb).sum(axis=-1)
    gaps = np.concatenate([_gaps_px(paint, scene.camera, frame, slot) for slot in (1, 2)])
    assert len(gaps) > 100
    assert abs(gaps.mean()) < 0.05
    assert np.percentile(np.abs(gaps), 95) < 0.5


def _gaps_px(paint, camera, frame, slot):
    """Centre of the paint minus the projected truth, for rows that see 6 to 60 m."""
    x = np.linspace(6, 60, 3000)
    ground = np.column_stack([x, np.interp(x, TRUTH_X_M, frame.lines[slot]), np.zeros_like(x)])
    pixels = camera.project(ground, frame.shake_rad)
    gaps = []
    for row in range(int(np.ceil(pixels[-1, 1])), min(int(pixels[0, 1]), camera.height - 1)):
        u = np.interp(-row, -pixels[:, 1], pixels[:, 0])
        half = 4 + 0.35 * (row - camera.horizon_row(frame.shake_rad)) / camera.z_m
        low, high = int(u - half), int(u + half) + 1
        if low < 0 or high >= camera.width:
            continue
        weight = paint[row, low : high + 1]
        gaps.append((weight * np.arange(low, high + 1)).sum() / weight.sum() - u)
    return np.array(gaps)


def test_truth_is_exact_for_a_straight_road():
    scene = replace(draw_scene(2, 3.0), road=Road.from_knots([-40, 800], [0, 0]))
    frame = render_frame(scene, 1.0)
    state = scene.state(1.0)
    for y, line in zip(frame.lines, scene.slot_lines(), strict=True):
        if line is not None:
            aside = scene.markings[line].offset_m - state.lateral_m
            expected = (aside - TRUTH_X_M * np.sin(state.yaw_to_road_rad)) / np.cos(state.yaw_to_road_rad)
            np.testing.assert_allclose(y, expected, atol=1e-6)


def test_the_dash_integral_counts_painted_length():
    mark = Marking(0.0, DASHED, 0.15, 0.1, 3.0, 9.0, 0.0, False, 0.0, 1.0)
    s = np.arange(0, 40, 1e-3)
    slow = np.cumsum((s % 9.0) < 3.0) * 1e-3
    np.testing.assert_allclose(_painted_before(s, mark), slow, atol=5e-3)


def test_a_vehicle_ahead_hides_paint_but_not_the_truth():
    for seed in range(100, 140):
        scene = draw_scene(seed, 3.0)
        if any(v.lead_m is not None and v.lead_m < 30 for v in scene.vehicles):
            break
    with_traffic, without = render_frame(scene, 1.0), render_frame(replace(scene, vehicles=()), 1.0)
    np.testing.assert_array_equal(with_traffic.lines, without.lines)
    assert (with_traffic.rgb != without.rgb).any(axis=-1).mean() > 0.002


def test_another_picture_size_sees_the_same_field():
    large, small = (render_frame(draw_scene(4, 1.0, size), 0.5).rgb for size in ((640, 360), (320, 180)))
    assert small.shape == (180, 320, 3)
    shrunk = large.reshape(180, 2, 320, 2, 3).mean(axis=(1, 3))
    assert np.abs(shrunk - small).mean() < 8
