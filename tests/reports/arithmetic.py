"""What the small networks compute, in plain numpy: the right values of the reports come from here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tests.reports.variant import Variant

__all__ = [
    "HALF_MAX",
    "MEASURES",
    "Offsets",
    "centres",
    "columns_m",
    "largest",
    "lateral",
    "offsets",
    "pooled",
    "shift",
    "softmax",
]

Array = NDArray[np.floating]

HALF_MAX = 65504.0
MEASURES = ("offset_max", "offset_mean", "bias")
LOOK_AHEAD = {"near": ((10, 1),), "mid": ((20, 1),), "far": ((40, 1), (60, 2.25), (80, 4))}  # place, what divides it
BANDS = {"near": (0, 20), "mid": (20, 40), "far": (40, 80)}


def columns_m(variant: Variant, width: int = 0) -> Array:
    """Lateral metres of every column, left positive: [count, width / count]."""
    width = width or variant.width
    return ((0.5 - (np.arange(width) + 0.5) / width) * variant.metres).reshape(variant.count, -1)


def pooled(frames: Array) -> Array:
    """Means of pairs of rows: [..., height, width] -> [..., height / 2, width]."""
    *rest, height, width = frames.shape
    return frames.reshape(*rest, height // 2, 2, width).mean(-2)


def softmax(values: Array) -> Array:
    """Over the last axis."""
    powers = np.exp(values - values.max(-1, keepdims=True))
    return powers / powers.sum(-1, keepdims=True)


def lateral(variant: Variant, rows: Array, sharp: float) -> Array:
    """The head: a soft argmax in each slice of the width; [frames, channels, rows, width] -> [frames, count, rows]."""
    logits = np.asarray(rows, np.float64).mean(1) * sharp
    parts = logits.reshape(*logits.shape[:2], variant.count, -1)
    return (softmax(parts) * columns_m(variant, logits.shape[-1])).sum(-1).transpose(0, 2, 1)


def centres(variant: Variant) -> Array:
    """Where a slice's line lies if every column weighs the same: [count, 1]."""
    return columns_m(variant).mean(-1, keepdims=True)


def offsets(variant: Variant, difference: Array) -> Offsets:
    """Offsets where Trueline looks: at 17 stations of each band, and their mean over time 10, 20 and 40 m ahead.

    Args:
        variant: stations of the points.
        difference: metres, [frames, count, rows].
    """
    found: dict[tuple[str, int, str], float] = {}
    for band, edges in BANDS.items():
        at = np.linspace(*edges, 17)
        for track in range(variant.count):
            lines = np.array([np.interp(at, variant.stations, line) for line in difference[:, track]])
            found["offset_max", track, band] = float(np.abs(lines).max())
            found["offset_mean", track, band] = float(np.abs(lines.mean(1)).max())
            ahead = [
                np.mean([np.interp(x, variant.stations, line) for line in difference[:, track]]) / by
                for x, by in LOOK_AHEAD[band]
            ]
            found["bias", track, band] = float(np.abs(ahead).max())
    return Offsets(found)


def shift(variant: Variant, size: float) -> Offsets:
    """The same offset everywhere."""
    places = [(m, t, b) for m in MEASURES for t in range(variant.count) for b in BANDS]
    return Offsets(dict.fromkeys(places, size))


@dataclass(frozen=True)
class Offsets:
    """Largest offset of each line and band over all frames, by (measure, line, band), in the unit of the lines."""

    of: Mapping[tuple[str, int, str], float]

    @property
    def largest(self) -> float:
        """Anywhere, at any time."""
        return max(value for (measure, _, _), value in self.of.items() if measure == "offset_max")


def largest(difference: Array) -> float:
    """Largest absolute value."""
    return float(np.abs(difference).max())
