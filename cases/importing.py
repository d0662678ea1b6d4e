"""`import_case`: a video file or a folder of images becomes a case of one camera.

Files are copied bit for bit. A video's frames are all decoded once: their number and times are what the decoder gives,
which is not always what the container announces.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

from cases.errors import CaseError, CaseFileError, ImportSourceError
from cases.frames import single_camera
from cases.picture import PixelFormat
from cases.readers.images import IMAGE_SUFFIXES, decode_image, image_files, read_image
from cases.readers.video import MATRICES, NATIVE, decoded, opened, stream_range
from cases.schema import CameraMeta
from cases.writer import CaseWriter

if TYPE_CHECKING:
    from av import VideoFrame

__all__ = ["DEFAULT_IMAGE_FPS", "import_case"]

DEFAULT_IMAGE_FPS = 10.0
LOSSLESS_IMAGES = frozenset({".png", ".bmp", ".pgm", ".ppm", ".tif", ".tiff"})

_UNSTATED_MATRICES = frozenset({0, 2, 3})  # AVCOL_SPC_RGB, UNSPECIFIED, RESERVED
_CENTERED_CHROMA = frozenset({"mjpeg", "mpeg1video"})
_NANOSECONDS = re.compile(r"[0-9]{12,19}")

Progress = Callable[[int, int | None], None]


@dataclass(frozen=True, slots=True)
class _Source:
    """What was learnt of a source: its camera, the time of every picture, its rate, and whether a codec lost detail."""

    camera: CameraMeta
    timestamps_ns: list[int]
    fps: float
    lossy: bool


def import_case(
    source: Path,
    *,
    id: str,
    out: Path,
    camera: str = "front",
    licence: str = "",
    tags: Sequence[str] = (),
    fps: float | None = None,
    progress: Progress | None = None,
) -> Path:
    """Make the case folder OUT/ID from a video file or a folder of images.

    A video keeps the times of its container; colours it does not state are taken as BT.601 limited range, as OpenCV and
    FFmpeg do, and marked `color_assumed`. Images are taken in the order of their names: names that are whole numbers
    of 12 to 19 digits are times in nanoseconds. They are numbered anew: images/000000.png and so on.

    Args:
        source: the video file or folder.
        id: name of the case and its folder.
        out: folder that will hold the case folder.
        camera: name of the camera.
        licence: licence of the recording.
        tags: words to find the case by.
        fps: space the pictures evenly, whatever times the source has; None keeps those, and gives images that have
            none DEFAULT_IMAGE_FPS.
        progress: called with the pictures read so far and their number, None where unknown.

    Returns:
        The case folder.

    Raises:
        ImportSourceError: nothing here that can become a case.
        CaseError: OUT/ID exists, or cannot be written.
    """
    source = Path(source)
    inspect = _inspect_images if source.is_dir() else _inspect_video
    try:
        found = inspect(source, fps, progress)
    except CaseFileError as error:
        raise ImportSourceError(error.what, where=error.where, remedy="mend or convert the recording first") from error
    with CaseWriter(
        Path(out), id=id, fps=found.fps, lossy=found.lossy, source=source.name, licence=licence, tags=tags
    ) as case:
        _copy(source, case.add_camera(camera, found.camera))
        case.set_frames(single_camera(found.timestamps_ns, camera))
    return case.path


def _inspect_video(source: Path, fps: float | None, progress: Progress | None) -> _Source:
    """Decode the whole video for its format and times."""
    if not source.is_file():
        raise ImportSourceError("no such file or folder", where=str(source), remedy="give a video or an image folder")
    ticks: list[int | None] = []
    camera: CameraMeta | None = None
    with opened(source) as container:
        stream = container.streams.video[0]
        for frame in decoded(container, source):
            camera = camera or _video_camera(frame, stream.codec_context.name, source)
            ticks.append(frame.pts)
            if progress is not None:
                progress(len(ticks), stream.frames or None)
        if camera is None:
            raise ImportSourceError("the video has no pictures", where=str(source), remedy="record it again")
        seconds = stream.time_base or Fraction(0)
        rate = float(stream.average_rate or 0)
        lossy = stream.codec_context.codec.lossy
    times_ns = _evenly(len(ticks), fps) if fps else _container_times(ticks, seconds, source)
    return _Source(camera, times_ns, fps or _rate(times_ns, rate), lossy)


def _video_camera(first: VideoFrame, codec: str, source: Path) -> CameraMeta:
    """What the stream says of its pixels; refuses what no Picture can carry."""
    pixel_format = _pixel_format(first)
    if pixel_format in ("yuv420p", "nv12") and (first.width % 2 or first.height % 2):
        raise _unfit(f"{first.width}x{first.height} is odd, chroma is halved", source, "crop it to an even size")
    if first.rotation:
        raise _unfit(f"is to be shown turned by {first.rotation} degrees", source, "turn its pictures when converting")
    matrix = MATRICES.get(first.colorspace)
    if matrix is None and first.colorspace not in _UNSTATED_MATRICES:
        raise _unfit(f"colour matrix code {first.colorspace} is not BT.601 or BT.709", source, "convert its colours")
    stated_range = stream_range(first)
    return CameraMeta(
        kind="video",
        pixel_format=pixel_format,
        width=first.width,
        height=first.height,
        color_matrix=matrix or "bt601",
        color_range=stated_range or "limited",
        chroma_siting="center" if codec in _CENTERED_CHROMA else "left",
        color_assumed=pixel_format in ("yuv420p", "nv12") and (matrix is None or stated_range is None),
    )


def _pixel_format(frame: VideoFrame) -> PixelFormat:
    """The picture format that a stream's own is kept as, or converted to on reading."""
    native = frame.format
    return NATIVE.get(native.name) or ("rgb24" if native.is_rgb or native.has_palette else "yuv420p")


