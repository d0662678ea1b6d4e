"""One rung of a case against one other: matches, rows of line_metrics and frame_metrics, events of frames.

Whose a difference is shows in the seconds around it, so rows wait for some of them before they are written, in a few
megabytes. What the reference does by itself, or ground truth clears, is left out of them: frame_owner.py tells it of
the shape of lines, flashes.py and dropped.py of lines that one has and the other has not. Events of the reference are
kept with their owner.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from harness.lines.chunk import Chunk, Ints
from harness.lines.table import LineTable
from harness.measures.band import band_columns
from harness.measures.dropped import Dropped
from harness.measures.events import EventLog
from harness.measures.flashes import FLASH_NS, Life, Lives
from harness.measures.flicker import id_swaps
from harness.measures.frame_owner import CONTEXT_NS, TrackedPairs, candidates_part, is_large
from harness.measures.match import Matches, match
from harness.measures.measured import Measured
from harness.measures.pairs import PairMetrics, pair_metrics
from harness.measures.presence import line_counts, mean_reach
from harness.measures.scope import CaseScope
from harness.measures.tracks import NO_TRACK
from harness.measures.truth import NO_TRUE_LINE
from harness.model.grid import Grid
from harness.run.tables import BANDS

__all__ = ["Against", "null_where_none"]

_BATCH_NS = 10_000_000_000  # rows are judged so many at once
_MOST_HELD = 1 << 15  # pairs that wait; of crowds of lines the rest is judged by what is there
_OF_LINES = ("chamfer", "class_flip", "score_gap", "reach_gap")


@dataclass(frozen=True)
class _Lone:
    """Lines of the reference without a partner that wait: frame, track, what their life says, whether truth has it."""

    frame: int
    time_ns: int
    track: int
    life: Life
    true_line: int

    def is_reference_s(self, now_ns: int) -> bool:
        """Whether the reference drew what is not there: by the truth, else by its short life."""
        if self.true_line >= NO_TRUE_LINE:
            return self.true_line == NO_TRUE_LINE
        return self.life.is_flash(now_ns)


class Against:
    """Compares the lines of one rung with those of another over a case; give it the chunks in order, then finish.

    Args:
        scope: of the case.
        name: of the rung.
        reference: of the other.
        events: takes the events; None: this comparison tells none.
    """

    def __init__(self, scope: CaseScope, name: str, reference: str, events: EventLog | None) -> None:
        self.reference = reference
        self._scope, self._name, self._events = scope, name, events
        self._dropped, self._lives = Dropped(), Lives()
        self._held: _Rows | None = None
        self._context: TrackedPairs | None = None
        self._frames: list[dict[str, NDArray[Any]]] = []
        self._lone: list[_Lone] = []
        self._now_ns = 0

    def add(self, chunk: Chunk, ref: Measured, cand: Measured) -> tuple[Matches, PairMetrics]:
        """Take a chunk; what it found is given at once, rows follow."""
        grid = self._scope.grid
        found = match(ref.lines, cand.lines, grid, ref.at_bands, cand.at_bands)
        found = _where_both_ran(found, ref.lines, cand.lines, chunk, self.reference, self._name)
        excused = self._excused_extra(chunk, ref, cand, found)
        blinks = cand.lines.frame[found.extra[excused]]
        found = replace(found, extra=found.extra[~excused])
        pairs = pair_metrics(ref.lines, cand.lines, found, grid, ref.at_bands, cand.at_bands)
        self._now_ns = int(chunk.timestamps_ns[-1]) if len(chunk.frames) else self._now_ns
        self._hold(chunk, ref, cand, found, pairs)
        if self._events is not None:
            self._log(ref, cand, found, pairs)
            self._events.frames("extra", blinks, owner="reference")
        self._release(self._now_ns)
        return found, pairs

    def finish(self) -> None:
        """Write what still waits."""
        self._release(None)

    def _excused_extra(self, chunk: Chunk, ref: Measured, cand: Measured, found: Matches) -> NDArray[np.bool_]:
        """Extra lines that are the reference's doing: true ones that it lacks, or that it has just dropped."""
        dropped = self._dropped.by_reference(ref, cand, found, chunk.frames, chunk.timestamps_ns)
        true_line = cand.true_line[found.extra]
        excused: NDArray[np.bool_] = np.where(true_line >= NO_TRUE_LINE, true_line > NO_TRUE_LINE, dropped)
        return excused

    def _hold(self, chunk: Chunk, ref: Measured, cand: Measured, found: Matches, pairs: PairMetrics) -> None:
        """Keep the rows of a chunk."""
        counts = line_counts(ref.lines, cand.lines, found, chunk.frames)
        columns: dict[str, NDArray[Any]] = {"frame": chunk.frames, **counts, "nonfinite": cand.nonfinite}
        columns["reach"] = mean_reach(cand.lines, cand.at_bands, chunk.frames, self._scope.grid)
        ran = chunk.outputs[self._name].ran
        self._frames.append({n: v[ran] for n, v in (columns | {"time_ns": chunk.timestamps_ns}).items()})
        if self._events is not None:
            bad = cand.nonfinite > 0
            self._events.frames("nonfinite", chunk.frames[bad], value=cand.nonfinite[bad])
        self._lone += self._lone_lines(chunk, ref, found)
        time_ns = chunk.timestamps_ns[np.searchsorted(chunk.frames, ref.lines.frame[found.reference])]
        rows = _Rows.of(ref, cand, found, pairs, time_ns, self._truth(ref, cand, found), self._scope.grid)
        self._held = rows if self._held is None else self._held.and_then(rows)

    def _lone_lines(self, chunk: Chunk, ref: Measured, found: Matches) -> list[_Lone]:
        has = np.zeros(len(ref.lines), bool)
        has[found.reference] = True
        time_ns = chunk.timestamps_ns[np.searchsorted(chunk.frames, ref.lines.frame)]
        lives = self._lives.of_lines(ref.track, time_ns, has, int(chunk.timestamps_ns[0]) if len(chunk.frames) else 0)
        return [
            _Lone(int(ref.lines.frame[i]), int(time_ns[i]), int(ref.track[i]), lives[i], int(ref.true_line[i]))
            for i in found.missing.tolist()
        ]

    def _truth(self, ref: Measured, cand: Measured, found: Matches) -> NDArray[np.float64]:
        """The true line of each pair at the band stations; NaN where the two are not one."""
        lines = ref.true_line[found.reference], cand.true_line[found.candidate]
        same = (lines[0] == lines[1]) & (lines[0] > NO_TRUE_LINE)
        truth = np.full((len(found), ref.at_bands.shape[1]), np.nan)
        if self._scope.truth is not None:
            truth[same] = self._scope.truth.lateral[lines[0][same]]
        return truth

    def _log(self, ref: Measured, cand: Measured, found: Matches, pairs: PairMetrics) -> None:
        """Events that need no time."""
        log = self._events
        assert log is not None  # who calls saw to it
        frame, track = ref.lines.frame[found.reference], ref.track[found.reference]
        log.frames("extra", cand.lines.frame[found.extra])
        log.frames("class_flip", frame[pairs.class_flip], track[pairs.class_flip])
        swapped = id_swaps(frame, track, cand.own_track[found.candidate])
        log.frames("id_swap", frame[swapped], track[swapped])

    def _release(self, now_ns: int | None) -> None:
        """Write the rows that nothing later can change; None: all."""
        self._release_frames(now_ns)
        if self._held is None or not len(self._held.frame):
            return
        held, before = self._held, self._context
        full = len(held.frame) + (0 if before is None else len(before.track)) > _MOST_HELD
        ready = len(held.frame)
        if now_ns is not None and not full:
            ready = int(np.searchsorted(held.tracked.time_ns, now_ns - CONTEXT_NS, side="right"))
            if not ready or held.tracked.time_ns[ready - 1] - held.tracked.time_ns[0] < _BATCH_NS:
                return
        around = held.tracked if before is None else before.and_then(held.tracked)
        rows = np.arange(ready) + len(around.track) - len(held.frame)
        done, self._held = held.take(slice(0, ready)), held.take(slice(ready, None))
        self._write(done, candidates_part(around, rows, done.bands, self._scope.grid))
        known = around.take(slice(0, len(around.track) - len(held.frame) + ready))
        recent = int(np.searchsorted(known.time_ns, known.time_ns[-1] - CONTEXT_NS))
        self._context = None if full else known.take(slice(recent, None))

    def _write(self, done: _Rows, own: dict[str, NDArray[np.float64]]) -> None:
        common = {"rung": self._name, "reference": self.reference, "frame": done.frame}
        common |= {"track": null_where_none(done.tracked.track), **done.of_lines}
        for k, band in enumerate(BANDS):
            self._scope.parts.add(
                "line_metrics", {"band": band, **common, **{name: values[:, k] for name, values in own.items()}}
            )
        if self._events is not None:
            self._events.pairs(done.frame, done.tracked.track, own | done.of_lines, self._scope.grid)
            theirs = {n: np.where(own[n] == v, np.nan, v) for n, v in done.bands.items()}
            self._events.pairs(done.frame, done.tracked.track, theirs, self._scope.grid, owner="reference")

    def _release_frames(self, now_ns: int | None) -> None:
        seen_ns = self._now_ns if now_ns is None else now_ns - FLASH_NS
        lone = [one for one in self._lone if one.time_ns <= seen_ns]
        self._lone = self._lone[len(lone) :]
        theirs = np.array([one.is_reference_s(self._now_ns) for one in lone], bool)
        frame, track = (np.array([getattr(one, n) for one in lone], np.int64) for n in ("frame", "track"))
        if self._events is not None:
            self._events.frames("missing", frame[~theirs], track[~theirs])
            self._events.frames("missing", frame[theirs], track[theirs], owner="reference")
        waiting = []
        for columns in self._frames:
            ready = columns["time_ns"] <= seen_ns
            self._write_frames({n: v[ready] for n, v in columns.items()}, frame[theirs])
            if not ready.all():
                waiting.append({n: v[~ready] for n, v in columns.items()})
        self._frames = waiting

    def _write_frames(self, columns: dict[str, NDArray[Any]], excused: Ints) -> None:
        numbers = columns["frame"]
        if not len(numbers):
            return
        own = excused[(excused >= numbers[0]) & (excused <= numbers[-1])]
        fewer = np.bincount(np.searchsorted(numbers, own), minlength=len(numbers)).astype(np.int32)
        rows = {n: v for n, v in columns.items() if n != "time_ns"} | {"missing": columns["missing"] - fewer}
        self._scope.parts.add("frame_metrics", {"rung": self._name, "reference": self.reference, **rows})


