"""Open lines that do not run along the road: stop lines, crossing edges, the last part of a sharp turn.

They have no stations of the grid. Seventeen stations are spread evenly along the reference, walked from left to right,
and d is measured along the reference's normal: positive is to the left of the walk, that is farther from the car. All
17 belong to the one band in which the middle of the reference lies, so that the band's thresholds apply; the other two
bands have no coverage. Such a line is too short for most kinks: kink is NaN below a length of twice L.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from harness.lines.table import LineTable
from harness.measures.band import MIN_COVERAGE, band_columns, coverage
from harness.measures.bend import bend, bend_rms
from harness.measures.chamfer import even_points, outlines
from harness.measures.curvature import curvature_gap
from harness.measures.fit import fit_bands
from harness.measures.kink import kink_evenly
from harness.measures.offset import heading, offset_max, offset_mean
from harness.measures.stations import forward_of
from harness.model.grid import Grid

__all__ = ["cross_metrics", "normal_offset"]

Floats = NDArray[np.float64]


def cross_metrics(reference: LineTable, candidate: LineTable, grid: Grid) -> dict[str, Floats]:
    """The columns of `band_metrics`, float64 [pairs, 3], for lines across the road; NaN where one has no meaning there.

    Args:
        reference, candidate: as many open lines each; line i is compared with line i.
        grid: frame, bands and lengths.
    """
    stations = grid.stations.shape[1]
    offset, length, middle = normal_offset(reference, candidate, grid, stations)
    band = _band_of(middle, grid)
    fit = fit_bands(offset)
    share = coverage(fit.count, stations, stations)
    some_length = np.where(length > 0, length, np.nan)
    values = {
        "offset_mean": offset_mean(fit),
        "offset_max": offset_max(offset),
        "heading": heading(fit, some_length),
        "bend": bend(fit),
        "bend_rms": bend_rms(fit),
        "kink": kink_evenly(offset, some_length / (stations - 1), np.array(grid.thresholds.kink_length)[band]),
        "curvature_gap": curvature_gap(fit, some_length),
    }
    result = {name: np.full((len(reference), len(grid.edges)), np.nan) for name in band_columns()}
    row = np.flatnonzero(length > 0)
    result["coverage"][row, band[row]] = share[row]
    row = row[share[row] >= MIN_COVERAGE]
    for name, value in values.items():
        result[name][row, band[row]] = value[row]
    return result


def normal_offset(
    reference: LineTable, candidate: LineTable, grid: Grid, stations: int
) -> tuple[Floats, Floats, Floats]:
    """Distance to the candidate along the reference's normals.

    Returns:
        (offset [pairs, stations], positive to the left of the reference walked from left to right, NaN where no normal
        meets the candidate; length of the reference [pairs]; how far forward its middle is [pairs]).
    """
    walk = _walked_rightwards(_turned(outlines(reference), grid))
    points = even_points(walk, np.linspace(0, 1, stations))
    edge = np.diff(walk, axis=1)
    length = np.hypot(edge[..., 0], edge[..., 1]).sum(axis=1)
    tangent = _tangents(points)
    normal = np.stack([-tangent[..., 1], tangent[..., 0]], axis=-1)
    return _met(points, normal, _turned(outlines(candidate), grid)), length, points[..., 0].mean(axis=1)


def _turned(corners: Floats, grid: Grid) -> Floats:
    """Corners as (forward, left): (x, y), or (-v, -u)."""
    return corners if grid.frame == "vehicle" else -corners[..., ::-1]


def _walked_rightwards(corners: Floats) -> Floats:
    """Corners from the left end to the right one; repeated last corners become repeated first ones."""
    leftwards = corners[:, -1, 1] > corners[:, 0, 1]
    return np.where(leftwards[:, None, None], corners[:, ::-1], corners)


def _tangents(points: Floats) -> Floats:
    """Unit tangents at evenly spaced points, [pairs, stations, 2], from the two neighbours of each.

    Where a line doubles back the neighbours coincide: there the step to the next point counts.
    """
    tangent = np.gradient(points, axis=1)
    step = np.diff(points, axis=1, append=points[:, -1:])
    turning = np.hypot(tangent[..., 0], tangent[..., 1]) < 1e-6 * np.hypot(step[..., 0], step[..., 1])
    tangent = np.where(turning[..., None], step, tangent)
    with np.errstate(invalid="ignore", divide="ignore"):
        unit: Floats = tangent / np.hypot(tangent[..., 0], tangent[..., 1])[..., None]
    return unit


def _met(points: Floats, normal: Floats, corners: Floats) -> Floats:
    """Signed distance from each point along its normal to the nearest place where that meets the outline."""
    begin, edge = corners[:, None, :-1, :], np.diff(corners, axis=1)[:, None]
    away = begin - points[:, :, None, :]
    normal = normal[:, :, None, :]
    with np.errstate(invalid="ignore", divide="ignore"):
        across = _cross(normal, edge)
        along = _cross(away, normal) / across
        distance = np.where((along >= -1e-9) & (along <= 1 + 1e-9), _cross(away, edge) / across, np.nan)
    distance = np.where(np.isfinite(distance), distance, np.inf)
    nearest = np.take_along_axis(distance, np.abs(distance).argmin(axis=-1)[..., None], axis=-1)[..., 0]
    return np.where(np.isfinite(nearest), nearest, np.nan)


def _cross(a: Floats, b: Floats) -> Floats:
    product: Floats = a[..., 0] * b[..., 1] - a[..., 1] * b[..., 0]
    return product


def _band_of(forward: Floats, grid: Grid) -> NDArray[np.intp]:
    """The band in which a place lies, else the nearest one."""
    edges = forward_of(np.array(grid.edges), grid.frame)
    beyond = np.maximum(edges[:, 0] - forward[:, None], forward[:, None] - edges[:, 1])
    band: NDArray[np.intp] = np.where(np.isfinite(beyond), np.maximum(beyond, 0), np.inf).argmin(axis=1)
    return band
