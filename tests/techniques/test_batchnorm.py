from __future__ import annotations

import pytest
import torch
from small_tasks import LinesNetwork, classes_task
from torch import nn

from techniques.batchnorm import batchnorms, evaluating, recompute_batchnorm, statistics_frozen, statistics_kept
from techniques.errors import EmptyData
from techniques.objectives import Classification, Polylines
from techniques.training import Loop, Settings


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3), nn.Dropout(0.5), nn.Flatten(), nn.Linear(3 * 36, 2))


def pictures(count: int, seed: int = 1) -> torch.Tensor:
    return torch.rand(count, 1, 8, 8, generator=torch.Generator().manual_seed(seed))


def test_recomputed_statistics_are_those_of_all_examples() -> None:
    model, x = network(), pictures(40)
    assert recompute_batchnorm(model, Classification(), [(part,) for part in x.split(16)]) == 3
    features = model[0](x)
    torch.testing.assert_close(model[1].running_mean, features.mean((0, 2, 3)))
    of_parts = torch.stack([len(p) / 40 * model[0](p).var((0, 2, 3)) for p in x.split(16)]).sum(0)
    torch.testing.assert_close(model[1].running_var, of_parts)


def test_recomputing_takes_every_input_of_a_network() -> None:
    model = LinesNetwork()
    recompute_batchnorm(model, Polylines(), [(torch.rand(4, 3, 8, 12), torch.rand(4, 2))])
    assert model.body[1].num_batches_tracked == 1


def test_frozen_layers_keep_their_statistics_unless_the_whole_network_evaluates() -> None:
    model = nn.Sequential(nn.BatchNorm2d(1), nn.BatchNorm2d(1)).train()
    model[0].eval()
    recompute_batchnorm(model, Classification(), [(pictures(8),)])
    assert float(model[0].running_mean) == 0
    assert float(model[1].running_mean) != 0
    recompute_batchnorm(model.eval(), Classification(), [(pictures(8),)])
    assert float(model[0].running_mean) == pytest.approx(float(pictures(8).mean()))


def test_recomputing_leaves_modes_momenta_and_gradients_as_they_were() -> None:
    model = network().train()
    model[2].eval()
    model[1].momentum = 0.3
    recompute_batchnorm(model, Classification(), [(pictures(8),)])
    assert [m.training for m in model] == [True, True, False, True, True]
    assert model[1].momentum == 0.3
    assert all(p.grad is None for p in model.parameters())


def test_dropout_does_not_disturb_the_statistics_of_what_comes_after() -> None:
    model = nn.Sequential(nn.Dropout(0.5), nn.BatchNorm2d(1)).train()
    recompute_batchnorm(model, Classification(), [(pictures(8),)])
    torch.testing.assert_close(model[1].running_mean, pictures(8).mean().view(1))


def test_a_last_batch_of_one_is_left_out() -> None:
    model, x = nn.Sequential(nn.BatchNorm1d(3)), torch.rand(5, 3)
    assert recompute_batchnorm(model, Classification(), [(x[:4],), (x[4:],)]) == 1
    torch.testing.assert_close(model[0].running_mean, x[:4].mean(0))


def test_no_batch_is_one_clear_error_and_changes_nothing() -> None:
    model = network()
    model[1].running_mean.fill_(7)
    with pytest.raises(EmptyData, match="at least one batch"):
        recompute_batchnorm(model, Classification(), [])
    assert (model[1].running_mean == 7).all()


def test_a_network_without_batchnorm_needs_no_batches() -> None:
    assert recompute_batchnorm(nn.Linear(2, 2), Classification(), []) == 0
    assert not batchnorms(nn.Sequential(nn.BatchNorm2d(2, track_running_stats=False)))


def test_frozen_statistics_are_used_and_not_changed() -> None:
    model, x = network().train(), pictures(8)
    expected = model[1].eval()(model[0](x)).detach()
    model[1].train()
    with statistics_frozen(model):
        assert torch.equal(model[1](model[0](x)), expected)
        assert model[2].training
    assert model[1].training
    assert model[1].num_batches_tracked == 0


def test_kept_statistics_come_back_and_the_backward_pass_still_runs() -> None:
    model, x = network().train(), pictures(8)
    with statistics_kept(model):
        loss = model(x).sum()
        assert model[1].num_batches_tracked == 1
    loss.backward()
    assert model[1].num_batches_tracked == 0
    assert torch.equal(model[1].running_mean, torch.zeros(3))
    assert float(model[0].weight.grad.abs().sum()) > 0


def test_evaluating_puts_every_mode_back_even_after_an_error() -> None:
    model = network().train()
    model[1].eval()

    def fail() -> None:
        with evaluating(model):
            assert not any(m.training for m in model.modules())
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert [m.training for m in model] == [True, False, True, True, True]


def test_a_run_takes_its_statistics_from_all_over_the_training_set() -> None:
    task = classes_task(256)
    task.train.inputs[0][:128] += 1  # sorted data: the first examples do not speak for all
    loop = Loop(task, [], Settings(budget_passes=2, batch=16))
    loop.recompute_batchnorm(loop.model, batches=8)
    with torch.no_grad():
        mean = loop.model[0](task.train.inputs[0]).mean((0, 2, 3))
    assert (loop.model[1].running_mean - mean).abs().max() < 0.05
    assert loop.passes.total == 0
