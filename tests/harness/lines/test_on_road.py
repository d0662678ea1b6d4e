"""Pixels and the road: a vanishing row lays lines in metres, sets bands and thresholds, and can be read off lines."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from harness.lines.decode import build_decoder
from harness.lines.decode.on_road import on_road
from harness.lines.table import LineTable
from harness.lines.vanishing import vanishing_row
from harness.model.card import Card, ImageGridPart
from harness.model.grid import GATE_M, RoadCamera, grid_from_json, grid_to_json, image_grid
from harness.run.catalogue import find_measure

CAMERA = RoadCamera(200.0, 700.0, 1.4)
IMAGE = ImageGridPart(
    width=640, height=360, rows=(350, 215), vanishing_row=200.0, focal_px=700.0, camera_height_m=1.4,
)  # fmt: skip
LANES_M = (-5.4, -1.8, 1.8, 5.4)


def seen(lanes_m=LANES_M, frames: int = 6, bend_per_m: float = 0.0) -> LineTable:
    """Lanes on a flat road in the picture, from 7 to 60 m."""
    x = np.linspace(7, 60, 40)
    points = []
    for _ in range(frames):
        for lane in lanes_m:
            y = lane + bend_per_m * x**2 / 2
            points.append(np.stack([320 - 700 * y / x, 200 + 700 * 1.4 / x], axis=1))
    return LineTable.from_points(np.repeat(np.arange(frames), len(lanes_m)), points)


def test_lines_of_the_picture_lie_where_they_are_on_the_road():
    laid = on_road(seen(), IMAGE)
    for i, lane in enumerate(LANES_M):
        x, y = laid.points(i).T
        np.testing.assert_allclose(x, np.linspace(7, 60, 40), rtol=1e-4)
        np.testing.assert_allclose(y, lane, atol=1e-3)


def test_what_is_at_the_horizon_or_above_is_nowhere():
    line = LineTable.from_points([0, 0], [[[320, 190], [320, 200], [310, 210], [300, 300]], [[0, 10], [9, 199]]])
    assert len(on_road(line, IMAGE)) == 1
    assert np.isfinite(on_road(line, IMAGE).x).all()
    assert len(on_road(line, IMAGE).x) == 2


def test_bands_end_where_the_road_says_and_thresholds_are_metres_there():
    grid = image_grid(640, 360, (350, 215), CAMERA)
    ahead_m = [[700 * 1.4 / (v - 200) for v in edge] for edge in grid.edges]
    assert [round(far) for _, far in ahead_m] == [20, 40, 80]
    assert grid.px_per_m is not None
    for name, metres in (("offset_max", (0.15, 0.15, 0.30)), ("bend", (0.15, 0.15, 0.30))):
        threshold = find_measure(name).threshold
        assert threshold is not None
        assert np.divide(threshold.of(grid), grid.px_per_m) == pytest.approx(metres)
    heading, rows = find_measure("heading").threshold, [near - far for near, far in grid.edges]
    assert heading is not None
    moved_m = np.multiply(heading.of(grid), rows) / grid.px_per_m
    assert moved_m == pytest.approx(np.radians(0.4) * np.array([20, 20, 40]))
    assert np.divide(grid.thresholds.swing, grid.px_per_m) == pytest.approx((0.25,) * 3)
    assert grid.thresholds.match_gate == pytest.approx(GATE_M * grid.px_per_m[0])
    assert grid_from_json(grid_to_json(grid)) == grid


def test_0_19_m_aside_is_no_missing_line():
    """The planted example: on a usual camera 3 % of the width was 0.19 m near the car."""
    grid = image_grid(640, 360, (350, 215), CAMERA)
    assert CAMERA.px_per_m(grid.edges[0][0]) * 0.19 < grid.thresholds.match_gate
    assert 0.19 * CAMERA.px_per_m(350) > 0.03 * 640


@pytest.mark.parametrize("bend_per_m", [0.0, 1 / 600, -1 / 400])
def test_the_vanishing_row_is_read_off_lines_also_in_a_bend(bend_per_m):
    assert vanishing_row([seen(bend_per_m=bend_per_m)], 360) == pytest.approx(200, abs=6)


def test_lines_that_do_not_meet_tell_no_vanishing_row():
    rng = np.random.default_rng(0)
    points = [np.stack([rng.uniform(0, 640, 2), [340, 220]], axis=1) for _ in range(60)]
    assert vanishing_row([LineTable.from_points(np.repeat(np.arange(20), 3), points)], 360) is None
    assert vanishing_row([seen(frames=1)], 360) is None


def test_a_card_with_a_calibration_gives_metres(tmp_path: Path):
    card = Card(
        name="a", path=tmp_path / "model.toml", frame="vehicle", length_unit="m", onnx={"file": tmp_path / "a.onnx"},
        inputs=[{"name": "x", "shape": [1, 3, 8, 8], "source": "camera.front"}],
        outputs=[{"name": "lines", "shape": [4, 40, 2]}, {"name": "scores", "shape": [4]}],
        decoder={"name": "polyline"}, image=IMAGE.model_dump(),
    )  # fmt: skip
    lines = seen(frames=1)
    points = np.stack([lines.points(i) for i in range(4)])[None]
    found = build_decoder(card).decode({"lines": points, "scores": np.ones((1, 4), np.float32)})
    assert card.grid.unit == "m"
    assert [found.points(i)[:, 1].mean() for i in range(4)] == pytest.approx(LANES_M, abs=1e-3)
