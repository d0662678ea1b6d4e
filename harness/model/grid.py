"""Where lines are measured: bands of stations, and the look-ahead stations of the time series.

Vehicle frame: stations are x in metres, near 0-20, mid 20-40, far 40-80 by default, 17 each; look-ahead 10, 20, 40 m,
and beyond them the middle and the end of the far band, whose offsets are told as the offset at 40 m that asks a car for
the same curvature, 2 gap / L^2: a quarter at 80 m. So one limit holds for the far band.
Image frame: stations are rows v in pixels; the bands are thirds of the line rows, near at the bottom; look-ahead rows
are the middles of the three bands. Stations always run from near to far.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "STATIONS_PER_BAND",
    "FrameKind",
    "Grid",
    "Thresholds",
    "grid_from_json",
    "grid_to_json",
    "image_grid",
    "vehicle_grid",
]

STATIONS_PER_BAND = 17

FrameKind = Literal["vehicle", "image"]


@dataclass(frozen=True, slots=True)
class Thresholds:
    """Lengths that measures need (docs/DESIGN.md section 4), in the grid's unit; per band from near to far.

    Attributes:
        kink_length: over which a kink is measured.
        swing: hysteresis of the swing detector.
        match_gate: lines farther apart are not matched.
    """

    kink_length: tuple[float, float, float]
    swing: float
    match_gate: float


@dataclass(frozen=True)
class Grid:
    """Stations of one model.

    Attributes:
        frame: vehicle or image.
        unit: `m` or `px`, the unit of stations and offsets.
        edges: (start, end) of near, mid and far along the station axis, from near to far (rows fall in the image).
        look_ahead: stations of the time series, near to far, one a band.
        beyond: further ones of the far band.
        height: image height in pixels (0 in the vehicle frame); percentages of DESIGN refer to it.
        width: image width in pixels (0 in the vehicle frame).
        thresholds: lengths that measures need.
    """

    frame: FrameKind
    unit: str
    edges: tuple[tuple[float, float], tuple[float, float], tuple[float, float]]
    look_ahead: tuple[float, float, float]
    thresholds: Thresholds
    beyond: tuple[float, ...] = ()
    height: float = 0.0
    width: float = 0.0

    @property
    def size_px(self) -> tuple[float, float]:
        """Width and height of the image, 0 in the vehicle frame."""
        return self.width, self.height

    @property
    def series_stations(self) -> tuple[float, ...]:
        """All stations of the time series, near to far."""
        return (*self.look_ahead, *self.beyond)

    def series_stations_of(self, bands: Collection[int]) -> tuple[float, ...]:
        """Those of some bands, 0 near to 2 far."""
        return tuple(s for k, s in enumerate(self.series_stations) if min(k, 2) in bands)

    @cached_property
    def series_scale(self) -> NDArray[np.float64]:
        """What positions at `series_stations` are divided by, [stations]: 1, beyond the look-ahead (x / its)^2."""
        return np.array([1.0] * 3 + [(x / self.look_ahead[2]) ** 2 for x in self.beyond])

    @cached_property
    def stations(self) -> NDArray[np.float64]:
        """All band stations, float64 [3, STATIONS_PER_BAND], near to far."""
        return np.stack([np.linspace(a, b, STATIONS_PER_BAND) for a, b in self.edges])


def vehicle_grid(
    edges: tuple[tuple[float, float], tuple[float, float], tuple[float, float]] = ((0, 20), (20, 40), (40, 80)),
    look_ahead: tuple[float, float, float] = (10, 20, 40),
) -> Grid:
    """Metres in the vehicle frame."""
    thresholds = Thresholds((4, 8, 16), 0.25, 1.5)
    beyond = tuple(float(x) for x in (sum(edges[2]) / 2, edges[2][1]) if x > look_ahead[2])
    return Grid("vehicle", "m", edges, look_ahead, thresholds, beyond)


def image_grid(width: float, height: float, rows: tuple[float, float]) -> Grid:
    """Pixels in the image frame; rows = (near, far), the bottom and the top row that lines use, near > far."""
    near, far = rows
    third = (far - near) / 3
    edges = ((near, near + third), (near + third, near + 2 * third), (near + 2 * third, far))
    look = (near + third / 2, near + 1.5 * third, near + 2.5 * third)
    thresholds = Thresholds((0.08 * height,) * 3, 0.00875 * height, 0.03 * width)
    return Grid("image", "px", edges, look, thresholds, height=height, width=width)


def grid_to_json(grid: Grid) -> dict[str, Any]:
    """A grid as run.json keeps it: lists where it has tuples."""
    raw: dict[str, Any] = json.loads(json.dumps(asdict(grid)))
    return raw


def grid_from_json(raw: Mapping[str, Any]) -> Grid:
    """The grid that `grid_to_json` wrote."""
    thresholds: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in raw["thresholds"].items()}
    near, mid, far = (tuple(edge) for edge in raw["edges"])
    rest = {k: raw[k] for k in ("frame", "unit", "height", "width")} | {"beyond": tuple(raw.get("beyond", ()))}
    return Grid(
        edges=(near, mid, far), look_ahead=tuple(raw["look_ahead"]), thresholds=Thresholds(**thresholds), **rest
    )
