"""Video files: `video.*`, decoded by PyAV, planes kept as the codec gives them.

Colour matrix and range are the stream's own where it states them, else those of case.toml. A stream in a format that
no picture can have (10 bit, 4:2:2, 4:4:4, ...) is converted to the camera's `pixel_format`, its matrix and range kept.
The file is hashed before the first picture, once in a process, which costs far less than decoding it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from cases.errors import CaseFileError
from cases.files import hash_file_once
from cases.picture import ColorMatrix, ColorRange, Picture, PixelFormat
from cases.problem import Problem, in_one_line
from cases.readers.base import Scan, Stream, bad_file, ended_early, wrong_size
from trueline._outside import outside
from trueline._reading import regular

if TYPE_CHECKING:
    from av import VideoFrame
    from av.container import InputContainer

__all__ = ["MATRICES", "NATIVE", "VideoReader", "decoded", "opened", "stream_range"]

NATIVE: dict[str, PixelFormat] = {
    "yuv420p": "yuv420p",
    "yuvj420p": "yuv420p",
    "nv12": "nv12",
    "gray": "gray8",
    "rgb24": "rgb24",
    "bgr24": "bgr24",
}
MATRICES: dict[int, ColorMatrix] = {1: "bt709", 5: "bt601", 6: "bt601"}  # AVCOL_SPC_*: BT709, BT470BG, SMPTE170M
RANGES: dict[int, ColorRange] = {1: "limited", 2: "full"}  # AVCOL_RANGE_*: MPEG, JPEG

# Containers that hold their own pictures. A playlist (HLS, DASH, concat, image patterns) would read other files, which
# no hash of the case pins: FFmpeg is told to know these alone, and to open files alone.
CONTAINERS = (
    "mov", "mp4", "m4a", "3gp", "3g2", "mj2", "matroska", "webm", "avi", "flv", "live_flv", "mpeg", "mpegts",
    "mpegvideo", "ogg", "asf", "ivf", "h264", "hevc", "av1", "obu", "m4v", "mjpeg", "yuv4mpegpipe", "nut", "dv", "mxf",
    "gif", "apng",
)  # fmt: skip
_OPTIONS = {"format_whitelist": ",".join(CONTAINERS), "protocol_whitelist": "file"}

_SWS_MATRIX: dict[ColorMatrix, int] = {"bt601": 5, "bt709": 1}  # SWS_CS_ITU601, SWS_CS_ITU709
_AV_RANGE: dict[ColorRange, int] = {name: code for code, name in RANGES.items()}


@dataclass(frozen=True, slots=True)
class VideoReader:
    """Reads the one video file of a camera of kind `video`."""

    stream: Stream

    def pictures(self, indices: Iterable[int]) -> Iterator[Picture]:
        """See `Reader.pictures`; pictures between the indices are decoded and not copied."""
        path = self._path()
        self.stream.verify(path, hash_file_once(path))
        with opened(path) as container:
            frames = enumerate(decoded(container, path))
            convert: Callable[[VideoFrame], Picture] | None = None
            at = -1
            for wanted in indices:
                for at, frame in frames:
                    if at == wanted:
                        convert = convert or self._converter(frame, path)
                        yield convert(frame)
                        break
                else:
                    raise ended_early(path, at + 1, wanted)

    def scan(self, progress: Callable[[int], None] | None = None) -> Scan:
        """See `Reader.scan`."""
        count, path = 0, self.stream.folder
        problems: list[tuple[Path, Problem]] = []
        try:
            path = self._path()
            with opened(path) as container:
                for frame in decoded(container, path):
                    self._check_size(frame, path)
                    if count == 0:
                        problems += ((path, problem) for problem in self._contradictions(frame, path))
                    count += 1
                    if progress is not None:
                        progress(count)
        except CaseFileError as error:
            problems.append((path, Problem.of(error)))
        return Scan(count, tuple(problems))

    def _contradictions(self, first: VideoFrame, path: Path) -> Iterator[Problem]:
        """Colours that the stream states otherwise than case.toml does."""
        meta = self.stream.meta
        stated = {"color_matrix": MATRICES.get(first.colorspace), "color_range": stream_range(first)}
        for key, value in stated.items():
            if value is not None and value != getattr(meta, key):
                yield Problem(
                    f"the stream says {value}, case.toml {key} says {getattr(meta, key)}",
                    str(path),
                    f'write {key} = "{value}" in case.toml: replays follow the stream',
                )

    def _path(self) -> Path:
        folder = self.stream.folder
        found = sorted(folder.glob("video.*"))
        if len(found) != 1:
            what = "the video is missing" if not found else f"{len(found)} files video.*, must be one"
            raise bad_file(what, folder / "video.*")
        return found[0]

    def _check_size(self, frame: VideoFrame, path: Path) -> None:
        meta = self.stream.meta
        if (frame.width, frame.height) != (meta.width, meta.height):
            raise wrong_size(path, frame.width, frame.height, meta)

    def _converter(self, first: VideoFrame, path: Path) -> Callable[[VideoFrame], Picture]:
        """A function from decoded frame to picture, settled by the first frame of the stream."""
        meta = self.stream.meta
        pixel_format, width, height, siting = meta.pixel_format, meta.width, meta.height, meta.chroma_siting
        matrix = MATRICES.get(first.colorspace, meta.color_matrix)
        color_range = (
            "full" if first.format.name.startswith("yuvj") else RANGES.get(first.color_range, meta.color_range)
        )
        to_array = _to_array(first.format.name, pixel_format, matrix, color_range)

        def picture(frame: VideoFrame) -> Picture:
            if frame.width != width or frame.height != height:
                raise wrong_size(path, frame.width, frame.height, meta)
            return Picture(to_array(frame), pixel_format, width, height, matrix, color_range, siting)

        return picture


@contextmanager
def opened(path: Path) -> Iterator[InputContainer]:
    """The container, its first video stream set to decode on several threads.

    Raises:
        CaseFileError: not a container that FFmpeg knows, or no video in it.
    """
    import av

    with outside(lambda error: bad_file(f"cannot be opened as video: {_said(error)}", path)):
        container = av.open(str(regular(path)), options=_OPTIONS)
    with container:
        if not container.streams.video:
            raise bad_file("has no video stream", path)
        container.streams.video[0].thread_type = "AUTO"
        yield container


def decoded(container: InputContainer, path: Path) -> Iterator[VideoFrame]:
    """Every frame of the first video stream in presentation order.

    Raises:
        CaseFileError: at the first frame that is damaged.
    """
    count = 0
    frames = container.decode(container.streams.video[0])

    def broken(error: BaseException) -> CaseFileError:
        return bad_file(f"cannot be decoded after {count} pictures: {_said(error)}", path)

    while True:
        with outside(broken):
            frame = next(frames, None)
        if frame is None:
            return
        if frame.is_corrupt:
            raise bad_file(f"picture {count} is damaged", path)
        yield frame
        count += 1


def _said(error: BaseException) -> str:
    """What FFmpeg or the system says."""
    return str(getattr(error, "strerror", None) or in_one_line(error))


def stream_range(frame: VideoFrame) -> ColorRange | None:
    """The range that the stream states; the yuvj formats state it by their name."""
    return "full" if frame.format.name.startswith("yuvj") else RANGES.get(frame.color_range)


def _to_array(
    native: str, pixel_format: PixelFormat, matrix: ColorMatrix, color_range: ColorRange
) -> Callable[[VideoFrame], NDArray[np.generic]]:
    """Planes as they are where the formats agree, else a conversion that keeps matrix and range of YCbCr."""
    if NATIVE.get(native) == pixel_format:
        return lambda frame: np.ascontiguousarray(frame.to_ndarray())
    from av.video.reformatter import VideoReformatter

    reformatter = VideoReformatter()
    target = "gray" if pixel_format == "gray8" else pixel_format
    out_range: ColorRange = "full" if target in ("rgb24", "bgr24") else color_range

    def convert(frame: VideoFrame) -> NDArray[np.generic]:
        converted = reformatter.reformat(
            frame,
            format=target,
            src_colorspace=_SWS_MATRIX[matrix],
            dst_colorspace=_SWS_MATRIX[matrix],
            src_color_range=_AV_RANGE[color_range],
            dst_color_range=_AV_RANGE[out_range],
        )
        return np.ascontiguousarray(converted.to_ndarray())

    return convert
