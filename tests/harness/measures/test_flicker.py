"""Flicker counts comings and goings the reference does not have."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from harness.measures.flicker import Toggles, id_swaps, toggles

presence = hnp.arrays(np.bool_, st.integers(1, 80))


@given(presence)
def test_toggles_agree_with_the_slow_way(present):
    assert toggles(present) == sum(bool(a) != bool(b) for a, b in pairwise(present))


@given(presence)
def test_a_perfect_candidate_never_flickers(present):
    assert Toggles.of(present, present).per_min(0.5) == 0


def test_a_line_that_blinks_twice_in_a_minute_toggles_four_times():
    candidate = np.ones(1200, bool)
    candidate[[300, 700]] = False
    assert Toggles.of(candidate, np.ones(1200, bool)).per_min(20) == pytest.approx(4)


def test_only_the_excess_over_the_reference_counts():
    reference = np.ones(1200, bool)
    reference[::10] = False
    assert Toggles.of(np.ones(1200, bool), reference).per_min(20) == 0
    assert Toggles.of(reference, reference).per_min(20) == 0


def test_a_track_under_a_second_has_no_rate():
    assert np.isnan(Toggles.of(np.ones(19, bool), np.ones(19, bool)).per_min(20))
    assert np.isnan(Toggles.of(np.ones(19, bool), np.ones(19, bool)).per_min(float("nan")))


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(-1, 2)), max_size=40))
def test_swaps_agree_with_the_slow_way(matches):
    reference = np.array([m[0] for m in matches], np.int32)
    candidate = np.array([m[1] for m in matches], np.int32)
    last, slow = {}, []
    for r, c in matches:
        slow.append(c >= 0 and r in last and last[r] != c)
        if c >= 0:
            last[r] = c
    np.testing.assert_array_equal(id_swaps(np.arange(len(matches)), reference, candidate), slow)


@pytest.mark.parametrize("seed", range(8))
def test_equal_independent_blinking_is_no_excess(seed):
    rng = np.random.default_rng(seed)
    candidate, reference = (~np.isin(np.arange(600), rng.choice(600, 45, replace=False)) for _ in range(2))
    assert Toggles.of(candidate & reference, reference).per_min(20.0) == 0
    assert Toggles.of(candidate, np.ones(600, bool)).per_min(20.0) > 100


def test_a_reference_that_blinks_alone_makes_no_toggles():
    reference = np.arange(600) % 20 > 2
    assert Toggles.of(reference, reference).per_min(20.0) == 0


def test_a_candidate_that_blinks_far_more_than_a_blinking_reference_has_an_excess():
    rng = np.random.default_rng(0)
    reference = ~np.isin(np.arange(600), rng.choice(600, 5, replace=False))
    candidate = ~np.isin(np.arange(600), rng.choice(600, 60, replace=False))
    assert Toggles.of(candidate & reference, reference).per_min(20.0) > 100
