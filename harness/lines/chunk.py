"""What every rung gave over consecutive frames of one case: what a replay hands to the comparison."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from engines.protocol import Tensors
from harness.lines.table import LineTable

__all__ = ["Chunk", "Ints", "RungOutputs"]

Ints = NDArray[np.int64]


@dataclass(frozen=True)
class RungOutputs:
    """What one rung gave in a chunk of n frames.

    Attributes:
        valid: frames with outputs, bool [n].
        ran: frames the rung was asked for, bool [n]; asked but not valid is a gap in a recording, not asked is after a
            failure.
        stacked: outputs [frames with outputs, ...].
        lines: what the decoder made of them, with the case's frame numbers.
    """

    valid: NDArray[np.bool_]
    ran: NDArray[np.bool_]
    stacked: Tensors
    lines: LineTable


@dataclass(frozen=True)
class Chunk:
    """Consecutive frames of one case with the outputs of every rung."""

    frames: Ints
    timestamps_ns: Ints
    outputs: Mapping[str, RungOutputs]
