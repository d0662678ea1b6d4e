"""Chains of MMA steps over columns that are gathered on the way, compiled by numba for the processor at hand.

All numbers are doubles, in which every intermediate result is exact: a product of two operands has at most 22 bits and
an exponent from -298 to 256; an aligned term is a whole number below 2^27; a sum of 17 of them is one below 2^32. So
cutting is `trunc`, and int32 overflow cannot happen. The innermost loop runs over columns and is vectorised.

Compiled functions live as long as the process: numba's own cache on disk is made of pickles, and off.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any, TypeVar, cast

import numpy as np
from numba import njit, types
from numba.extending import intrinsic

from engines.mma.arithmetic import LEAST_EXPONENT, ZERO_EXPONENT, Step

__all__ = ["chain_kernel", "exponents", "fma_kernel"]

Function = TypeVar("Function", bound=Callable[..., Any])

_ZERO = np.int32(ZERO_EXPONENT)
_LEAST = np.int32(LEAST_EXPONENT)
_NAN = np.array(0x7FFFFFFF, np.int32).view(np.float32)[()]
_CUT_29_BITS = np.int64(-1 << 29)  # of a double's significand: 24 bits with the leading one are left
_BIAS = 1023  # of a double's exponent
_SUBNORMAL_UNIT = 2.0**-149  # the smallest fp32


def _compiled(function: Function) -> Function:
    """Numba's compiler; whether it has types depends on its version."""
    compiled: Any = njit(error_model="numpy", nogil=True)(function)
    return cast(Function, compiled)


def _bitcast(result: Any, given: Any) -> Any:
    """An intrinsic that takes a number's bits for another type."""

    def bitcast(typing_context: Any, number: Any) -> Any:
        def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            return builder.bitcast(arguments[0], context.get_value_type(result))

        return result(given), build

    return intrinsic(bitcast)


_bits_of_double = _bitcast(types.int64, types.float64)
_double_of_bits = _bitcast(types.float64, types.int64)
_bits_of_float = _bitcast(types.int32, types.float32)


def _fused(typing_context: Any, a: Any, b: Any, c: Any) -> Any:
    """a b + c, rounded once."""

    def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.fma(*arguments)

    return types.float32(types.float32, types.float32, types.float32), build


_fma: Any = intrinsic(_fused)


@_compiled
def _exponent(value: Any, smallest: Any) -> Any:
    exponent = max(((_bits_of_float(value) >> 23) & 0xFF) - np.int32(127), smallest)
    return _ZERO if value == np.float32(0) else exponent


@_compiled
def _exponents(values: Any, smallest: np.int32, result: Any) -> None:
    for index in range(values.size):
        result[index] = _exponent(values[index], smallest)


def exponents(values: np.ndarray[Any, np.dtype[np.float32]], smallest: int) -> np.ndarray[Any, np.dtype[np.int32]]:
    """Exponents as tensor cores align by them; those of infinities and NaN only keep the arithmetic finite.

    Args:
        values: fp32, any shape.
        smallest: exponent of the format's subnormals.
    """
    result = np.empty(values.size, np.int32)
    _exponents(np.ascontiguousarray(values).reshape(-1), np.int32(smallest), result)
    return result.reshape(values.shape)


@_compiled
def _gather(flat: Any, base: Any, offsets: Any, smallest: np.int32, columns: Any, exponent: Any) -> None:
    """columns[k, n] = flat[offsets[k] + base[n]], zero where an offset is negative; and their exponents."""
    for k in range(offsets.size):
        if offsets[k] < 0:
            columns[k] = 0.0
            exponent[k] = _ZERO
            continue
        for n in range(base.size):
            value = flat[offsets[k] + base[n]]
            columns[k, n] = value
            exponent[k, n] = _exponent(value, smallest)


