from __future__ import annotations

from pathlib import Path
from random import Random

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cases.columns import BLOCK_ROWS, NO_PICTURE
from cases.errors import CaseFileError
from cases.frames import frames_of, read_frames, single_camera
from trueline._machine import MachineError

CAMERAS = ("front", "rear")
GOOD = single_camera([0, 40, 80, 120], "front")


def _told(frames: pl.DataFrame, cameras: tuple[str, ...] = ("front",)) -> list[str]:
    return [f"{p.what} | {p.where}" for p in frames_of([frames], cameras, "frames.parquet").problems]


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


@st.composite
def _recordings(draw: st.DrawFn) -> pl.DataFrame:
    """Rows of two cameras in the order of frames: gaps in frames and pictures, motion known here and there."""
    rows = []
    for camera in ("front", "rear"):
        chosen = sorted(draw(st.sets(st.integers(0, 12), min_size=1)))
        for place, frame in enumerate(chosen):
            late_ns, speed = draw(st.integers(0, 9)), draw(st.none() | st.floats(-9, 9))
            rows.append((frame, 100 * frame + late_ns, camera, 2 * place, speed))
    rows.sort(key=lambda row: row[0])
    schema = ["frame", "timestamp_ns", "camera", "index", "speed_mps"]
    return pl.DataFrame(rows, schema=schema, orient="row").with_columns(pl.col("speed_mps").cast(pl.Float64))


@given(_recordings(), st.integers(1, 30))
def test_a_moment_has_the_earliest_time_the_pictures_of_its_cameras_and_the_first_known_motion(
    table: pl.DataFrame, rows_a_block: int
) -> None:
    columns = frames_of(table.iter_slices(rows_a_block), ["front", "rear"], "frames.parquet").columns
    assert columns is not None
    expected: dict[str, list[float | None]] = {name: [] for name in ("frame", "timestamp_ns", "speed_mps", *CAMERAS)}
    for (frame,), rows in table.group_by("frame", maintain_order=True):
        pictures = dict(zip(rows["camera"], rows["index"], strict=True))
        expected["frame"].append(frame)
        expected["timestamp_ns"].append(min(rows["timestamp_ns"]))
        expected["speed_mps"].append(next((speed for speed in rows["speed_mps"] if speed is not None), None))
        for camera in CAMERAS:
            expected[camera].append(pictures.get(camera, NO_PICTURE))
    found = {**columns.of_moments, **columns.pictures}
    if "speed_mps" not in found:
        assert set(expected.pop("speed_mps")) == {None}
    assert {name: pl.Series(values, nan_to_null=True).to_list() for name, values in found.items()} == expected


@given(_recordings(), st.randoms(use_true_random=False))
def test_a_table_says_the_same_whatever_the_order_of_the_rows_of_different_frames(
    table: pl.DataFrame, random: Random
) -> None:
    order = list(range(table["frame"].n_unique()))
    random.shuffle(order)
    parts = table.partition_by("frame", maintain_order=True)
    shuffled = pl.concat([parts[k] for k in order])
    whole, again = (frames_of([t], CAMERAS, "frames.parquet").columns for t in (table, shuffled))
    assert whole is not None
    assert again is not None
    for mine, other in zip(whole, again, strict=True):
        assert mine.keys() == other.keys()
        assert all(np.array_equal(mine[name], other[name], equal_nan=True) for name in mine)


@pytest.mark.parametrize("at", [1, BLOCK_ROWS - 1, BLOCK_ROWS, BLOCK_ROWS + 1, 2 * BLOCK_ROWS])
def test_what_is_wrong_is_told_wherever_a_block_of_a_long_table_ends(tmp_path: Path, at: int) -> None:
    times = np.arange(2 * BLOCK_ROWS + 1) * 50
    times[at] = times[at - 1]
    path = tmp_path / "frames.parquet"
    single_camera(times.tolist(), "front").write_parquet(path)
    (problem,) = read_frames(path, ["front"]).problems
    told = f"timestamp_ns does not increase: {times[at]} is followed by {times[at]} (1 such places)"
    assert (problem.what, problem.where) == (told, f"{path}, camera front, frame {at}")


def test_a_file_that_is_not_parquet_is_one_clear_line(tmp_path: Path) -> None:
    path = tmp_path / "frames.parquet"
    path.write_bytes(np.arange(100).tobytes())
    with pytest.raises(CaseFileError, match="is not Parquet") as error:
        read_frames(path, ["front"])
    assert "\n" not in str(error.value)


def test_a_missing_table_says_where(tmp_path: Path) -> None:
    with pytest.raises(CaseFileError, match=r"cannot read frames\.parquet"):
        read_frames(tmp_path / "frames.parquet", ["front"])


def test_what_the_machine_refuses_is_no_fault_of_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "frames.parquet"
    GOOD.write_parquet(path)

    def refuse(*_: object, **__: object) -> None:
        raise pl.exceptions.ComputeError("Too many open files (os error 24)")

    monkeypatch.setattr(pl, "scan_parquet", refuse)
    with pytest.raises(MachineError, match="Too many open files"):
        read_frames(path, ["front"])
