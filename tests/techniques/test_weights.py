from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from stopped import same

from techniques.errors import ModelMismatch, TechniqueOptionError
from techniques.weights import average, check_alike, cloned, interpolate, least_cosine


def state(seed: int, dtype: torch.dtype = torch.float32) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return {
        "weight": torch.randn(3, 4, generator=generator).to(dtype),
        "running_var": torch.rand(3, generator=generator).to(dtype),
        "num_batches_tracked": torch.tensor(seed),
        "mask": torch.rand(3, generator=generator) > 0.5,
    }


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_the_average_is_the_mean_rounded_once(dtype):
    states = [state(i, dtype) for i in range(5)]
    wide = sum(s["weight"].double() for s in states) / 5
    found = average(states)["weight"]
    assert found.dtype == dtype
    assert torch.allclose(found.double(), wide, rtol=torch.finfo(dtype).eps / 2 * 1.001, atol=1e-15)


@given(st.lists(st.floats(0.01, 1), min_size=1, max_size=5))
def test_shares_weigh_each_state(raw):
    shares = [r / sum(raw) for r in raw]
    states = [state(i, torch.float64) for i in range(len(raw))]
    wide = torch.zeros(3, 4, dtype=torch.float64)
    for share, s in zip(shares, states, strict=True):
        wide += share * s["weight"]
    assert torch.allclose(average(states, shares)["weight"], wide, rtol=1e-12, atol=1e-12)


def test_integers_and_booleans_are_the_first_ones():
    found = average([state(7), state(8)])
    assert int(found["num_batches_tracked"]) == 7
    assert found["num_batches_tracked"].dtype == torch.int64
    assert torch.equal(found["mask"], state(7)["mask"])


@pytest.mark.parametrize("count", [1, 2, 3, 7])
@pytest.mark.parametrize("dtype", [torch.float16, torch.float32])
def test_the_average_of_equal_states_is_that_state_bit_for_bit(count, dtype):
    assert same(average([state(1, dtype)] * count), state(1, dtype))


@pytest.mark.parametrize("which", [0, 1])
def test_the_whole_share_is_that_state_bit_for_bit_even_if_the_other_is_not_finite(which):
    ends = [state(1), state(2)]
    ends[which]["weight"][0, 0] = -0.0
    ends[1 - which]["weight"].fill_(math.nan)
    assert same(interpolate(*ends, which), ends[which])


def test_the_result_shares_no_memory_with_its_ingredients():
    first = state(1)
    for found in (average([first]), average([first, first]), cloned(first)):
        for value in found.values():
            value.zero_()
    assert same(first, state(1))


def test_interpolation_is_a_straight_line():
    a, b = state(1), state(2)
    at = interpolate(a, b, 0.25)["weight"]
    assert torch.allclose(at, 0.75 * a["weight"] + 0.25 * b["weight"])


def test_keys_that_differ_are_named():
    other = state(2)
    other["head"] = other.pop("weight")
    with pytest.raises(ModelMismatch, match=r"without \['weight'\], but with \['head'\]") as error:
        average([state(1), other])
    assert error.value.where == "states[1]"
    assert "architecture" in error.value.remedy


@pytest.mark.parametrize("change", [torch.zeros(4, 4), torch.zeros(3, 4, dtype=torch.float16)])
def test_shapes_and_dtypes_that_differ_are_named(change):
    with pytest.raises(ModelMismatch, match=r"'weight' is torch\.float"):
        interpolate(state(1), {**state(2), "weight": change}, 0.5)


def test_no_state_has_no_average():
    with pytest.raises(ModelMismatch, match="no weights"):
        check_alike([])


@pytest.mark.parametrize("shares", [[1.0], [0.5, 0.4], [1.5, -0.5], [math.nan, 1.0]])
def test_shares_that_do_not_fit_are_refused(shares):
    with pytest.raises(TechniqueOptionError, match="cannot take the shares"):
        average([state(1), state(2)], shares)


@pytest.mark.parametrize("share", [-0.1, 1.1, math.nan])
def test_points_off_the_path_are_refused(share):
    with pytest.raises(TechniqueOptionError, match=r"in 0\.\.1"):
        interpolate(state(1), state(2), share)


def test_the_cosine_tells_a_shared_start_from_independent_ones():
    start = {"w": torch.randn(1000, generator=torch.Generator().manual_seed(0))}
    near, far = {"w": start["w"] + 0.1}, {"w": torch.randn(1000, generator=torch.Generator().manual_seed(1))}
    assert least_cosine([start, near]) > 0.95
    assert abs(least_cosine([start, near, far])) < 0.2
    assert math.isnan(least_cosine([start]))
