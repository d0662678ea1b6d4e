from __future__ import annotations

import math

import pytest
import torch
from small_tasks import LinesNetwork, polylines_task
from stopped import run, same
from torch import nn

from techniques.batchnorm import recompute_batchnorm
from techniques.bn_drift import bn_drift, bn_statistics
from techniques.errors import EmptyData, ModelMismatch, NonFiniteLoss
from techniques.objectives import Classification, Polylines


def stack(mean: float = 0.0, variance: float = 1.0) -> nn.Sequential:
    """Two BatchNorm layers of two channels, the second behind a doubling."""
    model = nn.Sequential(nn.BatchNorm1d(2), nn.Linear(2, 2, bias=False), nn.BatchNorm1d(2))
    with torch.no_grad():
        model[1].weight.copy_(2 * torch.eye(2))
    model[0].running_mean.fill_(mean)
    model[0].running_var.fill_(variance)
    return model


def values(count: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(count, 2, generator=torch.Generator().manual_seed(seed)) * torch.tensor([1.0, 3.0]) + 5


def test_statistics_are_those_of_all_inputs_whatever_the_batches() -> None:
    x = values(50)
    whole = bn_statistics(stack(), Classification(), [(x,)])
    parts = bn_statistics(stack(), Classification(), [(part,) for part in x.split(7)])
    for found in (whole["0"], parts["0"]):
        torch.testing.assert_close(found.mean, x.double().mean(0))
        torch.testing.assert_close(found.variance, x.double().var(0))
        assert found.count == 50


def test_pictures_are_pooled_over_their_pixels() -> None:
    x = torch.rand(4, 3, 5, 6, generator=torch.Generator().manual_seed(0))
    found = bn_statistics(nn.Sequential(nn.BatchNorm2d(3)), Classification(), [(p,) for p in x.split(3)])["0"]
    torch.testing.assert_close(found.mean, x.double().mean((0, 2, 3)))
    torch.testing.assert_close(found.variance, x.double().transpose(0, 1).flatten(1).var(1))


def test_shift_is_in_sigmas_of_the_layer_with_its_sign() -> None:
    model, x = stack(mean=9.0, variance=4.0), values(400)
    row = bn_drift(model, Classification(), [(x,)])[0]
    expected = (x.double().mean(0) - 9) / math.sqrt(4 + model[0].eps)
    torch.testing.assert_close(row.shift_sigma, expected)
    torch.testing.assert_close(row.variance_ratio, (x.double().var(0) + 1e-5) / (4 + 1e-5))
    assert (expected < 0).all()
    assert row.shift_max == float(expected.abs().max())
    assert row.worst_channel == int(expected.abs().argmax())
    assert row.shift_rms == pytest.approx(float(expected.square().mean().sqrt()))
    assert (row.ratio_low, row.ratio_high) == (float(row.variance_ratio.min()), float(row.variance_ratio.max()))


def test_the_layer_behind_drifts_as_the_driving_network_makes_it() -> None:
    # in evaluation mode the first layer passes its shift on: mean 5 -> 2 * 5, not 0 as with batch statistics
    rows = bn_drift(stack(), Classification(), [(values(4000),)])
    assert rows[1].layer == "2"
    assert rows[1].shift_sigma.tolist() == pytest.approx([10, 10], abs=0.3)


def test_the_very_inputs_that_filled_the_statistics_show_no_drift_in_the_first_layer() -> None:
    model, x = LinesNetwork().train(), (torch.rand(16, 3, 8, 12), torch.rand(16, 2))
    recompute_batchnorm(model, Polylines(), [x])
    row = bn_drift(model, Polylines(), [x])[0]
    assert row.shift_max < 1e-5
    assert row.ratio_low == pytest.approx(1, abs=1e-4)
    assert row.ratio_high == pytest.approx(1, abs=1e-4)


def test_against_the_training_pipeline_only_the_pipelines_difference_remains() -> None:
    task = polylines_task(64)
    model = run(task, []).model
    batch = task.test.batch(torch.arange(64), torch.Generator())
    reference = bn_statistics(model, task.objective, [batch.inputs])
    assert bn_drift(model, task.objective, [batch.inputs], reference=reference)[0].shift_max == 0
    darker = bn_drift(model, task.objective, [batch.variants[0]], reference=reference)[0]
    moved = model.body[0](batch.variants[0][0]) - model.body[0](batch.inputs[0])
    expected = moved.double().mean((0, 2, 3)) / (model.body[1].running_var.double() + model.body[1].eps).sqrt()
    torch.testing.assert_close(darker.shift_sigma, expected.detach(), rtol=1e-4, atol=1e-5)
    assert darker.shift_max > 0.01


def test_measuring_changes_nothing() -> None:
    model = stack().train()
    before = {k: v.clone() for k, v in model.state_dict().items()}
    bn_drift(model, Classification(), [(values(9),)])
    assert same(before, model.state_dict())
    assert all(m.training for m in model.modules())
    assert not any(m._forward_pre_hooks for m in model.modules())


def test_a_network_without_batchnorm_has_no_drift_to_report() -> None:
    assert bn_drift(nn.Sequential(nn.Linear(2, 2)), Classification(), [(values(3),)]) == []


def test_bad_input_is_one_clear_error() -> None:
    with pytest.raises(EmptyData, match=r"no input reached \['0', '2'\]"):
        bn_drift(stack(), Classification(), [])
    with pytest.raises(ModelMismatch, match="does not know layer 0"):
        bn_drift(stack(), Classification(), [(values(3),)], reference={})
    with pytest.raises(NonFiniteLoss, match="not finite"):
        bn_drift(stack(), Classification(), [(torch.full((2, 2), math.inf),)])
