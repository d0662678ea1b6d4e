"""The compiled step is the published one, bit for bit; the reference is exact rational arithmetic."""

from __future__ import annotations

import math

import numpy as np
import pytest

from benchmarks.mma import exact_steps
from benchmarks.mma_reference import chain, step, step_cases
from engines.denormals import DenormalMode
from engines.errors import EngineOptionError
from engines.mma.arithmetic import ARCHITECTURES, Step, step_of
from engines.mma.chain import Arithmetic

pytest.importorskip("numba", reason="pip install 'trueline[mma]'")

STEPS = [
    (architecture, kind, half)
    for architecture, (_, kinds) in ARCHITECTURES.items()
    for kind in kinds
    for half in ((False, True) if kind == "fp16" else (False,))
]
ROWS, COLUMNS = 12, 36
NAN = np.uint32(0x7FFFFFFF).view(np.float32)


def compiled(step_: Step, kind: str, a: np.ndarray, b: np.ndarray, c: np.ndarray) -> np.ndarray:
    """One or more steps of the kernel for every row of a and column of b, on accumulators c."""
    columns, depth = np.arange(b.shape[1]), np.arange(b.shape[0])
    arithmetic = Arithmetic(kind, step_)
    return arithmetic.accumulate(a, b.reshape(-1), columns, depth * b.shape[1], np.array(c, np.float32))


