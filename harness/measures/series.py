"""Time series of one case and rung: the lateral offset of every track at the look-ahead stations.

Chunks of frames come in through `Clock.tick` and `SeriesStore.append`; at the end of a section of the case
`SeriesStore.tracks` gives each track as dense arrays on a regular time axis, NaN where something is missing. Rows wait
in a file once they outgrow a small buffer, and only one track is dense at a time.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from harness.errors import MetricError
from harness.measures.clock import Clock, between
from harness.measures.timeline import TimeAxis
from harness.measures.windows import runs_of

__all__ = [
    "MIN_FPS",
    "SeriesStore",
    "TrackSeries",
    "fill_short_gaps",
]

Floats = NDArray[np.float64]

MIN_FPS = 8.0  # below it 3 Hz cannot be told from its alias: swing and sway are NOT_RUN
_SPOOL_BYTES = 1 << 18
_HELD_ROWS = 1 << 15  # of tracks that are sorted at once


def _row(look_aheads: int) -> np.dtype[np.void]:
    return np.dtype(
        [
            ("frame", np.int64),
            ("track", np.int32),
            ("matched", np.bool_),
            ("merging", np.bool_),
            ("offset", np.float32, (look_aheads,)),
            ("reference", np.float32, (look_aheads,)),
            ("truth", np.float32, (look_aheads,)),
        ]
    )


@dataclass(frozen=True)
class TrackSeries:
    """One track from its first to its last reference frame on a regular time axis of n steps.

    Attributes:
        track: id of the track.
        fps: steps per second, NaN where the case has one frame.
        frame: frame number of each step, int64 [n]; a step without a recorded frame repeats the one before.
        offset: candidate minus reference, left positive, float32 [n, look-aheads]; NaN where one of them is missing.
        reference: the reference's own lateral position, left positive, float32 [n, look-aheads]; NaN where missing.
        truth: the true line minus the reference, float32 [n, look-aheads]; NaN where not known.
        in_reference: the reference has the line, bool [n].
        in_candidate: the candidate has a line matched to it, bool [n].
        merging: steps at a merge or split, bool [n].
        ego: lateral motion of the vehicle to add to own series, float64 [n, look-aheads]; zeros where unknown.
        start: step of the time axis at which it begins.
        fresh: step of the track from which on nothing of it was given before (sections.py); 0 in the first section.
    """

    track: int
    fps: float
    frame: NDArray[np.int64]
    offset: NDArray[np.float32]
    reference: NDArray[np.float32]
    truth: NDArray[np.float32]
    in_reference: NDArray[np.bool_]
    in_candidate: NDArray[np.bool_]
    merging: NDArray[np.bool_]
    ego: Floats
    start: int = 0
    fresh: int = 0

    @property
    def candidate(self) -> NDArray[np.float32]:
        """The candidate's own lateral position, float32 [n, look-aheads], NaN where either is missing."""
        return self.reference + self.offset


