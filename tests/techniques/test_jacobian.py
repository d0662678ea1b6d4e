"""Jacobian penalty: unbiased against the exact Frobenius norm, in raw units, with gradients that are right."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from small_tasks import MEAN, STD, classes_task, polylines_task
from torch import Tensor, nn
from whole_runs import assert_same, resumed, trained

from techniques.errors import TechniqueOptionError
from techniques.jacobian import Jacobian, squared_jacobian
from techniques.objectives import Classification, Polylines, Regression
from techniques.passes import Counted, Passes
from techniques.registry import build
from techniques.task import Domain


def _generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


class _Linear(nn.Module):
    """Linear in a picture [batch, 3, 2, 2] of three channels."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(5, 12, generator=_generator(7), dtype=torch.float64))

    def forward(self, x: Tensor) -> Tensor:
        return x.flatten(1) @ self.weight.T


def test_it_is_unbiased_on_a_linear_network_per_raw_unit() -> None:
    model, domain = _Linear(), Domain(0, 1, MEAN, STD)
    x = torch.rand(4000, 3, 2, 2, dtype=torch.float64)
    found = squared_jacobian(model, Classification(), (x,), (domain,), _generator()).detach()
    scale = torch.tensor(STD, dtype=torch.float64).repeat_interleave(4)
    exact = float(((model.weight.detach() / scale) ** 2).sum())
    error = float(found.std()) / 4000**0.5
    assert abs(float(found.mean()) - exact) < 4 * error
    assert error < 0.02 * exact


def test_more_projections_give_the_same_mean_with_less_spread() -> None:
    model, x = _Linear(), torch.rand(1000, 3, 2, 2, dtype=torch.float64)
    one, many = (
        squared_jacobian(model, Classification(), (x,), (Domain(),), _generator(), projections=k).detach()
        for k in (1, 16)
    )
    assert float(many.mean()) == pytest.approx(float(one.mean()), rel=0.1)
    assert float(many.std()) < 0.35 * float(one.std())


def test_a_single_output_needs_no_luck_and_its_gradient_is_the_closed_form() -> None:
    model = nn.Linear(6, 1, bias=False).double()
    found = squared_jacobian(
        model, Classification(), (torch.rand(3, 6, dtype=torch.float64),), (Domain(),), _generator()
    )
    torch.testing.assert_close(found, (model.weight**2).sum().expand(3))
    found.mean().backward()
    torch.testing.assert_close(model.weight.grad, 2 * model.weight.detach())


def test_the_jacobian_is_each_examples_own_though_batchnorm_trains() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6), nn.Tanh(), nn.Linear(6, 1)).double()
    x = torch.rand(8, 4, dtype=torch.float64)
    model(x)
    before = {k: v.clone() for k, v in model.state_dict().items()}
    found = squared_jacobian(model, Classification(), (x,), (Domain(),), _generator())
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())
    assert all(m.training for m in model.modules())
    assert all(p.grad is None for p in model.parameters())
    exact = torch.func.vmap(torch.func.jacrev(lambda one: model.eval()(one[None])[0]))(x)
    torch.testing.assert_close(found, exact.square().sum((1, 2)))


class _Two(nn.Module):
    """Twice and three times a picture [batch, 2], the first with a pose."""

    def forward(self, x: Tensor, pose: Tensor) -> tuple[Tensor, Tensor]:
        return (2 * x + 100 * pose)[:, None], 3 * x


def test_several_outputs_are_taken_together_and_a_pose_is_a_constant() -> None:
    x, pose = torch.rand(5000, 2), torch.rand(5000, 2)
    domains = (Domain(0, 1, (0.0,), (0.5,)), None)
    found = squared_jacobian(_Two(), Regression(), (x, pose), domains, _generator())
    assert float(found.mean()) == pytest.approx((2 * 4 + 2 * 9) / 0.25, rel=0.05)


def test_only_what_the_objective_judges_is_penalised() -> None:
    """Of polylines the lines: presence logits, three times the input here, cost nothing."""
    x, pose = torch.rand(5000, 2), torch.rand(5000, 2)
    found = squared_jacobian(_Two(), Polylines(), (x, pose), (Domain(), None), _generator())
    assert float(found.mean()) == pytest.approx(2 * 4, rel=0.05)


def test_its_passes_are_counted_also_the_way_back_through_the_backward_pass() -> None:
    passes = Passes()
    model = nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 2))
    squared = squared_jacobian(model, Counted(Classification(), passes), (torch.rand(3, 4),), (Domain(),), _generator())
    assert (passes.forward, passes.backward) == (2, 1)
    squared.mean().backward()
    assert (passes.forward, passes.backward) == (2, 2)


@pytest.mark.parametrize("task", [classes_task(64), polylines_task(64)], ids=["classes", "polylines"])
def test_a_resumed_run_equals_an_uninterrupted_one(task, tmp_path: Path) -> None:
    one = trained(task, Jacobian())
    assert_same(one, resumed(task, Jacobian, tmp_path, 0.5))


def test_a_heavier_penalty_leaves_a_flatter_network() -> None:
    task = classes_task(128)
    x = task.test.batch(torch.arange(64), _generator()).inputs
    norms = []
    for weight in (0.0, 1.0):
        model = trained(task, Jacobian(weight), 300).model
        found = squared_jacobian(model, task.objective, x, task.domains, _generator())
        norms.append(float(found.detach().mean()))
    assert norms[1] < 0.5 * norms[0]


def test_it_trains_in_bf16() -> None:
    assert trained(polylines_task(32), Jacobian(), 20, precision="bf16").steps > 1


def test_it_is_refused_what_makes_no_sense() -> None:
    for options in ({"weight": -1.0}, {"projections": 0}):
        with pytest.raises(TechniqueOptionError, match="must be"):
            build("jacobian", **options)
    with pytest.raises(TechniqueOptionError, match="of which 0 may change"):
        squared_jacobian(nn.Linear(2, 2), Classification(), (torch.zeros(1, 2),), (None,), _generator())
