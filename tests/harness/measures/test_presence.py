"""Lines that are there, missing or extra; classes and scores."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given

from harness.errors import MetricError
from harness.lines.table import LineTable
from harness.measures.match import match
from harness.measures.presence import class_flip, line_counts, score_gap
from harness.measures.stations import resample
from tests.strategies import VEHICLE, line_tables, quick


def matched(reference: LineTable, candidate: LineTable):
    return match(
        reference, candidate, VEHICLE, *(resample(t, VEHICLE.stations, "vehicle") for t in (reference, candidate))
    )


@quick
@given(line_tables(), line_tables())
def test_every_line_of_every_frame_is_counted_once(reference, candidate):
    matches = matched(reference, candidate)
    counts = line_counts(reference, candidate, matches, [0, 1, 2])
    for frame in range(3):
        here = {name: int(values[frame]) for name, values in counts.items()}
        assert here["lines"] == (candidate.frame == frame).sum() == here["matched"] + here["extra"]
        assert (reference.frame == frame).sum() == here["matched"] + here["missing"]


def test_frames_without_lines_count_too_and_numbers_may_have_gaps():
    lines = LineTable.from_points([4, 9, 9], [[[0, 0], [50, 0]], [[0, 0], [50, 0]], [[0, 4], [50, 4]]])
    counts = line_counts(lines, lines, matched(lines, lines), [2, 4, 9, 11])
    assert counts["lines"].tolist() == counts["matched"].tolist() == [0, 1, 2, 0]
    assert counts["missing"].tolist() == counts["extra"].tolist() == [0, 0, 0, 0]
    assert counts["lines"].dtype == np.int32


@pytest.mark.parametrize("frames", [[], [1], [0, 2], [2]])
def test_a_line_outside_the_counted_frames_is_refused(frames):
    lines = LineTable.from_points([1, 3], [[[0, 0], [50, 0]]] * 2)
    with pytest.raises(MetricError, match="not counted"):
        line_counts(lines, lines, matched(lines, lines), frames)


def test_class_and_score_are_those_of_the_matched_lines():
    points = [[[0, 0], [50, 0]], [[0, 4], [50, 4]]]
    reference = LineTable.from_points([0, 0], points, category=[1, 2], score=[0.9, 0.5])
    candidate = LineTable.from_points([0, 0], points[::-1], category=[2, 3], score=[0.25, 0.75])
    matches = matched(reference, candidate)
    assert class_flip(reference, candidate, matches).tolist() == [True, False]
    np.testing.assert_allclose(score_gap(reference, candidate, matches), [-0.15, -0.25], atol=1e-7)
