from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from harness.errors import MetricError
from harness.lines.table import LineTable, concat

RAGGED = LineTable.from_points(
    [0, 0, 3],
    [[[0, 1], [2, 3]], [[4, 5]], [[1, 1], [2, 2], [3, 3]]],
    slot=[-1, 1, 2],
    category=[0, 1, 0],
    topology=[0, 1, 0],
)
EVEN = LineTable.from_points([1, 2], np.arange(12).reshape(2, 3, 2), slot=[0, 1], score=[0.5, 0.25])


def _equal(a: LineTable, b: LineTable) -> bool:
    return all(np.array_equal(getattr(a, f), getattr(b, f)) for f in LineTable.__dataclass_fields__)


@pytest.mark.parametrize("lines", [RAGGED, EVEN, LineTable.empty()])
def test_a_table_survives_polars(lines: LineTable) -> None:
    assert _equal(LineTable.from_polars(lines.to_polars()), lines)


def test_no_slot_is_null_in_files() -> None:
    assert RAGGED.to_polars()["slot"].to_list() == [None, 1, 2]


def test_taking_every_line_changes_nothing() -> None:
    assert _equal(RAGGED.take(np.ones(3, bool)), RAGGED)
    assert _equal(RAGGED.take([0, 1, 2]), RAGGED)


def test_taking_keeps_each_lines_points() -> None:
    taken = RAGGED.take([2, 0])
    assert np.array_equal(taken.points(0), RAGGED.points(2))
    assert np.array_equal(taken.points(1), RAGGED.points(0))


def test_concat_undoes_taking_in_two() -> None:
    assert _equal(concat([RAGGED.take([0, 1]), RAGGED.take([2])]), RAGGED)
    assert len(concat([])) == 0


def test_lines_count_from_zero_in_every_frame() -> None:
    assert RAGGED.line_in_frame().tolist() == [0, 1, 0]


def test_frames_that_go_back_are_refused() -> None:
    with pytest.raises(MetricError, match="frame order"):
        LineTable.from_points([1, 0], [[[0, 0]], [[0, 0]]])


def test_missing_columns_have_defaults() -> None:
    table = pl.DataFrame({"frame": [4], "x": [[0.0, 1.0]], "y": [[2.0, 3.0]]})
    lines = LineTable.from_polars(table)
    assert (lines.slot[0], lines.score[0], lines.topology[0]) == (-1, 1.0, 0)
