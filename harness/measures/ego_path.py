"""Ego-path consistency: what the ego lane's lines said at 40 m against what they say at 20 m when the car is there.

No ground truth is needed, only the car's own way. At a moment t' the line on the left is at (20 m, y'). Some 20 m
earlier, at t, that point was at (X, Y), X about 40 m; a network that sees the road drew the same line through it. The
error is its distance there, up to the match gate; a line that only one of the moments has counts the gate, so that
dropping lines is no gain. Lines are followed from t to t' by their tracks.

A network that draws the same lines on every road is as far off as the car's way varies: its best constant lines have
the error |s - median(s)|, s being how far to the side the car's way takes a point from t to t'. Skill is 1 - error /
that. It is told only where the way varies by MIN_CONSTANT_M or more: one steady curve, or a straight way, tells
nothing.

A camera that pitches by d scales a line at x by x d / h: 0.25 degrees move a perfect line by 0.22 m at 40 m. Both lines
of the lane move in proportion to u = y - x dy/dx; the likeliest pitch of a pair of moments is taken out. The
median of all errors is taken out too: it is the mounting of the camera or of the yaw sensor, not what a network saw.

Lines that are late (a stale picture, lines averaged over the last second) were right when they were true: held against
the way as it was some time ago, most of their error is gone. `lag_s` is the delay with the smallest error, where that
takes a quarter of the error or more.

Source: ours; docs/metrics.md has the simulation.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harness.measures.way import Way
from harness.model.grid import Grid

__all__ = ["DELAYS_S", "EgoPath", "Steps", "steps_of"]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

BACK_M = 20.0  # how far the car drives between the two looks
SPACING_M = 2.5  # of looks
SLOWEST_S = 4.0  # a car that takes longer for BACK_M is let be: what drives in front of it hides the road
SHARPEST_RAD = 0.25  # turned over BACK_M: in a bend of less than 80 m radius the road 40 m ahead is not in view
MIN_WAY_M = 60.0  # of looks
MIN_CONSTANT_M = 0.3  # mean error of the best constant lines: twice that of an honest network, else noise decides
HALF_WIDTH_M = 4.0  # a line farther aside bounds no ego lane
PITCH = 0.12  # x d / h: a quarter of a degree at 40 m
NOISE_M = 0.1  # that lines have of their own
NOT_SEEN_M = 0.5  # that both lines of a lane share
BINS = 300
DELAYS_S = (0.0, 0.1, 0.2, 0.35, 0.5, 0.75, 1.0)
LATE = 0.75  # of the error: less is left where lines are late


@dataclass(frozen=True, slots=True)
class Steps:
    """Pairs of moments of a case, [pairs]: `then` and `now` are positions in its frames.

    Attributes:
        then, now: the two moments.
        forward_m, left_m, turn_rad: where the car is at `now`, seen from `then`.
        constant_m: mean error of the best constant lines; NaN where the way tells nothing.
    """

    then: Ints
    now: Ints
    forward_m: Floats
    left_m: Floats
    turn_rad: Floats
    constant_m: float


def steps_of(way: Way, grid: Grid) -> tuple[Steps, ...]:
    """The pairs of moments at which a case is asked, for the way and for the way as it was DELAYS_S ago.

    Args:
        way: of the car.
        grid: stations in metres.
    """
    return tuple(_steps(way.delayed(delay_s), grid) for delay_s in DELAYS_S)


def _steps(way: Way, grid: Grid) -> Steps:
    ahead, gate = grid.look_ahead[1], grid.thresholds.match_gate
    then, now = _looks(way)
    seen = np.abs(way.between(then, now)[2]) <= SHARPEST_RAD
    then, now = then[seen], now[seen]
    forward, left, turn = way.between(then, now)
    aside = left + ahead * np.sin(turn)
    off = np.minimum(np.abs(aside - np.median(aside)), gate) if len(aside) else aside
    tells = len(now) * SPACING_M >= MIN_WAY_M and off.mean() >= MIN_CONSTANT_M
    return Steps(then, now, forward, left, turn, float(off.mean()) if tells else float("nan"))


def _looks(way: Way) -> tuple[Ints, Ints]:
    """(then, now): moments SPACING_M apart, each with the one BACK_M before it."""
    known = np.flatnonzero(np.isfinite(way.distance_m))
    distance = way.distance_m[known]
    if len(known) < 2:
        return known[:0], known[:0]
    places = np.arange(distance[0] + BACK_M, distance[-1], SPACING_M)
    now = np.unique(np.searchsorted(distance, places))
    before = distance[now] - BACK_M
    after = np.searchsorted(distance, before).clip(1)
    nearer = np.where(distance[after] - before < before - distance[after - 1], after, after - 1)
    taken_s = way.time_s[known[now]] - way.time_s[known[nearer]]
    fits = (np.abs(distance[nearer] - before) < SPACING_M) & (taken_s < SLOWEST_S)
    return known[nearer[fits]], known[now[fits]]


@dataclass(frozen=True, slots=True)
class _Lines:
    """Lines of one moment: lateral positions at the band stations, [lines, 51], and at 20 m, [lines]; tracks."""

    lateral: Floats
    near: Floats
    track: Ints


class EgoPath:
    """The consistency of one rung over a case, chunk by chunk.

    Args:
        steps: of the case, by delay.
        grid: stations in metres.
    """

    def __init__(self, steps: tuple[Steps, ...], grid: Grid) -> None:
        self._steps, self._gate, self._ahead = steps, grid.thresholds.match_gate, grid.look_ahead[1]
        self._stations = grid.stations.ravel()
        self._counts = np.zeros((len(steps), BINS), np.int64)
        self._lost = np.zeros(len(steps), np.int64)
        self._asked: dict[int, list[tuple[int, int]]] = {}
        self._last: dict[int, int] = {}
        for d, one in enumerate(steps):
            for pair, (then, now) in enumerate(zip(one.then.tolist(), one.now.tolist(), strict=True)):
                self._asked.setdefault(now, []).append((d, pair))
                self._last[then] = max(now, self._last.get(then, now))
        self._seen: dict[int, _Lines] = {}

    def add(self, place: Ints, frames: Ints, line_frame: Ints, lateral: Floats, track: Ints) -> None:
        """Take the lines of the next frames.

        Args:
            place: of each frame among the frames of the case, [frames].
            frames: their numbers, ascending.
            line_frame: frame of each line, [lines], not decreasing.
            lateral: at the band stations, [lines, 51], NaN where a line does not reach.
            track: of each line, [lines], negative where it has none.
        """
        start, stop = np.searchsorted(line_frame, frames), np.searchsorted(line_frame, frames, side="right")
        near = _interpolated(lateral, self._stations, self._ahead)
        for at, a, b in zip(place.tolist(), start.tolist(), stop.tolist(), strict=True):
            lines = _Lines(lateral[a:b], near[a:b], track[a:b])
            for d, pair in self._asked.get(at, ()):
                then = self._seen.get(int(self._steps[d].then[pair]))
                if then is not None:  # else the rung did not run that frame
                    self._look(d, pair, lines, then)
            for old in [t for t in self._seen if self._last[t] <= at]:
                del self._seen[old]
            if at in self._last:
                self._seen[at] = lines

    @property
    def looks(self) -> int:
        """Pairs of moments that the case asks for."""
        return len(self._steps[0].now)

    def error_m(self, delay: int = 0) -> float:
        """Mean error about the median; the gate where nothing was drawn that could be asked, NaN without a pair.

        Args:
            delay: which of DELAYS_S the lines are taken to be late.
        """
        counts, gate = self._counts[delay], self._gate
        centre = (np.arange(BINS) + 0.5) / BINS * 2 * gate - gate
        told = int(counts.sum())
        if told == 0:
            return gate if self.looks else float("nan")
        median = centre[np.searchsorted(np.cumsum(counts), told / 2)]
        off = np.minimum(np.abs(centre - median), gate)
        return float((counts @ off + self._lost[delay] * gate) / (told + self._lost[delay]))

    def skill(self) -> float:
        """1 - error / error of the best constant lines; NaN where the way tells nothing."""
        return 1 - self.error_m() / self._steps[0].constant_m

    def lag_s(self) -> float:
        """How late the lines are, one of DELAYS_S; NaN where the way tells nothing."""
        if not np.isfinite(self._steps[0].constant_m):
            return float("nan")
        errors = np.array([self.error_m(d) for d in range(len(DELAYS_S))])
        best = int(np.nanargmin(errors))
        return DELAYS_S[best] if errors[best] <= LATE * errors[0] else 0.0

    def _look(self, delay: int, pair: int, now: _Lines, then: _Lines) -> None:
        asked = [self._error(self._steps[delay], pair, side, now, then) for side in (1, -1)]
        self._lost[delay] += sum(found is _LOST for found in asked)
        told = np.array([found for found in asked if found is not None and found is not _LOST]).reshape(-1, 2)
        place = (_without_pitch(told[:, 0], told[:, 1]) + self._gate) / (2 * self._gate) * BINS
        np.add.at(self._counts[delay], np.clip(place.astype(np.int64), 0, BINS - 1), 1)

    def _error(self, steps: Steps, pair: int, side: int, now: _Lines, then: _Lines) -> tuple[float, float] | None:
        """(error, what a pitch scales) of one side's line; _LOST where only one moment has it, None where neither."""
        here = _boundary(now, side)
        if here is None:
            there = _boundary(then, side)
            has = there is not None and np.isfinite(self._at(then.lateral[there], self._ahead + BACK_M))
            return _LOST if has else None
        aside, cos, sin = now.near[here], np.cos(steps.turn_rad[pair]), np.sin(steps.turn_rad[pair])
        x = steps.forward_m[pair] + self._ahead * cos - aside * sin
        y = steps.left_m[pair] + self._ahead * sin + aside * cos
        same = np.flatnonzero(then.track == now.track[here])
        said = self._at(then.lateral[same[0]], x) if len(same) and now.track[here] >= 0 else np.nan
        if not abs(said - y) < self._gate:
            return _LOST
        before = self._at(then.lateral[same[0]], x - SPACING_M)
        slope = (said - before) / SPACING_M if np.isfinite(before) else 0.0
        return float(said - y), float(said - x * slope)

    def _at(self, line: Floats, x_m: float) -> float:
        """Lateral position of a line, [51], at a place; NaN where it does not reach."""
        return float(_interpolated(line[None], self._stations, x_m)[0])


