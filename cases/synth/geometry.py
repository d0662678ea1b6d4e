"""The road's shape: curvature that changes linearly with arc length, so the road is made of clothoids.

`Road` integrates curvature once into a fine table; everything else reads it. `RoadView` is the road as one vehicle
sees it: the reference curve in the vehicle frame (x forward, y left, metres), from which every line parallel to the
road follows exactly, because a clothoid's parallel is its point plus the lateral offset along the normal.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["TABLE_STEP_M", "Pose", "Road", "RoadView"]

TABLE_STEP_M = 0.25  # chord error of linear interpolation at radius 200 m: 4e-5 m

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Pose:
    """Place on the world plane: metres, and heading in radians, counter-clockwise from world x."""

    x_m: float
    y_m: float
    yaw_rad: float


@dataclass(frozen=True)
class Road:
    """Reference curve by arc length s, a table at TABLE_STEP_M; built by `Road.from_knots`.

    Attributes:
        s_m: arc length, float64 [table], increasing evenly.
        curvature_per_m: curvature, left positive, float64 [table].
        heading_rad: heading in the world, float64 [table].
        x_m: world x, float64 [table].
        y_m: world y, float64 [table].
    """

    s_m: Floats
    curvature_per_m: Floats
    heading_rad: Floats
    x_m: Floats
    y_m: Floats

    @classmethod
    def from_knots(cls, knot_s_m: ArrayLike, knot_curvature_per_m: ArrayLike) -> Road:
        """Integrate a curvature that is linear between knots; the first knot lies at the world's origin, heading 0."""
        knots = np.asarray(knot_s_m, np.float64)
        s = np.arange(knots[0], knots[-1] + TABLE_STEP_M / 2, TABLE_STEP_M)
        curvature = np.interp(s, knots, np.asarray(knot_curvature_per_m, np.float64))
        heading = _running_integral(curvature)
        return cls(s, curvature, heading, _running_integral(np.cos(heading)), _running_integral(np.sin(heading)))

    def pose(self, s_m: float, lateral_m: float = 0.0, yaw_rad: float = 0.0) -> Pose:
        """World pose of something at arc length s, lateral_m left of the reference, yaw_rad relative to the road."""
        heading = float(np.interp(s_m, self.s_m, self.heading_rad))
        x = float(np.interp(s_m, self.s_m, self.x_m)) - lateral_m * np.sin(heading)
        y = float(np.interp(s_m, self.s_m, self.y_m)) + lateral_m * np.cos(heading)
        return Pose(float(x), float(y), heading + yaw_rad)

    def curvature(self, s_m: float) -> float:
        """Curvature at arc length s, 1/m, left positive."""
        return float(np.interp(s_m, self.s_m, self.curvature_per_m))

    def seen_from(self, pose: Pose, s_m: float, behind_m: float = 20.0, ahead_m: float = 260.0) -> RoadView:
        """The stretch around s in the frame of a vehicle at `pose`, cut where the road turns 70 degrees away."""
        near = np.searchsorted(self.s_m, [s_m - behind_m, s_m, s_m + ahead_m])
        turn = np.abs(self.heading_rad[near[1] : near[2]] - pose.yaw_rad)
        away = np.flatnonzero(turn > np.deg2rad(70))
        stretch = slice(int(near[0]), int(near[1] + away[0] if len(away) else near[2]))
        dx, dy = self.x_m[stretch] - pose.x_m, self.y_m[stretch] - pose.y_m
        cos, sin = np.cos(pose.yaw_rad), np.sin(pose.yaw_rad)
        return RoadView(
            self.s_m[stretch], dx * cos + dy * sin, dy * cos - dx * sin, self.heading_rad[stretch] - pose.yaw_rad
        )


@dataclass(frozen=True)
class RoadView:
    """The reference curve in the vehicle frame, float64 [samples] each, near to far."""

    s_m: Floats
    x_m: Floats
    y_m: Floats
    heading_rad: Floats

    def parallel(self, lateral_m: float | Floats) -> tuple[Floats, Floats]:
        """(x, y) of the curve lateral_m left of the reference, [samples] each; for a line that tapers [samples]."""
        return self.x_m - lateral_m * np.sin(self.heading_rad), self.y_m + lateral_m * np.cos(self.heading_rad)

    def parallel_at(self, lateral_m: float | Floats, x_m: Floats) -> tuple[Floats, Floats]:
        """(y, s) of that parallel where it crosses the given x; NaN beyond the view's ends."""
        along, across = self.parallel(lateral_m)
        y = np.interp(x_m, along, across, left=np.nan, right=np.nan)
        return y, np.interp(x_m, along, self.s_m, left=np.nan, right=np.nan)

    def point(self, s_m: float, lateral_m: float) -> tuple[float, float, float]:
        """(x, y, heading) of a point given by arc length and lateral offset; clamped to the view's ends."""
        heading = float(np.interp(s_m, self.s_m, self.heading_rad))
        x = float(np.interp(s_m, self.s_m, self.x_m)) - lateral_m * np.sin(heading)
        y = float(np.interp(s_m, self.s_m, self.y_m)) + lateral_m * np.cos(heading)
        return float(x), float(y), heading


def _running_integral(rate: Floats) -> Floats:
    """Trapezoidal integral from the first sample on, same length; its error at radius 200 m is below 1e-5 m in 1 km."""
    return np.concatenate([[0.0], np.cumsum((rate[1:] + rate[:-1]) * (TABLE_STEP_M / 2))])
