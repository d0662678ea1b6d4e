"""`import_case`: a video file or a folder of images becomes a case of one camera.

Files are copied bit for bit; every picture is decoded once to know that it can be (cases.sources).
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

from cases.errors import CaseError, CaseFileError, ImportSourceError
from cases.frames import single_camera
from cases.sources import DEFAULT_IMAGE_FPS, Progress, images_in_order, inspect_images, inspect_video
from cases.writer import CaseWriter, require_free

__all__ = ["DEFAULT_IMAGE_FPS", "import_case"]

MAX_FPS = 1000


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
        progress: called with the pictures read so far and their number, None where unknown.

    Returns:
        The case folder.

    Raises:
        ImportSourceError: nothing here that can become a case.
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
        _copy(source, case.add_camera(camera, found.camera))
        case.set_frames(single_camera(found.timestamps_ns, camera))
    return case.path


def _copy(source: Path, folder: Path) -> None:
    """Bit for bit into the camera's folder."""
    targets = {source: folder / f"video{source.suffix.lower() or '.bin'}"}
    if source.is_dir():
        images = enumerate(images_in_order(source))
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
