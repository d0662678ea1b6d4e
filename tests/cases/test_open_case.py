from __future__ import annotations

from collections.abc import Callable
from itertools import product
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from recordings import STEP_NS, planes_of, truth_of

from cases.case import find_cases, open_case
from cases.errors import CaseError, CaseFileError, CaseSchemaError
from cases.files import DUMP_SUFFIXES
from cases.frame_rows import FRAME_COLUMNS
from cases.frames import single_camera
from cases.picture import Ego
from cases.schema import TOLERANCE_MS, CameraMeta, Output, read_meta, write_meta
from cases.writer import CaseWriter, seal_case

MakeCase = Callable[..., Path]


def _edit(root: Path, **keys: object) -> None:
    write_meta(root, read_meta(root).model_copy(update=keys))


def _reframe(root: Path, frames: pl.DataFrame) -> None:
    frames.write_parquet(root / "frames.parquet")
    seal_case(root)


def test_ticks_give_every_moment_with_its_picture(video_case: MakeCase) -> None:
    ticks = list(open_case(video_case(6)).ticks())
    assert [(t.frame, t.timestamp_ns) for t in ticks] == [(i, i * STEP_NS) for i in range(6)]
    for index, tick in enumerate(ticks):
        np.testing.assert_array_equal(tick.pictures["front"].data, planes_of(index))
    assert all(type(t.frame) is int and type(t.timestamp_ns) is int for t in ticks)


def test_without_pictures_the_moments_are_the_same_and_files_are_still_the_hashed_ones(video_case: MakeCase) -> None:
    root = video_case()
    case = open_case(root)
    moments = [(t.frame, t.timestamp_ns, t.ego) for t in case.ticks()]
    bare = list(case.ticks(pictures=False))
    assert [(t.frame, t.timestamp_ns, t.ego) for t in bare] == moments
    assert all(not t.pictures for t in bare)
    file = next(f for f in sorted((root / "cameras").rglob("*")) if f.is_file())
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(CaseFileError, match="not the file that was recorded"):
        next(iter(open_case(root).ticks(pictures=False)))


def test_start_and_stop_cut_the_frame_list_like_a_slice(tensor_case: MakeCase) -> None:
    case, everything = open_case(tensor_case(np.arange(4).reshape(4, 1))), list(range(4))
    for start, stop in product(range(-6, 7), [None, *range(-6, 7)]):
        ticks = case.ticks(start=start, stop=stop)
        assert [int(t.pictures["front"].data[0]) for t in ticks] == everything[start:stop]


def test_an_index_gap_is_a_dropped_picture(tensor_case: MakeCase) -> None:
    frames = single_camera([0, 10, 20], "front").with_columns(frame=pl.Series([0, 1, 3]), index=pl.Series([0, 1, 3]))
    case = open_case(tensor_case(np.arange(5.0).reshape(5, 1), frames=frames))
    assert [(t.frame, float(t.pictures["front"].data[0])) for t in case.ticks()] == [(0, 0.0), (1, 1.0), (3, 3.0)]
    assert case.frame_numbers.tolist() == [0, 1, 3]


@pytest.fixture
def two_cameras(tmp_path: Path) -> Path:
    """Front at every moment, rear at moments 0 and 2, five nanoseconds earlier; speed known at 1 only."""
    with CaseWriter(tmp_path, id="two", fps=10.0, lossy=False) as case:
        for name, count in (("front", 3), ("rear", 2)):
            folder = case.add_camera(name, CameraMeta(kind="tensors", pixel_format="tensor"))
            np.save(folder / "tensors" / "x.npy", np.arange(count)[:, None] + (100 if name == "rear" else 0))
        rows = [
            (0, 100, "front", 0),
            (1, 200, "front", 1),
            (2, 300, "front", 2),
            (0, 95, "rear", 0),
            (2, 295, "rear", 1),
        ]
        frames = pl.DataFrame(rows, schema=FRAME_COLUMNS, orient="row")
        case.set_frames(frames.with_columns(speed_mps=pl.Series([None, 12.5, None, None, None])))
    return case.path


