"""One step of a tensor core, and chains of them, one number at a time in exact rational arithmetic.

Slow and plain on purpose: tests and benchmarks hold the compiled kernel of engines/mma against it. Source of the
arithmetic: engines/mma/arithmetic.py.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engines.mma.arithmetic import LEAST_EXPONENT, SMALLEST_EXPONENT, ZERO_EXPONENT, Step

__all__ = ["chain", "dyadic", "element_pairs", "step", "step_cases", "whole_step"]

FP32_SMALLEST, FP16_SMALLEST = -126, -14
Floats = NDArray[np.float32]


def step(step_: Step, kind: str, a: Sequence[float], b: Sequence[float], c: float) -> float:
    """d = c + sum of a_i b_i, as the hardware rounds it.

    Args:
        step_: how many products, how many bits, which accumulator.
        kind: fp16, bf16 or tf32: the format of a and b.
        a, b: as many numbers of the format as the step has products.
        c: the accumulator before.
    """
    special = [x * y for x, y in zip(a, b, strict=True) if not (math.isfinite(x) and math.isfinite(y))]
    if special or not math.isfinite(c):
        return sum([*special, *([] if math.isfinite(c) else [c])])
    smallest = SMALLEST_EXPONENT[kind]
    terms = [
        (Fraction(x) * Fraction(y), _exponent(x, smallest) + _exponent(y, smallest)) for x, y in zip(a, b, strict=True)
    ]
    terms.append((Fraction(c), _exponent(c, FP16_SMALLEST if step_.half_accumulator else FP32_SMALLEST)))
    unit = Fraction(2) ** (max(LEAST_EXPONENT, *(exponent for _, exponent in terms)) - step_.fraction_bits)
    total = sum(math.trunc(term / unit) for term, _ in terms) * unit
    return _nearest_half(total) if step_.half_accumulator else _toward_zero(total)


def dyadic(values: NDArray[Any], smallest: int) -> list[list[tuple[int, int, int]]]:
    """Finite numbers of a matrix, each as (significand, its exponent of two, exponent to align by), for whole_step."""
    mantissa, exponent = np.frexp(np.asarray(values, np.float64))
    whole = (mantissa * 2.0**24).astype(np.int64)
    aligned = np.where(whole == 0, ZERO_EXPONENT, np.maximum(exponent - 1, smallest))
    return np.stack([whole, exponent - 24, aligned], axis=-1).tolist()


def whole_step(step_: Step, a: Any, b: Any, c: tuple[int, int, int]) -> float:
    """`step` in whole numbers of any size, ten times as fast, for finite numbers as `dyadic` gives them."""
    terms = [(x * y, ex + ey, lx + ly) for (x, ex, lx), (y, ey, ly) in zip(a, b, strict=True)]
    terms.append(c)
    unit = max(LEAST_EXPONENT, *(aligned for _, _, aligned in terms)) - step_.fraction_bits
    total = 0
    for whole, exponent, _ in terms:
        shift = exponent - unit
        size = abs(whole) << shift if shift >= 0 else abs(whole) >> -shift
        total += size if whole >= 0 else -size
    return _rounded(step_, total, unit)


def _rounded(step_: Step, total: int, unit: int) -> float:
    """total * 2^unit as the accumulator holds it."""
    size, bits, smallest, limit = abs(total), 23, FP32_SMALLEST, 128
    if step_.half_accumulator:
        bits, smallest, limit = 10, FP16_SMALLEST, 16
    last = max(size.bit_length() - 1 + unit, smallest) - bits  # exponent of the last digit that is kept
    drop = last - unit
    kept = size >> drop if drop > 0 else size << -drop
    if step_.half_accumulator and drop > 0:
        rest, middle = size & ((1 << drop) - 1), 1 << (drop - 1)
        kept += rest > middle or (rest == middle and kept & 1)
    value = math.inf if (kept.bit_length() + last) > limit else math.ldexp(kept, last)
    return -value if total < 0 and value != 0 else value


def chain(step_: Step, kind: str, pairs: Sequence[tuple[float, float]], c: float = 0.0) -> float:
    """Steps over pairs in their order, zeros filling up the last one."""
    filled = [*pairs, *[(0.0, 0.0)] * (-len(pairs) % step_.length)]
    for start in range(0, len(filled), step_.length):
        a, b = zip(*filled[start : start + step_.length], strict=True)
        c = step(step_, kind, a, b, c)
    return c


def _exponent(x: float, smallest: int) -> int:
    return ZERO_EXPONENT if x == 0 else max(math.frexp(x)[1] - 1, smallest)


def _floor_log2(x: Fraction) -> int:
    guess = x.numerator.bit_length() - x.denominator.bit_length()
    return guess if Fraction(2) ** guess <= x else guess - 1


def _toward_zero(total: Fraction) -> float:
    if total == 0:
        return 0.0
    unit = Fraction(2) ** (max(_floor_log2(abs(total)), FP32_SMALLEST) - 23)
    cut = math.trunc(abs(total) / unit) * unit
    if cut == 0:
        return 0.0
    size = math.inf if cut >= Fraction(2) ** 128 else float(cut)
    return math.copysign(size, total)


def _nearest_half(total: Fraction) -> float:
    if total == 0:
        return 0.0
    unit = Fraction(2) ** (max(_floor_log2(abs(total)), FP16_SMALLEST) - 10)
    rounded = round(abs(total) / unit) * unit  # of Fractions: ties to even
    if rounded == 0:
        return 0.0
    size = math.inf if rounded >= 65536 else float(rounded)
    return math.copysign(size, total)


def step_cases(kind: str, step_: Step, rows: int, columns: int, seed: int) -> tuple[Floats, Floats, Floats]:
    """Operands that reach every corner: a [row, k], b [k, column], c [row, column] give rows x columns steps.

    Rows and columns are, in turn: of usual size, any bits at all, near the smallest numbers, huge, mostly zeros, and of
    one size with signs that cancel. c is of usual size, any bits, minus the sum of the products, zero, infinite or NaN,
    or tiny.
    """
    rng = np.random.default_rng(seed)
    a = np.stack([_numbers(kind, step_.length, family % 6, rng) for family in range(rows)])
    b = np.stack([_numbers(kind, step_.length, family // 6 % 6, rng) for family in range(columns)], axis=1)
    with np.errstate(all="ignore"):
        sums = (a.astype(np.float64) @ b.astype(np.float64)).astype(np.float32)
    choice = rng.integers(0, 6, (rows, columns))
    any_bits = rng.integers(0, 1 << 32, (rows, columns), dtype=np.uint32).view(np.float32)
    usual = rng.normal(size=(rows, columns)).astype(np.float32)
    nudge = 1 + rng.integers(-2, 3, (rows, columns)) * np.float32(2.0**-22)
    with np.errstate(all="ignore"):
        tiny = usual * np.float32(1e-41 if not step_.half_accumulator else 1e-6)
        special = rng.choice(np.array([np.inf, -np.inf, np.nan, -0.0], np.float32), (rows, columns))
        kinds = [usual, any_bits, -sums * nudge, usual * 0, special]
        c = np.select([choice == n for n in range(5)], kinds, tiny)
        c = c.astype(np.float32)
        return a, b, c.astype(np.float16).astype(np.float32) if step_.half_accumulator else c


def _numbers(kind: str, count: int, family: int, rng: np.random.Generator) -> Floats:
    """Numbers of a format, of one family."""
    width = {"fp16": 16, "bf16": 16, "tf32": 19}[kind]
    bits = rng.integers(0, 1 << width, count, dtype=np.uint32)
    usual = _of_format(kind, rng.normal(size=count).astype(np.float32))
    if family == 1:
        return _of_bits(kind, bits)
    if family == 2:
        return _of_bits(kind, bits & _low_exponents(kind))
    if family == 3:
        with np.errstate(over="ignore"):
            return _of_format(kind, usual * np.float32(3e4 if kind == "fp16" else 1e38))
    if family == 4:
        return usual * (rng.random(count) < 0.3)
    if family == 5:
        return _of_format(kind, (1 + rng.integers(0, 4, count) * np.float32(2.0**-9)) * rng.choice([-1, 1], count))
    return usual


def _low_exponents(kind: str) -> np.uint32:
    """Sign, mantissa and the two lowest bits of the exponent: subnormals and the numbers next to them."""
    mantissa = {"fp16": 10, "bf16": 7, "tf32": 10}[kind]
    width = {"fp16": 16, "bf16": 16, "tf32": 19}[kind]
    return np.uint32((1 << (width - 1)) | ((1 << (mantissa + 2)) - 1))


def _of_bits(kind: str, bits: NDArray[np.uint32]) -> Floats:
    if kind == "fp16":
        return bits.astype(np.uint16).view(np.float16).astype(np.float32)
    return (bits << np.uint32(16 if kind == "bf16" else 13)).view(np.float32)


def _of_format(kind: str, values: NDArray[Any]) -> Floats:
    """Values cut to the format."""
    floats = values.astype(np.float32)
    with np.errstate(over="ignore"):
        if kind == "fp16":
            return floats.astype(np.float16).astype(np.float32)
    return (floats.view(np.uint32) & np.uint32(0xFFFF0000 if kind == "bf16" else 0xFFFFE000)).view(np.float32)


def element_pairs(
    op_type: str, attributes: Mapping[str, Any], x: NDArray[Any], w: NDArray[Any], place: tuple[int, ...]
) -> Iterator[tuple[float, float]]:
    """The operand pairs of one element of a product's result, in the documented order of K.

    Convolutions of two spatial axes with explicit pads, and matrix products; written apart from engines/mma.
    """
    if op_type in ("MatMul", "Gemm"):
        row = (x.T if attributes.get("transA") else x)[place[:-1]] if op_type == "Gemm" else x[(*place[:-2], place[-2])]
        column = (w.T if attributes.get("transB") else w)[..., place[-1]]
        column = column[place[:-2]] if column.ndim > 1 else column
        yield from zip(row.tolist(), column.tolist(), strict=True)
        return
    n, o, i, j = place
    group = attributes.get("group", 1)
    stride, dilation = attributes.get("strides", [1, 1]), attributes.get("dilations", [1, 1])
    top, left = attributes.get("pads", [0] * 4)[:2]
    inputs = x.shape[1] // group
    outputs = w.shape[0] // group if op_type == "Conv" else w.shape[1]
    first = o // outputs * inputs
    for r in range(w.shape[2]):
        for s in range(w.shape[3]):
            if op_type == "Conv":
                y, z = i * stride[0] - top + r * dilation[0], j * stride[1] - left + s * dilation[1]
            else:
                y, rest_y = divmod(i + top - r * dilation[0], stride[0])
                z, rest_z = divmod(j + left - s * dilation[1], stride[1])
                if rest_y or rest_z:
                    continue  # this tap belongs to another phase
            inside = 0 <= y < x.shape[2] and 0 <= z < x.shape[3]
            for c in range(inputs):
                weight = w[o, c, r, s] if op_type == "Conv" else w[first + c, o % outputs, r, s]
                yield (float(weight), float(x[n, first + c, y, z]) if inside else 0.0)
            yield from [(0.0, 0.0)] * (-inputs % 4)
