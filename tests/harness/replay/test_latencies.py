"""Quantiles of times that are counted are those of the times themselves, to a thousandth."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.replay.latencies import Latencies


@given(
    st.lists(st.integers(1, 10**12), min_size=2, max_size=60), st.sampled_from([0.0, 0.5, 0.99, 1.0]), st.integers(1, 9)
)
def test_quantiles_agree_with_the_slow_way(elapsed_ns: list[int], share: float, piece: int) -> None:
    told = Latencies()
    for first in range(0, len(elapsed_ns), piece):
        told.add(elapsed_ns[first : first + piece])
    assert told.calls == len(elapsed_ns) - 1
    assert told.quantile_ms(share) == pytest.approx(np.quantile(elapsed_ns[1:], share) / 1e6, rel=1e-3)


def test_a_single_call_counts_and_none_is_not_known() -> None:
    told = Latencies()
    told.add([])
    assert told.calls == 0
    assert math.isnan(told.quantile_ms(0.5))
    told.add([2_000_000])
    assert (told.calls, told.quantile_ms(0.99)) == (1, 2.0)
