"""Where lines are measured: bands of stations, and the look-ahead stations of the time series.

Vehicle frame: stations are x in metres, near 0-20, mid 20-40, far 40-80 by default, 17 each; look-ahead in the middle
of near and where mid and far begin, 10, 20, 40 m by default, and beyond them the middle and the end of the far band,
whose offsets are told as the offset at its beginning that asks a car for the same curvature, 2 gap / L^2: a quarter at
80 m. So one limit holds for the far band.
Image frame: stations are rows v in pixels, near at the bottom; look-ahead rows are the middles of the three bands.
Where the vanishing row is known, bands end at the rows of 20, 40 and 80 m on a flat road, and thresholds are so many
pixels as their metres have there; else bands are thirds of the line rows, and a pixel is no length. Stations always run
from near to far.
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
    "RoadCamera",
    "Thresholds",
    "grid_from_json",
    "grid_to_json",
    "image_grid",
    "vehicle_grid",
]

STATIONS_PER_BAND = 17
SWING_M, GATE_M = 0.25, 1.5
BAND_ENDS_M, BANDS_M = (20.0, 40.0, 80.0), (20.0, 20.0, 40.0)
KINK_M = (4.0, 8.0, 16.0)

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
    swing: tuple[float, float, float]
    match_gate: float


@dataclass(frozen=True, slots=True)
class RoadCamera:
    """What lays rows on a flat road: row where straight lines meet, focal length in pixels, height in metres."""

    vanishing_row: float
    focal_px: float
    height_m: float

    def row(self, ahead_m: float) -> float:
        """Row of the road so far ahead."""
        return self.vanishing_row + self.focal_px * self.height_m / ahead_m

    def px_per_m(self, row: float) -> float:
        """Pixels of a metre across the road at a row."""
        return (row - self.vanishing_row) / self.height_m


@dataclass(frozen=True)
class Grid:
    """Stations of one model.

    Attributes:
        frame: vehicle or image.
        unit: `m` or `px`, the unit of stations and offsets.
        edges: (start, end) of near, mid and far along the station axis, from near to far (rows fall in the image).
        look_ahead: stations of the time series, near to far, one a band.
        beyond: further ones of the far band.
        px_per_m: image frame with a known vanishing row: pixels of a metre across, in the middle of each band.
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
    px_per_m: tuple[float, float, float] | None = None
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

    @cached_property
    def bands_with_kink(self) -> tuple[bool, bool, bool]:
        """Which bands have a station with the length of a kink on both sides, inside the outermost stations."""
        low, high = self.stations.min() - 1e-9, self.stations.max() + 1e-9
        near, mid, far = (
            bool(((band - length >= low) & (band + length <= high)).any())
            for band, length in zip(self.stations, self.thresholds.kink_length, strict=True)
        )
        return near, mid, far


def vehicle_grid(
    edges: tuple[tuple[float, float], tuple[float, float], tuple[float, float]] = ((0, 20), (20, 40), (40, 80)),
    look_ahead: tuple[float, float, float] | None = None,
) -> Grid:
    """Metres in the vehicle frame.

    Args:
        edges: of the bands.
        look_ahead: stations of the time series; None: the middle of near and where mid and far begin, which is 10, 20
            and 40 m for the default bands.
    """
    near, mid, far = edges
    look_ahead = look_ahead or (sum(near) / 2, mid[0], far[0])
    thresholds = Thresholds(KINK_M, (SWING_M,) * 3, GATE_M)
    beyond = tuple(float(x) for x in (sum(edges[2]) / 2, edges[2][1]) if x > look_ahead[2])
    return Grid("vehicle", "m", edges, look_ahead, thresholds, beyond)


def image_grid(width: float, height: float, rows: tuple[float, float], camera: RoadCamera | None = None) -> Grid:
    """Pixels in the image frame.

    Args:
        width, height: of the image.
        rows: (near, far), the bottom and the top row that lines use, near > far.
        camera: where rows lie on the road; with it the far row follows from the distances.
    """
    near, far = rows
    ends = [near, near + (far - near) / 3, near + 2 * (far - near) / 3, far]
    if camera is not None:
        nearest_m = camera.focal_px * camera.height_m / (near - camera.vanishing_row)
        ends = [near, *(camera.row(x * max(1.0, nearest_m / 10)) for x in BAND_ENDS_M)]
    edges = ((ends[0], ends[1]), (ends[1], ends[2]), (ends[2], ends[3]))
    look = ((ends[0] + ends[1]) / 2, (ends[1] + ends[2]) / 2, (ends[2] + ends[3]) / 2)
    kink = (0.08 * height,) * 3
    if camera is None:
        thresholds = Thresholds(kink, (0.00875 * height,) * 3, 0.03 * width)
        return Grid("image", "px", edges, look, thresholds, height=height, width=width)
    per_m = camera.px_per_m(look[0]), camera.px_per_m(look[1]), camera.px_per_m(look[2])
    swing = SWING_M * per_m[0], SWING_M * per_m[1], SWING_M * per_m[2]
    thresholds = Thresholds(kink, swing, GATE_M * per_m[0])
    return Grid("image", "px", edges, look, thresholds, height=height, width=width, px_per_m=per_m)


def grid_to_json(grid: Grid) -> dict[str, Any]:
    """A grid as run.json keeps it: lists where it has tuples."""
    raw: dict[str, Any] = json.loads(json.dumps(asdict(grid)))
    return raw


def grid_from_json(raw: Mapping[str, Any]) -> Grid:
    """The grid that `grid_to_json` wrote."""
    thresholds: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in raw["thresholds"].items()}
    near, mid, far = (tuple(edge) for edge in raw["edges"])
    rest = {k: raw[k] for k in ("frame", "unit", "height", "width")} | {"beyond": tuple(raw["beyond"])}
    rest["px_per_m"] = None if raw["px_per_m"] is None else tuple(raw["px_per_m"])
    return Grid(
        edges=(near, mid, far), look_ahead=tuple(raw["look_ahead"]), thresholds=Thresholds(**thresholds), **rest
    )
