"""Unlabelled smoothness: constant targets, BatchNorm left alone, a ramp, a frozen teacher, and collapse reported."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from small_tasks import classes_task, polylines_task
from torch import Tensor, nn
from whole_runs import assert_same, resumed, trained

from techniques.attack import Ball
from techniques.errors import Collapse, TechniqueOptionError
from techniques.objectives import Classification, Polylines
from techniques.registry import build
from techniques.task import Domain, Tensors
from techniques.training import Loop, Settings
from techniques.uat import UATFT, UATOT, UATPlusPlus, fixed_outputs, ramp, told_apart, worst_divergence

ALL = [UATOT, UATFT, UATPlusPlus]


def _generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


class _Squares(Classification):
    """Divergence in closed form."""

    def divergence(self, outputs: Tensors, reference: Tensors) -> Tensor:
        return ((outputs[0] - reference[0]) ** 2).sum(-1)


def test_the_worst_divergence_of_a_linear_network_is_the_closed_form() -> None:
    """sup over the cube of (w . d)^2 is (eps * sum |w|)^2, eps in raw units, by std per channel in normalised ones."""
    model, std = nn.Linear(3, 1).double(), (0.5, 0.25, 2.0)
    domain, x = Domain(-100, 100, (0.0, 0.0, 0.0), std), torch.randn(16, 3, dtype=torch.float64)
    target = fixed_outputs(model, _Squares(), (x,))
    ball = Ball(0.1, steps=20, random_start=True)
    found = worst_divergence(model, _Squares(), (x,), [target], (domain,), ball, _generator())
    expected = (0.1 * (model.weight.detach().abs() / torch.tensor([std], dtype=torch.float64)).sum()) ** 2
    torch.testing.assert_close(found.detach(), expected.expand(16), rtol=1e-6, atol=0)
    both = worst_divergence(model, _Squares(), (x,), [target, target], (domain,), ball, _generator())
    torch.testing.assert_close(both.detach(), 2 * expected.expand(16), rtol=1e-6, atol=0)


def test_targets_are_constants_and_only_the_last_pass_leaves_gradients() -> None:
    torch.manual_seed(0)
    model, x = nn.Linear(3, 2), torch.rand(4, 3)
    target = (model(x),)  # still attached: worst_divergence must detach it
    ball = Ball(0.1, steps=2, random_start=True)
    found = worst_divergence(model, _Squares(), (x,), [target], (Domain(),), ball, _generator())
    assert model.weight.grad is None
    found.sum().backward()
    own = model.weight.grad
    constant = worst_divergence(model, _Squares(), (x,), [(target[0].detach(),)], (Domain(),), ball, _generator())
    (expected,) = torch.autograd.grad(constant.sum(), model.weight)
    torch.testing.assert_close(own, expected)
    assert float(expected.abs().max()) > 0


def test_batchnorm_and_modes_are_as_they_were() -> None:
    task = polylines_task(32)
    model = task.network()
    inputs = task.train.batch(torch.arange(8), _generator()).inputs
    before = {k: v.clone() for k, v in model.state_dict().items()}
    target = fixed_outputs(model, Polylines(), inputs)
    ball = Ball(0.03, steps=2, random_start=True)
    worst_divergence(model, Polylines(), inputs, [target], task.domains, ball, _generator()).sum().backward()
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())
    assert all(m.training for m in model.modules())
    assert not any(t.requires_grad for t in target)


def test_an_ascent_from_the_inputs_themselves_is_refused() -> None:
    model, x = nn.Linear(3, 2), torch.rand(2, 3)
    with pytest.raises(TechniqueOptionError, match="gradient is zero there"):
        worst_divergence(model, _Squares(), (x,), [(model(x),)], (Domain(),), Ball(0.1), _generator())


@given(st.floats(0, 1), st.floats(0, 1), st.floats(0, 1))
def test_the_ramp_rises_from_0_to_1_between_its_ends(progress: float, a: float, b: float) -> None:
    start, stop = sorted((a, b))
    share = ramp(progress, start, stop)
    assert 0 <= share <= 1
    if progress < start:
        assert share == 0
    if progress >= stop:
        assert share == 1
    if stop - start > 1e-6:
        assert ramp((start + stop) / 2, start, stop) == pytest.approx(0.5)


def test_told_apart_is_zero_for_a_constant_network_and_one_for_a_perfect_one() -> None:
    objective, g = Polylines(presence_weight=0.0), _generator()
    truth = torch.randn(64, 2, 5, generator=g)
    logits = torch.zeros(64, 2)
    constant = truth.mean(0, keepdim=True).expand(64, 2, 5)
    assert told_apart(objective, (constant, logits), (truth,)) == pytest.approx(0, abs=1e-6)
    assert told_apart(objective, (truth, logits), (truth,)) == pytest.approx(1)
    assert told_apart(objective, (truth * 1000, logits), (truth * 1000,)) == pytest.approx(1)
    labels = torch.arange(64) % 4
    assert told_apart(Classification(), (torch.eye(4)[labels] * 20,), (labels,)) > 0.99
    assert told_apart(Classification(), (torch.ones(64, 4),), (labels,)) == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("kind", ALL)
@pytest.mark.parametrize("task", [classes_task(64), polylines_task(64)], ids=["classes", "polylines"])
@pytest.mark.parametrize("stop_at", [0.1, 0.6])
def test_a_resumed_run_equals_an_uninterrupted_one(kind, task, stop_at: float, tmp_path: Path) -> None:
    one = trained(task, kind(steps=1), 80)
    assert_same(one, resumed(task, lambda: kind(steps=1), tmp_path, stop_at, 80))
    assert set(one.reports[kind.name]) >= {"told_apart", "spread", "collapsed"}


@pytest.mark.parametrize(("kind", "each"), [(UATOT, 2 + 1 + 2 * 3 + 2), (UATFT, 11), (UATPlusPlus, 12)])
def test_passes_are_counted_and_nothing_is_spent_before_the_ramp(kind, each: int) -> None:
    loop = Loop(classes_task(32), [kind()], Settings(budget_passes=100, batch=8))
    loop.begin()
    while loop.progress < 0.3:
        loop.one_step()
    assert loop.passes.total == 2 * loop.step
    before = loop.passes.total
    loop.one_step()
    assert loop.passes.total - before == each


@pytest.mark.parametrize("kind", [UATFT, UATPlusPlus])
def test_the_teacher_is_a_frozen_copy_from_the_first_share_of_the_budget(kind) -> None:
    loop = Loop(polylines_task(32), [kind(teacher_share=0.5, steps=1)], Settings(budget_passes=60, batch=8))
    (technique,) = loop.techniques
    loop.begin()
    while loop.progress < 0.5:
        assert technique.teacher is None
        loop.one_step()
    then = {k: v.clone() for k, v in loop.model.state_dict().items()}
    loop.run()
    assert technique.teacher is not None
    assert all(torch.equal(v, then[k]) for k, v in technique.teacher.state_dict().items())
    assert not any(m.training for m in technique.teacher.modules())
    assert not any(p.requires_grad for p in technique.teacher.parameters())
    assert all(p.requires_grad for p in loop.model.parameters())
    assert not torch.equal(loop.model.state_dict()["head.weight"], then["head.weight"])


def test_an_instance_used_again_starts_without_a_teacher() -> None:
    task, technique = classes_task(32), UATFT(steps=1)
    assert_same(trained(task, technique), trained(task, technique))


def test_smoothness_makes_the_network_smoother() -> None:
    task, ball = classes_task(128), Ball(16 / 255, steps=10, random_start=True)
    inputs = task.test.batch(torch.arange(64), _generator()).inputs
    found = []
    for weight in (0.0, 5.0):
        model = trained(task, UATOT(weight=weight, eps=16 / 255), 400, rate=1e-2).model
        target = fixed_outputs(model, task.objective, inputs)
        worst = worst_divergence(model, task.objective, inputs, [target], task.domains, ball, _generator())
        found.append(float(worst.detach().mean()))
    assert found[1] < 0.3 * found[0]


def test_collapse_is_reported_or_refused() -> None:
    task = classes_task(64)
    options = {"weight": 1000.0, "ramp_start": 0.0, "ramp_stop": 0.0, "eps": 0.3}
    report = trained(task, UATOT(**options), 200).reports["uat-ot"]
    assert report["collapsed"]
    assert "ramp lambda up later" in report["warning"]
    with pytest.raises(Collapse, match="answered nearly alike"):
        trained(task, UATOT(**options, on_collapse="error"), 200)


def test_a_network_that_learned_is_not_called_collapsed() -> None:
    report = trained(classes_task(256), UATOT(eps=1 / 255, on_collapse="error"), 600, rate=1e-2).reports["uat-ot"]
    assert not report["collapsed"]
    assert "warning" not in report
    assert report["spread"] > 0.01


def test_it_trains_in_bf16() -> None:
    assert trained(polylines_task(32), UATPlusPlus(steps=1), 40, precision="bf16").steps > 1


@pytest.mark.parametrize(
    "options",
    [
        {"weight": -1.0},
        {"ramp_start": 0.8},
        {"ramp_stop": 1.5},
        {"ramp_start": -0.1},
        {"on_collapse": "ignore"},
        {"eps": 0.0},
        {"steps": 0},
        {"teacher_share": -0.1},
        {"teacher_share": 1.0},
    ],
)
def test_it_is_refused_what_makes_no_sense(options) -> None:
    with pytest.raises(TechniqueOptionError):
        build("uat++", **options)
    with pytest.raises(TechniqueOptionError, match="no option 'teacher_share'"):
        build("uat-ot", teacher_share=0.5)
