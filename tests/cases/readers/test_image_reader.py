from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from recordings import HEIGHT, WIDTH

from cases.errors import CaseFileError
from cases.files import hashed_files
from cases.picture import PixelFormat
from cases.readers.base import Stream
from cases.readers.images import ImageReader
from cases.schema import CameraMeta

Make = Callable[..., ImageReader]


@pytest.fixture
def images(tmp_path: Path) -> Make:
    """images(pixel_format, suffix): a reader of five images of noise, written as 0.png, 1.png, ..."""

    def make(pixel_format: PixelFormat = "rgb24", suffix: str = ".png") -> ImageReader:
        folder = tmp_path / "cameras" / "front" / "images"
        folder.mkdir(parents=True)
        for index in range(5):
            cv2.imwrite(str(folder / f"{index}{suffix}"), _rgb(index)[..., ::-1])
        sha256 = {n: hashlib.sha256((tmp_path / n).read_bytes()).hexdigest() for n in hashed_files(tmp_path)}
        meta = CameraMeta(kind="images", pixel_format=pixel_format, width=WIDTH, height=HEIGHT)
        return ImageReader(Stream(tmp_path, "front", meta, sha256))

    return make


def _rgb(index: int) -> np.ndarray:
    return np.random.default_rng(index).integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)


def test_rgb_and_bgr_are_what_they_say(images: Make) -> None:
    reader = images("rgb24")
    for index, picture in zip([1, 4], reader.pictures([1, 4]), strict=True):
        np.testing.assert_array_equal(picture.data, _rgb(index))
        assert (picture.pixel_format, picture.width, picture.height) == ("rgb24", WIDTH, HEIGHT)


def test_bgr_is_the_reverse(images: Make) -> None:
    picture = next(images("bgr24").pictures([2]))
    np.testing.assert_array_equal(picture.data, _rgb(2)[..., ::-1])


def test_gray_has_no_channels(images: Make) -> None:
    assert next(images("gray8").pictures([0])).data.shape == (HEIGHT, WIDTH)


def test_other_files_of_the_folder_are_not_pictures(images: Make) -> None:
    reader = images()
    for name in ("notes.txt", ".1.png", "0.json"):
        (reader.stream.folder / "images" / name).write_text("x")
    assert reader.scan().pictures == 5


def test_a_folder_shorter_than_an_index_is_one_clear_error(images: Make) -> None:
    with pytest.raises(CaseFileError, match=r"ends after 5 pictures, frames\.parquet wants picture 5"):
        list(images().pictures(range(6)))


def test_a_missing_folder_has_no_pictures(tmp_path: Path) -> None:
    meta = CameraMeta(kind="images", pixel_format="rgb24", width=1, height=1)
    with pytest.raises(CaseFileError, match="ends after 0 pictures"):
        list(ImageReader(Stream(tmp_path, "front", meta, {})).pictures([0]))


def test_a_changed_image_is_refused_by_name(images: Make) -> None:
    reader = images()
    cv2.imwrite(str(reader.stream.folder / "images" / "3.png"), _rgb(0))
    with pytest.raises(CaseFileError, match="not the file that was recorded") as error:
        list(reader.pictures(range(5)))
    assert error.value.where.endswith("3.png")


@pytest.mark.parametrize("suffix", [".png", ".jpg"])
@pytest.mark.parametrize("keep", [0.0, 0.01, 0.6])
def test_every_damaged_image_is_found_in_one_scan(
    images: Make, suffix: str, keep: float, capfd: pytest.CaptureFixture[str]
) -> None:
    reader = images(suffix=suffix)
    for index in (1, 3):
        path = reader.stream.folder / "images" / f"{index}{suffix}"
        path.write_bytes(path.read_bytes()[: int(path.stat().st_size * keep)])
    scan = reader.scan()
    assert scan.pictures == 5
    assert [path.name for path, _ in scan.problems] == [f"1{suffix}", f"3{suffix}"]
    assert "WARN" not in capfd.readouterr().err


def test_an_image_of_another_size_is_a_problem(images: Make) -> None:
    reader = images()
    cv2.imwrite(str(reader.stream.folder / "images" / "2.png"), _rgb(2)[:-2])
    assert [problem.what for _, problem in reader.scan().problems] == ["pictures are 64x46, case.toml says 64x48"]
