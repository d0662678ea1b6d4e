from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from techniques.errors import TechniqueOptionError
from techniques.low_precision import LowPrecision, Widths, block_spacing, quantised

SEEDS = st.integers(0, 10_000)


def numbers(seed: int, *shape: int) -> torch.Tensor:
    """Of many sizes, some of them zero."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(shape, generator=generator) * torch.exp(4 * torch.randn(shape[:1] + (1,) * (len(shape) - 1)))
    return torch.where(torch.rand(shape, generator=generator) < 0.1, 0, x)


def by_the_book(x: list[float], bits: int) -> list[float]:
    """Nearest rounding of one block, one number after another."""
    largest = max(abs(v) for v in x)
    if largest == 0:
        return x
    spacing = 2.0 ** (math.floor(math.log2(largest)) - (bits - 2))
    if largest > (2 ** (bits - 1) - 1) * spacing:
        spacing *= 2
    return [round(v / spacing) * spacing for v in x]


@settings(max_examples=40, deadline=None)
@given(seed=SEEDS, bits=st.integers(2, 16))
def test_rows_share_an_exponent_of_their_own(seed: int, bits: int) -> None:
    x = numbers(seed, 4, 3, 2).double()
    found = quantised(x, bits, rounding="nearest")
    for row, own in zip(found, x, strict=True):
        assert row.flatten().tolist() == by_the_book(own.flatten().tolist(), bits)
    vector = quantised(x.flatten(), bits, rounding="nearest")
    assert vector.tolist() == by_the_book(x.flatten().tolist(), bits)


@settings(max_examples=40, deadline=None)
@given(seed=SEEDS, bits=st.integers(2, 12), rounding=st.sampled_from(["stochastic", "nearest"]))
def test_results_are_whole_multiples_that_fit_and_are_less_than_one_spacing_away(
    seed: int, bits: int, rounding: str
) -> None:
    x = numbers(seed, 5, 7)
    spacing = block_spacing(x, bits)
    found = quantised(x, bits, rounding=rounding, generator=torch.Generator().manual_seed(seed))
    whole = found / spacing
    assert torch.equal(whole, whole.round())
    assert whole.abs().max() <= 2 ** (bits - 1) - 1
    assert ((found - x).abs() < spacing).all()


@pytest.mark.parametrize("bits", [2, 4, 8])
def test_stochastic_rounding_is_unbiased_even_for_the_largest_of_a_block(bits: int) -> None:
    x = torch.tensor([0.999, -0.9995, 0.3, -0.01, 0.0, 1e-5])  # the first two would be clipped at full scale
    draws, generator = 40_000, torch.Generator().manual_seed(1)
    rows = quantised(x.repeat(draws, 1), bits, generator=generator)
    spacing = float(block_spacing(x, bits))
    error = (rows.double().mean(0) - x.double()).abs()
    assert (error < 5 * spacing / 2 / math.sqrt(draws)).all()


def test_stochastic_rounding_has_the_variance_of_a_coin() -> None:
    x = torch.full((60_000,), 0.3)
    x[0] = 1.0
    z = quantised(x, 4, generator=torch.Generator().manual_seed(2))[1:] / 0.25
    share = 0.3 / 0.25 - 1
    assert z.unique().tolist() == [1, 2]
    assert float(z.var()) == pytest.approx(share * (1 - share), rel=0.03)


@settings(max_examples=25, deadline=None)
@given(seed=SEEDS, bits=st.integers(2, 10), rounding=st.sampled_from(["stochastic", "nearest"]))
def test_what_is_on_the_grid_stays_and_no_seed_moves_it(seed: int, bits: int, rounding: str) -> None:
    spacing = 2.0**-5
    x = torch.arange(-(2 ** (bits - 1) - 1), 2 ** (bits - 1)).float()[None] * spacing
    assert torch.equal(quantised(x, bits, rounding=rounding, generator=torch.Generator().manual_seed(seed)), x)


def test_blocks_of_zeros_stay_zero_and_finite() -> None:
    x = torch.zeros(3, 4)
    x[1] = 1.0
    assert torch.equal(quantised(x, 8), x)
    assert quantised(torch.zeros(0, 4), 8).shape == (0, 4)
    assert torch.equal(quantised(torch.zeros(()), 8), torch.zeros(()))


def test_extreme_exponents_neither_overflow_nor_vanish_together() -> None:
    x = torch.tensor([[3e38, 1e38], [1e-37, -3e-38], [1.0, 0.0]])
    found = quantised(x, 8, rounding="nearest")
    assert torch.isfinite(found).all()
    assert float(found[0, 0]) == pytest.approx(3e38, rel=0.01)


def test_a_block_that_is_not_finite_stays_so_for_the_loss_to_show() -> None:
    found = quantised(torch.tensor([[math.inf, 1.0], [math.nan, 1.0], [1.0, 0.5]]), 8)
    assert torch.isfinite(found).all(1).tolist() == [False, False, True]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_eight_bits_fit_into_any_dtype(dtype: torch.dtype) -> None:
    x = torch.rand(4, 5).to(dtype) - 0.5
    found = quantised(x, 8, rounding="nearest")
    assert found.dtype == dtype
    torch.testing.assert_close(found.float(), quantised(x.float(), 8, rounding="nearest"), rtol=0, atol=0)


@pytest.mark.parametrize("arguments", [{"bits": 1}, {"bits": 17}, {"bits": 8, "rounding": "up"}])
def test_bits_and_rounding_out_of_range_are_one_clear_error(arguments: dict[str, object]) -> None:
    with pytest.raises(TechniqueOptionError, match="2 to 16 bits"):
        quantised(torch.ones(2), **arguments)  # type: ignore[arg-type]  # values of several types
    with pytest.raises(TechniqueOptionError, match="full precision"):
        Widths(error=1)


def descended(rounding: str, steps: int = 1500) -> float:
    """Mean of the late w, descending (w - 0.4)^2 / 2 from 1 by steps of less than half the spacing of w."""
    model = nn.Linear(1, 1, bias=False)
    nn.init.ones_(model.weight)
    optimiser = torch.optim.SGD(model.parameters(), lr=0.01)
    low = LowPrecision(Widths(8, 0, 0, 0, 0), rounding, seed=3)
    low.install(model, optimiser)
    late = []
    for step in range(steps):
        optimiser.zero_grad()
        ((model.weight - 0.4) ** 2 / 2).sum().backward()
        optimiser.step()
        if step >= steps // 2:
            late.append(float(model.weight.detach()))
    return sum(late) / len(late)


def test_nearest_rounding_stalls_where_stochastic_rounding_gets_there_on_average() -> None:
    assert descended("nearest") == 1.0  # the first step of .006 is less than half a spacing of 1/64
    assert descended("stochastic") == pytest.approx(0.4, abs=0.02)


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 36, 3))


def on_grid(x: torch.Tensor, bits: int) -> bool:
    return torch.equal(quantised(x, bits), x)  # on the grid stays, whatever is drawn


def test_every_kind_of_number_is_rounded_where_it_should_be() -> None:
    model, x = network(), torch.rand(6, 1, 8, 8)
    optimiser = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    low = LowPrecision(Widths(8, 4, 6, 5, 7))
    low.round_weights(model.parameters())
    low.install(model, optimiser)
    seen: dict[str, torch.Tensor] = {}
    model[4].register_forward_pre_hook(lambda _, i: seen.update(activation=i[0].detach()))
    model[0].register_forward_pre_hook(lambda _, i: seen.update(picture=i[0].detach()))
    model[2].register_full_backward_hook(lambda _m, _i, o: seen.update(error=o[0]))
    model(x).square().sum().backward()
    optimiser.step()
    assert torch.equal(seen["picture"], x)
    assert on_grid(seen["activation"], 4)
    assert on_grid(seen["error"].flatten(1), 5)
    for p in model.parameters():
        assert on_grid(p.detach(), 8)
        assert on_grid(p.grad, 6)
        assert on_grid(optimiser.state[p]["momentum_buffer"], 7)
    assert not on_grid(model[0].weight.detach(), 3)


def test_adam_keeps_its_second_moment_in_full_precision() -> None:
    model = network()
    optimiser = torch.optim.AdamW(model.parameters(), lr=0.01)
    LowPrecision().install(model, optimiser)
    for _ in range(3):
        optimiser.zero_grad()
        model(torch.rand(6, 1, 8, 8)).square().sum().backward()
        optimiser.step()
    state = optimiser.state[model[4].weight]
    assert on_grid(state["exp_avg"], 8)
    assert not on_grid(state["exp_avg_sq"], 8)
    assert all(torch.isfinite(p).all() for p in model.parameters())


def test_an_evaluation_and_a_network_without_hooks_are_not_rounded() -> None:
    model, x = network().eval(), torch.rand(6, 1, 8, 8)
    expected = model(x).detach()
    optimiser = torch.optim.SGD(model.parameters(), lr=0.1)
    low = LowPrecision(Widths(activation=3))
    low.install(model, optimiser)
    low.install(model, optimiser)  # a second time changes nothing
    assert not torch.equal(model(x).detach(), expected)
    with torch.no_grad():
        assert torch.equal(model(x), expected)
    low.remove()
    assert torch.equal(model(x).detach(), expected)
    assert not any(m._forward_pre_hooks for m in model.modules())
    assert not optimiser._optimizer_step_pre_hooks
    assert not optimiser._optimizer_step_post_hooks


def test_a_gradient_of_a_gradient_goes_straight_through() -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.Tanh(), nn.Linear(2, 1)).double()
    low = LowPrecision(Widths(0, 16, 0, 16, 0), "nearest")
    x = torch.rand(3, 2, dtype=torch.float64, requires_grad=True)

    def twice() -> torch.Tensor:
        (first,) = torch.autograd.grad(model(x).sum(), x, create_graph=True)
        return torch.autograd.grad(first.square().sum(), model[0].weight)[0]

    exact = twice()
    low.install(model, torch.optim.SGD(model.parameters(), lr=0.1))
    torch.testing.assert_close(twice(), exact, rtol=0.01, atol=1e-4)


def test_the_same_seed_rounds_the_same_way() -> None:
    x, low = torch.rand(50), LowPrecision(seed=5)
    first, second = low.rounded(x, 4), low.rounded(x, 4)
    low.reseed(5)
    assert torch.equal(low.rounded(x, 4), first)
    assert not torch.equal(first, second)
