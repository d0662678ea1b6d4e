"""Distilling several networks: their mean in closed form, the loss written out, what it costs and asks for."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from small_tasks import classes_task, masks_task, numbers_task, polylines_task
from stopped import assert_resumes, run, same

from techniques.distil import Distil, ensemble_outputs
from techniques.errors import CheckpointError, ModelMismatch, TaskError, TechniqueOptionError
from techniques.registry import build
from techniques.task import Task
from techniques.training import Loop, Settings

TASK = polylines_task(48)


@pytest.fixture(scope="module")
def teachers(tmp_path_factory) -> tuple[str, ...]:
    """Files of two trained networks."""
    folder = tmp_path_factory.mktemp("teachers")
    for seed in (1, 2):
        save_file(run(TASK, [], passes=60, seed=seed, rate=1e-2).model.state_dict(), folder / f"{seed}.safetensors")
    return tuple(str(folder / f"{seed}.safetensors") for seed in (1, 2))


def _networks(teachers: tuple[str, ...], task: Task = TASK) -> list[torch.nn.Module]:
    found = []
    for path in teachers:
        found.append(task.network().eval())
        found[-1].load_state_dict(load_file(path))
    return found


@pytest.mark.parametrize("make", [classes_task, numbers_task, polylines_task, masks_task])
def test_together_is_the_mean_of_numbers_and_of_probabilities(make) -> None:
    task = make(8)
    networks = [task.network().eval() for _ in range(3)]
    inputs = task.test.batch(torch.arange(8), torch.Generator()).inputs
    each = [task.objective.outputs(n, inputs) for n in networks]
    found = ensemble_outputs(networks, task.objective, inputs)
    assert [f.shape for f in found] == [e.shape for e in each[0]]
    for number, part in enumerate(found):
        values = torch.stack([e[number] for e in each]).detach()
        if make is polylines_task and number == 1:
            torch.testing.assert_close(part.sigmoid(), values.sigmoid().mean(0))
        elif make in (classes_task, masks_task):
            torch.testing.assert_close(part.softmax(1), values.softmax(2).mean(0))
        else:
            torch.testing.assert_close(part, values.mean(0))


def test_one_network_says_what_it_says_alone() -> None:
    outputs = torch.tensor([[1.0, -2.0]]), torch.tensor([[0.3]])
    together = TASK.objective.together([outputs])
    for one, other in zip(together, outputs, strict=True):
        torch.testing.assert_close(one, other)


def test_the_loss_is_the_formula_written_out(teachers) -> None:
    loop = Loop(TASK, [Distil(teachers, weight=3.0, labels=0.25, share=1.0)], Settings(batch=16))
    loop.begin()
    (distil,) = loop.techniques
    batch = loop._next_batch()
    moved = distil.before_step(loop, batch)
    assert torch.equal(moved.inputs[0], batch.variants[0][0])  # the student sees the variant
    outputs = loop.outputs(moved.inputs)
    found = distil.loss(loop, moved, outputs, torch.tensor(8.0))
    target = TASK.objective.together([n(*batch.inputs) for n in _networks(teachers)])  # the teachers the picture
    expected = 0.25 * 8 + 3 * TASK.objective.divergence(outputs, tuple(t.detach() for t in target)).mean()
    torch.testing.assert_close(found, expected)


def test_a_teacher_costs_one_pass_and_draws_nothing(teachers) -> None:
    one, two = (Loop(TASK, [Distil(teachers[:n], share=0)], Settings(batch=16)) for n in (1, 2))
    plain = Loop(TASK, [], Settings(batch=16))
    for loop in (one, two, plain):
        loop.begin()
    assert torch.equal(one._next_batch().inputs[0], plain._next_batch().inputs[0])
    assert same(two.model.state_dict(), plain.model.state_dict())
    one.one_step()
    two.one_step()
    assert (one.passes.forward, one.passes.backward) == (2, 1)
    assert (two.passes.forward, two.passes.backward) == (3, 1)


def test_without_labels_the_student_comes_near_its_teachers_in_every_pipeline(teachers) -> None:
    batch = TASK.test.batch(torch.arange(48), torch.Generator())
    target = ensemble_outputs(_networks(teachers), TASK.objective, batch.inputs)
    apart = []
    for passes in (4, 800):
        technique = Distil(teachers, labels=0.0, weight=10.0)
        model = run(TASK, [technique], passes=passes, rate=2e-2, seed=5).model
        with torch.no_grad():
            each = [TASK.objective.divergence(model(*x), target).mean() for x in (batch.inputs, *batch.variants)]
        apart.append(float(torch.stack(each).mean()))
    assert apart[1] < 0.2 * apart[0]


def test_the_content_of_the_teachers_belongs_to_the_run_not_their_place(teachers, tmp_path: Path) -> None:
    first = Loop(TASK, [Distil(teachers)], Settings(budget_passes=40, batch=16), tmp_path / "run")
    first.one_step()
    first.save()
    moved = tmp_path / "moved.safetensors"
    moved.write_bytes(Path(teachers[0]).read_bytes())
    elsewhere = (str(moved), teachers[1])
    Loop(TASK, [Distil(elsewhere)], Settings(budget_passes=40, batch=16), tmp_path / "run").begin()
    with pytest.raises(CheckpointError):
        Loop(TASK, [Distil(teachers[::-1])], Settings(budget_passes=40, batch=16), tmp_path / "run").begin()


def test_a_resumed_run_equals_an_uninterrupted_one(teachers, tmp_path: Path) -> None:
    assert_resumes(TASK, lambda: Distil(teachers), tmp_path, stops=(1, 4), passes=40)


def test_it_trains_in_bf16(teachers) -> None:
    assert run(TASK, [Distil(teachers)], passes=20, precision="bf16").steps == 5


def test_what_it_cannot_do_is_one_clear_error(teachers, tmp_path: Path) -> None:
    with pytest.raises(TechniqueOptionError, match="nobody to learn from"):
        run(TASK, [Distil()])
    with pytest.raises(TaskError, match="cannot read weights") as caught:
        run(TASK, [Distil((str(tmp_path / "nowhere.safetensors"),))])
    assert "[technique.distil] teachers" in caught.value.where
    with pytest.raises(ModelMismatch, match="another network"):
        run(classes_task(16), [Distil(teachers, share=0)])
    with pytest.raises(TaskError, match="distil needs examples"):
        run(numbers_task(16), [Distil(teachers)])
    for options in ({"weight": 0}, {"labels": -1}, {"share": 2}, {"temperature": 3}):
        with pytest.raises(TechniqueOptionError):
            build("distil", **options)
    assert build("distil", teachers="one.safetensors").teachers == ("one.safetensors",)
