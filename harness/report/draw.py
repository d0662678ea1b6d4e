"""Lines on pictures: where their points lie in pixels, and drawing them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from cases.case import Calibration
from harness.errors import ReportError
from harness.feed.window import Window
from harness.model.grid import Grid

__all__ = ["Colour", "draw_lines", "place", "project", "write_caption"]

Colour = tuple[int, int, int]
Floats = NDArray[np.float64]

NEAREST_M = 0.5  # points nearer to the camera than this are not drawn
_SHIFT = 4  # OpenCV draws on sixteenths of a pixel


def place(points: NDArray[np.floating], grid: Grid, calibration: Calibration, window: Window) -> Floats:
    """Pixels of a line's points in a picture.

    Args:
        points: [points, 2]; (x, y) in metres on flat ground, or (u, v) in the grid's image.
        grid: frame of the points.
        calibration: of the camera; the image frame needs none.
        window: what part of the picture the grid's image shows; the vehicle frame needs none.

    Returns:
        float64 [n <= points, 2]; points behind the camera are left out.

    Raises:
        ReportError: the vehicle frame without intrinsics and extrinsics.
    """
    if grid.frame == "image":
        return window.recorded(points)
    if calibration.intrinsics is None or calibration.camera_to_vehicle is None:
        raise ReportError(
            "lines in metres cannot be drawn on an uncalibrated camera",
            where="calibration",
            remedy="add intrinsics and extrinsics to case.toml",
        )
    return project(np.asarray(points, np.float64), calibration)


def project(points_m: Floats, calibration: Calibration) -> Floats:
    """Pixels of ground points.

    Args:
        points_m: [points, 2], x forward and y left on flat ground (z = 0), metres.
        calibration: a camera with intrinsics and extrinsics.

    Returns:
        [n <= points, 2] u, v; points behind the camera or nearer than 0.5 m are left out.
    """
    import cv2

    assert calibration.intrinsics is not None  # `place` and the report look before they call
    assert calibration.camera_to_vehicle is not None  # as above
    camera_from_vehicle = np.linalg.inv(calibration.camera_to_vehicle)
    ground = np.column_stack([points_m, np.zeros(len(points_m)), np.ones(len(points_m))])
    seen = (ground @ camera_from_vehicle.T)[:, :3]
    seen = seen[seen[:, 2] >= NEAREST_M]
    if len(seen) == 0:
        return np.zeros((0, 2))
    still = np.zeros(3)
    distortion = calibration.distortion if len(calibration.distortion) else np.zeros(4)
    if calibration.distortion_model == "fisheye":
        pixels, _ = cv2.fisheye.projectPoints(seen[:, None], still, still, calibration.intrinsics, distortion)
    else:
        pixels, _ = cv2.projectPoints(seen[:, None], still, still, calibration.intrinsics, distortion)
    return np.asarray(pixels, np.float64).reshape(-1, 2)


def draw_lines(
    rgb: NDArray[np.uint8], lines: Sequence[Floats], colour: Colour, *, width: int = 2, closed: bool = False
) -> None:
    """Draw polylines into a picture, with a thin dark edge so that they show on any ground.

    Args:
        rgb: uint8 [height, width, 3], changed in place.
        lines: pixels, [points, 2] each.
        colour: red, green, blue.
        width: of the line, pixels.
        closed: join the last point to the first.
    """
    import cv2

    fixed = [np.rint(line * (1 << _SHIFT)).astype(np.int32)[:, None] for line in lines if len(line) > 1]
    for thickness, ink in ((width + 2, (0, 0, 0)), (width, colour)):
        cv2.polylines(rgb, fixed, closed, ink, thickness, cv2.LINE_AA, _SHIFT)


def write_caption(rgb: NDArray[np.uint8], text: str, colour: Colour = (255, 255, 255), row: int = 0) -> None:
    """Write one line of text at the top left of a picture, in place; `row` counts lines downwards."""
    import cv2

    font, scale, left, bottom = cv2.FONT_HERSHEY_SIMPLEX, 0.45, 6, 16 + 18 * row
    (width, height), below = cv2.getTextSize(text, font, scale, 1)
    box = rgb[max(bottom - height - 3, 0) : bottom + below + 1, left - 4 : left + width + 4]
    box //= 3  # the ground is dimmed: an outline would have other letter widths than the text
    cv2.putText(rgb, text, (left, bottom), font, scale, colour, 1, cv2.LINE_AA)
