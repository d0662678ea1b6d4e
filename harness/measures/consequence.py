"""Consequence: what the difference of two rungs' lines would do to a car that follows the ego lane.

The ego lane lies between the nearest line on the left and the nearest on the right of the reference, at the first
look-ahead; its centre is their mean. With d_l and d_r the offsets of the two lines, the candidate's centre is
(d_l + d_r) / 2 aside of the reference's, and its lane d_l - d_r wider. A car that steers by pure pursuit towards the
centre at distance L drives the curvature 2 y / L^2 (small angles), so the candidate asks for 2 gap / L^2 more. L is the
way of one second, within the look-ahead stations.

At speed v that is a lateral acceleration v^2 dk, low-passed as UN R79 has it measured (fourth-order Butterworth of
0.5 Hz, here without phase), and a lateral jerk, as a moving average over half a second.

Source: pure pursuit, Coulter, CMU-RI-TR-92-01 (1992); the filters of UN Regulation 79, whose limits of 3 m/s^2 and
5 m/s^3 are for whole vehicles.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import astuple, dataclass

import numpy as np
from numpy.typing import NDArray

from harness.measures.series import TrackSeries, fill_short_gaps
from harness.measures.spectrum import butterworth_gain
from harness.measures.windows import runs_of

__all__ = ["Consequence", "LaneGap", "consequence", "lane_gap"]

Floats = NDArray[np.float64]

PREVIEW_S = 1.0
LOW_PASS_HZ = 0.5
JERK_S = 0.5
MIN_STRETCH_S = 2.0  # a period of the filter's cutoff
_GAP_S = 0.2
_MAX_HALF_WIDTH_M = 4.0  # a line farther aside bounds no ego lane


LOOK_AHEADS = 3  # those of the bands; further ones are no way that a car steers by


@dataclass(frozen=True, slots=True)
class LaneGap:
    """How the candidate's ego lane differs from the reference's, on the case's time axis, NaN where it has none.

    Attributes:
        centre: of the lane, candidate minus reference at the look-ahead stations, left positive, [steps, stations].
        width: likewise, positive where the candidate's lane is wider.
    """

    centre: Floats
    width: Floats


@dataclass(frozen=True, slots=True)
class Consequence:
    """The largest of a case, absolute; NaN where nothing was long enough to tell, or the speed is not known.

    Attributes:
        frames: frames in which both rungs have the ego lane.
        lane_centre: m. lane_width: m. curvature_demand: 1/m. lateral_accel: m/s^2. lateral_jerk: m/s^3.
    """

    frames: int
    lane_centre: float
    lane_width: float
    curvature_demand: float
    lateral_accel: float
    lateral_jerk: float

    def with_later(self, other: Consequence) -> Consequence:
        """Of both sections of a case."""
        frames, *largest = astuple(self)
        more, *others = astuple(other)
        return Consequence(frames + more, *np.fmax(largest, others).tolist())


def lane_gap(tracks: Iterable[TrackSeries], steps: int) -> LaneGap:
    """The ego lane of every step; only two lines are held at a time.

    Args:
        tracks: of the case.
        steps: of the case's time axis.
    """
    best = np.full((2, steps), np.inf)
    offset: Floats | None = None
    for series in tracks:
        if offset is None:
            offset = np.full((2, steps, LOOK_AHEADS), np.nan)
        rows = np.arange(series.start, series.start + len(series.frame))
        aside = series.reference[:, 0].astype(np.float64)
        for side, away in enumerate((aside, -aside)):
            nearer = (away > 0) & (away <= _MAX_HALF_WIDTH_M) & (away < best[side, rows])
            best[side, rows[nearer]] = away[nearer]
            offset[side, rows[nearer]] = series.offset[nearer, :LOOK_AHEADS]
    left, right = np.full((2, steps, 1), np.nan) if offset is None else offset
    return LaneGap((left + right) / 2, left - right)


def consequence(
    gap: LaneGap, look_ahead_m: tuple[float, ...], speed_mps: Floats, fps: float, fresh: int = 0
) -> Consequence:
    """What the gap asks of a car.

    Args:
        gap: of every step.
        look_ahead_m: of its stations, ascending.
        speed_mps: of every step, NaN where unknown.
        fps: steps a second.
        fresh: steps before it were counted before.
    """
    known = np.isfinite(speed_mps)
    preview = np.clip(np.where(known, speed_mps, look_ahead_m[1]) * PREVIEW_S, look_ahead_m[0], look_ahead_m[-1])
    aside, wider = (_at(values, np.asarray(look_ahead_m), preview) for values in (gap.centre, gap.width))
    demand = 2 * aside / preview**2
    accel, jerk = _felt(np.where(known, demand * speed_mps**2, np.nan), fps)
    return Consequence(
        int(np.isfinite(aside[fresh:]).sum()), _largest(aside), _largest(wider), _largest(demand), accel, jerk
    )  # fmt: skip


def _felt(accel: Floats, fps: float) -> tuple[float, float]:
    """Largest low-passed lateral acceleration and largest averaged jerk over the stretches without a gap."""
    if not fps > 2 * LOW_PASS_HZ:
        return float("nan"), float("nan")
    whole = fill_short_gaps(accel, round(_GAP_S * fps))
    lag = max(1, round(JERK_S * fps))
    accels, jerks = [], []
    for start, stop in zip(*runs_of(np.isfinite(whole)), strict=True):
        if stop - start >= MIN_STRETCH_S * fps:
            part = whole[start:stop]
            accels.append(_largest(_filtered(part, fps)))
            jerks.append(_largest((part[lag:] - part[:-lag]) * fps / lag))
    return max(accels, default=float("nan")), max(jerks, default=float("nan"))


def _filtered(values: Floats, fps: float) -> Floats:
    """The magnitude of one pass of a fourth-order Butterworth low-pass, without phase."""
    from scipy.fft import dct, idct

    frequency_hz = np.arange(len(values)) * fps / (2 * len(values))
    both = butterworth_gain(frequency_hz, fps, LOW_PASS_HZ)  # 1 / (1 + r^4)
    gain = 1 / np.sqrt(1 + (1 / np.maximum(both, 1e-12) - 1) ** 2)  # 1 / sqrt(1 + r^8)
    return np.asarray(idct(dct(values, norm="ortho") * gain, norm="ortho"))


def _at(values: Floats, stations: Floats, places: Floats) -> Floats:
    """Values [steps, stations] at one place a step, linear between stations."""
    if values.shape[1] != len(stations):
        return np.full(len(values), np.nan)
    low = np.clip(np.searchsorted(stations, places, side="right") - 1, 0, len(stations) - 2)
    share = (places - stations[low]) / (stations[low + 1] - stations[low])
    row = np.arange(len(values))
    near, far = values[row, low], values[row, low + 1]
    return np.where(share == 0, near, np.where(share == 1, far, near + share * (far - near)))


def _largest(values: Floats) -> float:
    known = np.abs(values[np.isfinite(values)])
    return float(known.max()) if len(known) else float("nan")
