"""fp16 against exact arithmetic on its definition."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engines.inspect.half import LARGEST, rounded, rounding_loss, spacing


@given(st.floats(-65000, 65000))
def test_spacing_is_the_distance_to_the_next_number(value: float) -> None:
    half = np.float16(abs(value))
    if float(half) <= abs(value):  # else the value lies in the binade below its rounding
        assert spacing(value) == float(np.nextafter(half, np.float16(np.inf))) - float(half)


@pytest.mark.parametrize(("value", "expected"), [(20, 2**-6), (192, 2**-3), (4, 2**-8), (1025, 1), (0, 2**-24)])
def test_spacing_at_places_that_roads_have(value: float, expected: float) -> None:
    assert spacing(value) == expected


def test_beyond_the_range_there_is_no_spacing() -> None:
    assert spacing(LARGEST) == 32
    assert math.isinf(spacing(65505))
    assert math.isnan(spacing(math.nan))


def test_rounding_loss_is_at_most_half_a_spacing_and_zero_on_the_grid() -> None:
    stations = np.linspace(0, 80, 33)
    assert rounding_loss(stations) == 0
    assert 0 < rounding_loss(stations + 0.01) <= spacing(80) / 2
    assert rounding_loss(np.array([np.nan, np.inf])) == 0
    assert math.isinf(rounding_loss(np.array([7e4])))


def test_the_smallest_numbers_round_to_nothing() -> None:
    assert list(rounded(np.array([1e-8, 2.0**-25, 3.1e-8, 65519.0, 65520.0]))) == [0, 0, 2.0**-24, 65504, np.inf]
