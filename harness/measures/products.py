"""Matrix products that stay on the calling thread.

A BLAS spreads a product over all cores once it is large enough, and its threads spin while they wait for each other: on
a machine that is busy with anything else (the network itself, another replay, `pytest -n`) the triples of `bend` took
20 times the CPU time. Products of a few rows at a time are too small for that, and lose nothing.
"""

from __future__ import annotations

from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

__all__ = ["tall_product", "weights_at"]

Scalar = TypeVar("Scalar", np.float32, np.float64)

MULTIPLICATIONS = 200_000  # of one small product; OpenBLAS starts threads at 262,144


def tall_product(rows: NDArray[Scalar], matrix: NDArray[Scalar]) -> NDArray[Scalar]:
    """`rows @ matrix` for many rows, [rows, inner] @ [inner, columns], as a stack of small products."""
    inner, columns = matrix.shape
    height = max(1, MULTIPLICATIONS // max(1, inner * columns))
    product = np.empty((len(rows), columns), rows.dtype)
    parts = len(rows) // height
    whole = parts * height
    np.matmul(rows[:whole].reshape(parts, height, inner), matrix, out=product[:whole].reshape(parts, height, columns))
    np.matmul(rows[whole:], matrix, out=product[whole:])
    return product


def weights_at(stations: NDArray[np.float64], place: float) -> NDArray[np.float64]:
    """Weights [stations] that interpolate a value at `place`; one station where it is one."""
    weights = np.zeros(len(stations))
    nearest = int(np.abs(stations - place).argmin())
    if abs(stations[nearest] - place) < 1e-9:
        weights[nearest] = 1
        return weights
    low = int(np.where(stations < place, stations, -np.inf).argmax())
    high = int(np.where(stations > place, stations, np.inf).argmin())
    weights[high] = (place - stations[low]) / (stations[high] - stations[low])
    weights[low] = 1 - weights[high]
    return weights
