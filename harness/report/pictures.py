"""Pictures of a case as WebP, and how lines fall onto them.

One case is opened at a time and read once. What does not fit the bytes a case may take is left out, the moments of the
worst findings last; a case that is gone or cannot be read costs its pictures and nothing else: it carries a note.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from harness.feed.window import Window, steps_of_run, window_of
from harness.model.grid import FrameKind
from harness.report.recordings import NO_PICTURE
from harness.run.facts import RunFacts

if TYPE_CHECKING:
    from cases.case import Calibration, Case

__all__ = ["Pictures", "base64_size", "camera_of", "pictures_of", "projection_of", "rgb_of", "webp"]

WIDTH = 640
QUALITY = 60
SHARP = (960, 80)  # width and quality of the picture beside the verdict
_TRIES = 2  # pictures encoded for one that is kept, at most, where a case does not fit

Ints = NDArray[np.int64]


@dataclass
class Pictures:
    """Pictures of one case.

    Attributes:
        camera: its name.
        size: width and height of the recorded picture, which pixels of lines refer to.
        lossy: whether the recording went through a video codec.
        encoded: frame number -> WebP.
        note: why there are none, or why lines are not drawn on them.
        left_out: frames that have a picture, and not in the file.
        projection: how points of lines fall onto them (`projection_of`); None where they do not.
        truth: the same for ground truth, in its own frame.
    """

    camera: str = ""
    size: tuple[int, int] = (0, 0)
    lossy: bool = False
    encoded: dict[int, bytes] = field(default_factory=dict)
    note: str = ""
    left_out: int = 0
    projection: dict[str, Any] | None = None
    truth: dict[str, Any] | None = None

    def to_json(self) -> dict[str, Any]:
        """For the page; pictures by frame number, as base64."""
        pictures = {str(f): base64.b64encode(data).decode("ascii") for f, data in sorted(self.encoded.items())}
        return {
            "camera": self.camera, "size": list(self.size), "lossy": self.lossy, "note": self.note,
            "leftOut": self.left_out, "projection": self.projection, "truthProjection": self.truth,
            "pictures": pictures,
        }  # fmt: skip


def pictures_of(case: Case, facts: RunFacts, frames: Sequence[int], most_bytes: int) -> Pictures:
    """Pictures of some frames of a case, as many as fit.

    Args:
        case: the recording.
        facts: of the run.
        frames: numbers, the most wanted first.
        most_bytes: of the file.

    Raises:
        CaseError: a stream is missing, changed or undecodable.
    """
    camera = camera_of(case, facts.meta)
    if case.meta.cameras[camera].kind == "tensors":
        return Pictures(camera, note=f"{NO_PICTURE}camera {camera} recorded tensors, not pictures")
    found = Pictures(camera, lossy=case.meta.lossy)
    known = set(case.frame_numbers.tolist())
    wanted = [f for f in dict.fromkeys(frames) if f in known]
    if not wanted:
        found.note = f"{NO_PICTURE}camera {camera} has none at these frames"
        return found
    sample = next(rgb_of(case, camera, wanted[:1]), None)
    if sample is None:
        found.note = f"{NO_PICTURE}camera {camera} has none at this frame"
        return found
    height, width = sample[1].shape[:2]
    found.size = (width, height)
    one = base64_size(len(webp(sample[1], WIDTH, QUALITY)))
    tried = wanted[: max(1, _TRIES * most_bytes // one)]
    encoded = {frame: webp(rgb, WIDTH, QUALITY) for frame, rgb in rgb_of(case, camera, sorted(tried))}
    spent = 0
    for frame in tried:
        if frame in encoded and (not spent or spent + base64_size(len(encoded[frame])) <= most_bytes):
            found.encoded[frame] = encoded[frame]
            spent += base64_size(len(encoded[frame]))
    found.left_out = len(wanted) - len(found.encoded)
    _place(found, case.calibration(camera), facts, case)
    return found


def _place(found: Pictures, calibration: Calibration, facts: RunFacts, case: Case) -> None:
    grid = facts.grid
    window = window_of(steps_of_run(facts.meta), found.size, (grid.width, grid.height))
    found.projection = projection_of(grid.frame, calibration, window)
    width, height = map(float, found.size)
    whole = Window(0.0, 0.0, width, height, (width, height))
    found.truth = projection_of(case.meta.truth_frame, calibration, whole)
    if found.projection is None:
        found.note = "this camera has no calibration, so the lines are drawn from above only"


def projection_of(kind: FrameKind, calibration: Calibration, window: Window) -> dict[str, Any] | None:
    """How the page brings points of lines onto the picture; None where nobody knows.

    Args:
        kind: frame of the lines.
        calibration: of the camera; the image frame needs none.
        window: what part of the picture the lines' image shows; the vehicle frame needs none.

    Returns:
        `scale` and `shift` (pixel = scale * point + shift), or `camera` (camera from vehicle, 3 x 4 by rows), `K` by
        rows, `model` and `D` of OpenCV's distortion.
    """
    if kind == "image":
        scale = [window.width / window.shown[0], window.height / window.shown[1]]
        shift = [0.5 * scale[0] + window.left - 0.5, 0.5 * scale[1] + window.top - 0.5]
        return {"scale": scale, "shift": shift}
    if calibration.intrinsics is None or calibration.camera_to_vehicle is None:
        return None
    distortion = calibration.distortion.ravel().tolist()
    if len(distortion) > 12 and any(distortion[12:]):
        return None  # a tilted sensor, which the page does not draw
    camera = np.linalg.inv(calibration.camera_to_vehicle)[:3].ravel().tolist()
    model = calibration.distortion_model
    return {"camera": camera, "K": calibration.intrinsics.ravel().tolist(), "model": model, "D": distortion}


def rgb_of(case: Case, camera: str, frames: Sequence[int]) -> Iterator[tuple[int, NDArray[np.uint8]]]:
    """(frame number, RGB [height, width, 3]) of the frames asked for, increasing, in one pass over the stream."""
    from harness.feed.preprocess.colour import to_rgb_u8

    if not len(frames):
        return
    positions = np.searchsorted(case.frame_numbers, frames)
    wanted = set(frames)
    for tick in case.ticks([camera], int(positions[0]), int(positions[-1]) + 1):
        if tick.frame in wanted:
            yield tick.frame, to_rgb_u8(tick.pictures[camera])


def camera_of(case: Case, meta: Mapping[str, Any]) -> str:
    """The first camera that the model reads, else the first of the case."""
    from harness.feed.inputs import cameras_of
    from harness.model.card import load_card
    from trueline import TruelineError

    try:
        named = cameras_of(load_card(Path(str(meta["card"].get("path", "")))))
    except TruelineError:
        named = ()
    return next((c for c in named if c in case.cameras), case.cameras[0])


def webp(rgb: NDArray[np.uint8], max_width: int, quality: int) -> bytes:
    """A picture as lossy WebP, made smaller where it is wider than `max_width`."""
    import cv2

    height, width = rgb.shape[:2]
    bgr = np.ascontiguousarray(rgb[..., ::-1])
    if width > max_width:
        size = (max_width, max(1, round(height * max_width / width)))
        bgr = cv2.resize(bgr, size, interpolation=cv2.INTER_AREA)  # type: ignore[assignment]  # uint8 stays uint8
    return bytes(cv2.imencode(".webp", bgr, [cv2.IMWRITE_WEBP_QUALITY, quality])[1].tobytes())


def base64_size(count: int) -> int:
    """Characters of so many bytes as base64."""
    return -(-count // 3) * 4
