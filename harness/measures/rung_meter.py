"""One rung of one case: its lines against the references it has, chunk by chunk, as rows of the run tables.

The root's meter tracks the root's lines and compares them with ground truth only. Events and time series are of the
comparison with the root, the one a policy judges; the comparison with the parent tells what a single step did.
"""

from __future__ import annotations

from array import array
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engines.formats.polylines import LINE_ARRAYS
from harness.lines.chunk import Chunk, Ints
from harness.lines.table import NO_SLOT, LineTable
from harness.measures.accuracy import AccuracySums, accuracy, accuracy_sums, f1_limits
from harness.measures.against import Against, null_where_none
from harness.measures.average_precision import AveragePrecision
from harness.measures.consequence import Consequence, consequence, lane_gap
from harness.measures.ego_path import EgoPath
from harness.measures.events import Event, EventLog
from harness.measures.match import Matches
from harness.measures.measured import Measured, measured
from harness.measures.presence import line_counts, mean_reach
from harness.measures.resets import RESET
from harness.measures.scope import CaseScope
from harness.measures.series import SeriesStore
from harness.measures.series_table import SeriesTable
from harness.measures.state import StateMeter
from harness.measures.tensor import tensor_metrics
from harness.measures.tracks import Tracker
from harness.measures.truth import NO_TRUE_LINE, Steadiness, true_lines_of
from harness.model.grid import STATIONS_PER_BAND, Grid
from harness.run.rungs import Rung
from harness.run.tables import BANDS

__all__ = ["RungMeter"]


