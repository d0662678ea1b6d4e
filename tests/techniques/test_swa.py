from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch
from averages_runs import TASKS, run, same_weights, settings, stopped_run
from hypothesis import given
from hypothesis import settings as hypothesis
from hypothesis import strategies as st
from torch import nn
from torch.optim.swa_utils import SWALR

from techniques.batchnorm import recompute_batchnorm
from techniques.errors import ModelMismatch, TechniqueOptionError
from techniques.objectives import Classification
from techniques.swa import SWA, add_to_average, annealed, averaging, cyclic_rate, use_average
from techniques.training import Loop

HALVES = [torch.float16, torch.bfloat16]


def walk(model: nn.Module, steps: int, seed: int = 0) -> list[nn.Module]:
    """The model at several places, itself changed in place."""
    generator, places = torch.Generator().manual_seed(seed), []
    for _ in range(steps):
        with torch.no_grad():
            for p in model.parameters():
                p.add_(torch.randn(p.shape, generator=generator).to(p.dtype))
        places.append(copy.deepcopy(model))
    return places


@hypothesis(max_examples=20, deadline=None)
@given(count=st.integers(1, 9), seed=st.integers(0, 99))
def test_the_average_is_the_plain_mean(count: int, seed: int) -> None:
    model = nn.Linear(3, 2).double()
    average = averaging(model)
    places = walk(model, count, seed)
    for place in places:
        add_to_average(average, place)
    use_average(average, model)
    torch.testing.assert_close(model.weight, torch.stack([p.weight for p in places]).mean(0), rtol=1e-12, atol=1e-12)


def test_the_average_of_one_model_is_that_model() -> None:
    model = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2))
    average, before = averaging(model), copy.deepcopy(model)
    add_to_average(average, model)
    use_average(average, model)
    assert same_weights(model, before)


@pytest.mark.parametrize("dtype", HALVES)
def test_half_precision_is_averaged_in_fp32(dtype: torch.dtype) -> None:
    model = nn.Linear(3, 2).to(dtype)
    average, places = averaging(model), []
    for place in walk(model, 300):
        add_to_average(average, place)
        places.append(place.weight.double())
    mean = torch.stack(places).mean(0)
    assert average.module.weight.dtype == torch.float32
    torch.testing.assert_close(average.module.weight.double(), mean, rtol=1e-5, atol=1e-4)
    use_average(average, model)
    assert model.weight.dtype == dtype
    assert torch.equal(model.weight, average.module.weight.to(dtype))


def test_averaging_leaves_the_model_and_its_graph_alone() -> None:
    model = nn.Linear(3, 2)
    average, before = averaging(model), copy.deepcopy(model)
    loss = model(torch.ones(1, 3)).sum()
    add_to_average(average, model)
    loss.backward()
    assert same_weights(model, before)
    assert not any(p.requires_grad for p in average.parameters())


def test_counters_are_not_averaged_and_buffers_do_not_go_stale() -> None:
    model = nn.Sequential(nn.BatchNorm1d(2))
    average = averaging(model)
    for i in range(3):
        model(torch.rand(4, 2) + i)
        add_to_average(average, model)
    model(torch.rand(4, 2) + 9)  # after the last average
    use_average(average, model)
    assert int(average.module[0].num_batches_tracked) == 3
    assert int(model[0].num_batches_tracked) == 4
    x = torch.rand(8, 2) + 5
    recompute_batchnorm(model, Classification(), [(x,)])
    torch.testing.assert_close(model[0].running_mean, x.mean(0))


def test_other_networks_and_empty_averages_are_refused() -> None:
    average = averaging(nn.Linear(3, 2))
    with pytest.raises(ModelMismatch, match="of no model yet"):
        use_average(average, nn.Linear(3, 2))
    with pytest.raises(ModelMismatch, match=r"\['weight'\]"):
        add_to_average(average, nn.Linear(4, 2))


