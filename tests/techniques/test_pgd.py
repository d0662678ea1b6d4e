"""PGD: stronger than one step, trains on attacked inputs alone, restarts and starts that repeat."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from small_tasks import classes_task, polylines_task
from stopped import assert_resumes, run

from techniques.ball import Ball
from techniques.batchnorm import evaluating
from techniques.errors import TechniqueOptionError
from techniques.fgsm import FGSM, fgsm
from techniques.pgd import PGD, pgd
from techniques.registry import build
from techniques.training import Loop, Settings


@pytest.mark.parametrize("make", [classes_task, polylines_task])
def test_several_steps_find_a_larger_loss_than_one(make) -> None:
    task = make(64)
    model = run(task, [], passes=120, rate=1e-2).model
    batch = task.train.batch(torch.arange(64), torch.Generator())
    eps, objective = 0.15, task.objective
    with evaluating(model):
        several = pgd(model, objective, batch, task.domains, Ball(eps, steps=10))
        one = fgsm(model, objective, batch, task.domains, eps)
        losses = [
            objective.loss(objective.outputs(model, x), batch.targets).mean() for x in (batch.inputs, one, several)
        ]
    assert losses[0] < losses[1] <= losses[2] + 1e-6


def test_it_trains_on_attacked_inputs_alone() -> None:
    """The gradient is that of the attacked loss, with BatchNorm normalising the attacked batch."""
    task = polylines_task(16)
    loops = [Loop(task, [PGD(eps=0.1)], Settings(batch=16, clip=0)) for _ in range(2)]
    for loop in loops:
        loop.begin()
    own, other = loops
    batch = own._next_batch()
    hostile = batch.with_inputs(
        pgd(own.model, task.objective, batch, task.domains, PGD(eps=0.1).ball(), generator=own.generator)
    )
    loss = task.objective.loss(task.objective.outputs(own.model, hostile.inputs), hostile.targets).mean()
    gradients = torch.autograd.grad(loss, list(own.model.parameters()))
    other._gradient()(other._next_batch())
    for parameter, gradient in zip(other.model.parameters(), gradients, strict=True):
        torch.testing.assert_close(parameter.grad, gradient, rtol=1e-4, atol=1e-6)


def test_passes_are_counted() -> None:
    """K attack steps and the training step, both ways; one clean pass for BatchNorm; restarts with a look each."""
    one = run(polylines_task(16), [PGD(steps=3)], passes=9)
    assert (one.steps, one.passes.forward, one.passes.backward) == (1, 5, 4)
    two = run(polylines_task(16), [PGD(steps=3, restarts=2)], passes=17)
    assert (two.steps, two.passes.forward, two.passes.backward) == (1, 10, 7)


def test_it_lowers_the_attacked_loss_further_than_plain_training_does() -> None:
    task = classes_task(128)
    batch = task.train.batch(torch.arange(128), torch.Generator())

    def attacked_loss(techniques: list[PGD]) -> float:
        model = run(task, techniques, passes=240, rate=1e-2).model
        found = pgd(model, task.objective, batch, task.domains, Ball(0.05, steps=10))
        return task.objective.loss(task.objective.outputs(model, found), batch.targets).mean().item()

    assert attacked_loss([PGD(eps=0.05, steps=3)]) < 0.8 * attacked_loss([])


@pytest.mark.parametrize("make", [classes_task, polylines_task])
def test_a_resumed_run_equals_an_uninterrupted_one(make, tmp_path: Path) -> None:
    assert_resumes(make(48), lambda: PGD(steps=2, restarts=2), tmp_path, stops=(1, 4), passes=66)


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_it_trains_under_autocast_and_in_both_norms(norm: str) -> None:
    trained = run(classes_task(64), [PGD(eps=0.05, norm=norm, steps=2)], passes=56, precision="bf16")
    assert trained.steps == 8


@pytest.mark.parametrize(
    "options",
    [
        {"eps": 0},
        {"steps": 0},
        {"step": -1},
        {"norm": "l1"},
        {"restarts": 0},
        {"restarts": 2, "random_start": False},
        {"clean_share": 1},
        {"k": 3},
    ],
)
def test_wrong_options_are_one_clear_error(options: dict[str, object]) -> None:
    with pytest.raises(TechniqueOptionError) as caught:
        build("pgd", **options)
    assert caught.value.where
    assert caught.value.remedy


def test_two_attacks_in_one_run_are_refused() -> None:
    assert PGD.role == FGSM.role == "attack"
