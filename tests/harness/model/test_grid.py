from __future__ import annotations

import json

import numpy as np
import pytest

from harness.model.grid import Grid, grid_from_json, grid_to_json, image_grid, vehicle_grid

GRIDS = [vehicle_grid(), image_grid(640, 360, (359, 150))]


@pytest.mark.parametrize("grid", GRIDS)
def test_a_grid_survives_run_json(grid: Grid) -> None:
    assert grid_from_json(json.loads(json.dumps(grid_to_json(grid)))) == grid


def test_the_bands_of_the_vehicle_frame_are_those_of_the_design() -> None:
    stations = vehicle_grid().stations
    assert stations.shape == (3, 17)
    assert stations[:, 0].tolist() == [0, 20, 40]
    assert stations[:, -1].tolist() == [20, 40, 80]


def test_the_far_band_is_looked_at_as_far_as_it_goes() -> None:
    grid = vehicle_grid()
    assert grid.series_stations == (10, 20, 40, 60, 80)
    assert grid.series_scale.tolist() == [1, 1, 1, 2.25, 4]
    assert grid.series_stations_of([0, 2]) == (10, 40, 60, 80)
    short = vehicle_grid(((0, 10), (10, 20), (20, 40)))
    assert short.series_stations == (5, 10, 20, 30, 40)
    assert short.series_scale.tolist() == [1, 1, 1, 2.25, 4]


def test_look_ahead_goes_with_the_bands() -> None:
    """Each station lies in its own band wherever the card puts the bands."""
    for edges in (((0, 10), (10, 20), (20, 40)), ((2, 18), (25, 45), (50, 90)), ((0, 5), (5, 15), (15, 30))):
        grid = vehicle_grid(edges)
        assert all(a <= x <= b for x, (a, b) in zip(grid.look_ahead, edges, strict=True))


def test_image_bands_are_thirds_from_the_bottom_up() -> None:
    grid = GRIDS[1]
    assert np.diff(grid.stations, axis=1).max() < 0
    assert grid.stations[0, 0] == 359
    assert grid.stations[2, -1] == 150
    assert grid.look_ahead == pytest.approx((359 - 209 / 6, 359 - 209 / 2, 359 - 209 * 5 / 6))
    assert grid.thresholds.swing == pytest.approx((3.15,) * 3)
    assert grid.thresholds.match_gate == pytest.approx(19.2)
