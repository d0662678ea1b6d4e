"""Projected ascent: agrees with published formulas, keeps ball and range, leaves the network as it was."""

from __future__ import annotations

import math
import re
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from small_tasks import MEAN, STD, classes_task, polylines_task
from torch import Tensor, nn

from techniques.attack import ascend, attacked_error, label_score, training_attack
from techniques.ball import Ball
from techniques.batchnorm import evaluating
from techniques.errors import EmptyData, NonFiniteLoss, TechniqueOptionError
from techniques.objectives import Classification, Polylines
from techniques.registry import TABLE, build
from techniques.task import Batch, Domain
from techniques.training import Loop, Settings

RAW = (Domain(),)
NORMALISED = Domain(0, 1, MEAN, STD)


def _toy(seed: int = 0) -> tuple[nn.Module, Tensor, Tensor]:
    """(network on raw pictures, pictures [8, 1, 4, 4] with values at both ends, labels)."""
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Flatten(), nn.Linear(16, 12), nn.Tanh(), nn.Linear(12, 3))
    x = torch.rand(8, 1, 4, 4).mul(1.2).sub(0.1).clamp(0, 1)
    return model, x, torch.randint(3, (8,))


def _score(model: nn.Module, y: Tensor):
    return label_score(model, Classification(), (y,))


# torchattacks' published rules, written out: mean cross entropy, raw pictures in 0..1


def _torchattacks_fgsm(model: nn.Module, x: Tensor, y: Tensor, eps: float) -> Tensor:
    x = x.clone().requires_grad_()
    gradient = torch.autograd.grad(F.cross_entropy(model(x), y), x)[0]
    return torch.clamp(x + eps * gradient.sign(), 0, 1).detach()


def _torchattacks_pgd(
    model: nn.Module, x: Tensor, y: Tensor, eps: float, alpha: float, steps: int, start: Tensor
) -> Tensor:
    adversarial = torch.clamp(x + start, 0, 1)
    for _ in range(steps):
        adversarial = adversarial.detach().requires_grad_()
        gradient = torch.autograd.grad(F.cross_entropy(model(adversarial), y), adversarial)[0]
        delta = torch.clamp(adversarial.detach() + alpha * gradient.sign() - x, -eps, eps)
        adversarial = torch.clamp(x + delta, 0, 1).detach()
    return adversarial


def _torchattacks_pgdl2(model: nn.Module, x: Tensor, y: Tensor, eps: float, alpha: float, steps: int) -> Tensor:
    adversarial = x.clone()
    for _ in range(steps):
        adversarial = adversarial.detach().requires_grad_()
        gradient = torch.autograd.grad(F.cross_entropy(model(adversarial), y), adversarial)[0]
        length = gradient.view(len(x), -1).norm(p=2, dim=1) + 1e-10
        delta = adversarial.detach() + alpha * gradient / length.view(-1, 1, 1, 1) - x
        factor = torch.clamp(eps / delta.view(len(x), -1).norm(p=2, dim=1), max=1)
        adversarial = torch.clamp(x + delta * factor.view(-1, 1, 1, 1), 0, 1).detach()
    return adversarial


def test_one_step_is_torchattacks_fgsm() -> None:
    model, x, y = _toy()
    found = ascend(_score(model, y), (x,), RAW, Ball(0.1))[0]
    torch.testing.assert_close(found, _torchattacks_fgsm(model, x, y, 0.1))


def test_several_steps_are_torchattacks_pgd() -> None:
    model, x, y = _toy()
    start = 0.1 * (2 * torch.rand(x.shape, generator=torch.Generator().manual_seed(5)) - 1)
    ball = Ball(0.1, steps=7, step=0.03, random_start=True)
    found = ascend(_score(model, y), (x,), RAW, ball, generator=torch.Generator().manual_seed(5))[0]
    torch.testing.assert_close(found, _torchattacks_pgd(model, x, y, 0.1, 0.03, 7, start))


