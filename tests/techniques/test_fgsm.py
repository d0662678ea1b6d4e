"""FGSM: the closed form on a linear model, the mixed gradient, and what must stay untouched."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from small_tasks import MEAN, STD, classes_task, polylines_task
from stopped import assert_resumes, run
from torch import nn

from techniques.errors import TechniqueError, TechniqueOptionError
from techniques.fgsm import FGSM, fgsm
from techniques.objectives import Classification
from techniques.registry import build
from techniques.task import Batch, Domain, Task
from techniques.training import Loop, Settings


def test_on_a_linear_model_it_is_the_closed_form() -> None:
    torch.manual_seed(0)
    model, domain = nn.Linear(6, 2), Domain(0, 1)
    x, y = torch.rand(20, 6), torch.randint(2, (20,))
    found = fgsm(model, Classification(), Batch((x,), (y,)), (domain,), 0.07)[0]
    against = (model.weight[1] - model.weight[0]) * (1 - 2 * y)[:, None]  # towards the other class
    torch.testing.assert_close(found, torch.clamp(x + 0.07 * against.detach().sign(), 0, 1))


def test_normalised_inputs_move_by_eps_of_the_raw_range() -> None:
    """In normalised space eps would be std * eps: the classic mistake."""
    task = polylines_task(8)
    batch = task.train.batch(torch.arange(8), torch.Generator())
    found = fgsm(task.network(), task.objective, batch, task.domains)[0]
    change = (found - batch.inputs[0]) * torch.tensor(STD)[:, None, None]
    assert change.abs().max() == pytest.approx(8 / 255, abs=1e-6)
    raw = found * torch.tensor(STD)[:, None, None] + torch.tensor(MEAN)[:, None, None]
    assert raw.min() >= -1e-6
    assert raw.max() <= 1 + 1e-6


@pytest.mark.parametrize("make", [classes_task, polylines_task])
@pytest.mark.parametrize("share", [0.3, 0.0])
def test_the_gradient_is_that_of_the_mixed_loss(make, share: float) -> None:
    task = make(16)
    technique = FGSM(eps=0.1, clean_share=share)
    loop = Loop(task, [technique], Settings(budget_passes=10, batch=16, clip=0))
    loop.begin()
    batch = loop._next_batch()
    domain, picture = task.domains[0], batch.inputs[0].clone().requires_grad_()
    clean = batch.with_inputs((picture, *batch.inputs[1:]))
    loss = task.objective.loss(task.objective.outputs(loop.model, clean.inputs), clean.targets).mean()
    sign = torch.autograd.grad(loss, picture)[0].sign()  # of the network as it trains: BatchNorm by the batch
    attacked = batch.with_inputs((domain.clip(batch.inputs[0] + 0.1 * sign / domain.scale(sign)), *batch.inputs[1:]))
    expected = 0.0
    for weight, part in ((share, batch), (1 - share, attacked)):
        expected += weight * task.objective.loss(task.objective.outputs(loop.model, part.inputs), part.targets).mean()
    gradients = torch.autograd.grad(expected, list(loop.model.parameters()))
    fresh = Loop(task, [technique], loop.settings)  # the passes above have moved the running statistics
    fresh.begin()
    fresh._gradient()(fresh._next_batch())
    for parameter, gradient in zip(fresh.model.parameters(), gradients, strict=True):
        torch.testing.assert_close(parameter.grad, gradient, rtol=1e-4, atol=1e-6)


def test_running_statistics_describe_clean_pictures_only() -> None:
    task = polylines_task(16)
    for share in (0.5, 0.0):
        loop = Loop(task, [FGSM(eps=0.3, clean_share=share)], Settings(budget_passes=10, batch=16))
        plain = Loop(task, [], loop.settings)
        loop.one_step()
        plain.one_step()
        for own, clean in zip(loop.model.body[1].buffers(), plain.model.body[1].buffers(), strict=True):
            assert torch.equal(own, clean)


@pytest.mark.parametrize("share", [0.5, 0.0])
def test_a_step_costs_four_passes_for_the_clean_one_gives_the_direction_as_well(share: float) -> None:
    for task in (polylines_task(16), _without_batchnorm()):
        one = run(task, [FGSM(clean_share=share)], passes=4)
        assert (one.steps, one.passes.forward, one.passes.backward) == (1, 2, 2)


def test_a_random_start_needs_passes_of_its_own() -> None:
    """Attack, clean and attacked pass, both ways; without clean loss one forward for BatchNorm, if there is any."""
    assert run(polylines_task(16), [FGSM(random_start=True)], passes=6).steps == 1
    only = run(polylines_task(16), [FGSM(random_start=True, clean_share=0.0)], passes=5)
    assert (only.steps, only.passes.forward, only.passes.backward) == (1, 3, 2)
    assert run(_without_batchnorm(), [FGSM(random_start=True, clean_share=0.0)], passes=4).steps == 1


def test_without_batchnorm_training_attacks_as_the_function_does() -> None:
    task = _without_batchnorm()
    loop = Loop(task, [FGSM(eps=0.1)], Settings(batch=16))
    loop.begin()
    batch, seen = loop._next_batch(), []
    expected = fgsm(loop.model, task.objective, batch, task.domains, 0.1)[0]
    loop.techniques[0].gradient(loop, batch, lambda b: (seen.append(b.inputs[0].detach()), loop._plain_gradient(b))[1])
    assert len(seen) == 2
    assert torch.equal(seen[0], batch.inputs[0])
    torch.testing.assert_close(seen[1], expected)


def _without_batchnorm() -> Task:
    return replace(classes_task(16), network=lambda: nn.Sequential(nn.Flatten(), nn.Linear(64, 8), nn.Linear(8, 2)))


def test_a_random_start_depends_on_the_seed_of_the_run_alone() -> None:
    runs = [run(classes_task(32), [FGSM(random_start=True)], seed=s).model.state_dict() for s in (0, 0, 1)]
    assert all(torch.equal(runs[0][k], runs[1][k]) for k in runs[0])
    assert any(not torch.equal(runs[0][k], runs[2][k]) for k in runs[0])


@pytest.mark.parametrize("make", [classes_task, polylines_task])
def test_a_resumed_run_equals_an_uninterrupted_one(make, tmp_path: Path) -> None:
    assert_resumes(make(48), lambda: FGSM(random_start=True), tmp_path, stops=(1, 4), passes=42)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_it_trains_in_any_precision(precision: str) -> None:
    task = classes_task()
    trained = run(task, [FGSM(eps=0.02)], passes=240, precision=precision, rate=1e-2)
    assert trained.history[-1][1] < 0.6 * trained.history[0][1]


@pytest.mark.parametrize(
    "options", [{"eps": 0}, {"eps": -0.1}, {"eps": "big"}, {"clean_share": 1.0}, {"clean_share": -0.1}, {"steps": 3}]
)
def test_wrong_options_are_one_clear_error(options: dict[str, object]) -> None:
    with pytest.raises(TechniqueOptionError) as caught:
        build("fgsm", **options)
    assert caught.value.where
    assert caught.value.remedy


def test_an_eps_beyond_the_raw_range_stops_the_run_before_its_first_step() -> None:
    loop = Loop(classes_task(32), [FGSM(eps=8.0)], Settings(budget_passes=10))
    with pytest.raises(TechniqueError, match="whole raw range"):
        loop.run()
    assert loop.step == 0
