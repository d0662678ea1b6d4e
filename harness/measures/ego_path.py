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

from cases.columns import parked
from harness.measures.ego_looks import Lines, Pairs, at_place, errors_of
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
BINS = 300
DELAYS_S = (0.0, 0.1, 0.2, 0.35, 0.5, 0.75, 1.0)
LATE = 0.75  # of the error: less is left where lines are late


@dataclass(frozen=True, slots=True)
class Steps:
    """Pairs of moments of a case, [pairs]: `then` and `now` are positions in its frames. Long columns lie in a file.

    Attributes:
        then, now: the two moments; neither ever falls from pair to pair.
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
    constant_m = float(off.mean()) if tells else float("nan")
    return Steps(parked(then), parked(now), parked(forward), parked(left), parked(turn), constant_m)


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
        self._seen = Lines.none(len(self._stations))

    def add(self, place: Ints, frames: Ints, line_frame: Ints, lateral: Floats, track: Ints) -> None:
        """Take the lines of the next frames.

        Args:
            place: of each frame among the frames of the case, [frames], ascending.
            frames: their numbers, ascending.
            line_frame: frame of each line, [lines], not decreasing.
            lateral: at the band stations, [lines, 51], NaN where a line does not reach.
            track: of each line, [lines], negative where it has none.
        """
        if not len(place):
            return
        rows = np.flatnonzero(np.isin(line_frame, frames))
        near = at_place(lateral[rows], self._stations, np.full(len(rows), self._ahead))
        own = Lines(place, np.searchsorted(frames, line_frame[rows]), lateral[rows], near, track[rows])
        lines = self._seen.and_then(own)
        self._look(lines, place)
        self._seen = lines.take(np.isin(lines.moment, _asked_after(self._steps, int(place[-1]))))

    def _look(self, lines: Lines, place: Ints) -> None:
        """At the pairs whose later moment is one of these and whose earlier one the rung ran."""
        pairs = _pairs_at(self._steps, int(place[0]), int(place[-1]))
        pairs = pairs.take((lines.at(pairs.then) >= 0) & (lines.at(pairs.now) >= 0))
        if not len(pairs.now):
            return
        errors, lost = errors_of(pairs, lines, self._stations, self._ahead, self._gate)
        self._lost += np.bincount(pairs.delay, lost.sum(axis=1), len(self._steps)).astype(np.int64)
        bins = np.clip(np.nan_to_num((errors + self._gate) / (2 * self._gate) * BINS).astype(np.int64), 0, BINS - 1)
        cell = (pairs.delay[:, None] * BINS + bins)[np.isfinite(errors)]
        self._counts += np.bincount(cell, minlength=self._counts.size).reshape(self._counts.shape)

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


def _pairs_at(steps: tuple[Steps, ...], first: int, last: int) -> Pairs:
    """The pairs of all delays whose later moment is one from `first` to `last`, in the order of these."""
    spans = [slice(*np.searchsorted(one.now, [first, last + 1])) for one in steps]
    delay = np.repeat(np.arange(len(steps)), [span.stop - span.start for span in spans])
    names = ("then", "now", "forward_m", "left_m", "turn_rad")
    columns = (np.concatenate([getattr(one, n)[span] for one, span in zip(steps, spans, strict=True)]) for n in names)
    pairs = Pairs(delay, *columns)
    return pairs.take(np.argsort(pairs.now, kind="stable"))


def _asked_after(steps: tuple[Steps, ...], moment: int) -> Ints:
    """The moments up to this one at which later ones look back."""
    spans = [
        slice(np.searchsorted(one.now, moment, "right"), np.searchsorted(one.then, moment, "right")) for one in steps
    ]
    return np.concatenate([one.then[span] for one, span in zip(steps, spans, strict=True)])
