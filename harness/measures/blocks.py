"""What a measure's function is given: a chunk's matched lines band by band, or one line at one look-ahead over time.

A function named by `compute` in harness/run/catalogue.py takes one of these and returns its column.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from harness.measures.fit import BandFit
from harness.measures.own import Owner
from harness.model.grid import Grid
from harness.run.catalogue import find_measure

__all__ = ["BandBlock", "StationBlock", "Stretch"]

Floats = NDArray[np.float64]

_SERIES = ("offset", "candidate", "reference", "lasting", "curvature", "ego")


@dataclass(frozen=True, slots=True)
class BandBlock:
    """Matched lines along the road; a function on it gives float64 [pairs, bands], NaN where there is no value.

    Attributes:
        offset: candidate minus reference at the band stations, [pairs, bands, stations], left positive, NaN where
            either is missing.
        fit: least-squares lines through it.
        length: the length each band's stations span, [bands], positive.
        grid: stations, unit and lengths.
    """

    offset: Floats
    fit: BandFit
    length: Floats
    grid: Grid


@dataclass(frozen=True, slots=True)
class Stretch:
    """A part of a series in which a measure over time has a value: first and last step, how large, whose."""

    start: int
    stop: int
    value: float
    owner: Owner = "candidate"


@dataclass(frozen=True, slots=True)
class StationBlock:
    """One line at one look-ahead station over a case.

    A function on it gives one number (None or NaN where none), or the stretches in which the measure has a value: the
    column is then the largest that the candidate owns, 0 where there is none, and the function gives None where it
    could not look.

    Attributes:
        offset: candidate minus reference, [frames], NaN where either is missing.
        candidate: the candidate's own lateral position, [frames], NaN where `offset` is.
        reference: the reference's, [frames].
        lasting: the candidate's part of `offset` without what the reference does by itself for two seconds or less, and
            what ground truth clears, [frames].
        curvature: of the reference's line there, [frames], in any unit; NaN where not known.
        ego: lateral motion of the vehicle to add to own positions, [frames].
        fps: frames a second, NaN where not known.
        station: 0 near, 1 mid, 2 far.
        grid: thresholds and unit.
        owned: whether the own series may tell who owns a change; without, all is the candidate's, as between repeats
            of one engine.
        fresh: frames before it are context of a long case, measured before (sections.py).
    """

    offset: Floats
    candidate: Floats
    reference: Floats
    lasting: Floats
    curvature: Floats
    ego: Floats
    fps: float
    station: int
    grid: Grid
    owned: bool = True
    fresh: int = 0

    def without_context(self) -> StationBlock:
        """Its fresh frames alone."""
        if not self.fresh:
            return self
        kept = {name: getattr(self, name)[self.fresh :] for name in _SERIES}
        return replace(self, **kept, fresh=0)

    def threshold(self, measure: str) -> float:
        """From where on a measure is a finding at this station."""
        found = find_measure(measure).threshold
        assert found is not None  # asked only of measures that have one
        return found.of(self.grid)[self.station]

    def own(self) -> tuple[Floats, Floats]:
        """Candidate and reference without the vehicle's motion, on the frames that both have; NaN where not to tell."""
        if not self.owned:
            return np.full(len(self.offset), np.nan), np.full(len(self.offset), np.nan)
        reference = np.where(np.isfinite(self.offset), self.reference, np.nan)
        return self.candidate + self.ego, reference + self.ego

    def with_own(self) -> Floats:
        """The offset and what `own` gives, [3, frames]."""
        return np.stack([self.offset, *self.own()])
