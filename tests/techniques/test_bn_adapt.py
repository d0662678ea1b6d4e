"""BatchNorm adapted: statistics in closed form, mixed as told, of the car's pictures; and what it asks for."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from pipelines import with_three
from small_tasks import classes_task, polylines_task
from stopped import assert_resumes, run, same
from torch import nn

from techniques.batchnorm import batchnorms
from techniques.bn_adapt import BatchNormAdaptation, adapt_batchnorm
from techniques.ema import EMA
from techniques.errors import EmptyData, TechniqueConflict, TechniqueOptionError
from techniques.objectives import Classification
from techniques.registry import build
from techniques.task import Task, TensorExamples
from techniques.training import Loop, Settings


def _network() -> nn.Module:
    torch.manual_seed(0)
    model = nn.Sequential(nn.BatchNorm1d(3), nn.Linear(3, 2))
    model(torch.randn(50, 3) * 2 + 1)
    return model


@pytest.mark.parametrize("prior", [0.0, 16.0, 1e9])
def test_statistics_are_mixed_as_many_to_many(prior: float) -> None:
    """The first layer's closed form: mean and unbiased variance of the inputs, n against N pictures."""
    model, x = _network(), torch.randn(64, 3) * 3 - 2
    old = model[0].running_mean.clone(), model[0].running_var.clone()
    assert adapt_batchnorm(model, Classification(), [(x,)], prior) == 64
    share = prior / (prior + 64)
    torch.testing.assert_close(model[0].running_mean, share * old[0] + (1 - share) * x.mean(0))
    torch.testing.assert_close(model[0].running_var, share * old[1] + (1 - share) * x.var(0))


def test_a_network_is_at_home_in_the_pipeline_it_was_adapted_to() -> None:
    """Pictures darker as a whole are answered as the bright ones were; no label is used, no weight moves."""
    task = with_three(polylines_task(96))
    plain = run(task, [], passes=200, rate=1e-2)
    adapted = run(task, [BatchNormAdaptation(variant=2)], passes=200, rate=1e-2)
    for name, parameter in plain.model.named_parameters():
        assert torch.equal(parameter, adapted.model.get_parameter(name))
    batch = task.train.batch(torch.arange(96), torch.Generator())
    with torch.no_grad():
        wanted = plain.model(*batch.inputs)[0]
        apart = [float((m(*batch.variants[2])[0] - wanted).abs().mean()) for m in (plain.model, adapted.model)]
    assert apart[1] < 0.2 * apart[0]
    report = adapted.reports["bn-adapt"]
    assert report["frames"] == 96
    assert report["shift_sigma"] > 0.3


def _with_unlabelled(task: Task) -> Task:
    pictures = task.train.examples.inputs
    return replace(task, unlabelled=TensorExamples((pictures[0] - 0.4, pictures[1])))


def test_unlabelled_pictures_serve_and_only_as_many_as_told() -> None:
    task = _with_unlabelled(polylines_task(48))
    trained = run(task, [BatchNormAdaptation(frames=20)], passes=40)
    assert trained.reports["bn-adapt"]["frames"] == 20
    assert trained.passes.total == 40
    other = Loop(task, [], Settings(batch=16))
    other.model.load_state_dict(trained.model.state_dict())
    inputs = [b.inputs for b in other.batches(task.unlabelled, 16, 20)]
    adapt_batchnorm(other.model, task.objective, inputs)
    assert same(other.model.state_dict(), trained.model.state_dict())


def test_frozen_layers_keep_theirs() -> None:
    model = _network()
    model[0].eval()
    model[1].train()
    before = model[0].running_mean.clone()
    with pytest.raises(EmptyData, match="no BatchNorm layer"):
        adapt_batchnorm(model, Classification(), [(torch.randn(8, 3),)])
    assert torch.equal(model[0].running_mean, before)


def test_after_an_average_it_adapts_the_average_and_before_one_it_is_refused() -> None:
    task = with_three(polylines_task(48))
    averaged = run(task, [EMA()], passes=40)
    both = run(task, [EMA(), BatchNormAdaptation(variant=0)], passes=40)
    for name, parameter in averaged.model.named_parameters():
        assert torch.equal(parameter, both.model.get_parameter(name))
    assert not torch.equal(batchnorms(averaged.model)[0].running_mean, batchnorms(both.model)[0].running_mean)
    with pytest.raises(TechniqueConflict, match="ema computes") as caught:
        run(task, [BatchNormAdaptation(variant=0), EMA()], passes=40)
    assert "last" in caught.value.remedy


def test_a_resumed_run_equals_an_uninterrupted_one(tmp_path: Path) -> None:
    task = _with_unlabelled(polylines_task(48))
    assert_resumes(task, BatchNormAdaptation, tmp_path, stops=(1, 4), passes=30)


def test_what_it_cannot_do_is_one_clear_error_before_any_training() -> None:
    with pytest.raises(TechniqueOptionError, match="no unlabelled pictures"):
        run(polylines_task(16), [BatchNormAdaptation()])
    with pytest.raises(TechniqueOptionError, match="the task has 1 variants"):
        run(polylines_task(16), [BatchNormAdaptation(variant=1)])
    plain = replace(classes_task(16), network=lambda: nn.Sequential(nn.Flatten(), nn.Linear(64, 2)))
    with pytest.raises(TechniqueOptionError, match="no BatchNorm"):
        run(plain, [BatchNormAdaptation(variant=0)])
    for options in ({"frames": 1}, {"prior": -1}, {"variant": -2}, {"momentum": 0.1}):
        with pytest.raises(TechniqueOptionError):
            build("bn-adapt", **options)
