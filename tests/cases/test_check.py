from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from recordings import HEIGHT, STEP_NS, WIDTH, truth_of

from cases.check import Problem, check_case
from cases.errors import CaseError, CaseFileError, CaseSchemaError
from cases.frames import single_camera
from cases.schema import CameraMeta, Output, read_meta, write_meta
from cases.writer import CaseWriter, seal_case

MakeCase = Callable[..., Path]


@pytest.fixture
def clip(video_case: MakeCase) -> Path:
    """A sound case of 12 pictures."""
    return video_case(12, codec="mpeg4")


def _video(root: Path) -> Path:
    return root / "cameras" / "front" / "video.mkv"


def _frames(root: Path, frames: pl.DataFrame) -> None:
    frames.write_parquet(root / "frames.parquet")
    seal_case(root)


def _cut(root: Path) -> None:
    content = _video(root).read_bytes()
    _video(root).write_bytes(content[: len(content) // 2])


def _damage(root: Path) -> None:
    content = bytearray(_video(root).read_bytes())
    middle = slice(len(content) // 2, len(content) // 2 + 40)
    content[middle] = bytes(byte ^ 0x5A for byte in content[middle])
    _video(root).write_bytes(content)


def _append(root: Path) -> None:
    with _video(root).open("ab") as file:
        file.write(b"\0" * 16)


def _edit(root: Path, **keys: object) -> None:
    write_meta(root, read_meta(root).model_copy(update=keys))


def _declare(root: Path, **keys: object) -> None:
    _edit(root, cameras={"front": read_meta(root).cameras["front"].model_copy(update=keys)})


FAULTS: dict[str, tuple[Callable[[Path], object], type[CaseError], str]] = {
    "no case.toml": (lambda r: (r / "case.toml").unlink(), CaseSchemaError, "no case"),
    "no frames.parquet": (lambda r: (r / "frames.parquet").unlink(), CaseFileError, "cannot read frames.parquet"),
    "empty": (lambda r: _frames(r, single_camera([], "front")), CaseSchemaError, "the case has no frames"),
    "times": (
        lambda r: _frames(r, single_camera([0, 9, 5], "front")),
        CaseSchemaError,
        "timestamp_ns does not increase: 9 is followed by 5",
    ),
    "missing video": (lambda r: _video(r).unlink(), CaseFileError, "video.mkv is missing"),
    "truncated video": (_cut, CaseFileError, "the stream ends after"),
    "damaged video": (_damage, CaseFileError, "is damaged (frames.parquet uses 12)"),
    "wrong sha256": (_append, CaseFileError, "not the file that was recorded"),
    "not a video": (lambda r: _video(r).write_text("hello"), CaseFileError, "cannot be opened as video"),
    "short stream": (
        lambda r: _frames(r, single_camera([STEP_NS * i for i in range(15)], "front")),
        CaseFileError,
        "the stream ends after 12 pictures, frames.parquet wants picture 14",
    ),
    "truth": (
        lambda r: (truth_of(30).write_parquet(r / "lines.parquet"), seal_case(r)),
        CaseSchemaError,
        "frame is not in frames.parquet (18 lines)",
    ),
    "lost truth": (lambda r: (r / "lines.parquet").unlink(), CaseFileError, "lines.parquet is missing"),
    "size": (lambda r: _declare(r, height=46), CaseFileError, "case.toml says 64x46"),
    "unlisted file": (
        lambda r: (r / "cameras" / "front" / "notes.txt").write_text("x"),
        CaseFileError,
        "no sha256 in case.toml",
    ),
    "no dump": (
        lambda r: _edit(r, outputs={"car": Output(path="outputs/car", tolerance_ms=1)}),
        CaseFileError,
        "no outputs at",
    ),
}


def test_a_sound_case_has_no_problems(clip: Path) -> None:
    assert check_case(clip) == []


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_one_clear_problem(clip: Path, fault: str) -> None:
    spoil, kind, told = FAULTS[fault]
    spoil(clip)
    problems = check_case(clip)
    assert [p.kind for p in problems] == [kind], problems
    assert told in problems[0].what
    assert str(clip) in problems[0].where
    assert problems[0].remedy
    assert "\n" not in str(problems[0].error())


def test_every_fault_is_found_in_one_pass(clip: Path) -> None:
    _edit(clip, outputs={"car": Output(path="outputs/car", tolerance_ms=1)})
    truth_of(12).drop("class").write_parquet(clip / "lines.parquet")
    single_camera([0, 20, 10], "front").write_parquet(clip / "frames.parquet")
    _append(clip)
    told = "\n".join(p.what for p in check_case(clip))
    assert "does not increase" in told
    assert "no outputs at" in told
    assert told.count("not the file that was recorded") == 3


def test_faults_of_stream_and_truth_are_found_together(clip: Path) -> None:
    truth_of(12).drop("class").write_parquet(clip / "lines.parquet")
    seal_case(clip)
    _cut(clip)
    assert len(check_case(clip)) == 2


def test_a_stream_that_contradicts_case_toml_is_a_problem(video_case: MakeCase) -> None:
    root = video_case(3, codec="libx264", matrix=1, color_range=1)
    assert [p.what for p in check_case(root)] == ["the stream says bt709, case.toml color_matrix says bt601"]
    _declare(root, color_matrix="bt709", color_range="full")
    assert [p.what for p in check_case(root)] == ["the stream says limited, case.toml color_range says full"]
    _declare(root, color_matrix="bt709", color_range="limited")
    assert check_case(root) == []


def test_missing_images_are_named_once(tmp_path: Path) -> None:
    import cv2

    with CaseWriter(tmp_path, id="stills", fps=10.0, lossy=False) as case:
        camera = CameraMeta(kind="images", pixel_format="rgb24", width=WIDTH, height=HEIGHT)
        folder = case.add_camera("front", camera) / "images"
        for index in range(5):
            cv2.imwrite(str(folder / f"{index}.png"), np.full((HEIGHT, WIDTH, 3), index, np.uint8))
        case.set_frames(single_camera([index * 100_000_000 for index in range(5)], "front"))
    images = case.path / "cameras" / "front" / "images"
    (images / "1.png").unlink()
    (images / "3.png").unlink()
    (images / "4.png").write_bytes((images / "4.png").read_bytes()[:60])
    problems = check_case(case.path)
    assert sorted(p.what for p in problems) == [
        "2 files are missing, first 1.png",
        "cannot be decoded as an image, or is truncated",
    ]


def test_progress_counts_decoded_pictures(clip: Path) -> None:
    seen: list[tuple[str, int]] = []
    check_case(clip, progress=lambda camera, count: seen.append((camera, count)))
    assert seen == [("front", count) for count in range(1, 13)]


def test_a_problem_and_its_error_say_the_same() -> None:
    problem = Problem("what", "where", "remedy", CaseFileError)
    assert Problem.of(problem.error()) == problem
