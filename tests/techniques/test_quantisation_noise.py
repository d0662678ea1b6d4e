"""Quantisation noise: the grids, whole blocks, a straight-through gradient, and no trace afterwards."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from small_tasks import LinesNetwork, classes_task, polylines_task
from torch import nn
from whole_runs import assert_same, resumed, trained

from techniques.errors import TechniqueOptionError
from techniques.quantisation_noise import (
    QuantisationNoise,
    rounded,
    rounded_activations,
    rounded_blocks,
    rounded_weights,
)
from techniques.registry import build
from techniques.training import Loop, Settings


def _generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@given(st.integers(0, 10**6), st.floats(1e-3, 1e3))
@settings(max_examples=20, deadline=None)
def test_int8_is_the_nearest_of_255_steps_of_each_row(seed: int, size: float) -> None:
    x = torch.randn(4, 3, 5, generator=_generator(seed)) * size
    x[2] = 0
    found = rounded(x, "int8")
    for row, own in zip(x.double().flatten(1).numpy(), found.double().flatten(1).numpy(), strict=True):
        step = np.abs(row).max() / 127
        grid = np.arange(-127, 128) * step
        nearest = np.abs(row[:, None] - grid[None]).min(1)
        assert np.abs(row - own).max() <= nearest.max() + 1e-5 * step * 127
        assert np.abs(own[:, None] - grid[None]).min(1).max() <= 1e-5 * step * 127
    assert (found[2] == 0).all()


def test_fp16_is_numpys_and_saturates() -> None:
    x = torch.randn(3, 100) * 50
    np.testing.assert_array_equal(rounded(x, "fp16").numpy(), x.numpy().astype(np.float16).astype(np.float32))
    assert rounded(torch.tensor([[1e6, -1e6]]), "fp16").tolist() == [[65504, -65504]]
    torch.testing.assert_close(rounded(x, "bf16"), x.bfloat16().float(), rtol=0, atol=0)


@pytest.mark.parametrize("to", ["int8", "fp16", "bf16"])
def test_rounding_twice_changes_nothing_more(to: str) -> None:
    once = rounded(torch.randn(5, 40), to)
    torch.testing.assert_close(rounded(once, to), once, rtol=1e-6, atol=1e-7)


def test_whole_blocks_are_rounded_at_the_asked_share() -> None:
    weight = torch.randn(64, 3, 5, 5)  # 75 values a row: nine blocks of 8 and one of 3
    found = rounded_blocks(weight, "int8", 0.3, 8, _generator())
    changed, whole = (found != weight).flatten(1), (rounded(weight, "int8") != weight).flatten(1)
    shares = []
    for start in range(0, 75, 8):
        part, all_of_it = changed[:, start : start + 8], whole[:, start : start + 8]
        rows = part.any(1)
        assert torch.equal(part[rows], all_of_it[rows])
        shares.append(float(rows.float().mean()))
    assert float(np.mean(shares)) == pytest.approx(0.3, abs=0.06)


def test_the_gradient_is_that_at_the_rounded_weights_and_the_weights_come_back() -> None:
    torch.manual_seed(0)
    model, x = nn.Linear(16, 4), torch.randn(8, 16)
    before = model.weight.detach().clone()
    with rounded_weights(model, "int8", 1.0, 8, _generator()):
        assert torch.equal(model.weight, rounded(before, "int8"))
        model(x).square().sum().backward()
    assert torch.equal(model.weight, before)
    other = nn.Linear(16, 4)
    other.load_state_dict({"weight": rounded(before, "int8"), "bias": model.bias.detach()})
    other(x).square().sum().backward()
    torch.testing.assert_close(model.weight.grad, other.weight.grad, rtol=0, atol=0)


def test_a_step_taken_meanwhile_is_kept() -> None:
    model = nn.Linear(16, 4)
    before = model.weight.detach().clone()
    with rounded_weights(model, "int8", 0.5, 8, _generator()), torch.no_grad():
        model.weight[0] += 1
    torch.testing.assert_close(model.weight[0], before[0] + 1)
    assert torch.equal(model.weight[1:], before[1:])


def test_weights_come_back_and_hooks_go_though_the_pass_fails() -> None:
    model = LinesNetwork()
    before = {k: v.clone() for k, v in model.state_dict().items()}
    with (
        pytest.raises(RuntimeError),
        rounded_weights(model, "int8", 1.0, 8, _generator()),
        rounded_activations(model, "int8", 1.0, _generator()),
    ):
        model(torch.zeros(1, 7, 2, 2), torch.zeros(1, 2))
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())
    assert not any(m._forward_hooks for m in model.modules())


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_activations_are_rounded_straight_through(dtype: torch.dtype) -> None:
    model = nn.Linear(6, 5).to(dtype)
    x = torch.randn(3, 6, dtype=dtype)
    plain = model(x).detach()
    with rounded_activations(model, "int8", 1.0, _generator()):
        y = model(x)
    torch.testing.assert_close(y.detach(), rounded(plain.flatten()[None], "int8").view(3, 5), rtol=1e-2, atol=1e-2)
    assert y.dtype == dtype
    assert not torch.equal(y.detach(), plain)
    y.sum().backward()
    torch.testing.assert_close(model.weight.grad, x.sum(0).expand(5, 6))
    torch.testing.assert_close(model(x).detach(), plain, rtol=0, atol=0)


def test_no_share_of_activations_rounds_none() -> None:
    model, x = nn.Linear(6, 5), torch.randn(3, 6)
    with rounded_activations(model, "int8", 0.0, _generator()):
        assert torch.equal(model(x), nn.functional.linear(x, model.weight, model.bias))


def test_biases_and_batchnorm_are_never_rounded() -> None:
    loop = Loop(polylines_task(32), [], Settings(budget_passes=2, batch=8))
    seen = {}

    def inner(batch):
        seen.update({k: v.clone() for k, v in loop.model.state_dict().items()})
        return torch.zeros(())

    before = {k: v.clone() for k, v in loop.model.state_dict().items()}
    QuantisationNoise(share=1.0).gradient(loop, loop.task.train.batch(torch.arange(4), _generator()), inner)
    changed = [k for k in before if not torch.equal(seen[k], before[k])]
    assert changed == ["body.0.weight", "head.weight"]


@pytest.mark.parametrize("task", [classes_task(64), polylines_task(64)], ids=["classes", "polylines"])
def test_a_resumed_run_equals_an_uninterrupted_one_and_has_no_trace(task, tmp_path: Path) -> None:
    one = trained(task, QuantisationNoise())
    assert_same(one, resumed(task, QuantisationNoise, tmp_path, 0.5))
    assert list(one.model.state_dict()) == list(task.network().state_dict())
    assert not any(m._forward_hooks for m in one.model.modules())
    weight = next(p for p in one.model.parameters() if p.dim() > 1).detach()
    assert not torch.equal(weight, rounded(weight, "int8"))  # full precision
    assert one.passes.total == 60
    assert one.steps == 30


@pytest.mark.parametrize("to", ["int8", "fp16"])
def test_it_trains_in_bf16(to: str) -> None:
    assert trained(polylines_task(32), QuantisationNoise(to), 20, precision="bf16").steps > 1


@pytest.mark.parametrize("options", [{"to": "int4"}, {"share": 0.0}, {"share": 1.5}, {"block": 0}])
def test_it_is_refused_what_makes_no_sense(options) -> None:
    with pytest.raises(TechniqueOptionError, match="must be"):
        build("quantisation-noise", **options)
