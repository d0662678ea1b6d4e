from __future__ import annotations

import gc
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from recordings import HEIGHT, WIDTH, planes_of

from cases.errors import CaseFileError
from cases.files import hash_file
from cases.picture import Picture
from cases.readers.base import Stream
from cases.readers.video import VideoReader
from cases.schema import CameraMeta

Read = Callable[..., VideoReader]


@pytest.fixture
def read(tmp_path: Path, encode: Callable[..., Path]) -> Read:
    """read(count, ext, camera keys in `says`, **encode options): the reader of a clip just encoded."""

    def make(count: int = 8, ext: str = "mkv", says: dict[str, Any] | None = None, **options: Any) -> VideoReader:
        path = encode(tmp_path / "cameras" / "front" / f"video.{ext}", count, **options)
        keys = {"pixel_format": "yuv420p", "width": WIDTH, "height": HEIGHT, **(says or {})}
        return VideoReader(Stream(tmp_path, "front", CameraMeta(kind="video", **keys), _hashes(tmp_path, path)))

    return make


def _hashes(root: Path, path: Path) -> dict[str, str]:
    return {path.relative_to(root).as_posix(): hash_file(path)}


def _first(reader: VideoReader) -> Picture:
    return next(reader.pictures([0]))


def test_planes_come_out_as_they_went_in(read: Read) -> None:
    for index, picture in enumerate(read(8).pictures(range(8))):
        np.testing.assert_array_equal(picture.data, planes_of(index))
        assert (picture.pixel_format, picture.width, picture.height) == ("yuv420p", WIDTH, HEIGHT)


@pytest.mark.parametrize("codec", ["libx264", "mpeg4"])
def test_pictures_are_those_of_bare_pyav(read: Read, codec: str) -> None:
    import av

    reader = read(12, "mp4", codec=codec)
    with av.open(str(reader.stream.folder / "video.mp4")) as container:
        bare = [frame.to_ndarray() for frame in container.decode(container.streams.video[0])]
    ours = [picture.data for picture in reader.pictures(range(12))]
    assert len(bare) == 12
    np.testing.assert_array_equal(ours, bare)


@pytest.mark.parametrize("indices", [[0], [7], [2, 3, 4], [0, 3, 7], [], range(5, 8)])
def test_any_rising_indices_give_those_pictures(read: Read, indices: list[int]) -> None:
    pictures = list(read(8).pictures(indices))
    assert len(pictures) == len(indices)
    for index, picture in zip(indices, pictures, strict=True):
        np.testing.assert_array_equal(picture.data, planes_of(index))


def test_a_picture_is_not_overwritten_by_the_next(read: Read) -> None:
    kept = list(read(8).pictures(range(8)))
    np.testing.assert_array_equal(kept[0].data, planes_of(0))


@pytest.mark.parametrize(("code", "matrix"), [(1, "bt709"), (5, "bt601"), (6, "bt601")])
@pytest.mark.parametrize(("range_code", "color_range"), [(1, "limited"), (2, "full")])
def test_colours_that_the_stream_states_win(
    read: Read, code: int, matrix: str, range_code: int, color_range: str
) -> None:
    other = {
        "color_matrix": "bt601" if matrix == "bt709" else "bt709",
        "color_range": "limited" if color_range == "full" else "full",
    }
    picture = _first(read(2, "mp4", codec="libx264", matrix=code, color_range=range_code, says=other))
    assert (picture.color_matrix, picture.color_range) == (matrix, color_range)


@pytest.mark.parametrize("matrix", ["bt601", "bt709"])
@pytest.mark.parametrize("color_range", ["limited", "full"])
def test_colours_that_the_stream_does_not_state_are_those_of_case_toml(
    read: Read, matrix: str, color_range: str
) -> None:
    says = {"color_matrix": matrix, "color_range": color_range, "chroma_siting": "topleft"}
    picture = _first(read(2, "mp4", codec="mpeg4", says=says))
    assert (picture.color_matrix, picture.color_range, picture.chroma_siting) == (matrix, color_range, "topleft")


