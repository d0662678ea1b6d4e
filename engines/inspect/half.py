"""What fp16 can hold: IEEE 754 binary16, 10 bits of fraction, exponents -14 to 15, subnormals kept."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["LARGEST", "SMALLEST", "SMALLEST_NORMAL", "rounded", "rounding_loss", "spacing"]

LARGEST = 65504.0
SMALLEST_NORMAL = 2.0**-14  # 6.1e-5; below it fp16 loses relative precision
SMALLEST = 2.0**-24  # 5.96e-8; what is not above half of it becomes 0


def rounded(values: NDArray[Any] | float) -> NDArray[np.float64]:
    """The nearest fp16 numbers, ties to even; infinite from 65520 on."""
    with np.errstate(over="ignore", under="ignore"):
        return np.asarray(values, np.float64).astype(np.float16).astype(np.float64)


def spacing(value: float) -> float:
    """Distance of neighbouring fp16 numbers at a value, in its unit: 0.0156 at 20, 0.125 at 192; inf beyond the range.

    NaN gives NaN.
    """
    size = abs(value)
    if not size <= LARGEST:
        return float("nan") if np.isnan(size) else float("inf")
    return float(2.0 ** (np.floor(np.log2(max(size, SMALLEST_NORMAL))) - 10))


def rounding_loss(values: NDArray[Any]) -> float:
    """Largest change of a finite value by rounding to fp16, in its unit; inf where one overflows, 0 of none."""
    finite = np.asarray(values, np.float64)
    finite = finite[np.isfinite(finite)]
    return float(np.abs(rounded(finite) - finite).max(initial=0.0))