def test_the_anneal_is_that_of_torch() -> None:
    optimiser = torch.optim.SGD([nn.Parameter(torch.zeros(1))], 0.5)
    reference = SWALR(optimiser, swa_lr=0.05, anneal_epochs=10)
    for step in range(12):
        assert annealed(0.5, 0.05, step / 10) == pytest.approx(optimiser.param_groups[0]["lr"])
        optimiser.step()
        reference.step()


def test_a_cycle_falls_evenly_to_its_least_rate() -> None:
    rates = [cyclic_rate(i, 4, 1.0, 0.2) for i in range(8)]
    assert rates == pytest.approx([0.8, 0.6, 0.4, 0.2] * 2)


class Watched(SWA):
    """Remembers rates and weights."""

    def start(self, loop: Loop) -> None:
        super().start(loop)
        self.rates: list[tuple[float, float]] = []
        self.weights: list[tuple[float, torch.Tensor]] = []

    def after_step(self, loop: Loop) -> None:
        super().after_step(loop)
        self.rates.append((loop.progress, loop.optimiser.param_groups[0]["lr"]))
        self.weights.append((loop.progress, loop.model[4].weight.detach().clone()))


@pytest.mark.parametrize("cyclic", [False, True])
def test_a_run_ends_with_the_mean_of_every_third_of_its_last_weights(cyclic: bool) -> None:
    trained = run(TASKS["classes"](), Watched(after=0.5, every=3, anneal=0.1, cyclic=cyclic, rate=0.5))
    (technique,) = trained.techniques
    late = [w for p, w in technique.weights if p > 0.6 + 1e-9][2::3]
    assert trained.reports["swa"] == {"averaged": len(late)} == {"averaged": 4}
    torch.testing.assert_close(trained.model[4].weight, torch.stack(late).mean(0))
    rates = [r for p, r in technique.rates if p > 0.64]
    if cyclic:
        assert min(rates) == pytest.approx(0.01 * 0.01)
        assert max(rates) <= 0.01
    else:
        assert rates == pytest.approx([0.01] * len(rates))


def test_before_its_share_a_run_is_as_without_it() -> None:
    plain, averaged = (Loop(TASKS["classes"](), t, settings()) for t in ([], [SWA()]))
    for _ in range(15):
        assert plain.one_step() == averaged.one_step()
    assert same_weights(plain.model, averaged.model)


@pytest.mark.parametrize("name", TASKS)
def test_the_average_of_a_run_has_batchnorm_of_its_own_and_can_be_resumed(name: str, tmp_path: Path) -> None:
    task = TASKS[name]()
    whole = run(task, SWA(every=2))
    for steps in (10, 23):
        assert same_weights(whole.model, stopped_run(task, lambda: SWA(every=2), tmp_path / str(steps), steps).model)
    other = Loop(task, [], settings())
    other.model.load_state_dict(whole.model.state_dict())
    other.recompute_batchnorm(other.model)
    assert same_weights(other.model, whole.model)
    assert not whole.model.training


def test_a_run_too_short_for_an_average_ends_with_its_last_weights() -> None:
    task = TASKS["classes"]()
    trained = run(task, Watched(every=1000))
    (technique,) = trained.techniques
    assert trained.reports["swa"] == {"averaged": 0}
    assert torch.equal(trained.model[4].weight, technique.weights[-1][1])


def test_averaging_costs_no_budget() -> None:
    task = TASKS["classes"]()
    assert run(task, SWA()).passes.total == Loop(task, [], settings()).run().passes.total == 60


@pytest.mark.parametrize(
    "options", [{"after": 1.0}, {"rate": 0.0}, {"every": 0}, {"after": 0.9, "anneal": 0.1}, {"low": 0.0}]
)
def test_options_out_of_range_are_one_clear_error(options: dict[str, float]) -> None:
    with pytest.raises(TechniqueOptionError, match="must be") as caught:
        SWA(**options)  # type: ignore[arg-type]  # options of several types
    assert f"[technique.swa] {list(options)[-1]}" in str(caught.value)
