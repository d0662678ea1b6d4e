"""Chunks of outputs become lines, matches and rows of the run tables.

Every rung is compared with the root of the ladder and, where that is another rung, with its parent. The root's lines
are tracked; a line of another rung takes the track of the root's line it matches. Events and time series are of the
comparison with the root, the one a policy judges; the comparison with the parent tells what a single step did.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import polars as pl
from numpy.typing import NDArray

from cases.case import Case
from engines.formats.polylines import LINE_ARRAYS
from engines.protocol import Tensors
from harness.lines.chunk import Chunk, Ints, RungOutputs
from harness.lines.decode import Decoder
from harness.lines.decode.recorded import RecordedLines, holds_lines
from harness.lines.table import NO_SLOT, LineTable
from harness.measures.accuracy import AccuracySums, accuracy, accuracy_sums
from harness.measures.events import Event, EventLog
from harness.measures.flicker import id_swaps
from harness.measures.floor import FloorMeter
from harness.measures.match import Matches, match
from harness.measures.pairs import PairMetrics, pair_metrics
from harness.measures.presence import line_counts
from harness.measures.series import Clock, SeriesStore
from harness.measures.series_table import series_metrics_table
from harness.measures.state import StateMeter
from harness.measures.stations import resample
from harness.measures.tensor import tensor_metrics
from harness.measures.tracks import NO_TRACK, Tracker
from harness.model.card import Card
from harness.model.grid import STATIONS_PER_BAND, Grid
from harness.run.folder import CaseParts
from harness.run.rungs import Probe, Rung
from harness.run.tables import BANDS

__all__ = ["Comparer"]

Floats = NDArray[np.float64]
BAND_STATIONS = 3 * STATIONS_PER_BAND


@dataclass
class _Measured:
    """Lines of one rung in a chunk, with their lateral positions at band and look-ahead stations and their tracks."""

    lines: LineTable
    at_bands: Floats
    at_look_ahead: Floats
    track: NDArray[np.int32]
    own_track: NDArray[np.int32]
    merging: NDArray[np.bool_]
    nonfinite: Ints


class Comparer:
    """Compares the rungs of one case chunk by chunk and writes its tables; use it with `with`.

    Args:
        card: the model.
        case: the case.
        rungs: the ladder, the root first.
        decoder: of the card.
        parts: takes the rows.
        probes: engines against themselves; chunks hold their outputs under the names of their rungs.
    """

    def __init__(
        self,
        card: Card,
        case: Case,
        rungs: Sequence[Rung],
        decoder: Decoder,
        parts: CaseParts,
        probes: Sequence[Probe] = (),
    ) -> None:
        self._grid: Grid = card.grid
        self._case = case
        self._decoder = decoder
        self._parts = parts
        self._root = rungs[0].name
        self._pairs = [(r.name, ref) for r in rungs[1:] for ref in dict.fromkeys((self._root, r.parent)) if ref]
        gate, vehicle = self._grid.thresholds.match_gate, self._grid.frame == "vehicle"
        merge = None if vehicle else STATIONS_PER_BAND
        self._trackers = {r.name: Tracker(gate, slots=decoder.slots, merge_stations=merge) for r in rungs}
        others = [r.name for r in rungs[1:]]
        self._clock = Clock()
        self._series = {n: SeriesStore(self._grid.look_ahead, self._clock, vehicle_frame=vehicle) for n in others}
        self._states = {n: StateMeter(tuple(card.state)) for n in others if card.state}
        self._floors = {p.rung.name: FloorMeter(p, self._grid, self._clock) for p in probes}
        self._bases = {p.rung.name: p.base.name for p in probes}
        self._events = {n: EventLog(card.length_unit) for n in [self._root, *others]}
        truth = case.truth() if vehicle == (case.meta.truth_frame == "vehicle") else None
        self._truth = None if truth is None else LineTable.from_polars(truth)
        self._labelled = case.labelled_frames()
        self._accuracy: dict[str, AccuracySums] = {}
        self._ran: dict[str, tuple[int, int]] = {}  # first and last frame that a rung ran
        self._drawn: dict[str, int] = {}  # lines it drew in all of them
        self.frames_done = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for store in self._series.values():
            store.close()
        for meter in self._floors.values():
            meter.close()

    def add(self, chunk: Chunk) -> None:
        """Measure one chunk; chunks come in the order of time."""
        measured = {
            n: self._measure(n, outputs, chunk) for n, outputs in chunk.outputs.items() if n not in self._floors
        }
        self._track_root(measured[self._root])
        self._clock.tick(chunk.frames, chunk.timestamps_ns, **self._ego(chunk.frames))
        self._frame_rows(chunk, self._root, self._root, measured, _with_itself(measured[self._root].lines))
        for name, reference in self._pairs:
            self._compare(chunk, name, reference, measured)
        for name, base in self._bases.items():
            self._probe(chunk, name, base, measured[base])
        for name, found in measured.items():
            self._parts.add("lines", self._line_rows(chunk, name, found))
        self._judge_accuracy(chunk, measured)
        self.frames_done += len(chunk.frames)

    def finish(self) -> None:
        """Write what needs the whole case: series, events, accuracy."""
        for name, store in self._series.items():
            table = series_metrics_table(
                store,
                case=self._case.id,
                rung=name,
                reference=self._root,
                grid=self._grid,
                log=self._events[name],
            )
            self._parts.add("series_metrics", table.drop("case").to_dict())
        for name, state in self._states.items():
            for row in state.rows(self._clock.axis()[2]):
                self._parts.add("state_metrics", {"rung": name, "reference": self._root, **row})
        for name, log in self._events.items():
            if self._ran.get(name) and not self._drawn.get(name):
                first, last = self._ran[name]
                log.add(Event("no_lines", first, last, -1, -1, float(last - first + 1), 1.0))
            self._parts.add("events", log.table(self._case.id, name, self._root).drop("case").to_dict())
        for meter in self._floors.values():
            for row in meter.rows(self._case.id):
                self._parts.add("floors", row)
        for name, sums in self._accuracy.items():
            self._parts.add("accuracy", _accuracy_rows(name, sums))

    def _measure(self, name: str, outputs: RungOutputs, chunk: Chunk) -> _Measured:
        nonfinite = np.zeros(len(chunk.frames), np.int64)
        lines = LineTable.empty()
        if outputs.stacked:
            nonfinite[outputs.valid] = _nonfinite(outputs.stacked)
            logged = holds_lines(outputs.stacked)  # by the device, whose decoder has done its work already
            lines = (RecordedLines(self._grid.frame) if logged else self._decoder).decode(outputs.stacked)
            lines = lines.at_frames(chunk.frames[outputs.valid][lines.frame])
        stations = np.concatenate([self._grid.stations.ravel(), self._grid.look_ahead])
        lateral = resample(lines, stations, self._grid.frame)
        at_bands = lateral[:, :BAND_STATIONS]
        none = np.full(len(lines), NO_TRACK, np.int32)
        merging = np.zeros(len(lines), bool)
        own = none
        if name in self._trackers and name != self._root and (lines.slot == NO_SLOT).any():
            own = self._trackers[name].update(lines, at_bands).track
        return _Measured(lines, at_bands, lateral[:, BAND_STATIONS:], none.copy(), own, merging, nonfinite)

    def _track_root(self, root: _Measured) -> None:
        root.track, root.merging = self._trackers[self._root].update(root.lines, root.at_bands)

    def _compare(self, chunk: Chunk, name: str, reference: str, measured: Mapping[str, _Measured]) -> None:
        ref, cand = measured[reference], measured[name]
        found = match(ref.lines, cand.lines, self._grid, ref.at_bands, cand.at_bands)
        found = _where_both_ran(
            found, ref.lines, cand.lines, chunk.frames, chunk.outputs[reference].ran, chunk.outputs[name].ran
        )
        if reference == self._root:
            cand.track[found.candidate] = ref.track[found.reference]
        pairs = pair_metrics(ref.lines, cand.lines, found, self._grid, ref.at_bands, cand.at_bands)
        frame, track = ref.lines.frame[found.reference], ref.track[found.reference]
        for rows in _pair_rows(pairs, name, reference, frame, track):
            self._parts.add("line_metrics", rows)
        self._frame_rows(chunk, name, reference, measured, found)
        self._tensor_rows(chunk, name, reference)
        if reference == self._root:
            self._log(name, ref, cand, found, pairs)
            self._append_series(name, ref, cand, found, chunk.frames[chunk.outputs[name].ran])
            if name in self._states:
                step = self.frames_done + 1 + np.searchsorted(chunk.frames, frame)
                self._states[name].lines(step, pairs.bands["offset_max"], pairs.bands["bend"])

    def _probe(self, chunk: Chunk, name: str, base: str, ref: _Measured) -> None:
        """One engine against itself, over the frames that both gave."""
        again = self._measure(name, chunk.outputs[name], chunk)
        both = chunk.outputs[base].valid & chunk.outputs[name].valid
        if not both.any():
            return
        found = match(ref.lines, again.lines, self._grid, ref.at_bands, again.at_bands)
        laterals = (ref.at_bands, again.at_bands), (ref.at_look_ahead, again.at_look_ahead)
        self._floors[name].lines(ref.lines, again.lines, found, *laterals, ref.track)
        one, other = (
            {k: v[both[outputs.valid]] for k, v in outputs.stacked.items()}
            for outputs in (chunk.outputs[base], chunk.outputs[name])
        )
        self._floors[name].tensors(one, other)

    def _log(self, name: str, ref: _Measured, cand: _Measured, found: Matches, pairs: PairMetrics) -> None:
        """Events of one rung against the root."""
        log = self._events[name]
        frame, track = ref.lines.frame[found.reference], ref.track[found.reference]
        log.pairs(frame, track, pairs, self._grid)
        log.frames("missing", ref.lines.frame[found.missing], ref.track[found.missing])
        log.frames("extra", cand.lines.frame[found.extra])
        log.frames("class_flip", frame[pairs.class_flip], track[pairs.class_flip])
        swapped = id_swaps(frame, track, cand.own_track[found.candidate])
        log.frames("id_swap", frame[swapped], track[swapped])

    def _append_series(self, name: str, ref: _Measured, cand: _Measured, found: Matches, ran: Ints) -> None:
        """One row for every line of the root in the frames that the candidate ran."""
        offset = np.full(ref.at_look_ahead.shape, np.nan)
        offset[found.reference] = cand.at_look_ahead[found.candidate] - ref.at_look_ahead[found.reference]
        matched = np.zeros(len(ref.lines), bool)
        matched[found.reference] = True
        rows = np.isin(ref.lines.frame, ran)
        self._series[name].append(
            ref.lines.frame[rows],
            ref.track[rows],
            offset[rows],
            ref.at_look_ahead[rows],
            matched=matched[rows],
            merging=ref.merging[rows],
        )

    def _frame_rows(
        self, chunk: Chunk, name: str, reference: str, measured: Mapping[str, _Measured], found: Matches
    ) -> None:
        ref, cand = measured[reference], measured[name]
        counts = line_counts(ref.lines, cand.lines, found, chunk.frames)
        ran = chunk.outputs[name].ran
        if reference == self._root and ran.any():
            here = chunk.frames[ran]
            self._ran[name] = (self._ran.get(name, (int(here[0]), 0))[0], int(here[-1]))
            self._drawn[name] = self._drawn.get(name, 0) + len(cand.lines)
        columns: dict[str, NDArray[Any]] = {"frame": chunk.frames, **counts, "nonfinite": cand.nonfinite}
        rows = {column: values[ran] for column, values in columns.items()}
        self._parts.add("frame_metrics", {"rung": name, "reference": reference, **rows})
        if reference == self._root:
            bad = cand.nonfinite > 0
            self._events[name].frames("nonfinite", chunk.frames[bad], value=cand.nonfinite[bad])

    def _tensor_rows(self, chunk: Chunk, name: str, reference: str) -> None:
        ref, cand = chunk.outputs[reference], chunk.outputs[name]
        both = ref.valid & cand.valid
        if not both.any():
            return
        for output in cand.stacked.keys() & ref.stacked.keys() - set(LINE_ARRAYS):
            values = cand.stacked[output]
            pair = ref.stacked[output][both[ref.valid]], values[both[cand.valid]]
            row = tensor_metrics(*pair)
            if reference == self._root and name in self._states:
                self._states[name].tensor(output, self.frames_done + 1 + np.flatnonzero(both), *pair)
            keys = {"rung": name, "output": output, "reference": reference, "frame": chunk.frames[both]}
            self._parts.add("tensor_metrics", keys | row)

    def _line_rows(self, chunk: Chunk, name: str, found: _Measured) -> dict[str, Any]:
        at = np.searchsorted(chunk.frames, found.lines.frame)
        return {
            "rung": name,
            "timestamp_ns": chunk.timestamps_ns[at],
            "track": _null_where_none(found.track),
            **found.lines.to_columns(),
        }

    def _judge_accuracy(self, chunk: Chunk, measured: Mapping[str, _Measured]) -> None:
        """Add to the sums of every rung, over the frames that have ground truth, if only that there is no line."""
        if self._truth is None:
            return
        for name, found in measured.items():
            frames = np.intersect1d(chunk.frames[chunk.outputs[name].valid], self._labelled)
            truth, lines = (t.take(np.isin(t.frame, frames)) for t in (self._truth, found.lines))
            sums = accuracy_sums(truth, lines, self._grid, len(frames))
            self._accuracy[name] = self._accuracy[name] + sums if name in self._accuracy else sums

    def _ego(self, frames: Ints) -> dict[str, Floats]:
        """Ego motion of the chunk's moments, NaN where unknown."""
        moments = self._case.moments[np.searchsorted(self._case.frame_numbers, frames)]
        names = [n for n in ("speed_mps", "yaw_rate_radps", "yaw_rad") if n in moments.columns]
        return {n: moments[n].cast(pl.Float64).fill_null(np.nan).to_numpy() for n in names}


