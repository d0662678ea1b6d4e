from __future__ import annotations

import math

import pytest
import torch
from small_tasks import LinesNetwork, polylines_task
from stopped import run, same
from torch import Tensor, nn

from techniques.errors import EmptyData
from techniques.headroom import LayerHeadroom, headroom, tightest
from techniques.objectives import Classification, Polylines


class Branches(nn.Module):
    """A sum of two branches that no module computes, fed to a leaf."""

    def __init__(self) -> None:
        super().__init__()
        self.twice, self.relu, self.never = nn.Linear(1, 1, bias=False), nn.ReLU(), nn.Linear(1, 1)
        nn.init.constant_(self.twice.weight, -2.0)

    def forward(self, x: Tensor) -> Tensor:
        return self.relu(x + self.twice(x))


def by_name(rows: list[LayerHeadroom]) -> dict[str, LayerHeadroom]:
    return {row.layer: row for row in rows}


def test_greatest_values_are_over_all_batches_and_by_magnitude() -> None:
    rows = by_name(headroom(Branches(), Classification(), [(torch.tensor([[v]]),) for v in (1.0, -7.0, 3.0)]))
    assert rows["twice"].activation == 14
    assert rows["twice"].weight == 2
    assert rows["twice"].kind == "Linear"


def test_sums_of_branches_count_where_they_enter_a_leaf() -> None:
    rows = by_name(headroom(Branches(), Classification(), [(torch.tensor([[5.0]]),)]))
    assert rows["relu"].activation == 5  # x - 2x = -5 goes in, 0 comes out


def test_factors_are_the_limits_over_the_greatest_magnitude() -> None:
    row = LayerHeadroom("a", "Conv2d", activation=131008.0, weight=4.0)
    assert row.headroom_fp16 == 0.5
    assert row.headroom_autocast == pytest.approx(512 / 131008)
    assert LayerHeadroom("a", "Conv2d", activation=1.0, weight=65504.0).headroom_fp16 == 1
    assert LayerHeadroom("a", "Conv2d", activation=1.0, weight=65504.0).headroom_autocast == 512


def test_a_factor_below_one_is_infinite_in_fp16_and_one_above_is_not() -> None:
    for value in (65504.0, 65536.0):
        (row,) = headroom(nn.Sequential(nn.ReLU()), Classification(), [(torch.tensor([[value]]),)])
        assert (row.headroom_fp16 < 1) == torch.tensor(row.activation).half().isinf().item()


def test_what_is_not_finite_leaves_no_room() -> None:
    for value in (math.inf, math.nan):
        rows = headroom(nn.Sequential(nn.ReLU()), Classification(), [(torch.tensor([[value], [1.0]]),)])
        assert rows[0].activation == math.inf
        assert rows[0].headroom_fp16 == 0


def test_layers_that_no_batch_reached_say_so() -> None:
    row = by_name(headroom(Branches(), Classification(), [(torch.zeros(1, 1),)]))["never"]
    assert math.isnan(row.activation)
    assert math.isnan(row.headroom_autocast)
    assert row.headroom_fp16 > 1


def test_every_leaf_of_several_inputs_is_listed_and_the_greatest_output_is_found() -> None:
    torch.manual_seed(0)
    model, inputs = LinesNetwork().train(), (torch.rand(4, 3, 8, 12), torch.randn(4, 2) * 50)
    before = {k: v.clone() for k, v in model.state_dict().items()}
    rows = by_name(headroom(model, Polylines(), [inputs]))
    assert list(rows) == ["body.0", "body.1", "body.2", "head"]
    outputs = model.eval()(*inputs)
    greatest = max(float(o.detach().abs().max()) for o in (*outputs, inputs[1]))
    assert rows["head"].activation == pytest.approx(greatest)
    assert rows["body.1"].weight == 1
    assert same(before, model.state_dict())


def test_measuring_leaves_mode_and_hooks_as_they_were() -> None:
    model = Branches().train()
    headroom(model, Classification(), [(torch.zeros(1, 1),)])
    assert all(m.training for m in model.modules())
    assert not any(m._forward_hooks for m in model.modules())


def test_the_tightest_layer_of_a_trained_network_is_the_one_that_overflows_first() -> None:
    task = polylines_task(64)
    model = run(task, []).model
    with torch.no_grad():
        model.body[0].weight.mul_(1e6)
    batch = task.test.batch(torch.arange(16), torch.Generator())
    rows = headroom(model, task.objective, [batch.inputs])
    assert tightest(rows).headroom_fp16 < 1
    assert tightest(rows).headroom_fp16 == min(row.headroom_fp16 for row in rows)


def test_zeros_have_all_the_room_there_is() -> None:
    (row,) = headroom(nn.Sequential(nn.ReLU()), Classification(), [(torch.zeros(1, 1),)])
    assert row.headroom_fp16 == math.inf


def test_bad_input_is_one_clear_error() -> None:
    with pytest.raises(EmptyData, match="no batch"):
        headroom(Branches(), Classification(), [])
    with pytest.raises(EmptyData, match="no layer"):
        tightest([])
