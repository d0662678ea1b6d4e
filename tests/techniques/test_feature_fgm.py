"""FGM on hidden features: the formula written out, the cost, and what must stay untouched."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from small_tasks import classes_task, polylines_task
from stopped import assert_resumes, run, same
from torch import Tensor, nn

from techniques.errors import ModelMismatch, TaskError, TechniqueOptionError
from techniques.feature_fgm import FeatureFGM, Features, steps_up
from techniques.registry import build
from techniques.task import Task
from techniques.training import Loop, Settings


class TwoHalves(nn.Module):
    """A body and a head, so that features can be moved by hand."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Flatten(), nn.Linear(64, 5), nn.Tanh())
        self.head = nn.Linear(5, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.body(x))


def halves() -> Task:
    return replace(classes_task(16), network=TwoHalves, feature_layer="body")


@pytest.mark.parametrize("share", [0.5, 0.2, 0.0])
def test_the_gradient_is_the_formula_written_out(share: float) -> None:
    loop = Loop(halves(), [FeatureFGM(eps=0.3, clean_share=share)], Settings(batch=16, clip=0))
    loop.begin()
    batch = loop._next_batch()
    x, y = batch.inputs[0], batch.targets[0]
    features = loop.model.body(x)
    clean = F.cross_entropy(loop.model.head(features), y)
    (slope,) = torch.autograd.grad(clean, features, retain_graph=True)
    step = 0.3 * features.norm(dim=1, keepdim=True) * slope / slope.norm(dim=1, keepdim=True)
    moved = F.cross_entropy(loop.model.head(features + step.detach()), y)
    expected = torch.autograd.grad(share * clean + (1 - share) * moved, list(loop.model.parameters()))
    loss = loop.techniques[0].gradient(loop, batch, loop._plain_gradient)
    torch.testing.assert_close(loss, (share * clean + (1 - share) * moved).detach())
    assert moved > clean
    for parameter, gradient in zip(loop.model.parameters(), expected, strict=True):
        torch.testing.assert_close(parameter.grad, gradient)


def test_every_example_moves_by_its_own_share_however_faint_its_gradient() -> None:
    gradient = torch.tensor([[3.0, 4.0], [0.0, 1e-25], [0.0, 0.0]])
    (step,) = steps_up([Features(torch.tensor([[2.0], [5.0], [1.0]]), gradient)], 0.1)
    torch.testing.assert_close(step, torch.tensor([[0.12, 0.16], [0.0, 0.5], [0.0, 0.0]]))


def test_a_step_costs_four_passes_and_clean_pictures_make_the_statistics() -> None:
    loops = [Loop(polylines_task(16), t, Settings(batch=16)) for t in ([FeatureFGM(eps=0.5)], [])]
    for loop in loops:
        loop.one_step()
    own, plain = loops
    assert (own.passes.forward, own.passes.backward) == (2, 2)
    for buffer, clean in zip(own.model.buffers(), plain.model.buffers(), strict=True):
        assert torch.equal(buffer, clean)


def test_a_module_called_twice_is_moved_twice() -> None:
    class Twice(TwoHalves):
        def forward(self, x: Tensor) -> Tensor:
            return self.head(self.body(x) - self.body(1 - x))

    trained = run(replace(halves(), network=Twice), [FeatureFGM()], passes=8)
    assert trained.steps == 2
    assert not any(m._forward_hooks for m in trained.model.modules())


def test_an_input_without_a_domain_is_no_obstacle() -> None:
    task = halves()
    trained = run(replace(task, domains=(None,)), [FeatureFGM()], passes=16)
    assert same(trained.model.state_dict(), run(task, [FeatureFGM()], passes=16).model.state_dict())


def test_a_layer_that_is_none_or_has_no_part_in_the_loss_is_one_clear_error() -> None:
    class Idle(TwoHalves):
        def __init__(self) -> None:
            super().__init__()
            self.idle = nn.Linear(5, 5)

        def forward(self, x: Tensor) -> Tensor:
            features = self.body(x)
            self.idle(features)
            return self.head(features)

    with pytest.raises(TaskError, match="no feature layer 'stem'") as caught:
        run(halves(), [FeatureFGM(layer="stem")])
    assert "body" in caught.value.remedy
    with pytest.raises(TaskError, match="no layer is named"):
        run(replace(halves(), feature_layer=None), [FeatureFGM()])
    with pytest.raises(ModelMismatch, match="no gradient"):
        run(replace(halves(), network=Idle), [FeatureFGM(layer="idle")])


@pytest.mark.parametrize("make", [classes_task, polylines_task])
def test_a_resumed_run_equals_an_uninterrupted_one(make, tmp_path: Path) -> None:
    assert_resumes(make(48), FeatureFGM, tmp_path, stops=(1, 4), passes=42)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_it_trains_in_any_precision(precision: str) -> None:
    trained = run(classes_task(), [FeatureFGM()], passes=240, precision=precision, rate=1e-2)
    assert trained.history[-1][1] < 0.7 * trained.history[0][1]


@pytest.mark.parametrize("options", [{"eps": 0}, {"eps": 1.5}, {"clean_share": 1.0}, {"norm": "linf"}])
def test_wrong_options_are_one_clear_error(options: dict[str, object]) -> None:
    with pytest.raises(TechniqueOptionError) as caught:
        build("feature-fgm", **options)
    assert caught.value.where
    assert caught.value.remedy
