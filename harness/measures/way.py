"""The way of the car through a case, from its pose, or integrated from its speed and yaw rate."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
import polars as pl
from numpy.typing import NDArray

from cases.columns import parked

__all__ = ["Way"]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Way:
    """Where the car was at every moment, in a frame of its own; NaN where nothing is known. Long columns lie in a file.

    Attributes:
        time_s, x_m, y_m, yaw_rad: of every moment, [moments].
        distance_m: driven since the first known moment.
    """

    time_s: Floats
    x_m: Floats
    y_m: Floats
    yaw_rad: Floats
    distance_m: Floats

    @classmethod
    def of(cls, moments: pl.DataFrame) -> Self | None:
        """The way that the ego columns of frames.parquet tell: pose where it is whole, else speed and yaw rate.

        Args:
            moments: timestamp_ns and the ego columns there are, one row a moment.

        Returns:
            None where the car's motion is not known.
        """
        if not set(_COLUMNS) & set(moments.columns):
            return None
        time_s = (moments["timestamp_ns"].to_numpy() - moments["timestamp_ns"][0]) / 1e9
        known = {c: moments[c].cast(pl.Float64).fill_null(np.nan).to_numpy() for c in _COLUMNS if c in moments.columns}
        x, y, yaw, speed, rate = (known.get(c, np.full(len(time_s), np.nan)) for c in _COLUMNS)
        if not np.isfinite(x + y + yaw).any():
            heading = yaw if np.isfinite(yaw).all() else _integrated(rate, time_s)
            x, y, yaw = (
                _integrated(speed * np.cos(heading), time_s),
                _integrated(speed * np.sin(heading), time_s),
                heading,
            )
        has = np.isfinite(x + y + yaw)
        if has.sum() < 2:
            return None
        at = np.flatnonzero(has)
        driven = np.full(len(x), np.nan)
        driven[at] = np.concatenate([[0.0], np.cumsum(np.hypot(np.diff(x[at]), np.diff(y[at])))])
        return cls(*map(parked, (time_s, x, y, yaw, driven)))

    def delayed(self, seconds: float) -> Way:
        """Where the car was that long before each moment; nothing is known of before the first."""
        if seconds == 0:
            return self
        known = np.flatnonzero(np.isfinite(self.distance_m))
        at, asked = self.time_s[known], self.time_s - seconds
        columns = (self.x_m, self.y_m, np.unwrap(self.yaw_rad[known]), self.distance_m)
        x, y, yaw, driven = (
            np.interp(asked, at, c if len(c) == len(known) else c[known], np.nan, np.nan) for c in columns
        )
        return Way(self.time_s, *map(parked, (x, y, yaw, driven)))

    def between(self, then: Ints, now: Ints) -> tuple[Floats, Floats, Floats]:
        """Where the car is at `now` in its own frame of `then`: metres forward, metres left, radians turned left."""
        dx, dy = self.x_m[now] - self.x_m[then], self.y_m[now] - self.y_m[then]
        cos, sin = np.cos(self.yaw_rad[then]), np.sin(self.yaw_rad[then])
        turn = self.yaw_rad[now] - self.yaw_rad[then]
        return cos * dx + sin * dy, cos * dy - sin * dx, np.arctan2(np.sin(turn), np.cos(turn))


_COLUMNS = ("x_m", "y_m", "yaw_rad", "speed_mps", "yaw_rate_radps")


def _integrated(rate: Floats, time_s: Floats) -> Floats:
    """The integral by the trapezoidal rule, from 0; NaN from the first unknown value on."""
    return np.concatenate([[0.0 * rate[0]], np.cumsum((rate[1:] + rate[:-1]) / 2 * np.diff(time_s))])