def test_a_moment_lacking_a_picture_is_left_out_only_where_that_camera_is_asked_for(two_cameras: Path) -> None:
    case = open_case(two_cameras)
    assert case.cameras == ("front", "rear")
    both = [(t.frame, {k: int(p.data[0]) for k, p in t.pictures.items()}) for t in case.ticks()]
    assert both == [(0, {"front": 0, "rear": 100}), (2, {"front": 2, "rear": 101})]
    assert [(t.frame, list(t.pictures)) for t in case.ticks(["front"])] == [(i, ["front"]) for i in range(3)]
    assert [t.frame for t in case.ticks([])] == [0, 1, 2]


def test_a_moment_has_the_earliest_of_its_cameras_times(two_cameras: Path) -> None:
    assert open_case(two_cameras).timestamps_ns.tolist() == [95, 200, 295]


def test_ego_motion_is_known_or_none(two_cameras: Path) -> None:
    egos = [tick.ego for tick in open_case(two_cameras).ticks(["front"])]
    assert egos == [Ego(), Ego(speed_mps=12.5), Ego()]


def test_a_camera_that_is_not_there_is_refused_at_once(two_cameras: Path) -> None:
    case = open_case(two_cameras)
    for ask in (lambda: case.ticks(["left"]), lambda: case.calibration("left")):
        with pytest.raises(CaseSchemaError, match="no camera 'left'") as error:
            ask()
        assert "['front', 'rear']" in error.value.remedy


def test_calibration_is_what_was_declared_and_none_where_it_was_not(video_case: MakeCase) -> None:
    root = video_case(2)
    blank = open_case(root).calibration("front")
    assert (blank.intrinsics, blank.camera_to_vehicle, blank.distortion_model) == (None, None, "none")
    k = ((50.0, 0.0, 32.0), (0.0, 50.0, 24.0), (0.0, 0.0, 1.0))
    pose = ((0.0, 0.0, 1.0, 1.5), (-1.0, 0.0, 0.0, 0.0), (0.0, -1.0, 0.0, 1.3), (0.0, 0.0, 0.0, 1.0))
    camera = read_meta(root).cameras["front"].model_copy(update={"intrinsics": k, "extrinsics": pose})
    _edit(root, cameras={"front": camera})
    known = open_case(root).calibration("front")
    assert known.intrinsics is not None
    assert known.camera_to_vehicle is not None
    np.testing.assert_array_equal(known.intrinsics, k)
    np.testing.assert_array_equal(known.camera_to_vehicle @ [0, 0, 10, 1], [11.5, 0, 1.3, 1])


def test_outputs_may_lie_inside_or_outside(video_case: MakeCase) -> None:
    root = video_case(2)
    said = {"car": Output(path="outputs/car", tolerance_ms=2.5), "far": Output(path="/d", tolerance_ms=0)}
    _edit(root, outputs=said)
    found = open_case(root).outputs()
    assert found == {"car": (root / "outputs/car", said["car"]), "far": (Path("/d"), said["far"])}


def test_dumps_in_the_folder_outputs_need_no_word_in_case_toml(video_case: MakeCase) -> None:
    root = video_case(2)
    for name in ("car", "bench", "nothing"):
        (root / "outputs" / name).mkdir(parents=True)
    files = ("lab.npz", "lab.timestamps", "lab.json", ".hidden", "README.md", "1700000000000000000.npz", "0.05.npz")
    for name in (*files, "bench/1.npz", "car/1.npz"):
        (root / "outputs" / name).write_bytes(b"")
    _edit(root, outputs={"orin": Output(path="outputs/car", tolerance_ms=2)})
    found = open_case(root).outputs()
    assert {name: path.name for name, (path, _) in found.items()} == {
        "orin": "car", "bench": "bench", "lab": "lab.json", "lab.npz": "lab.npz",
    }  # fmt: skip
    assert found["bench"][1].tolerance_ms == TOLERANCE_MS
    for place in ("outputs", "."):
        _edit(root, outputs={"all": Output(path=place)})
        assert list(open_case(root).outputs()) == ["all"]
    _edit(root, outputs={"trt": Output(path="outputs/car/1.npz")})  # what lies around it is not another one
    assert "car" not in open_case(root).outputs()
    from engines.formats.reader import SUFFIXES

    assert DUMP_SUFFIXES == SUFFIXES