def test_euclidean_steps_are_torchattacks_pgdl2() -> None:
    model, x, y = _toy()
    found = ascend(_score(model, y), (x,), RAW, Ball(0.5, "l2", 9, 0.1))[0]
    torch.testing.assert_close(found, _torchattacks_pgdl2(model, x, y, 0.5, 0.1, 9))


@settings(max_examples=30)
@given(
    eps=st.floats(1e-3, 0.9),
    norm=st.sampled_from(["linf", "l2"]),
    steps=st.integers(1, 4),
    random_start=st.booleans(),
    seed=st.integers(0, 99),
)
def test_an_attack_stays_in_the_ball_and_in_the_range_in_raw_units(
    eps: float, norm: str, steps: int, random_start: bool, seed: int
) -> None:
    generator = torch.Generator().manual_seed(seed)
    raw = torch.rand(3, 3, 4, 5, generator=generator)
    weight = torch.randn(3, 4, 5, generator=generator)
    ball = Ball(eps, norm, steps, random_start=random_start)
    found = ascend(
        lambda x: (x[0] * weight).sin().flatten(1).sum(1),
        (NORMALISED.normalised(raw),),
        (NORMALISED,),
        ball,
        generator=generator,
    )[0]
    change = NORMALISED.raw(found) - raw
    size = change.abs().amax() if norm == "linf" else change.flatten(1).norm(dim=1).amax()
    assert 0 < size <= eps + 1e-5
    assert NORMALISED.raw(found).min() >= -1e-5
    assert NORMALISED.raw(found).max() <= 1 + 1e-5


def test_every_channel_moves_by_eps_in_raw_units_whatever_its_deviation() -> None:
    raw = torch.full((2, 3, 4, 4), 0.5)
    found = ascend(lambda x: x[0].flatten(1).sum(1), (NORMALISED.normalised(raw),), (NORMALISED,), Ball(8 / 255))[0]
    torch.testing.assert_close(NORMALISED.raw(found), raw + 8 / 255)


def test_a_clean_value_outside_the_range_never_moves_more_than_eps_and_never_further_out() -> None:
    raw = torch.tensor([[[[-0.3, 1.4, 0.5]]]])
    for sign in (1, -1):
        found = ascend(lambda x, s=sign: s * x[0].flatten(1).sum(1), (raw,), RAW, Ball(0.1))[0]
        expected = [-0.2, 1.4, 0.6] if sign > 0 else [-0.3, 1.3, 0.4]
        torch.testing.assert_close(found.flatten(), torch.tensor(expected))


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_any_dtype_comes_back_and_keeps_the_ball_up_to_its_rounding(dtype: torch.dtype, norm: str) -> None:
    x = torch.rand(4, 1, 8, 8).to(dtype)
    ball = Ball(0.1, norm, 3, random_start=True)
    found = ascend(lambda t: 1e-4 * t[0].flatten(1).pow(2).sum(1), (x,), RAW, ball)[0]
    assert found.dtype == dtype
    change = (found.double() - x.double()).flatten(1)
    half_ulp = torch.finfo(dtype).eps / 2
    slack = half_ulp * (1 if norm == "linf" else 8) + 1e-7
    assert 0.03 < (change.abs().amax() if norm == "linf" else change.norm(dim=1).amax()) <= 0.1 + slack


def test_a_faint_gradient_still_moves_the_whole_way_in_the_euclidean_norm() -> None:
    x = torch.full((2, 1, 4, 4), 0.5)
    found = ascend(lambda t: 1e-25 * t[0].flatten(1).sum(1), (x,), RAW, Ball(0.2, "l2"))[0]
    torch.testing.assert_close((found - x).flatten(1).norm(dim=1), torch.full((2,), 0.2))


def test_where_the_gradient_is_zero_nothing_moves() -> None:
    x = torch.rand(2, 1, 4, 4)
    for norm in ("linf", "l2"):
        found = ascend(lambda t: 0 * t[0].flatten(1).sum(1), (x,), RAW, Ball(0.2, norm, 3))[0]
        torch.testing.assert_close(found, x)


