"""Perturbations of when pictures come: repeated and dropped frames, motion data of another moment.

A line that is drawn of an old picture is compared with the line of its own moment: the vehicle has moved on meanwhile,
so here an offset is how far a line moves in that time, whatever the network.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import fields, replace

import numpy as np
from numpy.typing import NDArray

from cases.case import Case
from cases.picture import Ego, Tick
from harness.sweep.perturbation import Moment

__all__ = ["dropped", "late_motion", "repeated"]

_TURNING = ("yaw_rad",)


def repeated(case: Case, ticks: Iterable[Tick], share: float, rng: np.random.Generator) -> Iterator[Moment]:
    """At that share of the moments the network gets the picture that it got before, again."""
    before: Tick | None = None
    for tick in ticks:
        if before is not None and rng.random() < share:
            tick = replace(tick, pictures=before.pictures)
        before = tick
        yield Moment(tick)


def dropped(case: Case, ticks: Iterable[Tick], share: float, rng: np.random.Generator) -> Iterator[Moment]:
    """At that share of the moments no picture comes: the network does not run, its last lines stand."""
    for place, tick in enumerate(ticks):
        yield Moment(tick, fed=place == 0 or rng.random() >= share)


def late_motion(case: Case, ticks: Iterable[Tick], sigma_ms: float, rng: np.random.Generator) -> Iterator[Moment]:
    """Motion data of a moment beside that of the picture: time stamps off by so much (standard deviation)."""
    times = case.timestamps_ns.astype(np.float64)
    known = {f.name: case.moments[f.name].to_numpy().astype(np.float64) for f in fields(Ego) if f.name in case.moments}
    for tick in ticks:
        at = float(np.clip(tick.timestamp_ns + 1e6 * sigma_ms * rng.standard_normal(), times[0], times[-1]))
        yield Moment(replace(tick, ego=Ego(**{name: _at(at, times, values, name) for name, values in known.items()})))


def _at(time_ns: float, times: NDArray[np.float64], values: NDArray[np.float64], name: str) -> float | None:
    """A value between two moments; None where the recording does not know it."""
    has = np.isfinite(values)
    if not has.any():
        return None
    whole = np.unwrap(values[has]) if name in _TURNING else values[has]
    return float(np.interp(time_ns, times[has], whole))
