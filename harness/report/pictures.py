"""Pictures of the frames a report shows, as JPEG data URIs, with the lines projected onto them.

One case is opened at a time and read once; a picture is encoded and dropped before the next is read. A case that is
gone or cannot be read costs its pictures and nothing else: the frame carries a note instead.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from harness.feed.window import steps_of_run, window_of
from harness.report.draw import place
from harness.report.finding import WorstFrame
from harness.report.recordings import NO_PICTURE
from harness.run.facts import RunFacts
from harness.run.recordings import Recordings
from trueline import TruelineError

if TYPE_CHECKING:
    from cases.case import Calibration, Case

__all__ = ["MAX_WIDTH", "Shown", "add_pictures", "jpeg_uri"]

MAX_WIDTH = 960
JPEG_QUALITY = 82

Shown = dict[str, Any]


def add_pictures(
    frames: Sequence[Shown], chosen: Sequence[WorstFrame], facts: RunFacts, recordings: Recordings
) -> None:
    """Fill `picture`, `note` and each line's `pixels` of the frames, in place.

    Args:
        frames: views of the chosen frames; `lines` are those of `lines_of_frames`.
        chosen: the same frames as they were selected; those not `pictured` get a note only.
        facts: of the run.
        recordings: its cases.
    """
    wanted: dict[str, list[tuple[WorstFrame, Shown]]] = {}
    for finding, shown in zip(chosen, frames, strict=True):
        shown["picture"] = None
        if finding.pictured:
            wanted.setdefault(finding.case, []).append((finding, shown))
        else:
            shown["note"] = "the picture was left out to keep this file small; the lines are all here"
    for case, group in wanted.items():
        try:
            _fill(recordings.open(case), group, facts)
        except TruelineError as error:
            for _, shown in group:
                if shown["picture"] is None:
                    shown["note"] = f"{NO_PICTURE}{error.what} ({error.where}); {error.remedy}"


def _fill(case: Case, group: Sequence[tuple[WorstFrame, Shown]], facts: RunFacts) -> None:
    camera = _camera(case, facts.meta)
    calibration = case.calibration(camera)
    by_frame: dict[int, list[Shown]] = {}
    for finding, shown in group:
        by_frame.setdefault(finding.frame, []).append(shown)
        shown["note"] = f"{NO_PICTURE}camera {camera} has none at this frame"
    for frame, rgb in _rgb_of(case, camera, sorted(by_frame)):
        height, width = rgb.shape[:2]
        picture = jpeg_uri(rgb) | {"camera": camera, "lossy": case.meta.lossy}
        for shown in by_frame[frame]:
            shown["picture"] = picture
            shown["note"] = _place_lines(shown["lines"], facts, calibration, (width, height))


def _rgb_of(case: Case, camera: str, frames: Sequence[int]) -> Iterator[tuple[int, NDArray[np.uint8]]]:
    """(frame number, RGB [height, width, 3]) of the frames asked for, in one pass over the stream."""
    from harness.feed.preprocess.colour import to_rgb_u8

    positions = np.searchsorted(case.frame_numbers, frames)
    wanted = set(frames)
    for tick in case.ticks([camera], int(positions[0]), int(positions[-1]) + 1):
        if tick.frame in wanted:
            yield tick.frame, to_rgb_u8(tick.pictures[camera])


def _camera(case: Case, meta: Mapping[str, Any]) -> str:
    """The first camera that the model reads, else the first of the case."""
    from harness.feed.inputs import cameras_of
    from harness.model.card import load_card

    try:
        named = cameras_of(load_card(Path(str(meta["card"].get("path", "")))))
    except TruelineError:
        named = ()
    return next((c for c in named if c in case.cameras), case.cameras[0])


def _place_lines(
    lines: Sequence[dict[str, Any]], facts: RunFacts, calibration: Calibration, size: tuple[int, int]
) -> str:
    """Give each line its `pixels` in the picture; returns why it could not, or an empty note."""
    grid = facts.grid
    if grid.frame == "vehicle" and (calibration.intrinsics is None or calibration.camera_to_vehicle is None):
        return "this camera has no calibration, so the lines are drawn from above only"
    window = window_of(steps_of_run(facts.meta), size, (grid.width, grid.height))
    for line in lines:
        line["pixels"] = place(line["points"], grid, calibration, window)
    return ""


def jpeg_uri(rgb: NDArray[np.uint8], max_width: int = MAX_WIDTH) -> Shown:
    """`src` (a data URI), and `width`, `height` of the picture as recorded, which line pixels refer to."""
    import cv2

    height, width = rgb.shape[:2]
    bgr = np.ascontiguousarray(rgb[..., ::-1])
    if width > max_width:
        bgr = cv2.resize(
            bgr,  # type: ignore[assignment]  # a uint8 picture stays one
            (max_width, round(height * max_width / width)),
            interpolation=cv2.INTER_AREA,
        )
    encoded = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])[1]
    data = base64.b64encode(encoded.tobytes()).decode("ascii")
    return {"src": f"data:image/jpeg;base64,{data}", "width": width, "height": height}