@pytest.mark.parametrize("training", [True, False])
def test_the_network_is_left_as_it_was(training: bool) -> None:
    task = polylines_task(16)
    model = task.network().train(training)
    model.body[1].eval()  # frozen on purpose
    for parameter in model.parameters():
        parameter.grad = torch.full_like(parameter, 7.0)
    before = {k: v.clone() for k, v in model.state_dict().items()}
    modes = [m.training for m in model.modules()]
    batch = task.train.batch(torch.arange(16), torch.Generator())
    score = label_score(model, task.objective, batch.targets)
    training_attack(
        model, score, batch.inputs, task.domains, Ball(steps=2, random_start=True), torch.Generator(), restarts=2
    )
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())
    assert all((p.grad == 7).all() for p in model.parameters())
    assert [m.training for m in model.modules()] == modes


def test_an_attack_in_training_is_on_the_network_with_running_statistics() -> None:
    task = polylines_task(16)
    batch = task.train.batch(torch.arange(16), torch.Generator())
    model = task.network().train()
    score = label_score(model, task.objective, batch.targets)
    found = training_attack(model, score, batch.inputs, task.domains, Ball())
    with evaluating(model):
        expected = ascend(score, batch.inputs, task.domains, Ball())
    assert torch.equal(found[0], expected[0])


def test_inputs_without_a_domain_are_never_perturbed() -> None:
    task = polylines_task(16)
    batch = task.train.batch(torch.arange(16), torch.Generator())
    score = label_score(task.network(), task.objective, batch.targets)
    picture, pose = ascend(score, batch.inputs, task.domains, Ball(steps=2, random_start=True))
    assert torch.equal(pose, batch.inputs[1])
    assert not torch.equal(picture, batch.inputs[0])


def test_more_restarts_never_lower_the_score_of_an_example() -> None:
    model, x, y = _toy()
    ball, score = Ball(0.2, steps=2, random_start=True), _score(model, y)
    reached = []
    for restarts in (2, 3, 6):  # one generator each: the first starts are the same
        found = ascend(score, (x,), RAW, ball, generator=torch.Generator().manual_seed(1), restarts=restarts)
        reached.append(score(found).detach())
    assert (reached[1] >= reached[0]).all()
    assert (reached[2] >= reached[1]).all()
    assert (reached[2] > reached[0]).any()


def test_the_attacked_error_is_the_worst_of_the_clean_input_and_all_restarts() -> None:
    task = classes_task(60)
    model = task.network()
    batches = [task.test.batch(torch.arange(60), torch.Generator())]
    with torch.no_grad(), evaluating(model):
        clean = float(
            Classification().error(Classification().outputs(model, batches[0].inputs), batches[0].targets).mean()
        )
    ball = Ball(0.02, steps=2, random_start=True)
    errors = [attacked_error(model, Classification(), batches, task.domains, ball, restarts=r) for r in (1, 4)]
    wide = attacked_error(model, Classification(), batches, task.domains, Ball(0.9, steps=5, random_start=True))
    assert clean <= errors[0] <= errors[1] < wide


def test_examples_without_a_line_do_not_count_in_the_attacked_error() -> None:
    task = polylines_task(8)
    model = task.network()
    picture, pose = torch.zeros(2, 3, 8, 12), torch.zeros(2, 2)
    lines = torch.zeros(2, 2, 5)
    both, one = Batch((picture, pose), (lines,)), Batch((picture[:1], pose[:1]), (lines[:1],))
    both.targets[0][1] = torch.nan
    found = [attacked_error(model, Polylines(), [b], task.domains, Ball()) for b in (both, one)]
    assert math.isfinite(found[0])
    assert found[0] == pytest.approx(found[1])


def _sum(x: tuple[Tensor, ...]) -> Tensor:
    return sum((t.flatten(1).sum(1) for t in x), start=torch.zeros(len(x[0])))


