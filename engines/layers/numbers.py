"""What is told of one unit's tensors: errors, amplification, room to both ends of a format, spacing, non-finite values.

Errors are relative, RMS of the difference / RMS of fp32's, over all frames and outputs; non-finite values count apart.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engines.layers.walk import Step

__all__ = ["LIMITS", "Limits", "Numbers", "Tally"]

Array = NDArray[Any]
SAMPLE = 65_536  # values of a tensor that the share of vanishing ones is told from


@dataclass(frozen=True, slots=True)
class Limits:
    """A format: its largest number, the smallest positive one, and bits of the significand behind the point."""

    largest: float
    smallest: float
    bits: int

    def spacing(self, size: float) -> float:
        """Distance of neighbours at a magnitude; NaN where it overflows or is not finite."""
        if not math.isfinite(size) or size > self.largest:
            return math.nan
        return max(math.ldexp(1.0, math.frexp(size)[1] - 1 - self.bits), self.smallest) if size else self.smallest


LIMITS = {
    "fp16": Limits(65504.0, 2.0**-24, 10),
    "bf16": Limits(float.fromhex("0x1.fep127"), 2.0**-133, 7),
    "tf32": Limits(float.fromhex("0x1.ffcp127"), 2.0**-136, 10),
    "fp32": Limits(float.fromhex("0x1.fffffep127"), 2.0**-149, 23),
}


@dataclass(frozen=True, slots=True)
class Numbers:
    """Of one unit, over all frames.

    Attributes:
        injected: relative error that it adds alone, on fp32's inputs; inf where it makes a value infinite or NaN.
        cumulative: relative error of the other engine's tensor.
        amplification: relative error that comes out of the fp32 node / the largest that goes in; NaN where none does.
        largest: largest magnitude in fp32.
        to_overflow: how many times larger the format holds; below 1 it overflows.
        vanishing: share of the values other than zero that are zero in the format.
        spacing: of the format's numbers at `largest`.
        nonfinite: values that are not finite in the other engine and are in fp32.
        first_nonfinite: the first frame with one, None where there is none.
    """

    injected: float
    cumulative: float
    amplification: float
    largest: float
    to_overflow: float
    vanishing: float
    spacing: float
    nonfinite: int
    first_nonfinite: int | None


class Tally:
    """Adds up one unit over frames; sizes and indices are left out."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._size = self._injected = self._cumulative = self._through = 0.0
        self._coming: dict[str, tuple[float, float]] = {}
        self._largest = math.nan
        self._vanishing: list[float] = []
        self._bad: list[int] = []

    def add(self, step: Step) -> None:
        """Hold the tensors of the next frame against each other."""
        names = [name for name in step.unit.outputs if _floating(step.exact[name])]
        self._size += sum(_squares(step.exact[name]) for name in names)
        self._injected += sum(_apart(step.exact[name], step.switched[name]) for name in names)
        self._cumulative += sum(_apart(step.exact[name], step.other[name]) for name in names)
        self._through += sum(_apart(step.exact[name], step.through[name]) for name in names)
        for name in step.unit.inputs:
            if _floating(step.live[name]):
                error, size = self._coming.get(name, (0.0, 0.0))
                error += _apart(step.live[name], step.before[name])
                self._coming[name] = error, size + _squares(step.live[name])
        self._largest = float(np.fmax(self._largest, max((_largest(step.exact[n]) for n in names), default=math.nan)))
        self._vanishing += [_vanishing(step.exact[name], self._limits) for name in names]
        self._bad.append(sum(_nonfinite(step.exact[name], step.other[name]) for name in names))

    def numbers(self) -> Numbers:
        """What came together."""
        coming = max((_relative(*sums) for sums in self._coming.values()), default=0.0)
        going, limits, largest = _relative(self._through, self._size), self._limits, self._largest
        return Numbers(
            injected=_relative(self._injected, self._size),
            cumulative=_relative(self._cumulative, self._size),
            amplification=going / coming if coming > 0 and math.isfinite(coming) else math.nan,
            largest=largest,
            to_overflow=limits.largest / largest if largest else math.inf,
            vanishing=float(np.mean(self._vanishing)) if self._vanishing else math.nan,
            spacing=limits.spacing(largest),
            nonfinite=sum(self._bad),
            first_nonfinite=next((frame for frame, count in enumerate(self._bad) if count), None),
        )


def _relative(error: float, size: float) -> float:
    """RMS of an error / RMS of what it is of, from both sums of squares."""
    if math.isnan(error):
        return math.inf
    return math.sqrt(error / size) if size > 0 else (math.inf if error > 0 else 0.0)


def _apart(reference: Array, other: Array) -> float:
    return 0.0 if reference is other else _squares(other, reference)


def _squares(values: Array, minus: Array | None = None) -> float:
    """Sum of the squares of values, or of differences; NaN where a difference is not finite and the second is."""
    with np.errstate(over="ignore", invalid="ignore"):
        wide = values if minus is None else values - minus
        flat = wide.ravel()
        total = float(np.dot(flat, flat)) if flat.dtype == np.float32 else math.nan
        if math.isfinite(total):
            return total
        whole = values.astype(np.float64) - (0.0 if minus is None else minus.astype(np.float64))
    if minus is not None:
        fine = np.isfinite(minus)
        return float(np.square(whole[fine]).sum()) if np.isfinite(whole[fine]).all() else math.nan
    return float(np.square(whole[np.isfinite(whole)]).sum())


def _nonfinite(exact: Array, other: Array) -> int:
    if exact is other:
        return 0
    bad = ~np.isfinite(other)
    return int((bad & np.isfinite(exact)).sum()) if bad.any() else 0


def _largest(values: Array) -> float:
    fine = values if not values.size or math.isfinite(float(values.sum())) else values[np.isfinite(values)]
    return float(max(fine.max(), -fine.min())) if fine.size else math.nan


def _vanishing(values: Array, limits: Limits) -> float:
    """Share of the values other than zero that the format rounds to zero, of an even sample."""
    flat = np.abs(values.ravel()[:: max(values.size // SAMPLE, 1)])
    there = flat > 0
    return float((flat[there] <= limits.smallest / 2).mean()) if there.any() else 0.0


def _floating(values: Array) -> bool:
    return bool(np.issubdtype(values.dtype, np.floating))