class RungMeter:
    """Measures one rung over a case; close it at the end.

    Args:
        rung: which; without a parent it is the root.
        scope: of the case.
        slots: of the rung's decoder.

    Attributes:
        name: of the rung.
        engine: that runs it.
        frames: that it ran so far.
        lines: that it drew in them.
    """

    def __init__(self, rung: Rung, scope: CaseScope, slots: int) -> None:
        self.name, self.engine, self.frames, self.lines = rung.name, rung.engine, 0, 0
        self._scope = scope
        self._is_root = rung.name == scope.root
        self._references = [] if self._is_root else [r for r in dict.fromkeys((scope.root, rung.parent)) if r]
        merge = None if scope.vehicle else STATIONS_PER_BAND
        self._tracker = Tracker(scope.grid.thresholds.match_gate, slots=slots, merge_stations=merge)
        self._series = SeriesStore(
            scope.grid.series_stations, scope.clock, scale=scope.grid.series_scale, vehicle_frame=scope.vehicle
        )
        self._state = StateMeter(tuple(scope.card.state)) if scope.card.state and not self._is_root else None
        self._events = EventLog(scope.card.length_unit)
        self._table = SeriesTable(case=scope.case.id, rung=rung.name, reference=scope.root, grid=scope.grid)
        self._felt: Consequence | None = None
        self._frame_of_step = array("q")  # only where there is a state
        self._against = {
            reference: Against(scope, rung.name, reference, self._events if reference == scope.root else None)
            for reference in self._references
        }
        self._accuracy: AccuracySums | None = None
        self._steadiness, self._precision = Steadiness.none(), AveragePrecision(f1_limits(scope.grid))
        self._path = EgoPath(scope.steps, scope.grid) if scope.steps is not None else None
        self._span: tuple[int, int] | None = None  # first and last frame that the rung ran

    def close(self) -> None:
        """Give buffers back."""
        self._series.close()

    def measure(self, chunk: Chunk) -> Measured:
        """The rung's lines of a chunk; the root's with their tracks."""
        found = measured(chunk.outputs[self.name], self._scope.grid)
        found.true_line = true_lines_of(
            self._scope.truth, self._scope.labelled, found.lines, found.at_bands, self._scope.grid
        )
        ran = chunk.frames[chunk.outputs[self.name].ran]
        if len(ran):
            self._span = (self._span or ran.tolist())[0], int(ran[-1])
        self.frames += len(ran)
        self.lines += len(found.lines)
        if self._is_root:
            found.track, found.merging = self._tracker.update(found.lines, found.at_bands)
        elif (found.lines.slot == NO_SLOT).any():
            found.own_track = self._tracker.update(found.lines, found.at_bands).track
        if self._path is not None:
            place = np.searchsorted(self._scope.case.frame_numbers, ran)
            self._path.add(place, ran, found.lines.frame, found.at_bands, self._identity(found))
        return found

    def _identity(self, found: Measured) -> Ints:
        """What tells that lines of two frames are one: the root's track, else the slot, else the rung's own track."""
        slot = found.lines.slot
        return np.asarray(found.track if self._is_root else np.where(slot == NO_SLOT, found.own_track, slot), np.int64)

    def compare(self, chunk: Chunk, lines: Mapping[str, Measured], frames_done: int) -> None:
        """Rows of a chunk against every reference; the root's lines and those of parents are in `lines`.

        Args:
            chunk: what every rung gave.
            lines: what `measure` gave, by rung.
            frames_done: frames of the case before this chunk.
        """
        if self._is_root:
            self._own_frame_rows(chunk, lines[self.name])
        for reference in self._references:
            self._compare_with(chunk, reference, lines[reference], lines[self.name], frames_done)
        self._scope.parts.add("lines", self._line_rows(chunk, lines[self.name]))
        self._judge_accuracy(chunk, lines[self.name])

    def note(self, events: Sequence[Event]) -> None:
        """Take events that were found elsewhere."""
        for event in events:
            self._events.add(event)

    def finish(self) -> None:
        """Rows of what needs the whole case: series, states, events, accuracy."""
        parts, case, root = self._scope.parts, self._scope.case.id, self._scope.root
        for against in self._against.values():
            against.finish()
        if not self._is_root:
            self._measure_series()
            parts.add("series_metrics", self._table.table(self._events).drop("case").to_dict())
        if self._scope.vehicle:
            parts.add("path_metrics", {"rung": self.name, **_path_row(self._path)})
        if not self._is_root and self._scope.vehicle:
            felt = _nulls(asdict(self._felt)) if self._felt is not None else {}
            parts.add("lane_metrics", {"rung": self.name, "reference": root, **felt})
        if self._state is not None:
            _, axis = self._scope.clock.axis()
            for step, size in self._state.resets():
                frame = self._frame_of_step[step - 1]
                self._events.add(Event("state_reset", frame, frame, -1, -1, size, RESET))
            for row in self._state.rows(axis.fps):
                parts.add("state_metrics", {"rung": self.name, "reference": root, **row})
        if self._span and not self.lines:
            first, last = self._span
            self._events.add(Event("no_lines", first, last, -1, -1, float(last - first + 1), 1.0))
        parts.add("events", self._events.table(case, self.name, root).drop("case").to_dict())
        if self._accuracy is not None:
            whole = dict(zip(("average_precision", "consistent_precision"), self._precision.values(), strict=True))
            whole |= dict(zip(("stable", "flickering", "missed"), self._steadiness.shares.tolist(), strict=True))
            parts.add("accuracy", _accuracy_rows(self.name, self._accuracy, whole, self._scope.grid))

    def end_section(self, context: int) -> None:
        """Measure the series so far; those from frame `context` on are context of the next section."""
        if not self._is_root:
            self._measure_series()
            self._series.forget(context)

    def _measure_series(self) -> None:
        self._table.add(self._series)
        if self._scope.vehicle:
            felt = self._lane()
            self._felt = felt if self._felt is None else self._felt.with_later(felt)

    def _lane(self) -> Consequence:
        """What following the rung's lines would do to a car that follows the root's."""
        clock = self._scope.clock
        speed_mps, (_, axis) = clock.speed(), clock.axis()
        gap = lane_gap(self._series.tracks(), len(speed_mps))
        return consequence(gap, self._scope.grid.look_ahead, speed_mps, axis.fps, clock.fresh_step())

    def _compare_with(self, chunk: Chunk, reference: str, ref: Measured, cand: Measured, frames_done: int) -> None:
        found, pairs = self._against[reference].add(chunk, ref, cand)
        self._tensor_rows(chunk, reference, frames_done)
        if reference != self._scope.root:
            return
        cand.track[found.candidate] = ref.track[found.reference]
        self._append_series(ref, cand, found, chunk.frames[chunk.outputs[self.name].ran])
        if self._state is not None:
            self._frame_of_step.extend(chunk.frames)
            step = frames_done + 1 + np.searchsorted(chunk.frames, ref.lines.frame[found.reference])
            self._state.lines(step, pairs.bands["offset_max"], pairs.bands["bend"])

    def _append_series(self, ref: Measured, cand: Measured, found: Matches, ran: Ints) -> None:
        """One row for every line of the root in the frames that the rung ran."""
        offset = np.full(ref.at_look_ahead.shape, np.nan)
        offset[found.reference] = cand.at_look_ahead[found.candidate] - ref.at_look_ahead[found.reference]
        matched = np.zeros(len(ref.lines), bool)
        matched[found.reference] = True
        truth = self._truth_less_reference(ref, cand, found)
        rows = np.isin(ref.lines.frame, ran)
        self._series.append(
            ref.lines.frame[rows],
            ref.track[rows],
            offset[rows],
            ref.at_look_ahead[rows],
            matched=matched[rows],
            merging=ref.merging[rows],
            truth=None if truth is None else truth[rows],
        )

    def _truth_less_reference(self, ref: Measured, cand: Measured, found: Matches) -> NDArray[np.float64] | None:
        """The true line minus the root's at the look-ahead stations where the pair is one true line; None: no truth."""
        if self._scope.truth is None:
            return None
        truth = np.full(ref.at_look_ahead.shape, np.nan)
        line = ref.true_line[found.reference]
        both = (line == cand.true_line[found.candidate]) & (line > NO_TRUE_LINE)
        at = found.reference[both]
        truth[at] = self._scope.truth.at_look_ahead[line[both]] - ref.at_look_ahead[at]
        return truth

    def _own_frame_rows(self, chunk: Chunk, own: Measured) -> None:
        """The root's frames: all its lines are matched with themselves."""
        counts = line_counts(own.lines, own.lines, _with_itself(own.lines), chunk.frames)
        reach = mean_reach(own.lines, own.at_bands, chunk.frames, self._scope.grid)
        columns: dict[str, NDArray[Any]] = {"frame": chunk.frames, **counts, "nonfinite": own.nonfinite, "reach": reach}
        rows = {column: values[chunk.outputs[self.name].ran] for column, values in columns.items()}
        self._scope.parts.add("frame_metrics", {"rung": self.name, "reference": self.name, **rows})
        bad = own.nonfinite > 0
        self._events.frames("nonfinite", chunk.frames[bad], value=own.nonfinite[bad])

    def _tensor_rows(self, chunk: Chunk, reference: str, frames_done: int) -> None:
        ref, cand = chunk.outputs[reference], chunk.outputs[self.name]
        both = ref.valid & cand.valid
        if not both.any():
            return
        for output in cand.stacked.keys() & ref.stacked.keys() - set(LINE_ARRAYS):
            values = cand.stacked[output]
            pair = ref.stacked[output][both[ref.valid]], values[both[cand.valid]]
            row = tensor_metrics(*pair)
            if reference == self._scope.root and self._state is not None:
                self._state.tensor(output, frames_done + 1 + np.flatnonzero(both), *pair)
            keys = {"rung": self.name, "output": output, "reference": reference, "frame": chunk.frames[both]}
            self._scope.parts.add("tensor_metrics", keys | row)

    def _line_rows(self, chunk: Chunk, found: Measured) -> dict[str, Any]:
        at = np.searchsorted(chunk.frames, found.lines.frame)
        return {
            "rung": self.name,
            "timestamp_ns": chunk.timestamps_ns[at],
            "track": null_where_none(found.track),
            **found.lines.to_columns(),
        }

    def _judge_accuracy(self, chunk: Chunk, own: Measured) -> None:
        """Add to the sums, over the frames that have ground truth, if only that there is no line."""
        if self._scope.truth is None:
            return
        frames = np.intersect1d(chunk.frames[chunk.outputs[self.name].valid], self._scope.labelled)
        seen = np.isin(own.lines.frame, frames)
        truth, found = self._scope.truth.of_frames(frames), own.lines.take(seen)
        sums, hit, near = accuracy_sums(truth.lines, found, self._scope.grid, len(frames), truth.constant)
        self._accuracy = sums if self._accuracy is None else self._accuracy + sums
        self._steadiness.add(truth.lines.frame, truth.track, hit, frames)
        self._precision.add(near, found.score, self._identity(own)[seen], truth.track)


