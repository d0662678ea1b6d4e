"""Looks of ego-path consistency: lines of the ego lane at many pairs of moments at once (ego_path.py says what for)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

__all__ = ["Lines", "Pairs", "at_place", "errors_of"]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

HALF_WIDTH_M = 4.0  # a line farther aside bounds no ego lane
SLOPE_OVER_M = 2.5
PITCH = 0.12  # x d / h: a quarter of a degree at 40 m
NOISE_M = 0.1  # that lines have of their own
NOT_SEEN_M = 0.5  # that both lines of a lane share
_SIDES = (1, -1)
_NONE = -1


@dataclass(frozen=True, slots=True)
class Pairs:
    """Pairs of moments that are looked at, [pairs] each, in the order of `now`.

    Attributes:
        delay: which of the delays each belongs to.
        then, now: the two moments, positions in the frames of the case.
        forward_m, left_m, turn_rad: where the car is at `now`, seen from `then`.
    """

    delay: Ints
    then: Ints
    now: Ints
    forward_m: Floats
    left_m: Floats
    turn_rad: Floats

    def take(self, rows: Any) -> Pairs:
        """Some of them."""
        columns = (self.delay, self.then, self.now, self.forward_m, self.left_m, self.turn_rad)
        return Pairs(*(x[rows] for x in columns))


@dataclass(frozen=True, slots=True)
class Lines:
    """Lines of some moments, in their order.

    Attributes:
        moment: positions in the frames of the case, [moments], ascending.
        of_moment: index into `moment` of each line, [lines], not decreasing.
        lateral: at the band stations, [lines, 51], NaN where a line does not reach.
        near: at 20 m, [lines].
        track: of each, [lines], negative where it has none.
    """

    moment: Ints
    of_moment: Ints
    lateral: Floats
    near: Floats
    track: Ints

    @classmethod
    def none(cls, stations: int) -> Self:
        """Of no moment."""
        none = np.zeros(0, np.int64)
        return cls(none, none, np.zeros((0, stations)), np.zeros(0), none)

    def and_then(self, later: Lines) -> Lines:
        """With those of later moments."""
        shifted = later.of_moment + len(self.moment)
        columns = ("lateral", "near", "track")
        rest = (np.concatenate([getattr(self, name), getattr(later, name)]) for name in columns)
        moment = np.concatenate([self.moment, later.moment])
        return Lines(moment, np.concatenate([self.of_moment, shifted]), *rest)

    def take(self, moments: Bools) -> Lines:
        """Those of some of the moments."""
        lines = moments[self.of_moment]
        place = np.cumsum(moments) - 1
        kept = (self.lateral[lines], self.near[lines], self.track[lines])
        return Lines(self.moment[moments], place[self.of_moment[lines]], *kept)

    def at(self, moment: Ints) -> Ints:
        """Index of each of these moments; -1 where its lines are not known."""
        place = np.searchsorted(self.moment, moment)
        place[place == len(self.moment)] = 0
        known = self.moment[place] == moment if len(self.moment) else np.zeros(len(moment), np.bool_)
        return np.where(known, place, _NONE)

    def boundary(self, side: int) -> Ints:
        """The nearest line on the left (1) or right (-1) that bounds the ego lane at 20 m, [moments]; -1: none."""
        aside = side * self.near
        fits = np.flatnonzero((aside > 0) & (aside <= HALF_WIDTH_M))
        ordered = fits[np.lexsort((aside[fits], self.of_moment[fits]))]
        moment, first = np.unique(self.of_moment[ordered], return_index=True)
        found = np.full(len(self.moment), _NONE)
        found[moment] = ordered[first]
        return found

    def same(self, moment: Ints, line: Ints) -> Ints:
        """The first line of another moment that has the track of each of these lines; -1 where none has."""
        tracks = int(self.track.max(initial=0)) + 1
        has = np.flatnonzero(self.track >= 0)
        key, first = np.unique(self.of_moment[has] * tracks + self.track[has], return_index=True)
        wanted = moment * tracks + self.track[line]
        place = np.searchsorted(key, wanted)
        place[place == len(key)] = 0
        known = (key[place] == wanted) & (self.track[line] >= 0) if len(key) else np.zeros(len(line), np.bool_)
        return np.where(known, has[first[place]], _NONE) if len(key) else np.full(len(line), _NONE)


def at_place(lateral: Floats, stations: Floats, x_m: Floats) -> Floats:
    """Lateral position of each line, [lines, stations], at a place of its own, [lines]; NaN where it does not reach."""
    k = np.clip(np.searchsorted(stations, x_m, side="right") - 1, 0, len(stations) - 2)
    share = (x_m - stations[k]) / (stations[k + 1] - stations[k])
    row = np.arange(len(lateral))
    low, high = lateral[row, k], lateral[row, k + 1]
    found = np.where(share == 0, low, np.where(share == 1, high, (1 - share) * low + share * high))
    return np.where((x_m >= stations[0]) & (x_m <= stations[-1]), found, np.nan)


def errors_of(pairs: Pairs, lines: Lines, stations: Floats, ahead_m: float, gate_m: float) -> tuple[Floats, Bools]:
    """What the lines of the ego lane said at `then` against what they say at `now`, left and right.

    Args:
        pairs: both of whose moments are among those of the lines.
        lines: of all these moments.
        stations: places of `lines.lateral`.
        ahead_m: 20 m: how far ahead of `now` lines are looked at, and the farthest they must have reached from `then`.
        gate_m: an error beyond it is a line that one of the moments has not.

    Returns:
        (errors without the likeliest pitch, [pairs, 2], NaN where there is none; whether only one moment has the line,
        [pairs, 2]).
    """
    now, then = lines.at(pairs.now), lines.at(pairs.then)
    told = [_of_side(pairs, lines, side, now, then, stations, ahead_m) for side in _SIDES]
    error, scaled, asked = (np.stack(x, axis=1) for x in zip(*told, strict=True))
    kept = np.abs(error) < gate_m
    error[~kept] = np.nan
    return _without_pitch(error, scaled), asked & ~kept


def _of_side(
    pairs: Pairs, lines: Lines, side: int, now: Ints, then: Ints, stations: Floats, ahead_m: float
) -> tuple[Floats, Floats, Bools]:
    """(error, what a pitch scales, whether a line is asked for) of one side, [pairs]; NaN where there is none."""
    boundary = lines.boundary(side)
    here, there = boundary[now], boundary[then]
    has, had = here >= 0, there >= 0
    reached = np.zeros(len(now), np.bool_)
    far = np.full(int(had.sum()), 2 * ahead_m)
    reached[had] = np.isfinite(at_place(lines.lateral[there[had]], stations, far))
    error, scaled = np.full(len(now), np.nan), np.full(len(now), np.nan)
    same = np.full(len(now), _NONE)
    same[has] = lines.same(then[has], here[has])
    rows = np.flatnonzero(same >= 0)
    x, y = _seen_from_then(pairs.take(rows), lines.near[here[rows]], ahead_m)
    line = lines.lateral[same[rows]]
    said, before = at_place(line, stations, x), at_place(line, stations, x - SLOPE_OVER_M)
    slope = np.where(np.isfinite(before), (said - before) / SLOPE_OVER_M, 0.0)
    error[rows], scaled[rows] = said - y, said - x * slope
    return error, scaled, has | (~has & reached)


def _seen_from_then(pairs: Pairs, aside: Floats, ahead_m: float) -> tuple[Floats, Floats]:
    """Where points `ahead_m` ahead and `aside` of the car at `now` are from `then`, metres forward and left."""
    cos, sin = np.cos(pairs.turn_rad), np.sin(pairs.turn_rad)
    return pairs.forward_m + ahead_m * cos - aside * sin, pairs.left_m + ahead_m * sin + aside * cos


def _without_pitch(errors: Floats, scaled: Floats) -> Floats:
    """Errors without the likeliest pitch between the two moments, [pairs, 2], where both sides have one.

    Lines are off by a common error (NOT_SEEN_M, which is what is asked for), the pitch, and noise of their own: the
    posterior mean of the pitch follows from how differently the two lines are off, hardly from what they share.

    Args:
        errors: of the left and right line of the lane.
        scaled: y - x dy/dx of each, to which a pitch is proportional.
    """
    (a, b), (_, d) = np.linalg.inv(NOISE_M**2 * np.eye(2) + NOT_SEEN_M**2)  # symmetric
    left, right = a * scaled[:, 0] + b * scaled[:, 1], b * scaled[:, 0] + d * scaled[:, 1]
    along, power = left * errors[:, 0] + right * errors[:, 1], left * scaled[:, 0] + right * scaled[:, 1]
    pitch = along / (power + PITCH**-2)
    return np.where(np.isfinite(pitch)[:, None], errors - pitch[:, None] * scaled, errors)
