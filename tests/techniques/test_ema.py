from __future__ import annotations

from pathlib import Path

import pytest
import torch
from averages_runs import TASKS, run, same_weights, stopped_run
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from techniques.ema import EMA, decay_at, moving_average
from techniques.errors import TechniqueOptionError
from techniques.swa import add_to_average
from techniques.training import Loop


def averages_of(values: torch.Tensor, decay: float, *, warmup: bool, dtype: torch.dtype = torch.float64) -> float:
    """The average after a single weight took those values."""
    model = nn.Linear(1, 1, bias=False).to(dtype)
    average = moving_average(model, decay, warmup=warmup)
    for value in values:
        with torch.no_grad():
            model.weight.fill_(float(value))
        add_to_average(average, model)
    return float(average.module.weight)


@settings(max_examples=25, deadline=None)
@given(decay=st.floats(0, 0.9999), count=st.integers(1, 40), seed=st.integers(0, 9))
def test_the_average_equals_its_closed_form(decay: float, count: int, seed: int) -> None:
    w = torch.randn(count, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    powers = decay ** torch.arange(count - 1, -1, -1, dtype=torch.float64)
    closed = powers[0] * w[0] + (1 - decay) * (powers[1:] * w[1:]).sum()
    assert averages_of(w, decay, warmup=False) == pytest.approx(float(closed), rel=1e-9, abs=1e-12)


def test_with_warmup_weights_are_products_of_the_decays() -> None:
    w = torch.randn(30, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    decays = [decay_at(n, 0.9) for n in range(1, 30)]
    shares = [1.0]
    for d in decays:
        shares = [s * d for s in shares] + [1 - d]
    assert sum(shares) == pytest.approx(1)
    expected = sum(s * float(x) for s, x in zip(shares, w, strict=True))
    assert averages_of(w, 0.9, warmup=True) == pytest.approx(expected)
    assert decays[0] == 2 / 11
    assert decay_at(10_000, 0.9) == 0.9


def test_warmup_forgets_the_first_weights_of_a_short_run() -> None:
    w = torch.cat([torch.ones(1), torch.zeros(299)])
    assert averages_of(w, 0.999, warmup=False) > 0.7
    assert averages_of(w, 0.999, warmup=True) < 1e-6


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_the_average_of_half_precision_weights_does_not_stall(dtype: torch.dtype) -> None:
    w = torch.cat([torch.full((1,), 1.0), torch.full((2000,), 1.25)])
    assert averages_of(w, 0.999, warmup=False, dtype=dtype) == pytest.approx(1.25 - 0.25 * 0.999**2000, abs=1e-4)
    stalled = torch.ones((), dtype=dtype)  # what an average in that dtype does
    for value in w.to(dtype):
        stalled = torch.lerp(stalled, value, 0.001)
    assert float(stalled) < 1.15


class Watched(EMA):
    """Remembers weights."""

    def start(self, loop: Loop) -> None:
        super().start(loop)
        self.weights: list[torch.Tensor] = []

    def after_step(self, loop: Loop) -> None:
        super().after_step(loop)
        self.weights.append(loop.model[4].weight.detach().clone())


def test_a_run_ends_with_the_average_of_its_weights() -> None:
    trained = run(TASKS["classes"](), Watched(decay=0.8, warmup=False))
    (technique,) = trained.techniques
    expected = technique.weights[0]
    for weight in technique.weights[1:]:
        expected = 0.8 * expected + 0.2 * weight
    torch.testing.assert_close(trained.model[4].weight, expected)
    assert trained.reports["ema"] == {"averaged": 30}


@pytest.mark.parametrize("name", TASKS)
def test_a_resumed_run_equals_an_uninterrupted_one(name: str, tmp_path: Path) -> None:
    task = TASKS[name]()
    assert same_weights(run(task, EMA()).model, stopped_run(task, EMA, tmp_path, 11).model)


@pytest.mark.parametrize("name", TASKS)
def test_runs_in_bf16_autocast_end_with_fp32_weights(name: str) -> None:
    trained = run(TASKS[name](), EMA(), 20, precision="bf16")
    assert all(p.dtype == torch.float32 and torch.isfinite(p).all() for p in trained.model.parameters())


@pytest.mark.parametrize("decay", [-0.1, 1.0])
def test_a_decay_out_of_range_is_one_clear_error(decay: float) -> None:
    with pytest.raises(TechniqueOptionError, match=r"\[technique.ema\] decay"):
        EMA(decay)