def bits(array: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(array, np.float32).view(np.uint32)


@pytest.mark.parametrize(("architecture", "kind", "half"), STEPS)
def test_a_step_is_the_reference_to_the_bit(architecture, kind, half):
    step_ = step_of(architecture, kind, half_accumulator=half)
    a, b, c = step_cases(kind, step_, ROWS, COLUMNS, seed=len(architecture))
    got = compiled(step_, kind, a, b, c)
    rows, columns = a.tolist(), b.T.tolist()
    want = np.array(
        [[step(step_, kind, rows[m], columns[n], float(c[m, n])) for n in range(COLUMNS)] for m in range(ROWS)]
    ).astype(np.float32)
    np.testing.assert_array_equal(bits(exact_steps(kind, step_, a, b, c)), bits(want))  # NaN of the same bits too
    finite = ~np.isnan(want)
    np.testing.assert_array_equal(bits(got)[finite], bits(want)[finite])
    assert (bits(got)[~finite] == 0x7FFFFFFF).all()
    assert np.isinf(want).any()
    assert (~finite).any()
    assert ((want == 0) & (a != 0).any(1)[:, None] & (b != 0).any(0)).any()


def test_the_accumulator_chains_from_step_to_step():
    step_ = step_of("ampere", "fp16")
    a, b, _ = step_cases("fp16", Step(40, 24), 6, 1, seed=3)
    got = compiled(step_, "fp16", a, b, np.zeros((6, 1)))
    want = [chain(step_, "fp16", list(zip(row.tolist(), b[:, 0].tolist(), strict=True))) for row in a]
    assert math.isnan(want[1])
    want[1] = NAN
    np.testing.assert_array_equal(bits(got[:, 0]), bits(np.array(want, np.float32)))


def one(step_: Step, kind: str, a: list[float], b: list[float], c: float = 0.0) -> float:
    fill = [0.0] * (step_.length - len(a))
    left, right = np.array([a + fill], np.float32), np.array(b + fill, np.float32)[:, None]
    return float(compiled(step_, kind, left, right, np.array([[c]], np.float32))[0, 0])


def test_small_terms_are_cut_not_rounded():
    volta, hopper = step_of("volta", "fp16"), step_of("hopper", "fp16")
    assert one(volta, "fp16", [1.0, 2.0**-12], [1.0, -(2.0**-12)]) == 1.0  # 2^-24 lies below volta's 23 bits
    assert one(hopper, "fp16", [1.0, 2.0**-12], [1.0, -(2.0**-12)]) == 1.0 - 2.0**-24
    assert one(hopper, "fp16", [1.0, 2.0**-12], [1.0, 2.0**-12]) == 1.0  # kept on the way, cut at the end


def test_a_significand_of_a_product_may_reach_four():
    """Aligned by the sum of exponents, 1.9 x 1.9 has two bits before the point, and all F behind it."""
    step_, big = step_of("volta", "fp16"), 2.0 - 2.0**-10
    kept = one(step_, "fp16", [big, 2.0**-12], [big, 2.0**-11], 0.0)
    assert kept == math.floor((big * big + 2.0**-23) * 2**22) / 2**22
    assert one(step_, "fp16", [big, 2.0**-12], [big, 2.0**-12]) == math.floor(big * big * 2**22) / 2**22


def test_sixteen_products_of_25_bits_overflow_nothing():
    step_ = step_of("hopper", "fp16")
    big = 2.0 - 2.0**-10
    assert one(step_, "fp16", [big] * 16, [big] * 16, 1.0) == pytest.approx(16 * big * big + 1, rel=2**-22)


@pytest.mark.parametrize("architecture", ["ampere", "hopper"])
def test_a_zero_takes_no_part_in_the_alignment(architecture):
    """Values of an H200: 0 x 2^120 + 2^-40 is 2^-40, and a zero accumulator cuts no sum of subnormal products."""
    step_ = step_of(architecture, "bf16")
    assert one(step_, "bf16", [0.0, 2.0**-20], [2.0**120, 2.0**-20]) == 2.0**-40
    assert one(step_, "bf16", [2.0**120, 2.0**-20], [0.0, 2.0**-20]) == 2.0**-40
    small, large = 2.0**-80, 2.0**-70  # products of 2^-160 and 2^-140
    assert one(step_, "bf16", [large, -small], [large, small]) == 2.0**-140  # with 25 bits below 2^-133, or 24: dropped
    eighth = [2.0**-76]  # a product of 2^-152: eight of them are the smallest fp32
    assert one(step_, "bf16", eighth * 8, eighth * 8, 0.0) == 2.0**-149
    assert one(step_, "bf16", eighth * 8, eighth * 8, 2.0**-126) == 2.0**-126


def test_a_sum_of_zero_is_positive_also_where_nothing_is_left_of_it():
    """The H200 has no negative zero among 6,144,000 results."""
    step_ = step_of("ampere", "tf32")
    assert bits(np.float32(one(step_, "tf32", [1.0, 1.0], [-1.0, 1.0]))) == 0
    assert bits(np.float32(one(step_, "tf32", [-0.0], [1.0], -0.0))) == 0
    assert bits(np.float32(one(step_, "tf32", [-(2.0**-75)], [2.0**-75]))) == 0
    half = step_of("ampere", "fp16", half_accumulator=True)
    assert bits(np.float32(one(half, "fp16", [-(2.0**-14)], [2.0**-14]))) == 0


def test_subnormals_are_kept_whatever_the_thread_does():
    step_ = step_of("ampere", "tf32")
    tiny, ones, zero = (
        np.full(shape, value, np.float32) for shape, value in (((1, 4), 2.0**-130), ((4, 1), 1), ((1, 1), 0))
    )
    with DenormalMode(flush=True):
        total = compiled(step_, "tf32", tiny, ones, zero)
    assert total[0, 0] == 2.0**-128


def test_an_fp16_accumulator_rounds_to_nearest_even_and_overflows():
    step_ = step_of("ampere", "fp16", half_accumulator=True)
    assert one(step_, "fp16", [1.0, 2.0**-11], [2048.0, 2048.0]) == 2048.0  # 2049 lies between, even wins
    assert one(step_, "fp16", [1.0, 1.5 * 2.0**-11], [2048.0, 2048.0]) == 2050.0
    assert one(step_, "fp16", [255.0], [257.0]) == math.inf


@pytest.mark.parametrize("architecture", ["volta", "turing"])
@pytest.mark.parametrize("kind", ["bf16", "tf32"])
def test_old_tensor_cores_refuse_bf16_and_tf32(architecture, kind):
    with pytest.raises(EngineOptionError, match=f"{architecture} do not multiply {kind}"):
        step_of(architecture, kind)
    with pytest.raises(EngineOptionError, match="no fp16 accumulator"):
        step_of("hopper", kind, half_accumulator=True)
