"""Raw output tensors of two rungs compared frame by frame, before any decoding.

Elements that are not finite on either side are left out of every measure but `nonfinite`, which counts them in the
candidate. With no finite pair left every other measure is NaN. `ulp_p99` counts the float32 values between the two
after rounding both to float32, and is NaN for integer outputs.

Every element is read (nothing is sampled), in pieces that stay in the cache: a 1.8 MB output costs a few milliseconds.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import reduce
from operator import add
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.errors import MetricError

__all__ = ["TENSOR_METRICS", "tensor_metrics"]

Floats = NDArray[np.float64]
Raw = NDArray[Any]

# Rounding every number to float32 leaves 149 dB: more is as good as equal, and a mean over frames stays finite.
SNR_CEILING_DB = 150.0
TENSOR_METRICS = ("max_abs", "mean_abs", "p99_abs", "rel_rms", "cosine", "snr_db", "ulp_p99", "nonfinite")
PERCENTILE = 0.99
ELEMENTS_PER_PIECE = 1 << 15
FLOOR_SAMPLES = 4096
FLOOR_RANK = 128  # of the samples from the top: 3 %, surely below the 99th percentile of all


def tensor_metrics(reference: Raw, candidate: Raw) -> dict[str, Raw]:
    """Differences of one output in every frame of a chunk.

    Args:
        reference, candidate: [frames, ...], equal shapes; any real, integer or boolean dtype.

    Returns:
        TENSOR_METRICS -> [frames], float64 and for `nonfinite` int64. `max_abs`, `mean_abs`, `p99_abs` of
        |candidate - reference|; `rel_rms` = RMS of the difference / RMS of the reference (inf where only the
        reference is zero); `cosine` in -1..1 (1 for equal tensors, 0 where just one is zero); `snr_db` =
        -20 log10(rel_rms), SNR_CEILING_DB at most; `ulp_p99` in float32 steps, +0 and -0 being one value. Percentiles
        are exact, linear between order statistics as numpy.quantile has them.

    Raises:
        MetricError: shapes that differ.
    """
    if reference.shape != candidate.shape or reference.ndim == 0:
        raise MetricError(
            f"reference {reference.shape} and candidate {candidate.shape}",
            where="tensor_metrics(reference, candidate)",
            remedy="compare one output of both rungs over the same frames; see that both declare the same shape",
        )
    frames = len(reference)
    elements = reference.size // frames if frames else 0
    before, after = reference.reshape(frames, elements), candidate.reshape(frames, elements)
    step = max(1, ELEMENTS_PER_PIECE // max(1, elements))
    result = {name: np.empty(frames, np.int64 if name == "nonfinite" else np.float64) for name in TENSOR_METRICS}
    for first in range(0, frames, step):
        rows = slice(first, first + step)
        for name, values in _compared(before[rows], after[rows]).items():
            result[name][rows] = values
    return result


@dataclass(frozen=True, slots=True)
class _Sums:
    """What the measures are finished from; each [frames]."""

    largest: Floats
    total: Floats
    energy: Floats
    before: Floats
    after: Floats
    product: Floats

    def __add__(self, other: _Sums) -> _Sums:
        """Two pieces of the same frames as one."""
        return _Sums(
            np.maximum(self.largest, other.largest),
            self.total + other.total,
            self.energy + other.energy,
            self.before + other.before,
            self.after + other.after,
            self.product + other.product,
        )


def _compared(before: Raw, after: Raw) -> dict[str, Raw]:
    """Measures of a few frames, [frames, elements]; frames with elements that are not finite go one by one."""
    values, clean = _measured(before, after)
    nonfinite = np.zeros(len(before), np.int64)
    for i in np.flatnonzero(~clean):
        fine = np.isfinite(before[i]) & np.isfinite(after[i])
        nonfinite[i] = np.count_nonzero(~np.isfinite(after[i]))
        alone, _ = _measured(before[i][None, fine], after[i][None, fine])
        for name in values:
            values[name][i] = alone[name][0]
    return values | {"nonfinite": nonfinite}


def _measured(before: Raw, after: Raw) -> tuple[dict[str, Floats], NDArray[np.bool_]]:
    """(measures [frames], which frames are finite throughout); NaN without elements."""
    elements = before.shape[1]
    if elements == 0:
        return {name: np.full(len(before), np.nan) for name in TENSOR_METRICS[:-1]}, np.ones(len(before), bool)
    is_float = before.dtype.kind == "f" and after.dtype.kind == "f"
    with np.errstate(invalid="ignore", over="ignore", divide="ignore"):
        if elements <= ELEMENTS_PER_PIECE:
            sums, difference = _piece(before, after)
            p99 = _p99(difference)
            ulp_p99 = _p99(_float32_steps(before, after)) if is_float else np.full(len(p99), np.nan)
        else:
            sums, p99, ulp_p99 = _long_row(before[0], after[0], is_float)
        ratio = np.where(sums.energy == 0, 0.0, sums.energy / sums.before)
        cosine = np.nan_to_num(sums.product / np.sqrt(sums.before * sums.after), nan=0.0)
        values = {
            "max_abs": sums.largest,
            "mean_abs": sums.total / elements,
            "p99_abs": p99,
            "rel_rms": np.sqrt(ratio),
            "cosine": np.where(sums.energy == 0, 1.0, np.clip(cosine, -1, 1)),
            "snr_db": np.minimum(-10 * np.log10(ratio), SNR_CEILING_DB),
            "ulp_p99": ulp_p99,
        }
        return values, np.isfinite(sums.energy)


def _piece(before: Raw, after: Raw) -> tuple[_Sums, Floats]:
    """(sums over the last axis, |difference|), in double precision."""
    before, after = before.astype(np.float64), after.astype(np.float64)
    difference = after - before
    energy = _dot(difference, difference)
    np.abs(difference, out=difference)
    powers = _dot(before, before), _dot(after, after), _dot(before, after)
    return _Sums(difference.max(axis=-1), difference.sum(axis=-1), energy, *powers), difference


def _dot(a: Floats, b: Floats) -> Floats:
    """Dot products of the rows; einsum, unlike a BLAS, stays on the calling thread (see `products`)."""
    product: Floats = np.einsum("...i,...i->...", a, b)
    return product


def _float32_steps(before: Raw, after: Raw) -> NDArray[np.uint32]:
    """How many float32 values apart, element by element; +0 and -0 are one value."""
    a, b = (_ordered(side.astype(np.float32, copy=False)) for side in (before, after))
    return (np.maximum(a, b) - np.minimum(a, b)).view(np.uint32)  # wraps to the right unsigned number


def _ordered(values: NDArray[np.float32]) -> NDArray[np.int32]:
    """Integers in the order of the floats, neighbours one apart: sign and magnitude turned into two's complement."""
    bits = values.view(np.int32)
    sign = bits >> 31
    return (bits ^ (sign & 0x7FFFFFFF)) - sign


