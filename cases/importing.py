"""`import_case`: a video file or a folder of images becomes a case of one camera.

Files are copied bit for bit; every picture is decoded once to know that it can be (cases.sources).
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Sequence
from pathlib import Path

import polars as pl

from cases.ego import ego_at
from cases.errors import CaseError, CaseFileError, ImportSourceError
from cases.frames import single_camera
from cases.sources import DEFAULT_IMAGE_FPS, Progress, images_in_order, inspect_images, inspect_video
from cases.writer import CaseWriter, require_free

__all__ = ["DEFAULT_IMAGE_FPS", "import_case", "name_of"]

MAX_FPS = 1000


def name_of(source: Path) -> str:
    """A case id made of a recording's name."""
    return re.sub(r"[^A-Za-z0-9_-]+", "_", source.stem).strip("_-") or "clip"


def import_case(
    source: Path,
    *,
    id: str,
    out: Path,
    camera: str = "front",
    licence: str = "",
    tags: Sequence[str] = (),
    drive: str = "",
    fps: float | None = None,
    from_s: float = 0.0,
    to_s: float | None = None,
    ego: Path | None = None,
    ego_offset_s: float = 0.0,
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
        drive: the drive that it was cut from.
        fps: space the pictures evenly, whatever times the source has; None keeps those, and gives images that have
            none DEFAULT_IMAGE_FPS.
        from_s, to_s: which part becomes the case, seconds since the first picture, the end left out; times stay those
            of the recording. A video is copied whole all the same, and only these pictures are used.
        ego: CSV file with the vehicle's motion (cases/ego.py).
        ego_offset_s: added to the times of that file.
        progress: called with the pictures read so far and their number, None where unknown.

    Returns:
        The case folder.

    Raises:
        ImportSourceError: nothing here that can become a case, no picture in the part asked for, or a log that
            cannot be used.
        CaseError: OUT/ID exists, or cannot be written.
    """
    source, out = Path(source), Path(out)
    require_free(out, id)
    if fps is not None and not 0 < fps <= MAX_FPS:
        raise ImportSourceError(f"fps {fps} is not in 0..{MAX_FPS}", where="fps", remedy="give frames a second")
    inspect = inspect_images if source.is_dir() else inspect_video
    try:
        found = inspect(source, fps, progress)
    except CaseFileError as error:
        raise ImportSourceError(error.what, where=error.where, remedy="fix or convert the recording first") from error
    with CaseWriter(
        out, id=id, fps=found.fps, lossy=found.lossy, source=source.name, licence=licence, tags=tags, drive=drive
    ) as case:
        chosen = _chosen(found.timestamps_ns, from_s, to_s, source)
        _copy(source, case.add_camera(camera, found.camera), chosen)
        times = [found.timestamps_ns[k] for k in chosen]
        frames = single_camera(times, camera)
        if not source.is_dir():
            frames = frames.with_columns(pl.Series("index", chosen, pl.Int64))
        if ego is not None:
            frames = frames.hstack(ego_at(Path(ego), times, found.timestamps_ns[0], ego_offset_s))
        case.set_frames(frames)
    return case.path


def _chosen(timestamps_ns: Sequence[int], from_s: float, to_s: float | None, source: Path) -> list[int]:
    """Positions of the pictures in the part asked for."""
    begin, end = timestamps_ns[0], float("inf") if to_s is None else to_s
    chosen = [k for k, t in enumerate(timestamps_ns) if from_s <= (t - begin) / 1e9 < end]
    if not chosen:
        length = (timestamps_ns[-1] - begin) / 1e9
        told = f"{from_s:g} s on" if to_s is None else f"{from_s:g} to {to_s:g} s"
        raise ImportSourceError(
            f"no picture from {told}: the recording has {length:.3f} s", where=str(source), remedy="give a part of it"
        )
    return chosen


def _copy(source: Path, folder: Path, chosen: Sequence[int]) -> None:
    """Bit for bit into the camera's folder: a video whole, of images the chosen ones."""
    targets = {source: folder / f"video{source.suffix.lower() or '.bin'}"}
    if source.is_dir():
        every = images_in_order(source)
        images = ((index, every[k]) for index, k in enumerate(chosen))
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
