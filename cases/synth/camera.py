"""A pinhole camera on the vehicle: no roll, no distortion, a fixed mount pitch and a pitch that vibrates.

Pixel centres have whole coordinates, u right and v down; the camera frame is OpenCV's (x right, y down, z forward);
the vehicle frame is x forward, y left, z up, its origin on the ground. Without roll every image row sees the ground at
one distance x, which is what lets the renderer work row by row.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["Camera", "GroundRows"]

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class GroundRows:
    """What each image row sees of flat ground, float64 [rows], from the row `first` of the picture down.

    x_m: distance ahead in the vehicle frame at the row's centre; range_m: distance along the optical axis, so that a
    lateral distance of 1 m spans fx / range_m pixels; far_m, near_m: x at the row's upper and lower edge.
    """

    first: int
    x_m: Floats
    range_m: Floats
    far_m: Floats
    near_m: Floats


@dataclass(frozen=True)
class Camera:
    """Pinhole intrinsics in pixels and mount in the vehicle frame.

    Attributes:
        width: pixels.
        height: pixels.
        focal_px: focal length, both axes.
        x_m: mount ahead of the vehicle's origin.
        y_m: mount left of it.
        z_m: height above ground.
        pitch_rad: mount pitch, nose down positive.
    """

    width: int = 640
    height: int = 360
    focal_px: float = 560.0
    x_m: float = 1.6
    y_m: float = 0.0
    z_m: float = 1.4
    pitch_rad: float = 0.03

    @classmethod
    def of_size(cls, size: tuple[int, int]) -> Camera:
        """The default camera with the same field of view at (width, height) pixels."""
        return cls(width=size[0], height=size[1], focal_px=560.0 * size[0] / 640)

    @property
    def center(self) -> tuple[float, float]:
        """Principal point (u, v), the middle of the picture."""
        return (self.width - 1) / 2, (self.height - 1) / 2

    @property
    def intrinsics(self) -> Floats:
        """K, float64 [3, 3], pixels."""
        u, v = self.center
        return np.array([[self.focal_px, 0, u], [0, self.focal_px, v], [0, 0, 1]])

    @property
    def extrinsics(self) -> Floats:
        """Vehicle from camera at the mount pitch, float64 [4, 4]: p_vehicle = E @ p_camera, metres."""
        cos, sin = np.cos(self.pitch_rad), np.sin(self.pitch_rad)
        return np.array([[0, -sin, cos, self.x_m], [-1, 0, 0, self.y_m], [0, -cos, -sin, self.z_m], [0, 0, 0, 1.0]])

    def project(self, points_m: ArrayLike, shake_rad: float = 0.0) -> Floats:
        """Pixels of vehicle-frame points.

        Args:
            points_m: [..., 3] metres.
            shake_rad: pitch on top of the mount's, nose down positive.

        Returns:
            [..., 2] (u, v); NaN for points less than 0.1 m in front of the camera.
        """
        right, down, forward = self._axes(np.asarray(points_m, np.float64), shake_rad)
        forward = np.where(forward < 0.1, np.nan, forward)
        u, v = self.center
        return np.stack([u + self.focal_px * right / forward, v + self.focal_px * down / forward], axis=-1)

    def horizon_row(self, shake_rad: float = 0.0) -> float:
        """Row v of points infinitely far ahead on the ground."""
        return float(self.center[1] - self.focal_px * np.tan(self.pitch_rad + shake_rad))

    def ground_rows(self, shake_rad: float = 0.0, farthest_m: float = 240.0) -> GroundRows:
        """The rows that see ground nearer than farthest_m."""
        edges = np.arange(self.height + 1) - 0.5
        x_edge = self._ground_x(edges, shake_rad)
        seen = np.flatnonzero((x_edge[:-1] > 0) & (x_edge[:-1] < farthest_m))
        first = int(seen[0]) if len(seen) else self.height
        rows = np.arange(first, self.height)
        x = self._ground_x(rows, shake_rad)
        pitch = self.pitch_rad + shake_rad
        range_m = (x - self.x_m) * np.cos(pitch) + self.z_m * np.sin(pitch)
        return GroundRows(first, x, range_m, x_edge[first:-1], x_edge[first + 1 :])

    def _ground_x(self, row: NDArray[np.generic], shake_rad: float) -> Floats:
        """x where the row's ray meets the ground; negative above the horizon."""
        pitch = self.pitch_rad + shake_rad
        below = pitch + np.arctan((row.astype(np.float64) - self.center[1]) / self.focal_px)
        with np.errstate(divide="ignore"):
            return np.where(below > 1e-9, self.x_m + self.z_m / np.tan(np.maximum(below, 1e-9)), -1.0)

    def _axes(self, points_m: Floats, shake_rad: float) -> tuple[Floats, Floats, Floats]:
        """Camera coordinates (right, down, forward) of vehicle-frame points."""
        pitch = self.pitch_rad + shake_rad
        ahead, left, up = points_m[..., 0] - self.x_m, points_m[..., 1] - self.y_m, points_m[..., 2] - self.z_m
        cos, sin = np.cos(pitch), np.sin(pitch)
        return -left, -ahead * sin - up * cos, ahead * cos - up * sin
