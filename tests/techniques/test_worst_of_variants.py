"""MaxUp over pipelines: the worst version by brute force, rows whole, cost, and what it asks for."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from pipelines import with_three
from small_tasks import classes_task, polylines_task
from stopped import assert_resumes, run, same
from torch import nn

from techniques.errors import TaskError, TechniqueOptionError
from techniques.objectives import Classification
from techniques.registry import build
from techniques.training import Loop, Settings
from techniques.worst_of_variants import WorstOfVariants, worst_version


def test_the_worst_is_that_of_brute_force_and_the_network_stays_as_it_was() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.Dropout(0.5), nn.Linear(8, 3)).train()
    model(torch.randn(64, 6))
    versions, y = [(torch.randn(20, 6),) for _ in range(4)], torch.randint(3, (20,))
    before = {k: v.clone() for k, v in model.state_dict().items()}
    found = worst_version(model, Classification(), (y,), versions)
    assert same(model.state_dict(), before)
    assert all(m.training for m in model.modules())
    model.eval()
    for i in range(20):
        losses = [nn.functional.cross_entropy(model(x[i : i + 1]), y[i : i + 1]).item() for (x,) in versions]
        assert losses[found[i]] == pytest.approx(max(losses))
    assert len(set(found.tolist())) > 1
    equal = worst_version(model, Classification(), (y,), [versions[0], versions[0]])
    assert not equal.any()  # of equal ones the picture itself


def test_the_step_is_a_plain_one_on_the_worst_rows() -> None:
    task = with_three(polylines_task(16))
    loop, plain = (Loop(task, t, Settings(batch=16)) for t in ([WorstOfVariants()], []))
    loop.begin()
    plain.begin()
    batch = plain._next_batch()
    versions = [batch.inputs, *batch.variants]
    which = worst_version(plain.model, task.objective, batch.targets, versions)
    rows = [tuple(x[i] for x in versions[k]) for i, k in enumerate(which.tolist())]
    worst = batch.with_inputs(tuple(torch.stack(parts) for parts in zip(*rows, strict=True)))
    plain.optimiser.zero_grad()
    loss = plain._gradient()(worst)
    assert loop.one_step() == float(loss)


@pytest.mark.parametrize(("others", "passes"), [(0, 6), (1, 4), (3, 6)])
def test_every_version_costs_one_pass(others: int, passes: int) -> None:
    loop = Loop(with_three(polylines_task(16)), [WorstOfVariants(others=others)], Settings(batch=16))
    loop.one_step()
    assert loop.passes.total == passes


def test_at_equal_steps_the_worst_versions_are_answered_better() -> None:
    task = with_three(polylines_task(96))
    batch = task.train.batch(torch.arange(96), torch.Generator())
    losses = []
    for techniques, passes in (([], 300), ([WorstOfVariants()], 900)):
        model = run(task, techniques, passes=passes, rate=1e-2, seed=2).model
        with torch.no_grad():
            versions = (batch.inputs, *batch.variants)
            each = [task.objective.loss(task.objective.outputs(model, x), batch.targets) for x in versions]
        losses.append(float(torch.stack(each).amax(0).mean()))
    assert losses[1] < 0.8 * losses[0]


def test_a_resumed_run_equals_an_uninterrupted_one(tmp_path: Path) -> None:
    assert_resumes(with_three(polylines_task(48)), lambda: WorstOfVariants(others=2), tmp_path, (1, 4), passes=50)


def test_it_trains_in_bf16() -> None:
    assert run(polylines_task(32), [WorstOfVariants()], passes=20, precision="bf16").steps == 5


def test_what_it_cannot_do_is_one_clear_error() -> None:
    with pytest.raises(TaskError, match="worst-of-variants needs examples"):
        run(classes_task(32), [WorstOfVariants()])
    with pytest.raises(TaskError):
        run(replace(polylines_task(16), train=polylines_task(16).train.examples), [WorstOfVariants()])
    for options in ({"others": -1}, {"others": 0.5}, {"others": True}):
        with pytest.raises(TechniqueOptionError):
            build("worst-of-variants", **options)
