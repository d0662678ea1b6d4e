"""Long cases in sections: measures over time see at most SECTION_FRAMES and their context at once.

Memory is then that of one section however long the case is. A section begins with the last OVERLAP_S of the one before
as context, longer than any window or chain of turning points that a measure looks at, so that whatever crosses the seam
is seen whole. What lies in the first half of the context is the section's before, what lies in the second is told by
this one, which knows what came after. Counts and means are of fresh frames only. A case of one section is
measured as a whole.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from harness.measures.lag import LagLook
from harness.measures.own import Owner
from harness.run.measure import Pooled

__all__ = ["OVERLAP_S", "SECTION_FRAMES", "Found", "PooledLine"]

SECTION_FRAMES = 1 << 14
OVERLAP_S = 20.0  # a wander of four turning points takes 16.5 s, the widest window 8 s


class Found(NamedTuple):
    """Where in a case a measure over time has a value: first and last frame, how large, whose; hz of a swing."""

    first: int
    last: int
    value: float
    owner: Owner
    hz: float = float("nan")


@dataclass(slots=True)
class PooledLine:
    """One line at one look-ahead station over the sections of a case so far.

    Attributes:
        track: of the line.
        station: position of the look-ahead.
        fps: of the time axis.
        first, last: frames of the line.
        frames, reference_frames: in which the offset, and the reference's position, is known.
        reference_run_s: longest time on end in which the reference's position is known.
        swing_steps: that were looked at for swings.
        found: measure -> where it has its values; a measure that could not look anywhere is not there.
        looks: what each section tells of a lag.
    """

    track: int
    station: int
    fps: float
    first: int
    last: int
    frames: int = 0
    reference_frames: int = 0
    reference_run_s: float = 0.0
    swing_steps: int = 0
    found: dict[str, list[Found]] = field(default_factory=dict)
    looks: list[LagLook] = field(default_factory=list)
    _numbers: dict[str, list[tuple[float, int]]] = field(default_factory=dict)

    @property
    def band(self) -> int:
        """Band of the look-ahead: 0 near to 2 far, which has all beyond too."""
        return min(self.station, 2)

    def find(self, measure: str, more: Iterable[Found], context: int, settled: int) -> None:
        """Take what a section found.

        Args:
            measure: its name.
            more: in the order of time.
            context: first frame of the section.
            settled: frame before which the section before had seen enough of what comes after: what ends there was
                found by it, and what it found later is seen better now.
        """
        later = [f for f in more if f.last >= settled]
        mine = self.found.get(measure, [])
        for one in (f for f in mine if f.last >= settled and f.first < context):  # longer than the context
            same = next((k for k, f in enumerate(later) if f.owner == one.owner and f.first <= one.last), None)
            if same is None:
                later.append(one)
            else:
                other = later[same]
                larger = max(one, other, key=lambda f: f.value)
                later[same] = larger._replace(first=one.first, last=max(one.last, other.last))
        self.found[measure] = [f for f in mine if f.last < settled] + later

    def number(self, measure: str, value: float | None, frames: int) -> None:
        """Take the number of a section, which is of so many frames; None and NaN where it has none."""
        if value is not None and not np.isnan(value):
            self._numbers.setdefault(measure, []).append((value, frames))

    def largest(self, measure: str) -> float | None:
        """The largest that the candidate owns, 0 without one; None where one could not look."""
        if measure not in self.found:
            return None
        return max((f.value for f in self.found[measure] if f.owner == "candidate"), default=0.0)

    def pooled(self, measure: str, how: Pooled) -> float | None:
        """The number of all sections; None where none has one."""
        numbers = self._numbers.get(measure, [])
        if len(numbers) < 2:
            return numbers[0][0] if numbers else None
        if how == "max":
            return max((value for value, _ in numbers), key=abs)
        values, weights = (np.array(x, np.float64) for x in zip(*numbers, strict=True))
        weights = np.maximum(weights, 1)
        return float(
            np.average(values, weights=weights) if how == "mean" else np.sqrt(np.average(values**2, weights=weights))
        )