def _accuracy_rows(name: str, sums: AccuracySums) -> dict[str, Any]:
    """One row for each band; F1 is of whole lines and the same in every band."""
    found = accuracy(sums)
    f1 = {column: np.full(3, value) for column, value in zip(("f1_05", "f1_10", "f1_15"), found.f1, strict=True)}
    return {
        "rung": name,
        "band": np.array(BANDS),
        "lateral_mae": found.lateral_mae,
        "stations": sums.stations,
        **f1,
        "frames": sums.frames,
    }


def _with_itself(lines: LineTable) -> Matches:
    """Every line matched with itself."""
    at, none = np.arange(len(lines)), np.zeros(0, np.int64)
    return Matches(at, at, none, none)


def _where_both_ran(
    found: Matches,
    reference: LineTable,
    candidate: LineTable,
    frames: Ints,
    reference_ran: NDArray[np.bool_],
    candidate_ran: NDArray[np.bool_],
) -> Matches:
    """Frames after a crash are not run: nothing is missing or extra there."""
    if reference_ran.all() and candidate_ran.all():
        return found
    missing = found.missing[np.isin(reference.frame[found.missing], frames[candidate_ran])]
    extra = found.extra[np.isin(candidate.frame[found.extra], frames[reference_ran])]
    return Matches(found.reference, found.candidate, missing, extra)