X = torch.rand(2, 1, 3, 3)


@pytest.mark.parametrize(
    ("inputs", "domains", "ball", "restarts", "message"),
    [
        ((X,), (None,), Ball(), 1, "may change"),
        ((X, X), RAW, Ball(), 1, "2 inputs, 1 domains"),
        ((X,), RAW, Ball(8.0), 1, "whole raw range"),
        ((X,), RAW, Ball(3.1, "l2"), 1, "whole raw range"),
        ((X,), RAW, Ball(), 2, "restarts"),
        ((X,), RAW, Ball(random_start=True), 0, "restarts"),
        ((X.mul(255).to(torch.uint8),), (Domain(0, 255),), Ball(8.0), 1, "floating point"),
    ],
)
def test_an_impossible_attack_is_one_clear_error(
    inputs: tuple[Tensor, ...], domains: tuple[Domain | None, ...], ball: Ball, restarts: int, message: str
) -> None:
    with pytest.raises(TechniqueOptionError, match=message) as caught:
        ascend(_sum, inputs, domains, ball, restarts=restarts)
    assert caught.value.where
    assert caught.value.remedy


def test_a_score_that_does_not_depend_on_the_input_is_one_clear_error() -> None:
    weight = torch.ones(2, requires_grad=True)
    for score in (lambda x: x[0].detach().flatten(1).sum(1), lambda x: weight * 1):
        with pytest.raises(TechniqueOptionError, match="no gradient reaches"):
            ascend(score, (X,), RAW, Ball())


def test_of_two_inputs_one_may_be_unused() -> None:
    first, second = ascend(lambda x: x[0].flatten(1).sum(1), (X, X), (Domain(), Domain()), Ball(0.1))
    assert not torch.equal(first, X)
    assert torch.equal(second, X)


def test_a_gradient_that_is_not_finite_is_one_clear_error() -> None:
    with pytest.raises(NonFiniteLoss, match="input 0 is not finite"):
        ascend(lambda x: (x[0] * torch.inf).flatten(1).sum(1), (X,), RAW, Ball())


def test_nothing_to_attack_is_one_clear_error() -> None:
    with pytest.raises(EmptyData, match="nothing to attack"):
        attacked_error(nn.Identity(), Classification(), [], RAW, Ball())


def test_the_code_of_the_guide_runs() -> None:
    guide = (Path(__file__).parents[2] / "docs" / "techniques" / "attacks.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```python\n(.*?)```", guide, flags=re.DOTALL)
    assert len(blocks) >= 6
    torch.manual_seed(0)
    task = polylines_task(8)
    model = task.network().train()
    batch = task.train.batch(torch.arange(8), torch.Generator())
    names = {"model": model, "objective": task.objective, "domains": task.domains, "batches": [batch, batch]}
    for block in blocks:
        exec(compile(block, "attacks.md", "exec"), names)  # our own guide


def _told() -> dict[str, int]:
    """Name -> passes of a step with defaults on a network without BatchNorm, as the guide's first table says."""
    guide = (Path(__file__).parents[2] / "docs" / "techniques" / "attacks.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `([\w-]+)` \| `techniques\.\w+` \| (.*?) \|", guide, flags=re.MULTILINE)
    return {name: int(re.findall(r"\d+", re.split("[;,]", text)[0])[-1]) for name, text in rows}


@pytest.mark.parametrize("name", sorted(_told()))
def test_a_step_costs_what_the_guide_says(name: str) -> None:
    plain = lambda: nn.Sequential(nn.Conv2d(1, 2, 3), nn.Tanh(), nn.Flatten(), nn.Linear(72, 2))  # noqa: E731  # no BN
    loop = Loop(replace(classes_task(16), network=plain), [build(name)], Settings(batch=16))
    loop.one_step()
    assert loop.passes.total == _told()[name]
    assert [n for n, (module, _) in TABLE.items() if module == f"techniques.{name.replace('-', '_')}"] == [name]