@cache
def chain_kernel(step: Step) -> Callable[..., None]:
    """The compiled chain of an MMA step.

    The function takes
        weights: [row, k] float64, k a multiple of the step's length; zeros pad it.
        weight_exponents: [row, k] int32.
        flat: float32, what columns are gathered from.
        base: [column] int64 and offsets: [k] int64; element (k, column) is flat[offsets[k] + base[column]], and zero
            where the offset is negative.
        smallest: int32, exponent of the format's subnormals.
        out: [row, column] float32, holds the accumulators before and after.
        width: columns of a tile.
        start, stop: the columns to compute; threads share the rest.
    """
    length, bits, half = step.length, step.fraction_bits, step.half_accumulator
    accumulator_smallest = np.int32(-14 if half else -126)

    @_compiled
    def cut(total: Any) -> Any:
        """Toward zero to fp32; beyond its range to infinity. The unit of its subnormals divides all its numbers.

        Nothing is left of less than that unit, and a zero has no sign.
        """
        kept = _double_of_bits(_bits_of_double(total) & _CUT_29_BITS)
        return np.float64(np.float32(np.trunc(kept / _SUBNORMAL_UNIT) * _SUBNORMAL_UNIT)) + 0.0

    @_compiled
    def round_half(total: Any) -> Any:
        """To the nearest fp16, ties to even; beyond its range to infinity. A zero has no sign."""
        exponent = max(((_bits_of_double(total) >> 52) & 0x7FF) - _BIAS, -14)
        unit = _double_of_bits(np.int64(exponent - 10 + _BIAS) << 52)
        rounded = np.rint(total / unit) * unit
        return rounded * np.inf if abs(rounded) >= 65536.0 else rounded + 0.0

    finish = round_half if half else cut

    @_compiled
    def chain_tile(weights: Any, weight_exponents: Any, columns: Any, exponent: Any, total: Any) -> None:
        for start in range(0, weights.size, length):
            for n in range(total.size):
                c = total[n]
                largest = max(np.int32((_bits_of_double(c) >> 52) & 0x7FF) - np.int32(_BIAS), accumulator_smallest)
                largest = _LEAST if c == 0.0 else largest
                for k in range(length):
                    largest = max(largest, weight_exponents[start + k] + exponent[start + k, n])
                scale = _double_of_bits(np.int64(bits + _BIAS - largest) << 52)
                units = 0.0 + np.trunc(c * scale)
                for k in range(length):
                    units += np.trunc(weights[start + k] * columns[start + k, n] * scale)
                total[n] = finish(units * _double_of_bits(np.int64(largest - bits + _BIAS) << 52))

    @_compiled
    def chain(
        weights: Any,
        weight_exponents: Any,
        flat: Any,
        base: Any,
        offsets: Any,
        smallest: Any,
        out: Any,
        width: int,
        start: int,
        stop: int,
    ) -> None:
        columns = np.empty((offsets.size, width), np.float64)
        exponent = np.empty((offsets.size, width), np.int32)
        total = np.empty(width, np.float64)
        for first in range(start, stop, width):
            count = min(width, stop - first)
            _gather(flat, base[first : first + count], offsets, smallest, columns, exponent)
            for row in range(weights.shape[0]):
                for n in range(count):
                    total[n] = out[row, first + n]
                chain_tile(weights[row], weight_exponents[row], columns, exponent, total[:count])
                for n in range(count):
                    out[row, first + n] = _NAN if np.isnan(total[n]) else np.float32(total[n])

    return chain


@cache
def fma_kernel() -> Callable[..., None]:
    """The compiled chain of fp32 fused multiply-adds; weights float32, the other arguments as a chain's."""

    @_compiled
    def chain(weights: Any, flat: Any, base: Any, offsets: Any, out: Any, start: int, stop: int) -> None:
        for row in range(weights.shape[0]):
            for k in range(offsets.size):
                if offsets[k] < 0:
                    continue
                for n in range(start, stop):
                    out[row, n] = _fma(weights[row, k], flat[offsets[k] + base[n]], out[row, n])

    return chain
