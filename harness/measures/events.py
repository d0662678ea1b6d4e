"""Events: stretches of frames in which a candidate leaves its limits, one row of events.parquet each.

`EventLog` takes chunk after chunk of one case and rung. Frames that follow one another with the same kind, track and
band become one event with the worst value; an event may reach over any number of chunks.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import ArrayLike, NDArray

from harness.measures.own import Owner
from harness.model.grid import Grid
from harness.run.catalogue import event_kinds, events_of
from harness.run.tables import BANDS, SORT_KEYS, TABLES
from harness.run.units import ROUNDING, base_unit

__all__ = ["FLICKER_PER_MIN", "FLICKER_TOGGLES", "Event", "EventLog"]

FLICKER_PER_MIN = 10.0  # excess toggles per minute
FLICKER_TOGGLES = 4  # and at least so many: one blink is a missing line, two are flicker

_NO_TRACK = -1
_NO_BAND = -1


@dataclass(frozen=True, slots=True)
class Event:
    """One event; track and band are -1 where they do not apply, band is an index into `tables.BANDS`.

    frame is the one with the worst value; -1: the first.
    """

    kind: str
    start: int
    end: int
    track: int
    band: int
    value: float
    threshold: float
    owner: str = "candidate"
    frame: int = -1


class EventLog:
    """Events of one case and rung.

    Args:
        length_unit: `m` or `px`.
    """

    def __init__(self, length_unit: str) -> None:
        self._unit = length_unit
        self._closed: list[Event] = []
        self._open: dict[tuple[str, int, int, str], Event] = {}

    def bands(
        self, kind: str, frame: NDArray[np.int64], track: ArrayLike, values: NDArray[Any], thresholds: Sequence[float],
        owner: Owner = "candidate",
    ) -> None:  # fmt: skip
        """Take per-frame values of matched lines, [n, 3 bands]; sizes above their band's threshold are events.

        NaN never is: where a band has no value, `missing` and coverage speak.
        """
        tracks = np.broadcast_to(np.asarray(track), len(frame))
        for band, threshold in enumerate(thresholds):
            self._take_over(kind, frame, tracks, band, values[:, band], threshold, owner)

    def pairs(
        self, frame: NDArray[np.int64], track: ArrayLike, columns: Mapping[str, NDArray[Any]], grid: Grid,
        owner: Owner = "candidate",
    ) -> None:  # fmt: skip
        """Take matched lines: every measure of theirs that has a threshold, [n, 3 bands], or [n] of whole lines."""
        for m in events_of("line_metrics"):
            assert m.threshold is not None  # events_of chose it so
            thresholds = m.threshold.of(grid)
            values = columns.get(m.column)
            if values is not None and values.ndim == 2:
                self.bands(m.name, frame, track, values, thresholds, owner)
            elif values is not None:
                self.lines(m.name, frame, track, values, thresholds[0])

    def lines(
        self, kind: str, frame: NDArray[np.int64], track: ArrayLike, values: NDArray[Any], threshold: float
    ) -> None:
        """Take per-frame values of whole lines, [n]; sizes above the threshold are events."""
        self._take_over(kind, frame, np.broadcast_to(np.asarray(track), len(frame)), _NO_BAND, values, threshold)

    def frames(
        self,
        kind: str,
        frame: NDArray[np.int64],
        track: ArrayLike = _NO_TRACK,
        value: ArrayLike = 1.0,
        owner: Owner = "candidate",
    ) -> None:
        """Take frames in which something is wrong as such (a missing line, a class flip), [n]; repeats count once."""
        tracks = np.broadcast_to(np.asarray(track), len(frame))
        values = np.broadcast_to(np.asarray(value, np.float64), len(frame))
        self._take(kind, frame, tracks, _NO_BAND, values, 1.0, owner)

    def add(self, event: Event) -> None:
        """Take an event that is known as a whole (a swing, a flickering track)."""
        self._closed.append(event)

    def table(self, case: str, rung: str, reference: str) -> pl.DataFrame:
        """All events so far, with the columns and the order of events.parquet."""
        events = [*self._closed, *self._open.values()]
        rows = [
            {
                "case": case, "rung": rung, "kind": e.kind, "frame_start": e.start, "frame_end": e.end,
                "frame": e.start if e.frame < 0 else e.frame,
                "track": None if e.track < 0 else e.track, "band": None if e.band < 0 else BANDS[e.band],
                "reference": reference, "value": _value(e), "threshold": e.threshold,
                "unit": base_unit(event_kinds()[e.kind].quantity, self._unit), "owner": e.owner,
            }
            for e in events
        ]  # fmt: skip
        return pl.DataFrame(rows, schema=TABLES["events"]).sort(*SORT_KEYS["events"])

    def _take_over(
        self,
        kind: str,
        frame: NDArray[np.int64],
        track: NDArray[Any],
        band: int,
        values: NDArray[Any],
        threshold: float,
        owner: Owner = "candidate",
    ) -> None:
        size = np.abs(values)
        over = np.flatnonzero(size > threshold * (1 + ROUNDING))
        self._take(kind, frame[over], track[over], band, size[over], threshold, owner)

    def _take(
        self,
        kind: str,
        frame: NDArray[np.int64],
        track: NDArray[Any],
        band: int,
        value: NDArray[Any],
        threshold: float,
        owner: Owner = "candidate",
    ) -> None:
        """Cut into runs of consecutive frames per track and join the first of them to what the last chunk left open."""
        if len(frame) == 0:
            return
        order = np.lexsort((frame, track))
        f, t, v = frame[order], track[order], value[order]
        first = np.flatnonzero(np.concatenate([[True], (np.diff(t) != 0) | (np.diff(f) > 1)]))
        last = np.append(first[1:], len(f)) - 1
        for a, b in zip(first, last, strict=True):
            worst = a + int(v[a : b + 1].argmax())
            run = Event(kind, int(f[a]), int(f[b]), int(t[a]), band, float(v[worst]), float(threshold), owner)
            self._join(replace(run, frame=int(f[worst])))

    def _join(self, run: Event) -> None:
        key = (run.kind, run.track, run.band, run.owner)
        before = self._open.get(key)
        if before is not None and run.start <= before.end + 1:
            worst = run if run.value > before.value else before
            run = replace(worst, start=before.start, end=max(before.end, run.end))
        elif before is not None:
            self._closed.append(before)
        self._open[key] = run


def _value(event: Event) -> float:
    if event_kinds()[event.kind].sizing == "length":
        return float(event.end - event.start + 1)
    return event.value
