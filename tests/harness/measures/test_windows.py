"""Windows over a series with holes agree with the slow way."""

import warnings

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from harness.measures.jumps import without_glitches
from harness.measures.tremble import tremble_windows
from harness.measures.windows import running_median

values = st.one_of(st.floats(-9, 9, width=32), st.just(np.nan), st.just(1.0))


@given(hnp.arrays(np.float64, st.integers(0, 60), elements=values), st.sampled_from([1, 3, 5, 11, 45]))
def test_the_running_median_agrees_with_the_slow_way(series, width):
    half = width // 2
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # windows without a value
        slow = [np.nanmedian(series[max(0, k - half) : k + half + 1]) for k in range(len(series))]
    np.testing.assert_array_equal(running_median(series, width), np.array(slow, np.float64))


@given(hnp.arrays(np.float64, st.tuples(st.just(3), st.integers(1, 90)), elements=values))
def test_several_series_at_once_are_each_as_it_is_alone(series):
    for one in (
        lambda x: running_median(x, 5),
        lambda x: without_glitches(x, 10.0),
        lambda x: tremble_windows(x, 10.0)[2],
    ):
        np.testing.assert_array_equal(one(series), np.stack([one(x) for x in series]))
