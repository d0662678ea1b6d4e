"""What a difference of lines asks of a car that follows the ego lane."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy.signal import butter, sosfreqz

from harness.measures.consequence import LaneGap, consequence
from tests.harness.planted import X_M, drawn, planted_run

FPS = 20.0
AHEAD_M = (10.0, 20.0, 40.0)


def gap(centre: np.ndarray, width: float = 0.0) -> LaneGap:
    """The same centre at all stations."""
    return LaneGap(np.repeat(centre[:, None], 3, axis=1), np.full((len(centre), 3), width))


def of(centre: np.ndarray, speed_mps: float = 20.0):
    return consequence(gap(centre), AHEAD_M, np.full(len(centre), speed_mps), FPS)


@pytest.mark.parametrize("speed_mps", [15.0, 20.0, 35.0])
def test_a_lasting_gap_asks_for_twice_itself_in_a_second(speed_mps):
    """v^2 * 2 gap / (v * 1 s)^2; the jerk of what does not change is none."""
    found = of(np.full(200, 0.1), speed_mps)
    assert found.lane_centre == pytest.approx(0.1)
    assert found.curvature_demand == pytest.approx(0.2 / speed_mps**2)
    assert found.lateral_accel == pytest.approx(0.2)
    assert found.lateral_jerk == pytest.approx(0, abs=1e-9)
    assert found.frames == 200


@pytest.mark.parametrize("hz", [0.25, 0.5, 1.0, 2.0])
def test_a_swing_is_damped_as_the_filter_of_r79_damps_it(hz):
    seconds = 40
    t = (np.arange(int(seconds * FPS)) + 0.5) / FPS
    found = of(0.1 * np.cos(2 * np.pi * hz * t))
    _, response = sosfreqz(butter(4, 0.5, fs=FPS, output="sos"), worN=[hz], fs=FPS)
    assert found.lateral_accel == pytest.approx(0.2 * abs(response[0]), rel=0.02, abs=2e-4)


def test_the_jerk_of_a_step_is_its_acceleration_over_half_a_second():
    found = of(np.where(np.arange(200) < 100, 0.0, 0.1))
    assert found.lateral_jerk == pytest.approx(0.2 / 0.5)


def test_without_speed_the_lane_is_measured_and_what_is_felt_is_not():
    found = of(np.full(200, 0.1), np.nan)
    assert found.lane_centre == pytest.approx(0.1)
    assert np.isnan([found.lateral_accel, found.lateral_jerk]).all()


def test_stretches_under_two_seconds_tell_no_acceleration():
    centre = np.full(200, 0.1)
    centre[::30] = np.nan
    centre[1::30] = centre[2::30] = centre[3::30] = centre[4::30] = np.nan
    assert np.isnan(of(centre).lateral_accel)


LANES_M = np.array([-5.4, -1.8, 1.8, 5.4])


def planted(folder: Path, aside_m: np.ndarray, **motion: np.ndarray) -> dict[str, float]:
    """The lane metrics of four lanes of which each is so much aside, [lines]."""
    frames = 100
    before = np.broadcast_to(LANES_M[:, None], (frames, 4, len(X_M)))
    after = before + aside_m[:, None]
    speed = motion or {"speed_mps": np.full(frames, 20.0)}
    run = planted_run(folder, drawn(before), drawn(after), frames=frames, motion=speed)
    (row,) = run.read("lane_metrics").to_dicts()
    return row


def test_only_the_lines_of_the_ego_lane_count(tmp_path):
    row = planted(tmp_path, np.array([0.9, 0.1, 0.3, -0.9]))
    assert row["lane_centre"] == pytest.approx(0.2, rel=1e-4)
    assert row["lane_width"] == pytest.approx(0.2, rel=1e-4)
    assert row["lateral_accel"] == pytest.approx(0.4, rel=1e-3)
    assert row["frames"] == 100


def test_a_car_whose_speed_is_not_known_has_no_acceleration(tmp_path):
    row = planted(tmp_path, np.array([0.0, 0.1, 0.1, 0.0]), x_m=np.zeros(100))
    assert row["lane_centre"] == pytest.approx(0.1, rel=1e-4)
    assert row["lateral_accel"] is None