@dataclass(frozen=True)
class _Rows:
    """Pairs that wait, in the order of time.

    Attributes:
        frame: of each, [pairs].
        tracked: where their lines are.
        bands: `band_columns()` -> [pairs, 3], of their difference.
        of_lines: what is of whole lines, [pairs] each.
    """

    frame: Ints
    tracked: TrackedPairs
    bands: dict[str, NDArray[np.float64]]
    of_lines: dict[str, NDArray[Any]]

    @classmethod
    def of(
        cls, ref: Measured, cand: Measured, found: Matches, pairs: PairMetrics, time_ns: Ints, truth: NDArray[Any],
        grid: Grid,
    ) -> _Rows:  # fmt: skip
        """The pairs of a chunk."""
        tracked = TrackedPairs(
            time_ns,
            ref.track[found.reference],
            ref.at_bands[found.reference].astype(np.float32),
            cand.at_bands[found.candidate].astype(np.float32),
            truth.astype(np.float32),
            is_large(pairs.bands, grid) & np.isfinite(pairs.offset).any(axis=1),
        )
        of_lines = {name: getattr(pairs, name) for name in _OF_LINES}
        return cls(ref.lines.frame[found.reference], tracked, {n: pairs.bands[n] for n in band_columns()}, of_lines)

    def take(self, rows: slice) -> _Rows:
        """Some of them."""
        parts = ({n: v[rows] for n, v in part.items()} for part in (self.bands, self.of_lines))
        return _Rows(self.frame[rows], self.tracked.take(rows), *parts)

    def and_then(self, later: _Rows) -> _Rows:
        """With those of later frames."""
        parts = (
            {n: np.concatenate([v, other[n]]) for n, v in part.items()}
            for part, other in ((self.bands, later.bands), (self.of_lines, later.of_lines))
        )
        return _Rows(np.concatenate([self.frame, later.frame]), self.tracked.and_then(later.tracked), *parts)


def _where_both_ran(
    found: Matches, ref: LineTable, cand: LineTable, chunk: Chunk, reference: str, name: str
) -> Matches:
    """Frames after a failure are not run: nothing is missing or extra there."""
    ref_ran, cand_ran = chunk.outputs[reference].ran, chunk.outputs[name].ran
    if ref_ran.all() and cand_ran.all():
        return found
    missing = found.missing[np.isin(ref.frame[found.missing], chunk.frames[cand_ran])]
    extra = found.extra[np.isin(cand.frame[found.extra], chunk.frames[ref_ran])]
    return Matches(found.reference, found.candidate, missing, extra)


def null_where_none(track: NDArray[np.int32]) -> NDArray[np.int32] | pl.Series:
    """NO_TRACK as null."""
    if (track == NO_TRACK).any():
        return pl.Series(track).replace(NO_TRACK, None)
    return track
