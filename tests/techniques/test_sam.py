from __future__ import annotations

import pytest
import torch
from small_tasks import classes_task, polylines_task
from stopped import assert_resumes, run, same
from torch import nn

from techniques.errors import NonFiniteLoss, TechniqueOptionError
from techniques.sam import SAM, sharpness_gradient
from techniques.training import Loop, Settings


def quadratic(dtype: torch.dtype = torch.float64) -> tuple[nn.Parameter, torch.Tensor]:
    return nn.Parameter(torch.tensor([1.0, -2.0, 0.5], dtype=dtype)), torch.diag(
        torch.tensor([1.0, 4.0, 9.0], dtype=dtype)
    )


def test_on_a_quadratic_the_gradient_is_that_at_the_worst_point_nearby():
    w, a = quadratic()

    def closure() -> torch.Tensor:
        loss = w @ a @ w / 2
        loss.backward()
        return loss.detach()

    loss = sharpness_gradient([w], 0.1, closure)
    gradient = a @ w.detach()
    assert torch.allclose(w.grad, a @ (w.detach() + 0.1 * gradient / gradient.norm()))
    assert float(loss) == pytest.approx(float(w.detach() @ a @ w.detach() / 2))


def test_the_radius_is_over_all_parameters_together():
    first, second = nn.Parameter(torch.tensor([3.0])), nn.Parameter(torch.tensor([4.0]))
    seen = []

    def closure() -> torch.Tensor:
        seen.append((float(first.detach()), float(second.detach())))
        loss = (first**2 + second**2).sum() / 2
        loss.backward()
        return loss.detach()

    sharpness_gradient([first, second], 0.5, closure)
    assert seen == [(3.0, 4.0), pytest.approx((3.3, 4.4))]


def test_gradients_that_were_there_are_added_to():
    w, _ = quadratic()
    w.grad = torch.full_like(w, 10.0)

    def closure() -> torch.Tensor:
        loss = w.sum()
        loss.backward()
        return loss.detach()

    sharpness_gradient([w], 0.1, closure)
    assert torch.allclose(w.grad, torch.full_like(w, 11.0))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_weights_and_statistics_are_those_of_the_first_pass_bit_for_bit(dtype):
    network = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(4 * 36, 2)).to(dtype)
    x = torch.rand(6, 1, 8, 8, dtype=dtype)
    weights = {k: v.clone() for k, v in network.named_parameters()}
    statistics = []

    def closure() -> torch.Tensor:
        loss = network(x).square().mean()
        loss.backward()
        statistics.append(network[1].running_mean.clone())
        return loss.detach()

    sharpness_gradient(network.parameters(), 0.5, closure, model=network)
    assert same(weights, dict(network.named_parameters()))
    assert torch.equal(network[1].running_mean, statistics[0])
    assert not torch.equal(statistics[0], statistics[1])
    assert int(network[1].num_batches_tracked) == 1


def test_an_error_in_the_second_pass_leaves_the_weights_as_they_were():
    w, _ = quadratic()
    calls = []

    def closure() -> torch.Tensor:
        if calls:
            raise RuntimeError("lost")
        calls.append(1)
        loss = w.square().sum()
        loss.backward()
        return loss.detach()

    with pytest.raises(RuntimeError, match="lost"):
        sharpness_gradient([w], 0.1, closure)
    assert torch.equal(w.detach(), quadratic()[0].detach())


def test_a_gradient_of_zero_moves_nothing_and_one_that_is_not_finite_is_an_error():
    w = nn.Parameter(torch.zeros(2))

    def closure(factor: float = 0.0) -> torch.Tensor:
        loss = (factor * w).sum()
        loss.backward()
        return loss.detach()

    sharpness_gradient([w], 0.1, closure)
    assert torch.equal(w.grad, torch.zeros(2))
    with pytest.raises(NonFiniteLoss, match="gradient is not finite"):
        sharpness_gradient([w], 0.1, lambda: closure(torch.inf))


@pytest.mark.parametrize("rho", [0, -0.1, float("nan")])
def test_a_radius_must_be_positive(rho):
    with pytest.raises(TechniqueOptionError, match="positive"):
        SAM(rho=rho)


@pytest.mark.parametrize("task", [classes_task(), polylines_task()], ids=["classes", "polylines"])
def test_it_trains_and_a_stopped_run_goes_on(task, tmp_path):
    before = Loop(task, [], Settings())
    first_error = before.mean_error(before.model, task.test)
    trained = run(task, [SAM()], passes=400)
    assert trained.passes.total == 400
    assert trained.steps == 100  # two forward and two backward passes each
    assert before.mean_error(trained.model, task.test) < 0.7 * first_error
    assert_resumes(task, SAM, tmp_path, stops=[3], passes=24)
