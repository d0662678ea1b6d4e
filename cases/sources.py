"""What a recording holds before it becomes a case: format, size, colours, and the time of every picture.

Everything is decoded once: the number and times of a video's pictures are what the decoder gives, which is not always
what the container announces.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

from cases.errors import ImportSourceError
from cases.picture import PixelFormat
from cases.readers.images import IMAGE_SUFFIXES, decode_image, image_files, read_image
from cases.readers.video import MATRICES, NATIVE, decoded, opened, stream_range
from cases.schema import CameraMeta

if TYPE_CHECKING:
    from av import VideoFrame
    from av.container import InputContainer

__all__ = ["DEFAULT_IMAGE_FPS", "Source", "images_in_order", "inspect_images", "inspect_video"]

DEFAULT_IMAGE_FPS = 10.0
LOSSLESS_IMAGES = frozenset({".png", ".bmp", ".pgm", ".ppm", ".tif", ".tiff"})

_UNSTATED_MATRICES = frozenset({0, 2, 3})  # AVCOL_SPC_RGB, UNSPECIFIED, RESERVED
_CENTERED_CHROMA = frozenset({"mjpeg", "mpeg1video"})
_NANOSECONDS = re.compile(r"[0-9]{12,19}")

Progress = Callable[[int, int | None], None]


@dataclass(frozen=True, slots=True)
class Source:
    """What was learnt: the camera, the time of every picture, the rate, and whether a codec lost detail."""

    camera: CameraMeta
    timestamps_ns: list[int]
    fps: float
    lossy: bool


def inspect_video(source: Path, fps: float | None, progress: Progress | None) -> Source:
    """Decode the whole video for its format and times; `fps` spaces the pictures evenly instead.

    Raises:
        ImportSourceError: no video, a truncated one, or one whose pixels or times a case cannot hold.
        CaseFileError: a damaged picture.
    """
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
        announced_s = _announced_s(container)
    times_ns = _evenly(len(ticks), fps) if fps else _container_times(ticks, seconds, source)
    if fps is None:
        _require_all_announced(times_ns, announced_s, source)
    return Source(camera, times_ns, fps or _rate(times_ns, rate, float(seconds) * 1e9), lossy)


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


def _announced_s(container: InputContainer) -> float | None:
    """How long the container says its video is; None where it does not, or speaks of other streams too."""
    stream = container.streams.video[0]
    if stream.duration is not None and stream.time_base is not None:
        return float(stream.duration * stream.time_base)
    only_video = len(container.streams) == 1 and container.duration is not None
    return container.duration / 1e6 if only_video and container.duration else None


def _require_all_announced(times_ns: list[int], announced_s: float | None, source: Path) -> None:
    """A file cut off between two pictures decodes without an error; only its announced length tells."""
    if announced_s is None or len(times_ns) < 2:
        return
    step_s = median(b - a for a, b in pairwise(times_ns)) / 1e9
    got_s = (times_ns[-1] - times_ns[0]) / 1e9 + step_s
    if got_s < announced_s - max(3 * step_s, 0.01 * announced_s):
        raise _unfit(
            f"the video is truncated: its {len(times_ns)} pictures last {got_s:.2f} s of {announced_s:.2f} s announced",
            source,
            "restore the file, or accept what is left by remuxing it (ffmpeg -i IN -c copy OUT)",
        )


def inspect_images(source: Path, fps: float | None, progress: Progress | None) -> Source:
    """Decode every image of a folder once, for its size and to know that it can be.

    Raises:
        ImportSourceError: no images, or images of several sizes.
        CaseFileError: an image that cannot be decoded.
    """
    files = images_in_order(source)
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
        if times_ns[-1] >= 2**63 or any(b <= a for a, b in pairwise(times_ns)):
            raise _unfit(
                f"names are times from {files[0].stem} to {files[-1].stem}, of which two are equal or beyond any clock",
                source,
                "name every image by its nanoseconds, or give fps to space them evenly",
            )
        return Source(camera, times_ns, _rate(times_ns, 0.0, 1.0), lossy)
    fps = fps or DEFAULT_IMAGE_FPS
    return Source(camera, _evenly(len(files), fps), fps, lossy)


def images_in_order(folder: Path) -> list[Path]:
    """Images of a folder in the order of their names, numbers compared as numbers: image_9 before image_10."""

    def key(path: Path) -> list[tuple[int, str]]:
        return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"([0-9]+)", path.stem)]

    return sorted(image_files(folder), key=key)


def _evenly(count: int, fps: float) -> list[int]:
    return [round(index * 1_000_000_000 / fps) for index in range(count)]


def _rate(times_ns: list[int], announced: float, quantum_ns: float) -> float:
    """Frames a second: what the container announces where the times agree with it, else the mean of the usual steps.

    Containers that write whole milliseconds make 240 frames a second steps of 4 and 5 ms: their median is no rate.
    """
    if len(times_ns) < 2:
        return announced or DEFAULT_IMAGE_FPS
    if announced and _evenly_spaced(times_ns, announced, quantum_ns):
        return announced
    steps = [b - a for a, b in pairwise(times_ns)]
    usual = median(steps)
    near = [s for s in steps if abs(s - usual) <= max(quantum_ns, 0.01 * usual)]
    measured = 1e9 * len(near) / sum(near)
    return announced if abs(announced - measured) < 0.01 * measured else round(measured, 6)


def _evenly_spaced(times_ns: list[int], fps: float, quantum_ns: float) -> bool:
    """Whether the times are those of a rate, written in whole quanta of the container."""
    first = times_ns[0]
    return all(abs(t - first - 1e9 * i / fps) <= 1.5 * quantum_ns for i, t in enumerate(times_ns))


def _unfit(what: str, path: Path, remedy: str) -> ImportSourceError:
    return ImportSourceError(what, where=str(path), remedy=remedy)
