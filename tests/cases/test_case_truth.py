from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from recordings import truth_of

from cases.truth import truth_problems

FRAMES = np.arange(3)
GOOD = truth_of(3)


def _with(**columns: object) -> pl.DataFrame:
    return GOOD.with_columns(**{name: pl.Series(values) for name, values in columns.items()})


def _told(truth: pl.DataFrame) -> list[str]:
    return [problem.what for problem in truth_problems(truth, FRAMES, "lines.parquet")]


def test_open_lines_with_and_without_slots_are_truth() -> None:
    assert _told(GOOD) == []
    assert _told(GOOD.drop("slot")) == []
    assert _told(_with(slot=[None, 1, 2])) == []


def test_a_moment_without_a_line_is_truth_by_a_row_without_points() -> None:
    bare = _with(x=[[], [0.0, 1.0], [0.0, 1.0]], y=[[], [0.0, 1.0], [0.0, 1.0]])
    assert _told(bare) == []
    beside = bare.with_columns(pl.Series("frame", [0, 0, 1]), pl.Series("line", [0, 1, 0]))
    assert _told(beside) == ["no points beside other lines of the frame (1 line)"]


def test_no_lines_at_all_are_truth() -> None:
    assert _told(GOOD.clear()) == []


@pytest.mark.parametrize(
    ("truth", "told"),
    [
        (GOOD.drop("class"), "column 'class' is missing"),
        (_with(colour=[1, 2, 3]), "unknown column 'colour'"),
        (_with(x=[1.0, 2.0, 3.0]), "column 'x' is Float64, must be List"),
        (_with(line=["a", "b", "c"]), "column 'line' is String, must be Int32"),
        (_with(score=[1.0, None, 1.0]), "null in a column that must not be (1 line)"),
        (_with(x=[[0.0, 1.0, 2.0], [0.0, 1.0], [0.0, 1.0]]), "x and y differ in length (1 line)"),
        (_with(x=[[0.0], [0.0, 1.0], [0.0, 1.0]], y=[[0.0], [0.0, 1.0], [0.0, 1.0]]), "a single point (1 line)"),
        (_with(y=[[0.0, 1.0], [float("nan"), 1.0], [0.0, float("inf")]]), "points that are not finite (2 lines)"),
        (_with(topology=[0, 1, 2]), "topology is neither 0 (open) nor 1 (closed) (1 line)"),
        (_with(frame=[0, 1, 9]), "frame is not in frames.parquet (1 line)"),
        (_with(frame=[0, 1, 1]), "the same frame and line twice (2 lines)"),
    ],
)
def test_what_is_no_truth_is_one_problem(truth: pl.DataFrame, told: str) -> None:
    problems = _told(truth)
    assert len(problems) == 1
    assert problems[0].startswith(told)
