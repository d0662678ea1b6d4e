"""Parts of a recording, and the vehicle's motion from a log of its own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from recordings import STEP_NS, planes_of

from cases.case import open_case
from cases.check import check_case
from cases.errors import ImportSourceError
from cases.importing import import_case, name_of
from harness.cli import main

Encode = Callable[..., Path]
ImageFolder = Callable[..., Path]


def test_a_part_of_a_video_has_its_own_pictures_and_the_recordings_times(tmp_path: Path, encode: Encode) -> None:
    source = encode(tmp_path / "a.mkv", 8)
    root = import_case(source, id="a", out=tmp_path / "out", from_s=0.1, to_s=0.25)
    case = open_case(root)
    assert check_case(root) == []
    assert case.timestamps_ns.tolist() == [k * STEP_NS for k in (2, 3, 4)]
    assert case.frame_numbers.tolist() == [0, 1, 2]
    for k, tick in enumerate(case.ticks(), 2):
        np.testing.assert_array_equal(tick.pictures["front"].data, planes_of(k))


def test_a_part_of_a_folder_copies_only_its_pictures(tmp_path: Path, image_folder: ImageFolder) -> None:
    source = image_folder(6)
    root = import_case(source, id="b", out=tmp_path / "out", fps=10, from_s=0.2, to_s=0.4)
    assert sorted(p.stem for p in (root / "cameras/front/images").iterdir()) == ["000000", "000001"]
    whole = open_case(import_case(source, id="w", out=tmp_path / "out", fps=10))
    for own, tick in zip(open_case(root).ticks(), list(whole.ticks())[2:4], strict=True):
        np.testing.assert_array_equal(own.pictures["front"].data, tick.pictures["front"].data)
        assert own.timestamp_ns == tick.timestamp_ns


def test_a_part_that_the_recording_does_not_have_is_refused(tmp_path: Path, encode: Encode) -> None:
    with pytest.raises(ImportSourceError, match=r"no picture from 5 s on: the recording has 0\.150 s"):
        import_case(encode(tmp_path / "a.mkv", 4), id="a", out=tmp_path / "out", from_s=5)
    assert not (tmp_path / "out" / "a").exists()


def _log(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def test_motion_is_interpolated_on_the_logs_own_clock(tmp_path: Path, encode: Encode) -> None:
    source = encode(tmp_path / "a.mkv", 4)
    log = _log(tmp_path / "ego.csv", "time_s,speed_mps,yaw_rad,other\n-0.04,10,3.1,x\n0.06,12,-3.1,y\n0.16,14,-3.0,z\n")
    case = open_case(import_case(source, id="a", out=tmp_path / "out", ego=log, ego_offset_s=0.04))
    ego = [tick.ego for tick in case.ticks()]
    assert [e.speed_mps for e in ego] == pytest.approx([10, 11, 12, 13])
    half = np.pi - (2 * np.pi - 6.2) / 2 + (2 * np.pi - 6.2) / 2  # the way from 3.1 to -3.1 leads over pi
    assert abs(ego[1].yaw_rad) == pytest.approx(half)
    assert ego[3].yaw_rad == pytest.approx(-3.05)
    assert ego[0].x_m is None


def test_pictures_outside_the_log_and_in_its_gaps_know_no_motion(tmp_path: Path, encode: Encode) -> None:
    source = encode(tmp_path / "a.mkv", 20)
    log = _log(tmp_path / "ego.csv", "time_s,speed_mps\n0.1,1\n0.2,1\n0.8,1\n0.85,1\n")
    case = open_case(import_case(source, id="a", out=tmp_path / "out", ego=log))
    known = [k for k, tick in enumerate(case.ticks()) if tick.ego.speed_mps is not None]
    assert known == [2, 3, 4, 16, 17]


@pytest.mark.parametrize(("text", "said"), [
    ("speed_mps\n1\n2\n", "neither timestamp_ns nor time_s"),
    ("time_s,velocity\n0,1\n1,2\n", "none of its columns"),
    ("time_s,speed_mps\n1,1\n1,2\n", "times must be at least two numbers that grow"),
    ("time_s,speed_mps\n0,fast\n1,slow\n", "'speed_mps' holds String"),
    ("time_s,speed_mps\n100,1\n101,2\n", "no picture has a value"),
    ("", "no CSV"),
])  # fmt: skip
def test_a_log_that_says_nothing_is_refused(tmp_path: Path, encode: Encode, text: str, said: str) -> None:
    log = _log(tmp_path / "ego.csv", text)
    with pytest.raises(ImportSourceError, match=said):
        import_case(encode(tmp_path / "a.mkv", 4), id="a", out=tmp_path / "out", ego=log)


def test_several_recordings_are_a_case_each(tmp_path: Path, encode: Encode, capsys: pytest.CaptureFixture) -> None:
    sources = [str(encode(tmp_path / name, 3)) for name in ("tunnel 1.mkv", "tunnel 2.mkv")]
    with pytest.raises(SystemExit) as end:
        main(["case", "import", *sources, "--out", str(tmp_path / "out")])
    assert end.value.code == 0
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["tunnel_1", "tunnel_2"]
    with pytest.raises(SystemExit) as end:
        main(["case", "import", *sources, "--id", "x", "--out", str(tmp_path / "out")])
    assert end.value.code == 2


def test_a_recordings_name_makes_an_id() -> None:
    assert [name_of(Path(n)) for n in ("a b.mp4", "2026-01-02.mkv", "线.mp4", "-x-.avi")] == [
        "a_b", "2026-01-02", "clip", "x",
    ]  # fmt: skip
