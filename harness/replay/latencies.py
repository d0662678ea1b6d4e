"""Times of calls, as many as there are, in the memory of a few: each is known to a thousandth."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["Latencies"]

PER_OCTAVE = 1024
OCTAVES = 44  # up to five hours


class Latencies:
    """Times of the calls of one rung in one case; the first is left out where there are more, it warms up."""

    def __init__(self) -> None:
        self._counts = np.zeros(PER_OCTAVE * OCTAVES, np.int32)
        self._first_ns = 0

    def add(self, elapsed_ns: ArrayLike) -> None:
        """Take more of them, nanoseconds, [n]."""
        more = np.asarray(elapsed_ns, np.int64)
        if len(more) and not self._first_ns:
            self._first_ns, more = max(int(more[0]), 1), more[1:]
        np.add.at(self._counts, _places(more), 1)

    @property
    def calls(self) -> int:
        """How many count."""
        return int(self._counts.sum()) or int(self._first_ns > 0)

    def quantile_ms(self, share: float) -> float:
        """A quantile in milliseconds, between two calls on the straight line; NaN without a call."""
        counts = self._counts
        total = int(counts.sum())
        if total == 0:
            return self._first_ns / 1e6 if self._first_ns else math.nan
        place = share * (total - 1)
        below, above = np.searchsorted(np.cumsum(counts), (math.floor(place), math.ceil(place)), side="right")
        low, high = (2 ** ((at + 0.5) / PER_OCTAVE) / 1e6 for at in (int(below), int(above)))
        return float(low + (place - math.floor(place)) * (high - low))


def _places(elapsed_ns: NDArray[np.int64]) -> NDArray[np.int64]:
    """The count that each time belongs to."""
    places: NDArray[np.int64] = np.floor(np.log2(np.maximum(elapsed_ns, 1)) * PER_OCTAVE).astype(np.int64)
    return np.asarray(np.minimum(places, PER_OCTAVE * OCTAVES - 1))