def _path_row(path: EgoPath | None) -> dict[str, Any]:
    """Consistency with the way of the car; null where that is not known or tells nothing."""
    if path is None:
        return {"looks": 0}
    told = {"path_error": path.error_m(), "path_skill": path.skill(), "path_lag": path.lag_s()}
    return {"looks": path.looks, **_nulls(told)}


def _nulls(row: dict[str, Any]) -> dict[str, Any]:
    """NaN as null."""
    return {name: value if np.isfinite(value) else None for name, value in row.items()}


def _accuracy_rows(name: str, sums: AccuracySums, whole: Mapping[str, float], grid: Grid) -> dict[str, Any]:
    """One row for each band; what is of whole lines is the same in every band."""
    found = accuracy(sums, grid)
    f1 = dict(zip(("f1_05", "f1_10", "f1_15"), found.f1.tolist(), strict=True))
    return {
        "rung": name,
        "band": np.array(BANDS),
        "lateral_mae": found.lateral_mae,
        "lateral_cost": found.lateral_cost,
        "lateral_skill": found.lateral_skill,
        "stations": sums.stations,
        **{column: np.full(3, value) for column, value in (f1 | dict(whole)).items()},
        "frames": sums.frames,
    }


def _with_itself(lines: LineTable) -> Matches:
    """Every line matched with itself."""
    at, none = np.arange(len(lines)), np.zeros(0, np.int64)
    return Matches(at, at, none, none)
