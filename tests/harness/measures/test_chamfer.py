"""Chamfer distance."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.errors import MetricError
from harness.lines.table import CLOSED, OPEN, LineTable
from harness.measures import chamfer as module
from harness.measures.chamfer import boxes_gap, chamfer
from tests.harness.measures import slow_metrics as slow
from tests.strategies import line_tables, polylines, quick

SQUARE = np.array([[10, -2], [14, -2], [14, 2], [10, 2]])


def one(points: np.ndarray, topology: int = OPEN) -> LineTable:
    return LineTable.from_points([0], [points], topology=topology)


@settings(quick, max_examples=25)
@given(line_tables(max_lines=3), line_tables(max_lines=3))
def test_agrees_with_measuring_point_by_point(reference, candidate):
    count = min(len(reference), len(candidate))
    reference, candidate = reference.take(np.arange(count)), candidate.take(np.arange(count))
    found = chamfer(reference, candidate)
    for i in range(count):
        expected = slow.chamfer(
            reference.points(i), reference.topology[i] == CLOSED, candidate.points(i), candidate.topology[i] == CLOSED
        )
        np.testing.assert_allclose(found[i], expected, atol=1e-6)


@quick
@given(polylines(tidy=True), polylines(tidy=True), st.sampled_from([OPEN, CLOSED]))
def test_is_symmetric(a, b, topology):
    there, back = chamfer(one(a, topology), one(b, topology)), chamfer(one(b, topology), one(a, topology))
    np.testing.assert_allclose(there, back, rtol=1e-12)


@pytest.mark.parametrize("start", range(4))
@pytest.mark.parametrize("step", [1, -1])
def test_a_closed_shape_has_no_start_and_no_orientation(start, step):
    again = np.roll(SQUARE, start, axis=0)[::step]
    np.testing.assert_allclose(chamfer(one(SQUARE, CLOSED), one(again, CLOSED)), 0, atol=1e-9)


def test_repeating_the_first_point_at_the_end_closes_nothing_twice():
    again = np.concatenate([SQUARE, SQUARE[:1]])
    np.testing.assert_allclose(chamfer(one(SQUARE, CLOSED), one(again, CLOSED)), 0, atol=1e-9)


def test_an_open_outline_is_not_a_closed_one():
    assert chamfer(one(SQUARE, OPEN), one(SQUARE, CLOSED)) > 0.1


def test_a_line_moved_sideways_reads_the_shift():
    line = np.array([[0, 0], [50, 0]])
    np.testing.assert_allclose(chamfer(one(line), one(line + np.array([0, 0.4]))), 0.4, rtol=1e-6)


def test_points_along_an_edge_change_nothing():
    few, many = np.array([[0, 0], [40, 8]]), np.stack([np.linspace(0, 40, 11), np.linspace(0, 8, 11)], axis=1)
    other = one(np.array([[0, 1], [40, 2]]))
    np.testing.assert_allclose(chamfer(one(few), other), chamfer(one(many), other), rtol=1e-6)


def test_a_line_without_a_finite_point_has_no_distance():
    assert np.isnan(chamfer(one(np.array([[np.nan, 1]])), one(SQUARE))).all()
    assert np.isnan(chamfer(one(np.zeros((0, 2))), one(np.zeros((0, 2))))).all()
    assert chamfer(LineTable.empty(), LineTable.empty()).shape == (0,)


def test_blocks_do_not_show(monkeypatch):
    rng = np.random.default_rng(2)
    tables = [LineTable.from_points(np.arange(20), rng.normal(size=(20, 7, 2))) for _ in range(2)]
    whole = chamfer(*tables)
    monkeypatch.setattr(module, "WORDS_PER_BLOCK", 1000)
    np.testing.assert_allclose(chamfer(*tables), whole, rtol=1e-12)


def test_tables_of_different_lengths_are_refused():
    with pytest.raises(MetricError, match="1 reference and 0 candidate"):
        chamfer(one(SQUARE), LineTable.empty())


def test_boxes_of_lines_with_points_that_are_not_finite_are_of_the_others():
    lines = LineTable.from_points([0, 0], [[[0, 0], [np.inf, 1], [10, 2], [3, np.nan]], [[np.inf, -np.inf]]])
    every = np.array([0, 0]), np.array([0, 1])
    np.testing.assert_array_equal(boxes_gap(lines, lines, *every), [0, np.nan])
