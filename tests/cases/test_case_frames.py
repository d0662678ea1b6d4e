from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cases.errors import CaseFileError
from cases.frames import EGO_COLUMNS, frame_problems, moments, read_table, single_camera

GOOD = single_camera([0, 40, 80, 120], "front")


def _told(frames: pl.DataFrame, cameras: tuple[str, ...] = ("front",)) -> list[str]:
    return [f"{p.what} | {p.where}" for p in frame_problems(frames, list(cameras), "frames.parquet")]


def _with(**columns: object) -> pl.DataFrame:
    return GOOD.with_columns(**{name: pl.Series(values) for name, values in columns.items()})


def test_a_recording_whose_pictures_are_all_used_has_no_problems() -> None:
    assert _told(GOOD) == []


def test_index_gaps_and_frame_gaps_are_dropped_pictures_not_problems() -> None:
    assert _told(_with(index=[0, 1, 5, 6], frame=[0, 1, 4, 5])) == []


def test_the_order_of_rows_is_free() -> None:
    assert _told(GOOD.reverse()) == []


@pytest.mark.parametrize(
    ("frames", "told"),
    [
        (GOOD.clear(), "the case has no frames"),
        (GOOD.drop("index"), "column 'index' is missing"),
        (_with(weather=[1, 2, 3, 4]), "unknown column 'weather'"),
        (_with(timestamp_ns=[0.0, 1.0, 2.0, 3.0]), "column 'timestamp_ns' is Float64, must be Int64"),
        (_with(speed_mps=["a", "b", "c", "d"]), "column 'speed_mps' is String, must be Float64"),
        (_with(index=[0, None, 2, 3]), "column 'index' has 1 nulls"),
        (_with(timestamp_ns=[0, 80, 40, 120]), "timestamp_ns does not increase: 80 is followed by 40 (1 such places)"),
        (_with(timestamp_ns=[0, 40, 40, 40]), "timestamp_ns does not increase: 40 is followed by 40 (2 such places)"),
        (_with(index=[0, 1, 1, 2]), "index does not increase: 1 is followed by 1"),
        (_with(frame=[0, 1, 1, 2]), "frame does not increase: 1 is followed by 1"),
        (_with(index=[-1, 0, 1, 2]), "index -1 is negative"),
    ],
)
def test_what_cannot_be_replayed_is_one_problem(frames: pl.DataFrame, told: str) -> None:
    problems = _told(frames)
    assert len(problems) == 1
    assert problems[0].startswith(told)


def test_a_problem_of_order_names_the_frame() -> None:
    assert _told(_with(timestamp_ns=[0, 80, 40, 120]))[0].endswith("frames.parquet, camera front, frame 2")


def test_cameras_are_those_of_case_toml() -> None:
    assert _told(GOOD, ("left",)) == [
        "camera 'front' is not one of ['left'] | frames.parquet, camera",
        "camera 'left' has no frames | frames.parquet, camera",
    ]


def test_moments_must_follow_each_other_even_if_each_camera_is_in_order() -> None:
    late = single_camera([100, 110], "front")
    early = single_camera([50, 60], "rear").with_columns(frame=pl.Series([1, 2]))
    assert any("moments" in told for told in _told(pl.concat([late, early]), ("front", "rear")))


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 99), st.none() | st.floats(-9, 9)), min_size=1))
def test_a_moment_has_the_earliest_time_and_the_first_known_ego_motion(
    rows: list[tuple[int, int, float | None]],
) -> None:
    table = pl.DataFrame(
        {
            "frame": [row[0] for row in rows],
            "timestamp_ns": [row[1] for row in rows],
            "camera": ["front"] * len(rows),
            "index": [0] * len(rows),
            "speed_mps": pl.Series([row[2] for row in rows], dtype=pl.Float64),
        }
    )
    expected = []
    for frame in sorted({row[0] for row in rows}):
        of_frame = [row for row in rows if row[0] == frame]
        speeds = [row[2] for row in of_frame if row[2] is not None]
        expected.append((frame, min(row[1] for row in of_frame), speeds[0] if speeds else None))
    found = moments(table)
    assert found.select("frame", "timestamp_ns", "speed_mps").rows() == expected
    assert found.columns == ["frame", "timestamp_ns", *EGO_COLUMNS]
    assert found["yaw_rad"].null_count() == found.height


def test_a_file_that_is_not_parquet_is_one_clear_line(tmp_path: Path) -> None:
    path = tmp_path / "frames.parquet"
    path.write_bytes(np.arange(100).tobytes())
    with pytest.raises(CaseFileError, match="is not Parquet") as error:
        read_table(path)
    assert "\n" not in str(error.value)


def test_a_missing_table_says_where(tmp_path: Path) -> None:
    with pytest.raises(CaseFileError, match=r"cannot read frames\.parquet"):
        read_table(tmp_path / "frames.parquet")