def _p99(values: Raw) -> Floats:
    """99th percentile of each row, [rows]."""
    low, high, share = _ranks(values.shape[1])
    order = np.partition(values, [low, high], axis=1)[:, [low, high]].astype(np.float64)
    result: Floats = order[:, 0] + share * (order[:, 1] - order[:, 0])
    return result


def _ranks(size: int) -> tuple[int, int, float]:
    """The two order statistics around the percentile, and how far it lies between them."""
    place = (size - 1) * PERCENTILE
    low = int(place)
    return low, min(low + 1, size - 1), place - low


def _long_row(before: Raw, after: Raw, is_float: bool) -> tuple[_Sums, Floats, Floats]:
    """(sums, p99 of |difference|, p99 of float32 steps), each [1], of one frame, [elements], piece by piece."""
    sampled = slice(None, None, max(1, len(before) // FLOOR_SAMPLES))
    differences = _Top(_piece(before[sampled], after[sampled])[1])
    steps = _Top(_float32_steps(before[sampled], after[sampled])) if is_float else None
    parts = []
    for first in range(0, len(before), ELEMENTS_PER_PIECE):
        rows = slice(first, first + ELEMENTS_PER_PIECE)
        part, difference = _piece(before[None, rows], after[None, rows])
        parts.append(part)
        differences.add(difference[0])
        if steps is not None:
            steps.add(_float32_steps(before[rows], after[rows]))
    p99 = differences.p99(lambda: _piece(before, after)[1])
    ulp_p99 = np.nan if steps is None else steps.p99(lambda: _float32_steps(before, after))
    return reduce(add, parts), np.array([p99]), np.array([ulp_p99])


class _Top:
    """The exact 99th percentile of a long row seen piece by piece: only values above a floor, a few %, are kept.

    The floor is one of the values of a sample. Should it prove to lie above the percentile, which needs a sample very
    unlike the row, everything is computed again at once.
    """

    def __init__(self, sample: Raw) -> None:
        rank = max(0, len(sample) - FLOOR_RANK)
        self.floor = np.partition(sample, rank)[rank]
        self.size = self.below = 0
        self.above: list[Raw] = []

    def add(self, values: Raw) -> None:
        """Take the next piece in."""
        self.size += len(values)
        self.below += int(np.count_nonzero(values < self.floor))
        self.above.append(values[values > self.floor])

    def p99(self, everything: Callable[[], Raw]) -> float:
        """The percentile; `everything()` gives the whole row if the floor was too high."""
        low, high, share = _ranks(self.size)
        if low < self.below:
            return float(_p99(everything()[None])[0])
        above = np.concatenate(self.above)
        first = self.size - len(above)
        if high >= first:
            above = np.partition(above, [max(0, low - first), high - first])
        pair = [float(self.floor if rank < first else above[rank - first]) for rank in (low, high)]
        return pair[0] + share * (pair[1] - pair[0])
