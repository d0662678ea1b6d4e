from __future__ import annotations

import copy
from dataclasses import dataclass

import pytest
import torch
from small_tasks import LinesNetwork
from torch import nn

from techniques.objectives import Classification, Polylines
from techniques.passes import Counted, Passes


def counted() -> tuple[Passes, Counted, nn.Module, torch.Tensor]:
    passes = Passes()
    return passes, Counted(Classification(), passes), nn.Linear(3, 2), torch.rand(4, 3)


def test_a_forward_and_a_backward_pass_are_two() -> None:
    passes, objective, model, x = counted()
    objective.outputs(model, (x,))[0].sum().backward()
    assert (passes.forward, passes.backward, passes.total) == (1, 1, 2)


def test_several_outputs_are_one_pass_each_way() -> None:
    passes = Passes()
    outputs = Counted(Polylines(), passes).outputs(LinesNetwork(), (torch.rand(2, 3, 8, 12), torch.rand(2, 2)))
    (outputs[0].sum() + outputs[1].sum()).backward()
    assert (passes.forward, passes.backward) == (1, 1)


def test_every_backward_pass_through_one_graph_counts() -> None:
    passes, objective, model, x = counted()
    outputs = objective.outputs(model, (x,))[0]
    for _ in range(3):
        torch.autograd.grad(outputs.sum(), model.weight, retain_graph=True)
    assert (passes.forward, passes.backward) == (1, 3)


def test_two_forward_passes_in_one_loss_are_two_backward_passes() -> None:
    passes, objective, model, x = counted()
    (objective.outputs(model, (x,))[0].sum() + objective.outputs(model, (2 * x,))[0].sum()).backward()
    assert (passes.forward, passes.backward) == (2, 2)


def test_a_pass_without_a_graph_or_detached_has_no_backward() -> None:
    passes, objective, model, x = counted()
    with torch.no_grad():
        objective.outputs(model, (x,))
    teacher = objective.outputs(model, (x,))[0].detach()
    (objective.outputs(model, (x,))[0] - teacher).sum().backward()
    assert (passes.forward, passes.backward) == (3, 1)


def test_a_gradient_of_the_input_alone_is_a_backward_pass() -> None:
    passes, objective, model, x = counted()
    model.requires_grad_(False)
    x.requires_grad_()
    torch.autograd.grad(objective.outputs(model, (x,))[0].sum(), x)
    assert passes.backward == 1


def test_nothing_counts_within_uncounted_even_nested_or_after_an_error() -> None:
    passes, objective, model, x = counted()

    def evaluate() -> None:
        with passes.uncounted():
            with passes.uncounted():
                objective.outputs(model, (x,))[0].sum().backward()
            objective.outputs(model, (x,))
            raise KeyError

    with pytest.raises(KeyError):
        evaluate()
    assert passes.total == 0
    objective.outputs(model, (x,))
    assert passes.total == 1


def test_a_counted_objective_gives_what_the_objective_gives() -> None:
    _, objective, model, x = counted()
    y = torch.tensor([0, 1, 1, 0])
    outputs, plain = objective.outputs(model, (x,)), Classification()
    assert torch.equal(objective.loss(outputs, (y,)), plain.loss(outputs, (y,)))
    assert torch.equal(objective.error(outputs, (y,)), plain.error(outputs, (y,)))


def test_a_counted_objective_has_the_objectives_own_attributes() -> None:
    @dataclass(frozen=True)
    class Weighted(Classification):
        station_m: float = 40.0

        def near(self, value: float) -> bool:
            return value < self.station_m

    objective = copy.deepcopy(Counted(Weighted(smoothing=0.1), Passes()))
    assert (objective.station_m, objective.smoothing, objective.near(39.0)) == (40.0, 0.1, True)
    assert objective.judged((torch.zeros(2, 3), torch.zeros(2)))[0].shape == (2, 3)
    with pytest.raises(AttributeError, match="'Weighted' object has no attribute 'far'"):
        objective.far  # noqa: B018  # the access is what is tested