def test_what_is_said_of_a_dump_is_read_back(video_case: MakeCase) -> None:
    root = video_case(2)
    said = Output(
        path="car", tolerance_ms=5, time_unit="ms", time_offset_ms="estimate", runner="trt", rename={"o": "lines"}
    )
    _edit(root, outputs={"car": said})
    assert open_case(root).outputs() == {"car": (root / "car", said)}


def test_truth_is_read_where_there_is_some(video_case: MakeCase) -> None:
    truth = open_case(video_case(3)).truth()
    assert truth is not None
    assert truth.rows() == truth_of(3).cast({"y": pl.List(pl.Float32)}).rows()
    assert open_case(video_case(3, id="bare", truth=False)).truth() is None


def test_changed_or_lost_truth_is_refused(video_case: MakeCase) -> None:
    root = video_case(3)
    truth_of(2).write_parquet(root / "lines.parquet")
    with pytest.raises(CaseFileError, match="not the file that was recorded"):
        open_case(root).truth()
    (root / "lines.parquet").unlink()
    with pytest.raises(CaseFileError, match="cannot read"):
        open_case(root).truth()


def test_the_digest_names_content_not_its_label(video_case: MakeCase) -> None:
    root, other = video_case(3), video_case(4, id="other")
    digest = open_case(root).digest()
    _edit(root, id="renamed", tags=("day",), licence="MIT", source="a drive")
    assert open_case(root).digest() == digest
    assert open_case(other).digest() != digest


@pytest.mark.parametrize("change", [{"color_range": "full"}, {"intrinsics": ((9.0, 0, 1), (0, 9.0, 1), (0, 0, 1))}])
def test_what_a_replay_reads_changes_the_digest(video_case: MakeCase, change: dict[str, object]) -> None:
    root = video_case(3)
    digest = open_case(root).digest()
    _edit(root, cameras={"front": read_meta(root).cameras["front"].model_copy(update=change)})
    assert open_case(root).digest() != digest


def test_an_empty_case_cannot_be_opened(video_case: MakeCase) -> None:
    root = video_case(3)
    _reframe(root, single_camera([], "front"))
    with pytest.raises(CaseSchemaError, match="the case has no frames"):
        open_case(root)


def test_times_that_go_back_cannot_be_opened(video_case: MakeCase) -> None:
    root = video_case(3)
    _reframe(root, single_camera([0, 20, 10], "front"))
    with pytest.raises(CaseSchemaError, match="timestamp_ns does not increase: 20 is followed by 10") as error:
        open_case(root)
    assert "frame 2" in error.value.where


def test_frames_that_were_changed_cannot_be_opened(video_case: MakeCase) -> None:
    root = video_case(3)
    single_camera([0, 10, 30], "front").write_parquet(root / "frames.parquet")
    with pytest.raises(CaseFileError, match="not the file that was recorded"):
        open_case(root)


def test_an_error_while_reading_names_the_case(video_case: MakeCase) -> None:
    root = video_case(3)
    (root / "cameras" / "front" / "video.mkv").unlink()
    case = open_case(root)
    with pytest.raises(CaseFileError, match="the video is missing") as error:
        next(case.ticks())
    assert error.value.where.startswith("case clip, ")
    assert "\n" not in str(error.value)


def test_an_error_of_the_caller_is_not_taken_for_one_of_the_case(video_case: MakeCase) -> None:
    with pytest.raises(CaseFileError) as error:  # noqa: PT012  # the loop is what is tested
        for _ in open_case(video_case(3)).ticks():
            raise CaseFileError("mine", where="here", remedy="none")
    assert error.value.where == "here"


def test_cases_are_found_as_folders_and_in_folders(video_case: MakeCase, tmp_path: Path) -> None:
    b, a = video_case(1, id="b"), video_case(1, id="a")
    (tmp_path / "cases" / ".draft-half").mkdir()
    (tmp_path / "cases" / ".draft-half" / "case.toml").touch()
    assert find_cases([tmp_path / "cases"]) == [a, b]
    assert find_cases([b, tmp_path / "cases"]) == [b, a]


@pytest.mark.parametrize(("name", "told"), [("empty", "no cases here"), ("nowhere", "no such folder")])
def test_a_path_without_cases_is_one_clear_error(tmp_path: Path, name: str, told: str) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(CaseError, match=told):
        find_cases([tmp_path / name])