def test_a_full_range_stream_keeps_its_levels(read: Read) -> None:
    """White at 255 must not be squeezed to 235 on the way to I420."""
    white = np.concatenate([np.full((HEIGHT, WIDTH), 255), np.full((HEIGHT // 2, WIDTH), 128)]).astype(np.uint8)
    picture = _first(
        read(2, "avi", codec="mjpeg", pix_fmt="yuvj444p", source_format="yuvj420p", pictures=lambda _: white)
    )
    assert picture.color_range == "full"
    np.testing.assert_allclose(picture.data[:HEIGHT].astype(int), 255, atol=1)


def test_fuller_chroma_is_averaged_down_and_luma_kept(read: Read) -> None:
    reader = read(3, pix_fmt="yuv444p")
    for index, picture in enumerate(reader.pictures(range(3))):
        np.testing.assert_array_equal(picture.data, planes_of(index))


@pytest.mark.parametrize("says", ["rgb24", "bgr24"])
def test_an_rgb_stream_keeps_its_values(read: Read, says: str) -> None:
    rng = np.random.default_rng(3)
    rgb = rng.integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)
    options = {"codec": "ffv1", "pix_fmt": "bgr0", "source_format": "rgb24", "pictures": lambda _: rgb}
    picture = _first(read(2, says={"pixel_format": says}, **options))
    np.testing.assert_array_equal(picture.data if says == "rgb24" else picture.data[..., ::-1], rgb)


@pytest.mark.parametrize(
    ("color_range", "black", "y_span", "c_span"), [("limited", 16, 219, 224), ("full", 0, 255, 255)]
)
@pytest.mark.parametrize(("matrix", "kr", "kb"), [("bt601", 0.299, 0.114), ("bt709", 0.2126, 0.0722)])
def test_a_conversion_to_rgb_uses_matrix_and_range_of_the_camera(
    read: Read, matrix: str, kr: float, kb: float, color_range: str, black: int, y_span: int, c_span: int
) -> None:
    y, cb, cr = 120, 100, 170
    flat = np.repeat([y, cb, cr], [HEIGHT * WIDTH, HEIGHT * WIDTH // 4, HEIGHT * WIDTH // 4])
    planes = flat.reshape(-1, WIDTH).astype(np.uint8)
    luma, blue, red = (y - black) / y_span, (cb - 128) / c_span, (cr - 128) / c_span
    r, b = luma + 2 * (1 - kr) * red, luma + 2 * (1 - kb) * blue
    g = (luma - kr * r - kb * b) / (1 - kr - kb)
    says = {"pixel_format": "rgb24", "color_matrix": matrix, "color_range": color_range}
    picture = _first(read(2, says=says, pictures=lambda _: planes))
    # FFmpeg's table-driven conversion is up to 2 levels low; the two matrices are 7 apart here
    np.testing.assert_allclose(picture.data[8, 8], np.array([r, g, b]) * 255, atol=2.5)


def test_gray_streams_are_gray_pictures(read: Read) -> None:
    gray: NDArray[np.uint8] = planes_of(4)[:HEIGHT]
    options = {"pix_fmt": "gray", "source_format": "gray", "pictures": lambda _: gray}
    picture = _first(read(2, says={"pixel_format": "gray8"}, **options))
    np.testing.assert_array_equal(picture.data, gray)
    assert picture.data.flags.c_contiguous


def test_memory_holds_one_picture_not_the_clip(read: Read) -> None:
    reader, picture_bytes = read(200), WIDTH * HEIGHT * 3 // 2
    next(reader.pictures([0]))
    gc.collect()
    tracemalloc.start()
    for _ in reader.pictures(range(200)):
        pass
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 20 * picture_bytes


def test_a_stream_shorter_than_an_index_is_one_clear_error(read: Read) -> None:
    with pytest.raises(CaseFileError, match=r"ends after 8 pictures, frames\.parquet wants picture 9"):
        list(read(8).pictures([3, 9]))


def test_a_missing_video_is_one_clear_error(read: Read) -> None:
    reader = read(2)
    (reader.stream.folder / "video.mkv").unlink()
    with pytest.raises(CaseFileError, match="the video is missing"):
        _first(reader)


def test_two_videos_are_one_too_many(read: Read) -> None:
    reader = read(2)
    (reader.stream.folder / "video.mp4").touch()
    with pytest.raises(CaseFileError, match="2 files"):
        _first(reader)


def test_another_file_than_the_one_hashed_is_refused_before_the_first_picture(read: Read) -> None:
    reader = read(2)
    with (reader.stream.folder / "video.mkv").open("ab") as file:
        file.write(b"\0")
    with pytest.raises(CaseFileError, match="not the file that was recorded"):
        _first(reader)


def test_another_size_than_declared_is_refused(read: Read) -> None:
    with pytest.raises(CaseFileError, match=r"pictures are 64x48, case\.toml says 64x46"):
        _first(read(2, says={"height": 46}))


@pytest.mark.parametrize(
    ("ext", "codec", "container", "keep"),
    [
        ("mp4", "mpeg4", {"movflags": "faststart"}, 0.5),
        ("mp4", "libx264", {"movflags": "faststart"}, 0.5),
        ("mp4", "mpeg4", {}, 0.5),
        ("mkv", "ffv1", {}, 0.5),
        ("mkv", "ffv1", {}, 0.0),
    ],
)
def test_a_truncated_video_gives_its_whole_pictures_and_then_one_clear_error(
    read: Read, ext: str, codec: str, container: dict[str, str], keep: float
) -> None:
    reader = read(30, ext, codec=codec, **container)
    path = reader.stream.folder / f"video.{ext}"
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * keep)])
    cut = VideoReader(Stream(reader.stream.root, "front", reader.stream.meta, _hashes(reader.stream.root, path)))
    seen: list[Picture] = []
    with pytest.raises(CaseFileError) as error:
        seen.extend(cut.pictures(range(30)))
    assert len(seen) < 30
    assert str(path) in error.value.where
    assert "\n" not in str(error.value)
    assert cut.scan().pictures == len(seen)


def test_a_scan_counts_every_picture_and_reports_progress(read: Read) -> None:
    counts: list[int] = []
    scan = read(8).scan(counts.append)
    assert (scan.pictures, scan.problems) == (8, ())
    assert counts == list(range(1, 9))
