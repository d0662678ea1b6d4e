"""What a measure's function is given: a chunk's matched lines band by band, or one line at one look-ahead over time.

A function named by `compute` in harness/run/catalogue.py takes one of these and returns its column.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.measures.fit import BandFit
from harness.model.grid import Grid

__all__ = ["BandBlock", "StationBlock"]

Floats = NDArray[np.float64]


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
class StationBlock:
    """One line at one look-ahead station over a case; a function on it gives one number, None or NaN where none.

    Attributes:
        offset: candidate minus reference, [frames], NaN where either is missing.
        candidate: the candidate's own lateral position, [frames].
        reference: the reference's, [frames].
        fps: frames a second.
        hysteresis: of the swing detector, in the offset's unit: what moves less stands still.
    """

    offset: Floats
    candidate: NDArray[np.floating[Any]]
    reference: NDArray[np.floating[Any]]
    fps: float
    hysteresis: float