def _nonfinite(stacked: Tensors) -> Ints:
    """NaN and infinite elements of each frame over all outputs, int64 [frames]."""
    count = np.zeros(len(next(iter(stacked.values()))), np.int64)
    for values in stacked.values():
        if values.dtype.kind == "f":
            flat = values.reshape(len(values), -1)
            with np.errstate(invalid="ignore", over="ignore"):
                bad = np.flatnonzero(~np.isfinite(flat.sum(axis=1, dtype=np.float64)))  # one pass where all is well
            count[bad] += np.count_nonzero(~np.isfinite(flat[bad]), axis=1)
    return count


def _pair_rows(
    pairs: PairMetrics, name: str, reference: str, frame: Ints, track: NDArray[np.int32]
) -> list[dict[str, Any]]:
    """One block of rows for each band."""
    lines = {name: getattr(pairs, name) for name in ("chamfer", "class_flip", "score_gap", "reach_gap")}
    common = {"rung": name, "reference": reference, "frame": frame, "track": _null_where_none(track), **lines}
    return [
        {"band": band, **common, **{metric: values[:, k] for metric, values in pairs.bands.items()}}
        for k, band in enumerate(BANDS)
    ]


def _null_where_none(track: NDArray[np.int32]) -> NDArray[np.int32] | pl.Series:
    """NO_TRACK as null."""
    if (track == NO_TRACK).any():
        return pl.Series(track).replace(NO_TRACK, None)
    return track
