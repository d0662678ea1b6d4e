"""What the outputs of a few frames look like: shapes and ranges, without the frames' axis and a batch of one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["Seen", "seen_outputs"]

Array = NDArray[Any]


@dataclass(frozen=True)
class Seen:
    """One output over the trial frames.

    Attributes:
        name: of the output.
        values: [frames, *shape].
    """

    name: str
    values: Array

    @property
    def shape(self) -> tuple[int, ...]:
        """Of one frame."""
        return tuple(self.values.shape[1:])

    @property
    def finite(self) -> bool:
        """No value is infinite or NaN."""
        return bool(np.isfinite(self.values).all())

    @property
    def low(self) -> float:
        """Smallest value."""
        return float(self.values.min()) if self.values.size else 0.0

    @property
    def high(self) -> float:
        """Largest value."""
        return float(self.values.max()) if self.values.size else 0.0

    @property
    def shares(self) -> bool:
        """All values lie in 0..1."""
        return self.finite and self.low >= 0 and self.high <= 1


def seen_outputs(frames: Sequence[Mapping[str, Array]]) -> list[Seen]:
    """Outputs of the trial frames, in the network's order."""
    found = []
    for name in frames[0]:
        values = np.stack([np.asarray(frame[name]) for frame in frames]).astype(np.float64)
        if values.ndim > 2 and values.shape[1] == 1:
            values = values[:, 0]
        found.append(Seen(name, values))
    return found
