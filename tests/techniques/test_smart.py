"""SMART: the loss written out, a start that has a gradient, and a teacher that follows slowly."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from small_tasks import classes_task, polylines_task
from stopped import assert_resumes, run
from torch import nn

from techniques.attack import ascend
from techniques.ball import Ball
from techniques.errors import TechniqueOptionError
from techniques.objectives import Classification, Polylines
from techniques.registry import build
from techniques.smart import SMART, both_ways, smoothness
from techniques.task import Batch, Domain
from techniques.training import Loop, Settings

START = Ball(0.1, random_start=True)


def _toy() -> tuple[nn.Module, torch.Tensor]:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 3)), torch.rand(5, 6)


def test_at_the_clean_input_the_divergence_has_no_gradient_so_that_start_is_refused() -> None:
    model, x = _toy()
    objective = Classification()
    clean = objective.outputs(model, (x,))
    leaf = x.clone().requires_grad_()
    there = objective.divergence(objective.outputs(model, (leaf,)), tuple(t.detach() for t in clean)).sum()
    assert torch.autograd.grad(there, leaf)[0].abs().max() < 1e-6
    with pytest.raises(TechniqueOptionError, match="no gradient") as caught:
        smoothness(model, objective, (x,), clean, (Domain(),), Ball(0.1))
    assert "random_start" in str(caught.value.remedy)


def test_the_ascent_finds_more_than_its_random_start() -> None:
    model, x = _toy()
    objective = Classification()
    clean = objective.outputs(model, (x,))
    found = [
        smoothness(model, objective, (x,), clean, (Domain(),), ball, torch.Generator().manual_seed(1)).mean()
        for ball in (Ball(0.1, steps=1, step=1e-9, random_start=True), Ball(0.1, steps=3, random_start=True))
    ]
    assert 0 < found[0] < found[1]


def test_divergence_both_ways_is_symmetric_and_zero_for_equal_outputs() -> None:
    generator = torch.Generator().manual_seed(0)
    lines = [(torch.randn(4, 2, 5, generator=generator), torch.randn(4, 2, generator=generator)) for _ in range(2)]
    classes = [(torch.randn(4, 3, generator=generator),) for _ in range(2)]
    for objective, (one, other) in ((Polylines(), lines), (Classification(), classes)):
        torch.testing.assert_close(both_ways(objective, one, other), both_ways(objective, other, one))
        torch.testing.assert_close(both_ways(objective, one, one), torch.zeros(4))
        assert (both_ways(objective, one, other) > 0).all()


def test_the_loss_is_the_formula() -> None:
    """Symmetric KL, climbed and penalised at the point found, and from the teacher, written out."""
    task = classes_task(16)
    network = lambda: nn.Sequential(nn.Flatten(), nn.Linear(64, 4))  # noqa: E731  # no BatchNorm: nothing hidden
    task = type(task)(network, task.objective, task.domains, task.train, task.selection, task.test)
    loop = Loop(task, [SMART(eps=0.1, weight=3.0, proximal=2.0, decay=0.5)], Settings(batch=16))
    (technique,) = loop.techniques
    loop.one_step()
    batch = loop._next_batch()
    outputs = loop.outputs(batch.inputs)
    state = loop.generator.get_state()
    loss = technique.loss(loop, batch, outputs, torch.tensor(10.0))

    def kl(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        return (a.softmax(-1) * (a.log_softmax(-1) - b.log_softmax(-1))).sum(-1)

    again = torch.Generator()
    again.set_state(state)
    clean = outputs[0]
    near = ascend(
        lambda x: kl(clean.detach(), loop.model(*x)) + kl(loop.model(*x), clean.detach()),
        batch.inputs,
        task.domains,
        Ball(0.1, random_start=True, signs=False),
        generator=again,
    )
    moved, slow = loop.model(*near), technique._teacher(*batch.inputs).detach()
    expected = 10 + 3 * (kl(clean, moved) + kl(moved, clean)).mean() + 2 * (kl(clean, slow) + kl(slow, clean)).mean()
    torch.testing.assert_close(loss, expected)
    own, theirs = (torch.autograd.grad(v, list(loop.model.parameters()), retain_graph=True) for v in (loss, expected))
    for one, other in zip(own, theirs, strict=True):
        torch.testing.assert_close(one, other)


def test_the_teacher_is_the_exponential_mean_of_the_weights() -> None:
    task = polylines_task(32)
    loop = Loop(task, [SMART(decay=0.8)], Settings(batch=16))
    (technique,) = loop.techniques
    loop.begin()
    mean = {k: v.clone() for k, v in loop.model.state_dict().items()}
    for _ in range(4):
        loop.one_step()
        for name, parameter in loop.model.named_parameters():
            mean[name] = 0.8 * mean[name] + 0.2 * parameter.detach()
    for name, parameter in technique._teacher.named_parameters():
        torch.testing.assert_close(parameter, mean[name])
        assert parameter.grad is None
    for own, current in zip(technique._teacher.buffers(), loop.model.buffers(), strict=True):
        assert torch.equal(own, current)


def test_a_teacher_equal_to_the_network_adds_nothing() -> None:
    """Also with BatchNorm: both normalise by the batch."""
    task = polylines_task(16)
    loop = Loop(task, [SMART(weight=0.0)], Settings(batch=16))
    (technique,) = loop.techniques
    loop.begin()
    batch = loop._next_batch()
    loss = technique.loss(loop, batch, loop.outputs(batch.inputs), torch.tensor(1.0))
    assert loss.item() == pytest.approx(1.0, abs=1e-6)


def test_running_statistics_describe_clean_pictures_only() -> None:
    task = polylines_task(16)
    loops = [Loop(task, t, Settings(batch=16)) for t in ([SMART(eps=0.3, steps=2)], [])]
    for loop in loops:
        loop.one_step()
    own, plain = loops
    for buffer, clean in zip(own.model.buffers(), plain.model.buffers(), strict=True):
        assert torch.equal(buffer, clean)


@pytest.mark.parametrize(
    ("options", "forward", "backward"),
    [
        ({"weight": 0.0, "proximal": 0.0}, 1, 1),
        ({"weight": 0.0}, 2, 1),
        ({"proximal": 0.0, "steps": 2}, 5, 4),
        ({}, 5, 3),
    ],
)
def test_what_is_left_out_costs_nothing(options: dict[str, float], forward: int, backward: int) -> None:
    """Clean pass; teacher; reference, ascent and the pass at the point found."""
    loop = Loop(polylines_task(16), [SMART(**options)], Settings(batch=16))
    loop.one_step()
    assert (loop.passes.forward, loop.passes.backward) == (forward, backward)


@pytest.mark.parametrize("make", [classes_task, polylines_task])
def test_a_resumed_run_equals_an_uninterrupted_one(make, tmp_path: Path) -> None:
    assert_resumes(make(48), SMART, tmp_path, stops=(1, 4), passes=56)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_it_trains_in_any_precision(precision: str) -> None:
    trained = run(classes_task(), [SMART(eps=0.02)], passes=240, precision=precision, rate=1e-2)
    assert trained.history[-1][1] < 0.9 * trained.history[0][1]


@pytest.mark.parametrize(
    "options", [{"eps": 0}, {"weight": -1}, {"proximal": "no"}, {"decay": 1.0}, {"steps": 0}, {"beta": 0.9}]
)
def test_wrong_options_are_one_clear_error(options: dict[str, object]) -> None:
    with pytest.raises(TechniqueOptionError) as caught:
        build("smart", **options)
    assert caught.value.where
    assert caught.value.remedy


def test_a_batch_without_labels_can_be_smoothed() -> None:
    model, x = _toy()
    objective = Classification()
    batch = Batch((x,))
    assert smoothness(
        model, objective, batch.inputs, objective.outputs(model, batch.inputs), (Domain(),), START
    ).shape == (5,)