class SeriesStore:
    """Rows of one case and rung in the order of time, a few bytes each; close it (or use `with`) at the case's end.

    Args:
        look_ahead: the stations, three and those beyond; metres, or rows in the image frame.
        clock: of the case; without one the store has its own.
        scale: what positions at each station are divided by (`Grid.series_scale`), for the ego motion; None: nothing.
        vehicle_frame: false leaves ego motion alone, which says nothing about pixels.
        spool_bytes: rows beyond this many bytes wait in an unnamed temporary file.
    """

    def __init__(
        self,
        look_ahead: Sequence[float],
        clock: Clock | None = None,
        *,
        scale: Floats | None = None,
        vehicle_frame: bool = True,
        spool_bytes: int = _SPOOL_BYTES,
    ) -> None:
        self.look_ahead = tuple(float(s) for s in look_ahead)
        self._row, self._scale = _row(len(self.look_ahead)), scale
        self.clock = clock or Clock()
        self._vehicle_frame = vehicle_frame
        self._file = tempfile.SpooledTemporaryFile(max_size=spool_bytes)  # noqa: SIM115  # closed by close()
        self._blocks: list[tuple[int, int]] = []  # (first byte, rows)
        self._spans: dict[int, _Span] = {}
        self._has_truth = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        """Give the buffer back; may be called twice."""
        self._file.close()

    def append(
        self,
        frames: ArrayLike,
        track: ArrayLike,
        offset: ArrayLike,
        reference: ArrayLike,
        *,
        matched: ArrayLike | None = None,
        merging: ArrayLike = False,
        truth: ArrayLike | None = None,
    ) -> None:
        """Add one row for every line of the reference, matched or not.

        Args:
            frames: frame of each line, [n], not decreasing; the clock must know each before `tracks` is called.
            track: track of each line, [n]; negative ones are left out.
            offset: candidate minus reference at the look-ahead stations, [n, look-aheads], left positive.
            reference: the reference's own lateral position there, [n, look-aheads].
            matched: the candidate has the line, [n]; without it, where some offset is finite.
            merging: the line is at a merge or split, [n].
            truth: the true line minus the reference, [n, look-aheads]; None where the case has no ground truth.

        The candidate's own position is `reference + offset`.
        """
        track = np.asarray(track, np.int32)
        rows = np.zeros(len(track), self._row)
        rows["frame"], rows["track"], rows["merging"] = frames, track, merging
        rows["offset"], rows["reference"] = offset, reference
        if truth is not None:
            rows["truth"], self._has_truth = truth, True
        rows["matched"] = np.isfinite(rows["offset"]).any(axis=1) if matched is None else matched
        self._take(rows[track >= 0])

    def _take(self, rows: NDArray[np.void]) -> None:
        if len(rows) == 0:
            return
        block = len(self._blocks)
        self._blocks.append((self._file.seek(0, 2), len(rows)))
        self._file.write(rows.tobytes())
        tracks, frames_of, counts = rows["track"], rows["frame"], np.unique(rows["track"], return_counts=True)
        ordered = frames_of[np.argsort(tracks, kind="stable")]
        last = np.cumsum(counts[1]) - 1
        spans = zip(*(x.tolist() for x in (*counts, ordered[last - counts[1] + 1], ordered[last])), strict=True)
        for k, count, first, end in spans:
            before = self._spans.get(k)
            if before is None:
                self._spans[k] = _Span(block, block, first, end, count)
            else:
                self._spans[k] = before._replace(last_block=block, last_frame=end, rows=before.rows + count)

    def forget(self, frame: int) -> None:
        """Keep only the rows from this frame on."""
        kept = [rows[rows["frame"] >= frame] for rows in self._rows(0, len(self._blocks))]
        self._file.seek(0)
        self._file.truncate()
        self._blocks.clear()
        self._spans.clear()
        for rows in kept:
            self._take(rows)

    def tracks(self) -> Iterator[TrackSeries]:
        """Every track in the order of ids, one dense at a time.

        Raises:
            MetricError: the clock was never told of a row's frame.
        """
        frames, axis = self.clock.axis()
        ego = self.clock.ego_motion(axis, self.look_ahead) if self._vehicle_frame else None
        if ego is not None and self._scale is not None:
            ego /= self._scale
        for group in self._groups():
            if len(group) == 1:
                yield self._dense(group[0], self._rows_of(group), frames, axis, ego)
                continue
            rows = np.concatenate(list(self._rows_of(group)))
            rows = rows[np.argsort(rows["track"], kind="stable")]
            ends = np.cumsum([self._spans[track].rows for track in group])
            for track, own in zip(group, np.split(rows, ends[:-1]), strict=True):
                yield self._dense(track, [own], frames, axis, ego)

    def _groups(self) -> Iterator[list[int]]:
        """Tracks in the order of ids, as many at once as may be held: each group takes one reading of the rows."""
        group: list[int] = []
        held = 0
        for track in sorted(self._spans):
            if group and held + self._spans[track].rows > _HELD_ROWS:
                yield group
                group, held = [], 0
            group.append(track)
            held += self._spans[track].rows
        if group:
            yield group

    def _rows_of(self, tracks: Sequence[int]) -> Iterator[NDArray[np.void]]:
        """Rows of some tracks, block by block."""
        spans = [self._spans[track] for track in tracks]
        wanted = np.array(tracks, np.int32)
        for rows in self._rows(min(s.first_block for s in spans), max(s.last_block for s in spans) + 1):
            rows = rows[np.isin(rows["track"], wanted)] if len(tracks) > 1 else rows[rows["track"] == tracks[0]]
            if len(rows):
                yield rows

    def _rows(self, first: int, stop: int) -> Iterator[NDArray[np.void]]:
        """Rows of some blocks, block by block."""
        for start, count in self._blocks[first:stop]:
            self._file.seek(start)
            yield np.frombuffer(self._file.read(count * self._row.itemsize), self._row)

    def _dense(
        self,
        track: int,
        blocks: Iterable[NDArray[np.void]],
        frames: NDArray[np.int64],
        axis: TimeAxis,
        ego: Floats | None,
    ) -> TrackSeries:
        """Lay the rows of one track on the time axis."""
        span = self._spans[track]
        first, last = (int(k) for k in _places(frames, np.array([span.first_frame, span.last_frame])))
        steps = axis.steps(first, last)
        start, count = int(steps[0]), len(steps)
        if axis.whole:
            frame = frames[np.searchsorted(axis.place, steps, side="right") - 1]
            del steps
            laid = _Columns.empty(count, len(self.look_ahead), self._has_truth)
            for rows in blocks:
                laid.put(axis.place[_places(frames, rows["frame"])].astype(np.int64) - start, rows)
        else:
            before, after, share = axis.around(steps)
            frame = frames[np.where(share > 0.5, after, before)]
            laid = _Columns.empty(last - first + 1, len(self.look_ahead), self._has_truth)
            for rows in blocks:
                laid.put(_places(frames, rows["frame"]) - first, rows)
            laid = laid.between(np.clip(before - first, 0, None), np.clip(after - first, 0, last - first), share)
        still = np.broadcast_to(0.0, (count, len(self.look_ahead)))
        return TrackSeries(
            track=track,
            fps=axis.fps,
            frame=frame,
            offset=laid.offset,
            reference=laid.reference,
            truth=laid.truth,
            in_reference=laid.present,
            in_candidate=laid.matched,
            merging=laid.merging,
            ego=still if ego is None else ego[start : start + count],
            start=start,
            fresh=int(np.searchsorted(frame, self.clock.fresh)),
        )