_LOST = (float("nan"), float("nan"))


def _boundary(lines: _Lines, side: int) -> int | None:
    """The nearest line on the left (1) or right (-1) that bounds the ego lane at 20 m; None without one."""
    aside = side * lines.near
    fits = np.flatnonzero((aside > 0) & (aside <= HALF_WIDTH_M))
    return int(fits[np.argmin(aside[fits])]) if len(fits) else None


def _interpolated(lateral: Floats, stations: Floats, x_m: float) -> Floats:
    """Lateral position of lines [lines, stations] at one place, [lines]; NaN where they do not reach."""
    if not stations[0] <= x_m <= stations[-1]:
        return np.full(len(lateral), np.nan)
    k = min(int(np.searchsorted(stations, x_m, side="right")) - 1, len(stations) - 2)
    share = (x_m - stations[k]) / (stations[k + 1] - stations[k])
    if share in (0, 1):
        return np.asarray(lateral[:, k + int(share)])
    return np.asarray((1 - share) * lateral[:, k] + share * lateral[:, k + 1])


def _without_pitch(errors: Floats, scaled: Floats) -> Floats:
    """Errors without the likeliest pitch between the two moments, [lines].

    Lines are off by a common error (NOT_SEEN_M, which is what is asked for), the pitch, and noise of their own: the
    posterior mean of the pitch follows from how differently the two lines are off, hardly from what they share.

    Args:
        errors: of the left and right line of the lane, or of the only one.
        scaled: y - x dy/dx of each, to which a pitch is proportional.
    """
    if len(errors) < 2:
        return errors
    weight = np.linalg.inv(NOISE_M**2 * np.eye(2) + NOT_SEEN_M**2)
    pitch = (scaled @ weight @ errors) / (scaled @ weight @ scaled + PITCH**-2)
    return np.asarray(errors - pitch * scaled)
