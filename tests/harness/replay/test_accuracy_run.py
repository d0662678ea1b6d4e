"""Accuracy in a run: which frames count."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from cases.case import open_case
from cases.truth import TRUTH_COLUMNS
from tests.harness.measures.test_state import recurrent_run

LANES = (5.4, 1.8, -1.8, -5.4)


def truth(lines_of: dict[int, int]) -> pl.DataFrame:
    """The first so many lanes in each frame named; 0 is a frame that was found to have none."""
    rows = []
    for frame, count in lines_of.items():
        for line in range(max(count, 1)):
            x = [0.0, 80.0] if count else []
            key = {"frame": frame, "line": line, "slot": None, "class": 0, "score": 1.0, "topology": 0}
            rows.append(key | {"x": x, "y": [LANES[line]] * len(x)})
    return pl.DataFrame(rows, schema=TRUTH_COLUMNS)


@pytest.mark.parametrize(
    ("lines_of", "frames", "f1"),
    [
        ({0: 4, 1: 4}, 2, 1.0),
        ({0: 4, 1: 0}, 2, 8 / 12),  # four lines found, four drawn where there are none
        ({0: 4, 1: 2}, 2, 12 / 14),
        ({3: 0}, 1, 0.0),
    ],
)
def test_lines_drawn_where_there_are_none_are_false(
    lines_of: dict[int, int], frames: int, f1: float, tmp_path: Path
) -> None:
    run = recurrent_run(tmp_path, 0.5, frames=5, truth=truth(lines_of))
    rows = run.read("accuracy").filter(rung="deploy/ort-fp32")
    assert rows["frames"].to_list() == [frames] * 3
    assert rows["f1_15"].to_list() == pytest.approx([f1] * 3)
    case = open_case(tmp_path / "cases" / "c0")
    assert case.labelled_frames().tolist() == sorted(lines_of)
    lines = case.truth()
    assert lines is not None
    assert lines.height == sum(lines_of.values())


def test_a_case_without_truth_has_no_accuracy(tmp_path: Path) -> None:
    run = recurrent_run(tmp_path, 0.5, frames=5)
    assert run.read("accuracy").height == 0
    assert open_case(tmp_path / "cases" / "c0").labelled_frames().tolist() == []
