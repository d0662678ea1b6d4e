"""Ego motion: what the weaving of the vehicle does to a still line can be taken out again."""

import numpy as np
import pytest

from harness.measures.ego import ego_sway
from harness.measures.sway import OWN_BAND_HZ, band_power

FPS = 20.0
LOOK_AHEAD = (10.0, 20.0, 40.0)


def weaving_drive(seconds=30, speed=20.0):
    """A vehicle that weaves at 0.5 Hz along a straight lane 1.8 m to its left: heading and the line as it is seen."""
    t = np.arange(int(seconds * FPS)) / FPS
    heading = 0.01 * np.sin(2 * np.pi * 0.5 * t)
    y = np.concatenate([[0], np.cumsum(speed * np.sin(heading[:-1]))]) / FPS
    stations = np.array(LOOK_AHEAD)
    seen = (1.8 - y[:, None] - stations * np.sin(heading)[:, None]) / np.cos(heading)[:, None]
    return t, heading, seen, np.full(len(t), speed)


@pytest.mark.parametrize("source", ["heading", "yaw rate"])
def test_a_still_line_seen_from_a_weaving_vehicle_stands_still(source):
    t, heading, seen, speed = weaving_drive()
    unknown = np.full(len(t), np.nan)
    if source == "heading":
        motion = ego_sway(FPS, speed, unknown, np.mod(heading, 2 * np.pi), LOOK_AHEAD)
    else:
        motion = ego_sway(FPS, speed, np.gradient(heading, 1 / FPS), unknown, LOOK_AHEAD)
    for k in range(3):
        before = band_power(seen[:, k], FPS, OWN_BAND_HZ)
        after = band_power((seen + motion)[:, k], FPS, OWN_BAND_HZ)
        assert np.sqrt(after) < 0.15 * np.sqrt(before)


def test_a_curve_of_the_road_is_left_alone():
    t = np.arange(600) / FPS
    heading = 0.3 * np.sin(2 * np.pi * t / 60)
    motion = ego_sway(FPS, np.full(600, 20.0), np.full(600, np.nan), heading, LOOK_AHEAD)
    assert band_power(motion[:, 1], FPS, OWN_BAND_HZ) < 0.02**2


def test_without_heading_or_with_two_frames_nothing_is_known():
    unknown = np.full(100, np.nan)
    assert ego_sway(FPS, np.full(100, 20.0), unknown, unknown, LOOK_AHEAD) is None
    assert ego_sway(FPS, np.zeros(2), np.zeros(2), np.zeros(2), LOOK_AHEAD) is None
