"""The lines of the frames shown."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.model.grid import vehicle_grid
from harness.report.finding import WorstFrame
from harness.report.frames import MAX_POINTS, lateral_offset, lines_of_frames, packed, thinned
from harness.report.series import unpack
from harness.run.tables import TABLES
from tests.harness.report.fixture_run import Shape, make_run
from tests.run_folders import put_table
from tests.strategies import quick

GRID = vehicle_grid()


def shown(case: str, frame: int) -> WorstFrame:
    return WorstFrame(case, frame, "", "bend", 0, "far", 1.0, 1.0, "m", "candidate", frame, frame)


@quick
@given(st.floats(-3, 3), st.floats(-0.1, 0.1), st.integers(2, 60))
def test_a_shift_and_a_turn_are_read_exactly_and_left_is_positive(shift, slope, count):
    x = np.linspace(0, 80, count)
    reference = np.stack([x, 1e-3 * x], axis=1).astype(np.float32)
    candidate = np.stack([x, 1e-3 * x + shift + slope * x], axis=1).astype(np.float32)
    offset = lateral_offset(candidate, reference, "vehicle")
    assert offset[:, 1] == pytest.approx(shift + slope * offset[:, 0], abs=1e-4)
    assert offset[0, 0] == 0
    assert offset[-1, 0] == 80


def test_in_the_image_left_is_a_smaller_u_and_stations_go_from_near_to_far():
    v = np.linspace(200, 350, 20)
    reference = np.stack([np.full(20, 300.0), v], axis=1).astype(np.float32)
    candidate = reference - np.array([4, 0], np.float32)
    offset = lateral_offset(candidate, reference, "image")
    assert offset[:, 1] == pytest.approx(4.0)
    assert (offset[0, 0], offset[-1, 0]) == (350, 200)


def test_lines_that_do_not_overlap_have_no_offset():
    near = np.array([[0, 0], [10, 0]], np.float32)
    assert lateral_offset(near, near + np.array([20, 0], np.float32), "vehicle").shape == (0, 2)


@quick
@given(st.integers(1, 500))
def test_thinning_keeps_both_ends_and_the_order(count):
    points = np.stack([np.arange(count), np.arange(count)], axis=1).astype(np.float32)
    few = thinned(points)
    assert len(few) == min(count, MAX_POINTS)
    assert few[0, 0] == 0
    assert few[-1, 0] == count - 1
    assert (np.diff(few[:, 0]) > 0).all()


def test_lines_of_a_frame_are_those_of_the_run(tmp_path):
    run = make_run(tmp_path, Shape(cases=2, rungs=3, frames=5))
    ladder = [r["name"] for r in run.meta["rungs"]]
    frames = lines_of_frames(run, [shown("rain_at_dusk", 2), shown("highway_curve", 4)], ladder, ladder[0], GRID)
    rows = run.read("lines").filter(case="rain_at_dusk", frame=2)
    assert [(x["rung"], x["track"]) for x in frames[0]] == [(r, t) for r in range(3) for t in range(3)]
    for line in frames[0]:
        row = rows.filter(rung=ladder[line["rung"]], track=line["track"]).row(0, named=True)
        assert line["points"][:, 1].tolist() == pytest.approx(row["y"])
        assert ("offset" in line) == (line["rung"] != 0)


def test_a_line_without_a_track_is_compared_with_the_nearest_one_of_the_reference(tmp_path):
    run = make_run(tmp_path, Shape(cases=1, rungs=2, frames=30))
    ladder = [r["name"] for r in run.meta["rungs"]]
    (named,) = lines_of_frames(run, [shown("highway_curve", 9)], ladder, ladder[0], GRID)
    rows = run.read("lines").with_columns(pl.lit(None, pl.Int32).alias("track"))
    put_table(run, "lines", rows)
    (nameless,) = lines_of_frames(run, [shown("highway_curve", 9)], ladder, ladder[0], GRID)
    for a, b in zip(named, nameless, strict=True):
        assert ("offset" in a) == ("offset" in b)
        assert np.array_equal(a.get("offset", 0), b.get("offset", 0))


def test_a_line_far_from_all_of_the_reference_s_has_no_offset(tmp_path):
    run = make_run(tmp_path, Shape(cases=1, rungs=2, frames=1, tracks=1))
    ladder = [r["name"] for r in run.meta["rungs"]]
    moved = pl.when(pl.col("rung") == ladder[1]).then(pl.col("y").list.eval(pl.element() + 9)).otherwise(pl.col("y"))
    rows = run.read("lines").with_columns(pl.lit(None, pl.Int32).alias("track"), moved.alias("y"))
    put_table(run, "lines", rows)
    (lines,) = lines_of_frames(run, [shown("highway_curve", 0)], ladder, ladder[0], GRID)
    assert not any("offset" in line for line in lines)


def test_points_that_are_not_finite_are_left_out_and_a_line_of_none_is_no_line(tmp_path):
    run = make_run(tmp_path, Shape(cases=1, rungs=1, frames=1, tracks=2))
    nan = float("nan")
    rows = run.read("lines").with_columns(
        pl.when(pl.col("track") == 0)
        .then(pl.lit([nan, 1.0, 2.0], dtype=pl.List(pl.Float32)))
        .otherwise(pl.lit([nan, nan, nan], dtype=pl.List(pl.Float32)))
        .alias("y"),
        pl.lit([0.0, 1.0, 2.0], dtype=pl.List(pl.Float32)).alias("x"),
    )
    put_table(run, "lines", rows.select(*TABLES["lines"]))
    (lines,) = lines_of_frames(run, [shown("highway_curve", 0)], ["train/torch-fp32"], "train/torch-fp32", GRID)
    assert [x["points"].tolist() for x in lines] == [[[1, 1], [2, 2]]]


def test_a_packed_line_reads_back(tmp_path):
    run = make_run(tmp_path, Shape(cases=1, rungs=2, frames=30))
    ladder = [r["name"] for r in run.meta["rungs"]]
    (lines,) = lines_of_frames(run, [shown("highway_curve", 9)], ladder, ladder[0], GRID)
    line = next(x for x in lines if "offset" in x)
    small = packed(line | {"pixels": line["points"] * 10})
    assert unpack(small["x"]) == pytest.approx(line["points"][:, 0], abs=0.002)
    assert unpack(small["v"]) == pytest.approx(line["points"][:, 1] * 10, abs=0.01)
    assert unpack(small["o"]) == pytest.approx(line["offset"][:, 1], abs=1e-4)
    assert (small["from"], small["to"]) == (0.0, 80.0)
    assert "points" not in small
