"""YOPO: exact where the rest of the network is linear, the first layer found or asked for, whole passes counted."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from small_tasks import classes_task, polylines_task
from stopped import assert_resumes, run
from torch import Tensor, nn

from techniques.attack import ascend
from techniques.ball import Ball
from techniques.errors import ModelMismatch, TechniqueOptionError
from techniques.registry import build
from techniques.task import Batch, Domain, Task
from techniques.training import Loop, Settings
from techniques.yopo import YOPO, first_layers, yopo_gradient


class _FirstThenLinear(nn.Module):
    """A first layer that is anything but linear, and a linear rest: the co-state is the same everywhere."""

    def __init__(self) -> None:
        super().__init__()
        self.first = _Sine()
        self.rest = nn.Linear(6, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.rest(self.first(x))


class _Sine(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(5, 6))

    def forward(self, x: Tensor) -> Tensor:
        return torch.sin(3 * x @ self.weight)


def _gradient_of(model: nn.Module, seen: list[Tensor]):
    def gradient(batch: Batch) -> Tensor:
        seen.append(batch.inputs[0].detach().clone())
        loss = model(*batch.inputs).mean()
        loss.backward()
        return loss.detach()

    return gradient


def test_with_a_linear_rest_first_layer_steps_are_steps_of_the_whole_network() -> None:
    torch.manual_seed(0)
    model, domain, seen = _FirstThenLinear(), Domain(-1, 1), []
    x, ball = torch.rand(4, 5), Ball(0.3, steps=3, step=0.04, random_start=True)
    yopo_gradient(
        _gradient_of(model, seen),
        list(model.parameters()),
        Batch((x,)),
        (domain,),
        ball,
        first_layers(model),
        3,
        torch.Generator().manual_seed(7),
    )
    for number, steps in ((1, 3), (2, 6)):
        whole = Ball(0.3, steps=steps, step=0.04, random_start=True)
        expected = ascend(
            lambda t: model(t[0])[:, 0], (x,), (domain,), whole, generator=torch.Generator().manual_seed(7)
        )[0]
        torch.testing.assert_close(seen[number], expected)


def test_parameters_get_the_mean_gradient_of_all_passes() -> None:
    torch.manual_seed(0)
    model, seen = _FirstThenLinear(), []
    loss = yopo_gradient(
        _gradient_of(model, seen),
        list(model.parameters()),
        Batch((torch.rand(4, 5),)),
        (Domain(-1, 1),),
        Ball(0.3, steps=2, step=0.1, random_start=True),
        first_layers(model),
        4,
    )
    mean = torch.stack([model(x).mean() for x in seen]).mean()
    torch.testing.assert_close(loss, mean.detach())
    for parameter, expected in zip(
        model.parameters(), torch.autograd.grad(mean, list(model.parameters())), strict=True
    ):
        torch.testing.assert_close(parameter.grad, expected)


def test_only_whole_passes_count_and_the_last_is_followed_by_no_first_layer_step() -> None:
    task = polylines_task(16)
    calls = []
    loop = Loop(task, [YOPO(passes=4, inner=3)], Settings(batch=16))
    loop.begin()
    loop.model.body[0].register_forward_hook(lambda *_: calls.append(1))
    loop.one_step()
    assert (loop.passes.forward, loop.passes.backward) == (1 + 4, 4)
    assert len(calls) == 1 + 4 + 3 * 3


def test_a_first_layer_step_is_a_quarter_of_eps_whatever_the_numbers_of_passes() -> None:
    """The authors' CIFAR-10 settings: 2/255 of 8/255."""
    for passes, inner in ((5, 3), (2, 5), (3, 4)):
        assert YOPO(passes=passes, inner=inner).ball().step_length == pytest.approx(2 / 255)
    assert YOPO(step=0.01).ball().step_length == 0.01


def test_first_layers_are_leaf_modules_with_parameters() -> None:
    model = polylines_task(8).network()
    assert first_layers(model) == [model.body[0], model.body[1], model.head]
    assert first_layers(model, "body") == [model.body]


def test_a_memory_format_does_not_hide_the_input() -> None:
    class Reordered(nn.Sequential):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x.contiguous(memory_format=torch.channels_last))

    task = _with_network(lambda: Reordered(nn.Conv2d(1, 3, 3), nn.Flatten(), nn.Linear(108, 2)))
    assert run(task, [YOPO(passes=2, inner=1)], passes=8).steps == 2


@pytest.mark.parametrize("layer", ["", "1"])
def test_a_network_that_changes_its_input_first_is_one_clear_error(layer: str) -> None:
    class Shifted(nn.Sequential):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x - 0.5)

    task = _with_network(lambda: Shifted(nn.Flatten(), nn.Linear(64, 2)))
    with pytest.raises(ModelMismatch, match="no first layer") as caught:
        run(task, [YOPO(layer=layer)])
    assert "pgd or freeat" in str(caught.value.remedy)


def test_a_module_with_layers_inside_may_be_named() -> None:
    assert run(polylines_task(16), [YOPO(passes=2, layer="body")], passes=10).steps == 2


def test_a_name_that_is_none_is_one_clear_error() -> None:
    with pytest.raises(ModelMismatch, match="no module 'stem'") as caught:
        run(polylines_task(16), [YOPO(layer="stem")])
    assert "body" in str(caught.value.remedy)
    with pytest.raises(ModelMismatch, match="no leaf module"):
        first_layers(nn.ReLU())


@pytest.mark.parametrize("make", [classes_task, polylines_task])
def test_a_resumed_run_equals_an_uninterrupted_one(make, tmp_path: Path) -> None:
    assert_resumes(make(48), lambda: YOPO(passes=2, inner=2), tmp_path, stops=(1, 4), passes=35)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_it_trains_in_any_precision_and_leaves_no_hook_behind(precision: str) -> None:
    trained = run(classes_task(), [YOPO(eps=0.02, passes=2)], passes=150, precision=precision, rate=1e-2)
    assert trained.history[-1][1] < 0.9 * trained.history[0][1]
    assert not any(m._forward_hooks for m in trained.model.modules())


@pytest.mark.parametrize("options", [{"eps": 0}, {"passes": 0}, {"inner": 0.5}, {"step": 0}, {"n": 3}])
def test_wrong_options_are_one_clear_error(options: dict[str, object]) -> None:
    with pytest.raises(TechniqueOptionError) as caught:
        build("yopo", **options)
    assert caught.value.where
    assert caught.value.remedy


def _with_network(network) -> Task:
    task = classes_task(32)
    return Task(network, task.objective, task.domains, task.train, task.selection, task.test)
