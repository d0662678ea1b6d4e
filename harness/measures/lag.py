"""Lag: by how many frames the candidate's lines follow the reference's.

A stale frame or a queue before the engine moves every line late by the same number of frames; nothing in a single frame
shows it while the road is straight. A delayed line is the reference's own line of some frames before, so the test is
how much of the difference between the two a delay explains, not how alike the two are: a smooth line is like itself a
few frames later whatever happened.

A delay is told where what it leaves of the difference is too little for chance (docs/decisions/0012). What else moves
a line is noise, white or correlated, or a slow disturbance that happens to look like a delay. The difference is
therefore whitened by its own autocorrelation first, and a disturbance slower than 1 Hz may have explained up to
1 - 10^(-3/T) of it in a clip of T seconds. Where no delay is told, zero is told if a delay of one frame would have
been; else the answer is NaN. And a delay is one of all lines and stations, or none.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["LONGEST_LAG", "NO_LAG", "LagLook", "agreed_lags", "look_for_lag"]

Floats = NDArray[np.float64]

LONGEST_LAG = 10
_FEWEST_OVERLAPPING = 20
_EXPLAINED = 0.5  # of the difference as it is
_MOST_LEFT = 0.7  # of the whitened difference, however long the clip
_CHANCE = 1e-3  # that a slow disturbance explains as much; it has two degrees of freedom a second
_ROUNDING = 4 * float(np.finfo(np.float32).eps)  # of a position: lines are float32, their stations lie between points
_GAIN_ERROR = 0.3  # a delayed line moves as far as the one it follows
_AGREEING, _WITHIN = 0.75, 0.5  # share of lines and stations that tell a lag within so many frames of their median


@dataclass(frozen=True, slots=True)
class LagLook:
    """What one line at one station tells of a lag.

    Attributes:
        lag: frames, positive where the candidate is late; 0 where it is not; NaN where it cannot be told.
        explained: share of the squared difference that each lag from -LONGEST_LAG to LONGEST_LAG explains; negative
            where it only adds to it, NaN where too few frames overlap.
    """

    lag: float
    explained: Floats


NO_LAG = LagLook(float("nan"), np.full(2 * LONGEST_LAG + 1, np.nan))
"""Of a line that tells none."""


def look_for_lag(
    candidate: NDArray[np.floating[Any]], reference: NDArray[np.floating[Any]], fps: float, floor: float
) -> LagLook:
    """The lag of one line at one station.

    Args:
        candidate: its own position, NaN where missing, [n].
        reference: as `candidate`, [n].
        fps: frames a second.
        floor: standard deviation of the reference below which nothing moves enough to tell.

    Returns:
        lag is refined below a frame by a parabola; NaN too where under 20 frames overlap or the reference stands still.

    Source: ours, docs/DESIGN.md section 4.
    """
    c, r = np.asarray(candidate, np.float64), np.asarray(reference, np.float64)
    c = _without_rounding(c, r)
    lags = np.arange(-LONGEST_LAG, LONGEST_LAG + 1)
    if (np.isfinite(c) & np.isfinite(r)).sum() < _FEWEST_OVERLAPPING:  # of crowds of short lines there are thousands
        return NO_LAG
    explained = _explained_by(lags, c, r)
    known = r[np.isfinite(r)]
    if len(known) < _FEWEST_OVERLAPPING or known.std() < floor or not np.isfinite(explained).any():
        return LagLook(float("nan"), explained)
    best = int(np.nanargmax(explained))
    refined = float(lags[best]) + _vertex(explained, best)
    for lag in (float(lags[best]), refined):
        if lags[best] and _is_told(*_differences(c, r, _delayed(r, lag)), fps):
            return LagLook(refined, explained)
    none = all(_is_told(*_differences(c, _delayed(r, k), r), fps) for k in (-1, 1))
    return LagLook(0.0 if none else float("nan"), explained)


def agreed_lags(looks: Sequence[LagLook]) -> list[float]:
    """The lags of all lines and stations of a case, as far as they agree.

    Returns:
        A lag stands where at least three in four agree with it within half a frame, of those that tell one or that it
        would leave further from the reference than they are; it is NaN for all others. Without such a lag, those that
        tell 0 keep it.
    """
    lags = np.array([look.lag for look in looks], np.float64)
    told = np.isfinite(lags)
    if not told.any():
        return [float("nan")] * len(lags)
    middle = float(np.median(lags[told]))
    agree = told & (np.abs(lags - middle) <= _WITHIN)
    worse = np.array([look.explained[LONGEST_LAG + round(middle)] < 0 for look in looks])
    against = (told & ~agree) | (~told & worse)
    seen = sum(np.isfinite(look.explained).any() for look in looks)
    if agree.sum() >= _AGREEING * (agree | against).sum() and agree.sum() >= min(2, seen):
        return [float(v) for v in np.where(agree, lags, np.nan)]
    return [float(v) for v in np.where(lags == 0, 0.0, np.nan)]


def _without_rounding(candidate: Floats, reference: Floats) -> Floats:
    """The candidate exactly a constant beside the reference, where only the rounding of the lines says otherwise."""
    difference = candidate - reference
    known = np.isfinite(difference)
    if not known.any():
        return candidate
    aside = float(np.median(difference[known]))
    rounding = _ROUNDING * float(np.abs(reference[known]).max())
    return (
        np.where(known, reference + aside, candidate)
        if np.abs(difference[known] - aside).max() <= rounding
        else candidate
    )


def _delayed(values: Floats, frames: float) -> Floats:
    """The values some frames later, between two frames on the straight line; NaN where there are none, [n]."""
    whole = int(np.floor(frames))
    part = frames - whole
    early, late = _moved(values, whole), _moved(values, whole + 1)
    return early if part == 0 else (1 - part) * early + part * late


def _moved(values: Floats, by: int) -> Floats:
    at = np.arange(len(values)) - by
    inside = (at >= 0) & (at < len(values))
    return np.where(inside, values[np.clip(at, 0, len(values) - 1)], np.nan)


def _differences(c: Floats, r: Floats, delayed: Floats) -> tuple[Floats, Floats]:
    """(candidate less `r`, `delayed` less `r`) on the frames that all three have, less their means, NaN elsewhere."""
    difference, template = c - r, delayed - r
    missing = ~(np.isfinite(difference) & np.isfinite(template))
    difference[missing] = template[missing] = np.nan
    if missing.sum() > len(c) - _FEWEST_OVERLAPPING:
        return np.full(len(c), np.nan), np.full(len(c), np.nan)
    return difference - np.nanmean(difference), template - np.nanmean(template)


def _explained_by(lags: NDArray[np.int64], c: Floats, r: Floats) -> Floats:
    """`_explained` of a delay of each of these frames, at once, [lags]."""
    at = np.arange(len(r)) - lags[:, None]
    template = np.where((at >= 0) & (at < len(r)), r[np.clip(at, 0, len(r) - 1)], np.nan) - r
    difference = np.broadcast_to(c - r, template.shape)
    seen = np.isfinite(difference) & np.isfinite(template)
    count = seen.sum(axis=1)
    difference, template = (_centred(x, seen, count) for x in (difference, template))
    whole, left = np.sum(difference**2, axis=1), np.sum((difference - template) ** 2, axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        share = np.where(whole > 0, 1 - left / whole, np.where(left > 0, -np.inf, 0.0))
    return np.where(count >= _FEWEST_OVERLAPPING, share, np.nan)


def _centred(values: Floats, seen: NDArray[np.bool_], count: NDArray[np.int64]) -> Floats:
    """Values less the mean of those that are seen, 0 for the others, [lags, n]."""
    kept = np.where(seen, values, 0.0)
    return np.where(seen, values - (kept.sum(axis=1) / np.maximum(count, 1))[:, None], 0.0)


def _explained(difference: Floats, template: Floats) -> float:
    """Share of the squared difference that is gone once the template is taken off it; NaN where nothing overlaps."""
    whole, left = np.nansum(difference**2), np.nansum((difference - template) ** 2)
    if not np.isfinite(difference).any():
        return float("nan")
    return float(1 - left / whole) if whole > 0 else -np.inf if left > 0 else 0.0


def _is_told(difference: Floats, template: Floats, fps: float) -> bool:
    """Whether the template is what the difference is made of, beyond chance."""
    if not (_explained(difference, template) > _EXPLAINED and fps > 0):
        return False
    power = np.nansum(template**2)
    left = difference - np.nansum(difference * template) / power * template
    weights = _autoregression(left)
    d, t = (_whitened(x, weights) for x in (difference, template))
    both = np.isfinite(d)
    if both.sum() < _FEWEST_OVERLAPPING:
        return False
    d, t = d[both] - d[both].mean(), t[both] - t[both].mean()
    gain = float(d @ t) / float(t @ t) if t @ t > 0 else 0.0
    seconds = both.sum() / fps
    allowed = min(_MOST_LEFT, _CHANCE ** (1 / seconds))
    return abs(gain - 1) <= _GAIN_ERROR and float((d - t) @ (d - t)) <= allowed * float(d @ d)


def _autoregression(values: Floats) -> Floats:
    """Weights of the two values before that predict each value best, [2]; zeros where nothing is left to predict."""
    now, before, earlier = values[2:], values[1:-1], values[:-2]
    complete = np.isfinite(now) & np.isfinite(before) & np.isfinite(earlier)
    past = np.stack([before[complete], earlier[complete]], axis=1)
    return np.asarray(np.linalg.lstsq(past, now[complete], rcond=None)[0], np.float64)


def _whitened(values: Floats, weights: Floats) -> Floats:
    """What the two values before do not predict, [n - 2]; NaN beside a gap."""
    return np.asarray(values[2:] - weights[0] * values[1:-1] - weights[1] * values[:-2])


def _vertex(values: Floats, at: int) -> float:
    """Where the parabola through a maximum and its neighbours peaks, in -0.5 .. 0.5; 0 at the ends."""
    if at in (0, len(values) - 1):
        return 0.0
    before, peak, after = values[at - 1 : at + 2]
    curve = before - 2 * peak + after
    return float(np.clip((before - after) / (2 * curve), -0.5, 0.5)) if np.isfinite(curve) and curve < 0 else 0.0
