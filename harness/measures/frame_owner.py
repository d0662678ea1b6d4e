"""Whose a difference in one frame is: what a line of the candidate has of it, band by band.

A bow that the reference's line has for a moment is as large in the difference as one of the candidate's. Two witnesses
tell them apart (docs/decisions/0028):

- What each line does by itself within two seconds. Through the frames around in which the difference is as usual goes a
  parabola in time for each line; where the other lines of both engines leave theirs alike, the vehicle moved, and that
  is taken out. Where the candidate stays on its own, within two seconds, to a third of what the difference changed, the
  reference moved, and the candidate is held against where the reference would have been. Where the reference's other
  lines, two or more, moved as this one did, that was the vehicle, and the candidate should have moved too.
- Ground truth, where the frame has it. Where the candidate is within the finding threshold of the truth and the
  reference is not, the candidate is held against the truth. It clears a lasting difference too; and where the candidate
  is the farther one, the first witness is not heard.

The candidate's part is never more than the difference. Differences under half of every threshold are left as they are:
noise decides nothing there.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.measures.band import band_metrics
from harness.model.grid import Grid
from harness.run.catalogue import events_of

__all__ = ["CONTEXT_NS", "TrackedPairs", "candidates_part", "is_large", "lasting_offset"]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]
Bands = dict[str, Floats]

WITHIN_NS = 2_000_000_000
CONTEXT_NS = 6_500_000_000  # what a pair needs before and after it: parabolas of 2 s, each of whose frames needs 2.5 s
_SUSPECT = 0.5  # of a finding threshold
_STILL = 1 / 3  # of the change of the difference: a candidate whose line moved less by itself did not make it
_ALONE = 0.5  # of a move of the reference: what its other lines do not do must be more
_MOST_FRAMES = 25  # of the four seconds
_FEWEST_FRAMES = 8
_ROWS_PER_BLOCK = 256  # 256 lines of 25 frames are 3 MB
_KEY = 1 << 50  # ns, 13 days: more than pairs that are together are apart
_FREE, _STIFF = 1e-3, 1e6  # what holds a coefficient of the parabola near 0


@dataclass(frozen=True)
class TrackedPairs:
    """Matched lines of a few seconds, in the order of time.

    Attributes:
        time_ns: of the frame, [pairs].
        track: the root's track, [pairs]; negative where none.
        reference, candidate, truth: lateral positions at the band stations, float32 [pairs, 51], NaN where a line does
            not reach; the truth's NaN where the two are not one true line.
        large: what there is to tell is of these: lines along the road with a measure over half of its threshold.
    """

    time_ns: Ints
    track: NDArray[np.int32]
    reference: NDArray[np.float32]
    candidate: NDArray[np.float32]
    truth: NDArray[np.float32]
    large: Bools

    def _columns(self) -> tuple[NDArray[Any], ...]:
        return self.time_ns, self.track, self.reference, self.candidate, self.truth, self.large

    def take(self, rows: slice) -> TrackedPairs:
        """Some of them."""
        return TrackedPairs(*(x[rows] for x in self._columns()))

    def and_then(self, later: TrackedPairs) -> TrackedPairs:
        """With those of later frames."""
        return TrackedPairs(*(np.concatenate(x) for x in zip(self._columns(), later._columns(), strict=True)))


def is_large(bands: Bands, grid: Grid) -> Bools:
    """Pairs with a measure over half of its finding threshold in some band, [pairs]; of `bands` [pairs, 3]."""
    return np.asarray(np.any([_over(bands[n], _SUSPECT * v).any(axis=1) for n, v in _limits(grid).items()], axis=0))


def candidates_part(pairs: TrackedPairs, rows: Ints, difference: Bands, grid: Grid) -> Bands:
    """The candidate's part of every measure of some pairs.

    Args:
        pairs: those rows and the seconds around them.
        rows: positions in `pairs`, [rows].
        difference: `band_columns()` -> the measures of candidate minus reference, [rows, 3].
        grid: stations and thresholds.

    Returns:
        The same columns; those of `difference` itself where all of it is the candidate's.
    """
    suspects = np.flatnonzero(pairs.large[rows] & (pairs.track[rows] >= 0))
    if not len(suspects):
        return difference
    own = {name: values.copy() for name, values in difference.items()}
    seen = _against_truth(pairs, rows[suspects], grid)
    for name, (part, heard) in _moved_alone(pairs, rows[suspects], _Shape(grid)).items():
        farther = False if seen is None else np.abs(seen[0][name]) >= np.abs(seen[1][name])
        _take_smaller(own[name], suspects, part, heard & ~np.asarray(farther))
    if seen is not None:
        limits = _limits(grid)
        cleared = {n: ~_over(seen[0][n], limit) & _over(seen[1][n], limit) for n, limit in limits.items()}
        some = np.any(list(cleared.values()), axis=0)
        for name, part in seen[0].items():
            right = cleared.get(name)
            _take_smaller(own[name], suspects, part, some if right is None else right)
    return own


def lasting_offset(offset: Floats, reference: Floats, truth: Floats, fps: float, limit: float) -> Floats:
    """The candidate's part of a line's offset at one station over a case, [n]: without what the reference does alone.

    Args:
        offset: candidate minus reference, NaN where either is missing.
        reference: its own position.
        truth: true line minus reference, NaN where not known.
        fps: steps per second.
        limit: finding threshold of an offset there.
    """
    large = np.abs(offset) > _SUSPECT * limit
    if not large.any() or not fps > 0:
        return offset
    known = np.flatnonzero(np.isfinite(offset))
    time_ns = np.round(known / fps * 1e9).astype(np.int64)
    lab, car, true = (x[known, None].astype(np.float32) for x in (reference, reference + offset, reference + truth))
    pairs = TrackedPairs(time_ns, np.zeros(len(known), np.int32), lab, car, true, large[known])
    at = np.flatnonzero(large[known])
    own = offset.copy()
    away, off = np.abs(offset - truth)[known[at]], np.abs(truth)[known[at]]
    for part, heard in _moved_alone(pairs, at, _Single(limit)).values():
        _replace(own, known[at], part[:, 0], heard[:, 0] & ~(away >= off))
    _replace(own, known[at], (offset - truth)[known[at]], (away <= limit) & (off > limit))
    return own


def _replace(own: Floats, at: Ints, part: Floats, chosen: Bools) -> None:
    """Put the parts that are smaller in place, where chosen, [at]."""
    now = own[at]
    own[at] = np.where(chosen & (np.abs(part) < np.abs(now)), part, now)


def _limits(grid: Grid) -> dict[str, Floats]:
    """Finding thresholds by column, [3]; of measures that every pair has by band."""
    judged = [(m.column, m.threshold) for m in events_of("line_metrics") if m.has_band]
    return {column: np.array(threshold.of(grid)) for column, threshold in judged if threshold is not None}


def _over(values: Floats, limit: Floats) -> Bools:
    over: Bools = np.abs(values) > limit
    return over


def _take_smaller(own: Floats, suspects: Ints, part: Floats, chosen: Bools) -> None:
    """Put the parts that are smaller in place, where chosen."""
    now = own[suspects]
    own[suspects] = np.where(chosen & (np.abs(part) < np.abs(now)), part, now)


def _against_truth(pairs: TrackedPairs, at: Ints, grid: Grid) -> tuple[Bands, Bands] | None:
    """Measures of the candidate and of the reference against the truth, [at, 3]; None where nothing is labelled."""
    truth = pairs.truth[at]
    if not np.isfinite(truth).any():
        return None
    return _measured(pairs.candidate[at] - truth, grid), _measured(pairs.reference[at] - truth, grid)


@dataclass(frozen=True)
class _Shape:
    """Sizes of offsets of matched lines: every measure by band."""

    grid: Grid

    def sizes(self, offset: Floats) -> Bands:
        return _measured(offset, self.grid)

    def large(self, sizes: Bands, share: float = _SUSPECT) -> Bools:
        over = np.array([_over(sizes[n], share * v) for n, v in _limits(self.grid).items()], bool)
        return np.asarray(over.any(axis=0), bool)


@dataclass(frozen=True)
class _Single:
    """Sizes of offsets at one station."""

    limit: float

    def sizes(self, offset: Floats) -> Bands:
        return {"offset": offset}

    def large(self, sizes: Bands, share: float = _SUSPECT) -> Bools:
        return _over(sizes["offset"], np.asarray(share * self.limit))


def _moved_alone(pairs: TrackedPairs, at: Ints, kind: _Shape | _Single) -> dict[str, tuple[Floats, Bools]]:
    """Measure -> (its value against where the reference would be, where that is the candidate's part), [at, bands]."""
    around = _Around(pairs)
    large = np.flatnonzero(pairs.large & (pairs.track >= 0))
    change = kind.sizes((pairs.candidate - pairs.reference)[large] - around.usual(large))
    changed = kind.large(change)
    odd = large[changed.any(axis=1)]
    here = np.searchsorted(large, at)
    asked = np.flatnonzero(changed[here].any(axis=1))
    if not len(asked):
        return {}
    much = large[kind.large(change, 1.0).any(axis=1)]
    others = np.union1d(around.near(at[asked], much), at[asked])
    own, reference, whole, beside_it = around.strays(others, odd)
    place = np.searchsorted(others, at[asked])
    moved, alone = kind.sizes(whole[place]), kind.sizes(whole[place] - beside_it[place])
    difference = (pairs.candidate - pairs.reference)[at[asked]].astype(np.float64)
    beside = kind.sizes(difference + reference[place])
    most = around.largest(kind.sizes(own), others, at[asked])
    found = {}
    for name, values in change.items():
        part = np.full((len(at), values.shape[1]), np.nan)
        part[asked] = beside[name]
        heard = changed[here]
        heard[asked] &= most[name] <= _STILL * np.abs(values[here[asked]])
        heard[asked] &= ~(np.abs(alone[name]) <= _ALONE * np.abs(moved[name]))
        found[name] = part, heard
    return found


class _Around:
    """The pairs of each track that lie within two seconds of each pair."""

    def __init__(self, pairs: TrackedPairs) -> None:
        self._pairs = pairs
        self._time = pairs.time_ns - pairs.time_ns.min()
        key = pairs.track.astype(np.int64) * _KEY + self._time
        self._order = np.argsort(key, kind="stable")
        ordered = key[self._order]
        self._first = np.searchsorted(ordered, key - np.minimum(self._time, WITHIN_NS), side="left")
        self._last = np.searchsorted(ordered, key + WITHIN_NS, side="right")

    def usual(self, at: Ints) -> Floats:
        """Median of the difference over the four seconds around each, to half a second, [at, 51]."""
        half_s = self._pairs.track[at].astype(np.int64) * _KEY + self._pairs.time_ns[at] // (WITHIN_NS // 4)
        _, chosen, of_each = np.unique(half_s, return_index=True, return_inverse=True)
        found = np.empty((len(chosen), self._pairs.reference.shape[1]))
        for first in range(0, len(chosen), _ROWS_PER_BLOCK):
            part = slice(first, first + _ROWS_PER_BLOCK)
            _, _, reference, candidate = self._windows(at[chosen[part]])
            found[part] = _median(candidate - reference, _FEWEST_FRAMES)
        return found[of_each]

    def near(self, at: Ints, wanted: Ints) -> Ints:
        """Those of the wanted pairs that are within two seconds of any of these; ascending."""
        edges = np.zeros(len(self._order) + 1, np.int64)
        np.add.at(edges, self._first[at], 1)
        np.add.at(edges, self._last[at], -1)
        covered = self._order[np.cumsum(edges)[:-1] > 0]
        return np.intersect1d(covered, wanted)

    def largest(self, sizes: Bands, others: Ints, at: Ints) -> Bands:
        """The largest size among the `others` within two seconds of each, [at, 3]."""
        place = np.empty(len(self._order), np.int64)
        place[self._order] = np.arange(len(self._order))
        by_place = np.argsort(place[others])
        bounds = np.stack([self._first[at], self._last[at]], axis=1).ravel()
        bounds = np.searchsorted(place[others][by_place], bounds)
        found = {}
        for name, values in sizes.items():
            size = np.nan_to_num(np.abs(values[by_place]))
            size = np.concatenate([size, np.zeros((1, values.shape[1]))])
            found[name] = np.maximum.reduceat(size, bounds, axis=0)[::2]
        return found

    def strays(self, at: Ints, odd: Ints) -> tuple[Floats, Floats, Floats, Floats]:
        """How far lines are from their own parabolas, [at, 51] each; NaN: unknown.

        Args:
            at: pairs, ascending.
            odd: pairs whose difference is not as usual; no parabola goes through their frames.

        Returns:
            The candidate's and the reference's, without what the other lines of both engines do alike in the frame:
            there the vehicle moved. The reference's with it, and the median of its other lines; 0 of fewer than two.
        """
        times = np.unique(self._time[odd])
        every = np.flatnonzero(np.isin(self._time, self._time[at]) & (self._pairs.track >= 0))
        found = np.empty((2, len(every), self._pairs.reference.shape[1]))
        for first in range(0, len(every), _ROWS_PER_BLOCK):
            part = slice(first, first + _ROWS_PER_BLOCK)
            found[:, part] = self._strays(every[part], times)
        place = np.searchsorted(every, at)
        shared, others = (x[..., place, :] for x in _shared(found, self._time[every]))
        own = found[:, place] - shared
        return own[0], own[1], found[1, place], others

    def _strays(self, at: Ints, odd_times: Ints) -> Floats:
        """Candidate and reference less their parabolas, [2, at, 51]."""
        rows, time_s, reference, candidate = self._windows(at)
        usual = ~np.isin(self._time[rows], odd_times)
        keep = np.isfinite(candidate - reference) & usual[..., None]
        lines = (self._pairs.candidate[at], candidate), (self._pairs.reference[at], reference)
        return np.stack([now - _at_zero(time_s, values, keep) for now, values in lines])

    def _windows(self, at: Ints) -> tuple[Ints, Floats, Floats, Floats]:
        """Up to 25 pairs around each: (pairs, seconds from it, [at, 25], reference, candidate, [at, 25, 51])."""
        first, count = self._first[at], self._last[at] - self._first[at]
        most = np.minimum(count, _MOST_FRAMES)
        column = np.arange(_MOST_FRAMES)
        place = first[:, None] + column * count[:, None] // np.maximum(most, 1)[:, None]
        inside = column < most[:, None]
        rows = self._order[np.where(inside, place, first[:, None])]
        time_s = (self._time[rows] - self._time[at][:, None]) / 1e9
        lines = [np.where(inside[..., None], x[rows], np.nan) for x in (self._pairs.reference, self._pairs.candidate)]
        return rows, time_s, lines[0].astype(np.float64), lines[1].astype(np.float64)


def _shared(strays: Floats, time: Ints) -> tuple[Floats, Floats]:
    """What the other lines of a frame do.

    Args:
        strays: of candidate and reference, [2, pairs, stations].
        time: of each pair, ascending.

    Returns:
        Alike in both engines, [2, pairs, stations], the same for both: of the medians over the other lines the smaller
        one, where both go the same way; 0: nothing. And the reference's median, [pairs, stations]; 0 of fewer than two.
    """
    shared, reference = np.zeros_like(strays), np.zeros_like(strays[1])
    first = np.flatnonzero(np.append(True, np.diff(time) != 0))
    count = np.diff(np.append(first, len(time)))
    for lines in np.unique(count[count > 1]).tolist():
        at = first[count == lines][:, None] + np.arange(lines)  # frames that have so many lines
        for k in range(lines):
            one, other = _median(strays[:, np.delete(at, k, axis=1)], 1)
            alike = np.sign(one) * np.minimum(np.abs(one), np.abs(other))
            shared[:, at[:, k]] = np.where(one * other > 0, alike, 0.0)
            beside = _median(strays[1][np.delete(at, k, axis=1)], 2) if lines > 2 else np.zeros(())
            reference[at[:, k]] = np.where(np.isfinite(beside), beside, 0.0)
    return shared, reference


def _at_zero(time_s: Floats, values: Floats, keep: Bools) -> Floats:
    """At time 0 on the parabola through the values to keep, [rows, stations]; on a line where all are on one side.

    Args:
        time_s: [rows, frames].
        values, keep: [rows, frames, stations].
    """
    t = time_s / 2
    both = keep & (t < 0)[..., None], keep & (t > 0)[..., None]
    bends = np.where(both[0].any(axis=1) & both[1].any(axis=1), _FREE, _STIFF)
    power = np.stack([np.ones_like(t), t, t**2], axis=-1)
    weight = keep.astype(np.float64)
    normal = np.einsum("rfs,rfi,rfj->rsij", weight, power, power, optimize=True)
    normal[..., 1, 1] += _FREE
    normal[..., 2, 2] += bends
    right = np.einsum("rfs,rfi->rsi", np.where(keep, values, 0.0), power, optimize=True)
    enough = weight.sum(axis=1) >= _FEWEST_FRAMES
    normal[~enough] = np.eye(3)
    found = np.linalg.solve(normal, right[..., None])[..., 0, 0]
    return np.where(enough, found, np.nan)


def _median(values: Floats, fewest: int) -> Floats:
    """Over the last axis but one, NaN left out; NaN of fewer values than that."""
    ordered = np.sort(values, axis=-2)
    count = np.isfinite(ordered).sum(axis=-2, keepdims=True)
    places = np.maximum(count - 1, 0) // 2, np.minimum(count // 2, values.shape[-2] - 1)
    low, high = (np.take_along_axis(ordered, at, axis=-2)[..., 0, :] for at in places)
    return np.where(count[..., 0, :] >= fewest, (low + high) / 2, np.nan)


def _measured(offset: NDArray[np.floating[Any]], grid: Grid) -> Bands:
    """Every measure of these offsets, [rows, 3]; without coverage, which is of the pair."""
    by_band = offset.astype(np.float64).reshape(len(offset), *grid.stations.shape)
    found = band_metrics(by_band, grid, np.isfinite(by_band))
    return {name: values for name, values in found.items() if name != "coverage"}
