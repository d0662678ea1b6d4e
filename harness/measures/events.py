"""Events: stretches of frames in which a candidate leaves its limits, one row of events.parquet each.

`EventLog` takes chunk after chunk of one case and rung. Frames that follow one another with the same kind, track and
band become one event with the worst value; an event may reach over any number of chunks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import polars as pl
from numpy.typing import ArrayLike, NDArray

from harness.run.tables import BANDS, SORT_KEYS, TABLES

__all__ = ["FLICKER_PER_MIN", "FLICKER_TOGGLES", "KINDS", "Event", "EventLog"]

FLICKER_PER_MIN = 10.0  # excess toggles per minute
FLICKER_TOGGLES = 4  # and at least so many: one blink is a missing line, two are flicker

Measure = Literal["worst", "length"]
# kind -> (unit, where "length" is the model's; what `value` is: the worst frame's value, or the number of frames)
KINDS: dict[str, tuple[str, Measure]] = {
    "bend": ("length", "worst"),
    "kink": ("rad", "worst"),
    "swing": ("length", "worst"),
    "missing": ("frames", "length"),
    "extra": ("frames", "length"),
    "flicker": ("1/min", "worst"),
    "nonfinite": ("count", "worst"),
    "class_flip": ("frames", "length"),
    "id_swap": ("count", "worst"),
}
_NO_TRACK = -1
_NO_BAND = -1


@dataclass(frozen=True, slots=True)
class Event:
    """One event; track and band are -1 where they do not apply, band is an index into `tables.BANDS`."""

    kind: str
    start: int
    end: int
    track: int
    band: int
    value: float
    threshold: float
    owner: str = "candidate"


class EventLog:
    """Events of one case and rung.

    Args:
        length_unit: `m` or `px`.
    """

    def __init__(self, length_unit: str) -> None:
        self._unit = length_unit
        self._closed: list[Event] = []
        self._open: dict[tuple[str, int, int], Event] = {}

    def bands(
        self, kind: str, frame: NDArray[np.int64], track: ArrayLike, values: NDArray[Any], thresholds: Sequence[float]
    ) -> None:
        """Take per-frame values of matched lines, [n, 3 bands]; those at or above their band's threshold are events.

        NaN never is: where a band has no value, `missing` and coverage speak.
        """
        tracks = np.broadcast_to(np.asarray(track), len(frame))
        for band, threshold in enumerate(thresholds):
            over = np.flatnonzero(values[:, band] >= threshold)
            self._take(kind, frame[over], tracks[over], band, values[over, band], threshold)

    def frames(self, kind: str, frame: NDArray[np.int64], track: ArrayLike = _NO_TRACK, value: ArrayLike = 1.0) -> None:
        """Take frames in which something is wrong as such (a missing line, a class flip), [n]; repeats count once."""
        tracks = np.broadcast_to(np.asarray(track), len(frame))
        self._take(kind, frame, tracks, _NO_BAND, np.broadcast_to(np.asarray(value, np.float64), len(frame)), 1.0)

    def add(self, event: Event) -> None:
        """Take an event that is known as a whole (a swing, a flickering track)."""
        self._closed.append(event)

    def table(self, case: str, rung: str, reference: str) -> pl.DataFrame:
        """All events so far, with the columns and the order of events.parquet."""
        events = [*self._closed, *self._open.values()]
        rows = [
            {
                "case": case, "rung": rung, "kind": e.kind, "frame_start": e.start, "frame_end": e.end,
                "track": None if e.track < 0 else e.track, "band": None if e.band < 0 else BANDS[e.band],
                "reference": reference, "value": _value(e), "threshold": e.threshold,
                "unit": self._unit if KINDS[e.kind][0] == "length" else KINDS[e.kind][0], "owner": e.owner,
            }
            for e in events
        ]  # fmt: skip
        return pl.DataFrame(rows, schema=TABLES["events"]).sort(*SORT_KEYS["events"])

    def _take(
        self,
        kind: str,
        frame: NDArray[np.int64],
        track: NDArray[Any],
        band: int,
        value: NDArray[Any],
        threshold: float,
    ) -> None:
        """Cut into runs of consecutive frames per track and join the first of them to what the last chunk left open."""
        if len(frame) == 0:
            return
        order = np.lexsort((frame, track))
        f, t, v = frame[order], track[order], value[order]
        first = np.flatnonzero(np.concatenate([[True], (np.diff(t) != 0) | (np.diff(f) > 1)]))
        last = np.append(first[1:], len(f)) - 1
        worst = np.maximum.reduceat(v, first)
        for a, b, w in zip(first, last, worst, strict=True):
            self._join(Event(kind, int(f[a]), int(f[b]), int(t[a]), band, float(w), float(threshold)))

    def _join(self, run: Event) -> None:
        key = (run.kind, run.track, run.band)
        before = self._open.get(key)
        if before is not None and run.start <= before.end + 1:
            worst = max(before.value, run.value)
            run = Event(run.kind, before.start, max(before.end, run.end), run.track, run.band, worst, run.threshold)
        elif before is not None:
            self._closed.append(before)
        self._open[key] = run


def _value(event: Event) -> float:
    if KINDS[event.kind][1] == "length":
        return float(event.end - event.start + 1)
    return event.value
