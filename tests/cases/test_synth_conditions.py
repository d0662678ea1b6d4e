"""Night, rain, worn paint and a lane that ends: what they change, and that truth follows."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from cases.case import open_case
from cases.errors import ImportSourceError
from cases.synth import CONDITIONS, draw_scene, render_frame, synth_cases, under
from cases.synth.scene import SOLID, TRUTH_X_M

SEEDS = (9701, 9704, 9706)


@pytest.mark.parametrize("condition", CONDITIONS)
def test_a_condition_changes_the_picture_and_not_where_the_vehicle_is(condition: str) -> None:
    scene = draw_scene(SEEDS[0], 2.0)
    plain, hard = (render_frame(s, 1.0) for s in (scene, under(scene, condition)))
    assert (plain.rgb != hard.rgb).mean() > (0.001 if condition == "merge" else 0.02)
    assert plain.ego == hard.ego
    assert np.array_equal(render_frame(under(scene, condition), 1.0).rgb, hard.rgb)
    if condition != "merge":
        np.testing.assert_array_equal(plain.lines, hard.lines)


@pytest.mark.parametrize("condition", ["night", "rain", "worn-paint"])
def test_paint_has_less_contrast(condition: str) -> None:
    """Paint against the same road without it, summed over a frame."""

    def contrast(scene):
        bare = replace(scene, markings=tuple(replace(m, strength=0.0) for m in scene.markings))
        painted, empty = (render_frame(s, 1.0).rgb.astype(float) for s in (scene, bare))
        return np.abs(painted - empty).sum()

    for seed in SEEDS:
        scene = draw_scene(seed, 2.0)
        assert contrast(under(scene, condition)) < 0.9 * contrast(scene)


@pytest.mark.parametrize("seed", SEEDS)
def test_where_a_lane_ends_its_lines_meet(seed: int) -> None:
    scene = draw_scene(seed, 12.0)
    merging = under(scene, "merge")
    taper = next(m.taper for m in merging.markings if m.taper is not None)
    times = np.arange(0, 12, 0.1)
    t = float(np.interp(taper.end_m - 30, [scene.state(x).s_m for x in times], times))
    lines, before = render_frame(merging, t).lines, render_frame(scene, t).lines
    gaps = [np.abs(lines[i] - lines[i + 1]) for i in range(3)]
    met = [gap for gap in gaps if np.isfinite(gap).all() and gap[TRUTH_X_M > 40].max() < 0.01]
    assert len(met) == 1
    assert met[0][0] > 0.02
    assert not any(np.abs(before[i] - before[i + 1]).max() < 3 for i in range(3))


@pytest.mark.parametrize("seed", SEEDS)
def test_the_paint_of_a_tapering_line_is_where_truth_says(seed: int) -> None:
    scene = under(draw_scene(seed, 6.0), "merge")
    scene = replace(scene, vehicles=(), trees=(), seams_m=(), look=replace(scene.look, noise=0.0, shadow=1.0))
    slot = next(i for i, m in enumerate(scene.slot_lines()) if m is not None and scene.markings[m].taper)

    def painted(strength: float):
        fresh = {"kind": SOLID, "dash_m": 1.0, "period_m": 1.0, "wear": 0.0}
        marks = [
            replace(m, **fresh, strength=strength if i == scene.slot_lines()[slot] else 0.0)
            for i, m in enumerate(scene.markings)
        ]
        return render_frame(replace(scene, markings=tuple(marks)), 0.5)

    frame = painted(1.0)
    paint = np.abs(frame.rgb.astype(float) - painted(0.0).rgb).sum(-1)
    x = np.linspace(10, 60, 400)
    ground = np.column_stack([x, np.interp(x, TRUTH_X_M, frame.lines[slot]), np.zeros_like(x)])
    gaps = []
    for u, v in scene.camera.project(ground, frame.shake_rad):
        if 20 < u < scene.camera.width - 20:
            near = slice(round(u) - 20, round(u) + 21)
            row = paint[round(v), near]
            gaps.append((row * np.arange(near.start, near.stop)).sum() / row.sum() - u)
    assert len(gaps) > 50
    assert abs(np.mean(gaps)) < 0.5  # the row is rounded, and a line at a low angle moves by pixels from row to row


def test_a_case_says_its_condition(tmp_path: Path) -> None:
    (folder,) = synth_cases(9701, 1, 0.1, tmp_path, condition="night")
    assert folder.name == "synth_09701_night"
    assert "night" in open_case(folder).meta.tags
    assert synth_cases(9701, 1, 0.1, tmp_path, condition="night") == [folder]
    with pytest.raises(ImportSourceError, match="no condition 'fog'"):
        synth_cases(9701, 1, 0.1, tmp_path, condition="fog")
