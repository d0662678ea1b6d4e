"""Lines and series survive packing, and take few bytes; harness/report/packing.py."""

from __future__ import annotations

import base64

import numpy as np
import pytest

from harness.report.packing import MISSING, Lines, packed, second_differences, series, thinned_places, undone, unpacked


@pytest.mark.parametrize("seed", range(4))
def test_whole_numbers_of_every_size_come_back(seed):
    rng = np.random.default_rng(seed)
    values = rng.integers(-(2 ** rng.integers(1, 50)), 2 ** rng.integers(1, 50), size=rng.integers(0, 200))
    head, streams = unpacked(packed({"a": [1]}, {"v": values, "none": np.zeros(0, np.int64), "w": -values}))
    assert head["a"] == [1]
    np.testing.assert_array_equal(streams["v"], values)
    np.testing.assert_array_equal(streams["w"], -values)
    assert len(streams["none"]) == 0


@pytest.mark.parametrize("seed", range(4))
def test_lines_come_back_whatever_they_are_told_against(seed):
    rng = np.random.default_rng(seed)
    count = rng.integers(0, 9, 30)
    like = np.full(30, -1)
    for line in range(1, 30):
        same = np.flatnonzero(count[:line] == count[line])
        if len(same) and rng.random() < 0.7:
            like[line] = rng.choice(same)
    values = rng.integers(-9000, 9000, count.sum())
    np.testing.assert_array_equal(undone(second_differences(values, count, like), count, like), values)


def test_a_missing_value_is_no_number():
    told = np.cumsum(series(np.array([0.1, np.nan, -0.25]), 0.001))
    assert told.tolist() == [100, MISSING, -250]


def test_smooth_lines_of_alike_rungs_take_few_bytes():
    rng = np.random.default_rng(0)
    frames, rungs, tracks, points = 60, 6, 3, 33
    s = np.linspace(0, 80, points)
    rows = [(f, r, t) for f in range(frames) for r in range(rungs) for t in range(tracks)]
    f, r, t = (np.array(column) for column in zip(*rows, strict=True))
    y = 3.6 * t[:, None] + 4e-4 * np.cos(f / 40)[:, None] * s**2 + r[:, None] * 0.01 * np.sin(s / 20)
    y += rng.normal(0, 0.002, y.shape)
    whole = [np.rint(v / 0.001).astype(np.int64).ravel() for v in (np.broadcast_to(s, y.shape), y)]
    lines = Lines(f, r, t, np.full(len(rows), points), *whole, {})
    size = len(base64.b64decode(packed({}, lines.streams(0))))
    assert size / len(rows) < 45  # with 2 mm of noise in every point; 33 points as JSON are 400


def test_thinned_lines_keep_both_ends():
    places, kept = thinned_places([5, 0, 1, 100], 8)
    assert kept.tolist() == [5, 0, 1, 8]
    assert places[:5].tolist() == [0, 1, 2, 3, 4]
    assert places[5] == 5
    assert (places[6], places[-1]) == (6, 105)