class _Span(NamedTuple):
    """Where the rows of a track are."""

    first_block: int
    last_block: int
    first_frame: int
    last_frame: int
    rows: int


class _Columns(NamedTuple):
    """Rows of one track frame by frame."""

    offset: NDArray[np.float32]
    reference: NDArray[np.float32]
    truth: NDArray[np.float32]
    present: NDArray[np.bool_]
    matched: NDArray[np.bool_]
    merging: NDArray[np.bool_]

    @classmethod
    def empty(cls, count: int, look_aheads: int, has_truth: bool) -> _Columns:
        """Of so many frames without a row."""
        offset = np.full((count, look_aheads), np.nan, np.float32)
        truth = offset.copy() if has_truth else np.broadcast_to(np.float32(np.nan), offset.shape)
        return cls(offset, offset.copy(), truth, *np.zeros((3, count), np.bool_))

    def put(self, at: NDArray[np.int64], rows: NDArray[np.void]) -> None:
        """Rows at their places."""
        self.offset[at], self.reference[at] = rows["offset"], rows["reference"]
        if self.truth.flags.writeable:
            self.truth[at] = rows["truth"]
        self.present[at], self.matched[at], self.merging[at] = True, rows["matched"], rows["merging"]

    def between(self, before: NDArray[np.int64], after: NDArray[np.int64], share: Floats) -> _Columns:
        """Between two frames each: lengths on the straight line, flags of the nearer one; nothing in a hole."""
        nearer, seen = np.where(share > 0.5, after, before), np.isfinite(share)
        lengths = (between(x, before, after, share) for x in (self.offset, self.reference, self.truth))
        offset, reference, truth = lengths
        flags = (x[nearer] & seen for x in (self.present, self.matched, self.merging))
        return _Columns(offset, reference, truth, *flags)


def _places(frames: NDArray[np.int64], wanted: NDArray[np.int64]) -> NDArray[np.int64]:
    """Where the wanted frames stand among all frames of the clock."""
    at = np.searchsorted(frames, wanted)
    if len(frames) == 0 or np.any(frames[np.minimum(at, len(frames) - 1)] != wanted):
        raise MetricError(
            "rows have frames that the clock does not know",
            where="SeriesStore.append(frames)",
            remedy="tell the clock of every frame: Clock.tick",
        )
    return at


def fill_short_gaps(values: NDArray[np.floating[Any]], longest: int) -> Floats:
    """Interpolate NaN runs of at most `longest` values that have neighbours on both sides; [n] -> float64 [n]."""
    out = np.array(values, np.float64)
    missing = np.isnan(out)
    if not missing.any() or missing.all():
        return out
    start, stop = runs_of(missing)
    at = np.arange(len(out))
    out[missing] = np.interp(at[missing], at[~missing], out[~missing])
    for a, b in zip(start, stop, strict=True):
        if b - a > longest or a == 0 or b == len(out):
            out[a:b] = np.nan
    return out