def _container_times(ticks: list[int | None], seconds: Fraction, source: Path) -> list[int]:
    """Presentation times in nanoseconds, rounded; they must grow."""
    known = [t for t in ticks if t is not None]
    growing = all(b > a for a, b in pairwise(known))
    if not seconds or len(known) < len(ticks) or not growing:
        what = "times do not increase" if len(known) == len(ticks) else f"{len(ticks) - len(known)} pictures lack times"
        raise ImportSourceError(
            what, where=str(source), remedy="give fps to space the pictures evenly, or remux the video with ffmpeg"
        )
    return [round(t * seconds * 1_000_000_000) for t in known]


def _inspect_images(source: Path, fps: float | None, progress: Progress | None) -> _Source:
    """Decode every image of a folder once, for its size and to know that it can be."""
    files = _in_order(source)
    if not files:
        raise _unfit("holds no images", source, f"give a folder of {', '.join(sorted(IMAGE_SUFFIXES))} files")
    size: tuple[int, int] | None = None
    for done, path in enumerate(files, start=1):
        height, width = decode_image(read_image(path), "rgb24", path).shape[:2]
        size = size or (width, height)
        if size != (width, height):
            raise _unfit(f"is {width}x{height}, the first image {size[0]}x{size[1]}", path, "import one size at a time")
        if progress is not None:
            progress(done, len(files))
    camera = CameraMeta(kind="images", pixel_format="rgb24", width=width, height=height, color_range="full")
    lossy = any(path.suffix.lower() not in LOSSLESS_IMAGES for path in files)
    if fps is None and all(_NANOSECONDS.fullmatch(path.stem) for path in files):
        times_ns = [int(path.stem) for path in files]
        return _Source(camera, times_ns, _rate(times_ns, 0), lossy)
    fps = fps or DEFAULT_IMAGE_FPS
    return _Source(camera, _evenly(len(files), fps), fps, lossy)


def _in_order(folder: Path) -> list[Path]:
    """Images in the order of their names, numbers compared as numbers: image_9 before image_10."""

    def key(path: Path) -> list[tuple[int, str]]:
        return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"([0-9]+)", path.stem)]

    return sorted(image_files(folder), key=key)


def _evenly(count: int, fps: float) -> list[int]:
    return [round(index * 1_000_000_000 / fps) for index in range(count)]


def _rate(times_ns: list[int], announced: float) -> float:
    """Frames a second: what the container announces where it agrees with the median step, else that."""
    if len(times_ns) < 2:
        return announced or DEFAULT_IMAGE_FPS
    measured = 1e9 / median(b - a for a, b in pairwise(times_ns))
    return announced if abs(announced - measured) < 0.01 * measured else round(measured, 6)


def _copy(source: Path, folder: Path) -> None:
    """Bit for bit into the camera's folder."""
    targets = {source: folder / f"video{source.suffix.lower() or '.bin'}"}
    if source.is_dir():
        images = enumerate(_in_order(source))
        targets = {path: folder / "images" / f"{index:06d}{path.suffix.lower()}" for index, path in images}
    try:
        for path, target in targets.items():
            shutil.copyfile(path, target)
    except OSError as error:
        raise CaseError(
            f"cannot copy the recording: {error.strerror}",
            where=str(folder),
            remedy="free some space",
        ) from error


def _unfit(what: str, path: Path, remedy: str) -> ImportSourceError:
    return ImportSourceError(what, where=str(path), remedy=remedy)
