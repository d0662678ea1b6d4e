"""From pixels of a calibrated camera to rays, to flat ground, and back; lens distortion included.

The vehicle frame is x forward, y left, z up, its origin on the ground; the camera's is OpenCV's (x right, y down, z
forward). Ground is the plane z = 0.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cases.case import Calibration
from harness.errors import CannotTell

__all__ = ["Lens", "View"]

Floats = NDArray[np.float64]

NEAREST_M = 0.1  # ground closer to the plane of the camera than this is not seen
_STEPS = 20  # of the iteration that takes distortion out


@dataclass(frozen=True)
class Lens:
    """A camera with intrinsics and extrinsics.

    Attributes:
        k: [3, 3], pixels.
        model: `none`, `opencv` or `fisheye`.
        distortion: in OpenCV's order.
        to_vehicle: [4, 4], metres.
    """

    k: Floats
    model: str
    distortion: Floats
    to_vehicle: Floats

    def rays(self, pixels: Floats) -> Floats:
        """Directions in the camera frame, [n, 3] with z = 1, of pixels [n, 2]; NaN stays."""
        flat = (pixels - self.k[:2, 2]) / self.k[[0, 1], [0, 1]] if self.model == "none" else self._undistorted(pixels)
        return np.column_stack([flat, np.ones(len(flat))])

    def pixels(self, directions: Floats) -> Floats:
        """Pixels [n, 2] of directions in the camera frame, [n, 3]; NaN behind the camera."""
        ahead = directions[:, 2:] > 0
        flat = np.where(ahead, directions[:, :2] / np.where(ahead, directions[:, 2:], 1), np.nan)
        if self.model == "none":
            return np.asarray(flat * self.k[[0, 1], [0, 1]] + self.k[:2, 2])
        return self._distorted(flat)

    def ground(self, pixels: Floats, raised_m: float = 0.0) -> Floats:
        """Where the rays of pixels meet the ground, [n, 2] metres; NaN at the horizon and above.

        raised_m: how much higher than its calibration the camera stands.
        """
        way = self.rays(pixels) @ self.to_vehicle[:3, :3].T
        start = self.to_vehicle[:3, 3] + [0, 0, raised_m]
        down = way[:, 2] < -1e-9
        length = np.where(down, -start[2] / np.where(down, way[:, 2], -1), np.nan)
        return start[:2] + length[:, None] * way[:, :2]

    def of_ground(self, points_m: Floats, raised_m: float = 0.0) -> Floats:
        """Pixels of ground points [n, 2]; NaN where the camera does not have them in front of it."""
        start = self.to_vehicle[:3, 3] + [0, 0, raised_m]
        way = np.column_stack([points_m, np.zeros(len(points_m))]) - start
        seen = way @ self.to_vehicle[:3, :3]
        return self.pixels(np.where(seen[:, 2:] > NEAREST_M, seen, np.nan))

    def _undistorted(self, pixels: Floats) -> Floats:
        """The flat position whose distorted pixel is this one, from OpenCV's answer on."""
        import cv2

        undistort = cv2.fisheye.undistortPoints if self.model == "fisheye" else cv2.undistortPoints
        flat = _finite(pixels, lambda p: undistort(p, self.k, self.distortion))
        for _ in range(_STEPS):
            flat = flat + (pixels - self._distorted(flat)) / self.k[[0, 1], [0, 1]]
        return flat

    def _distorted(self, flat: Floats) -> Floats:
        import cv2

        if self.model == "fisheye":
            return _finite(flat, lambda p: cv2.fisheye.distortPoints(p, self.k, self.distortion))
        none = np.zeros(3)
        return _finite(
            flat,
            lambda p: cv2.projectPoints(
                np.concatenate([p, np.ones_like(p[..., :1])], -1), none, none, self.k, self.distortion
            )[0],
        )


@dataclass(frozen=True)
class View:
    """The camera whose picture is disturbed: size of the recorded picture, and what is known of its geometry."""

    size: tuple[int, int]
    calibration: Calibration

    @property
    def lens(self) -> Lens:
        """The camera's geometry.

        Raises:
            CannotTell: the case does not know it.
        """
        known = self.calibration
        if known.intrinsics is None or known.camera_to_vehicle is None:
            lacking = "intrinsics" if known.intrinsics is None else "extrinsics"
            raise CannotTell(
                f"the case has no {lacking} of the camera",
                where="calibration",
                remedy="add them to case.toml, or leave perturbations of the geometry out",
            )
        if (known.width, known.height) != self.size:
            raise CannotTell(
                f"the calibration is for {known.width}x{known.height}, the picture is {self.size[0]}x{self.size[1]}",
                where="calibration",
                remedy="give the calibration of the recorded picture",
            )
        return Lens(known.intrinsics, known.distortion_model, known.distortion, known.camera_to_vehicle)


def _finite(points: Floats, change: Callable[[Any], Any]) -> Floats:
    """`change` of the points that are finite, as OpenCV wants them; NaN stays."""
    known = np.isfinite(points).all(axis=1)
    found = np.full_like(points, np.nan, dtype=np.float64)
    if known.any():
        found[known] = np.asarray(change(np.ascontiguousarray(points[known])[:, None])).reshape(-1, 2)
    return found
