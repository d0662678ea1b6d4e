"""Image folders: `images/*`, one file a picture, in the order of their names.

Decoded by OpenCV to 8 bit; orientation tags are not followed, as width, height and K speak of the stored pixels. Every
file is hashed as it is read, which costs far less than decoding it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cases.errors import CaseFileError
from cases.picture import Picture, PixelFormat
from cases.problem import Problem, in_one_line
from cases.readers.base import Scan, Stream, bad_file, ended_early, wrong_size
from trueline._outside import outside
from trueline._reading import read_file

__all__ = ["IMAGE_SUFFIXES", "ImageReader", "decode_image", "image_files", "read_image"]

IMAGE_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".webp", ".tif", ".tiff", ".pgm", ".ppm"})


@dataclass(frozen=True, slots=True)
class ImageReader:
    """Reads the files of a camera of kind `images`."""

    stream: Stream

    def pictures(self, indices: Iterable[int]) -> Iterator[Picture]:
        """See `Reader.pictures`."""
        folder = self.stream.folder / "images"
        files = image_files(folder)
        for index in indices:
            if index >= len(files):
                raise ended_early(folder, len(files), index)
            content = read_image(files[index])
            self.stream.verify(files[index], hashlib.sha256(content).hexdigest())
            yield self._picture(content, files[index])

    def scan(self, progress: Callable[[int], None] | None = None) -> Scan:
        """See `Reader.scan`."""
        files = image_files(self.stream.folder / "images")
        problems: list[tuple[Path, Problem]] = []
        for done, path in enumerate(files, start=1):
            try:
                self._picture(read_image(path), path)
            except CaseFileError as error:
                problems.append((path, Problem.of(error)))
            if progress is not None:
                progress(done)
        return Scan(len(files), tuple(problems))

    def _picture(self, content: bytes, path: Path) -> Picture:
        meta = self.stream.meta
        data = decode_image(content, meta.pixel_format, path)
        height, width = data.shape[:2]
        if (width, height) != (meta.width, meta.height):
            raise wrong_size(path, width, height, meta)
        return Picture(data, meta.pixel_format, width, height, meta.color_matrix, meta.color_range, meta.chroma_siting)


def image_files(folder: Path) -> list[Path]:
    """The images of a folder in the order of their names; none where there is no folder."""
    return sorted(p for p in folder.glob("*") if p.suffix.lower() in IMAGE_SUFFIXES and not p.name.startswith("."))


def decode_image(content: bytes, pixel_format: PixelFormat, path: Path) -> NDArray[np.uint8]:
    """uint8 [height, width, 3] in the order that rgb24 or bgr24 says, or [height, width] for gray8.

    Raises:
        CaseFileError: not an image, or a truncated one.
    """
    import cv2

    if not content:
        raise bad_file("the image is empty", path)
    how = cv2.IMREAD_GRAYSCALE if pixel_format == "gray8" else cv2.IMREAD_COLOR
    with _opencv_silent(), outside(lambda error: bad_file(f"cannot be decoded: {in_one_line(error)}", path)):
        image: Any = cv2.imdecode(np.frombuffer(content, np.uint8), how | cv2.IMREAD_IGNORE_ORIENTATION)
    if image is None:
        raise bad_file("cannot be decoded as an image, or is truncated", path)
    if pixel_format == "rgb24":
        cv2.cvtColor(image, cv2.COLOR_BGR2RGB, dst=image)
    return image  # type: ignore[no-any-return]  # OpenCV's stubs say less than what imdecode gives


@contextmanager
def _opencv_silent() -> Iterator[None]:
    """OpenCV logs what it cannot decode; the error says it better, once."""
    import cv2

    level = cv2.utils.logging.getLogLevel()
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    try:
        yield
    finally:
        cv2.utils.logging.setLogLevel(level)


def read_image(path: Path) -> bytes:
    """An image file's bytes.

    Raises:
        CaseFileError: it cannot be read.
    """
    try:
        return read_file(path)
    except OSError as error:
        raise bad_file(f"cannot be read: {error.strerror}", path) from error
