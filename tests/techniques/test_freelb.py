"""FreeLB: algorithm 1 written out, and one step of it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from small_tasks import classes_task, polylines_task
from stopped import assert_resumes, run
from torch import Tensor, nn

from techniques.ball import Ball, started
from techniques.errors import TechniqueOptionError
from techniques.freelb import FreeLB, freelb_gradient
from techniques.registry import build
from techniques.task import Batch, Domain
from techniques.training import Loop, Settings

WIDE = (Domain(-9, 9),)


@pytest.mark.parametrize("steps", [1, 3])
def test_the_gradient_is_algorithm_1(steps: int) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(5, 8), nn.Tanh(), nn.Linear(8, 3))
    parameters = list(model.parameters())
    x, y, ball = torch.randn(6, 5), torch.randint(3, (6,)), Ball(0.4, "l2", steps, 0.25, random_start=True)

    delta = started((x,), WIDE, ball, torch.Generator().manual_seed(2))[0] - x
    mean = [torch.zeros_like(p) for p in parameters]
    losses = []
    for _ in range(steps):
        delta = delta.detach().requires_grad_()
        loss = F.cross_entropy(model(x + delta), y)
        *gradients, towards = torch.autograd.grad(loss, [*parameters, delta])
        mean = [m + g / steps for m, g in zip(mean, gradients, strict=True)]
        delta = delta + 0.25 * towards / towards.norm(dim=1, keepdim=True)
        delta = delta * (0.4 / delta.norm(dim=1, keepdim=True)).clamp(max=1)
        losses.append(loss.detach())

    def gradient(batch: Batch) -> Tensor:
        loss = F.cross_entropy(model(*batch.inputs), *batch.targets)
        loss.backward()
        return loss.detach()

    found = freelb_gradient(gradient, parameters, Batch((x,), (y,)), WIDE, ball, torch.Generator().manual_seed(2))
    torch.testing.assert_close(found, torch.stack(losses).mean())
    for parameter, expected in zip(parameters, mean, strict=True):
        torch.testing.assert_close(parameter.grad, expected)


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_all_passes_of_a_batch_have_one_dropout_mask(norm: str) -> None:
    """The one that plain training would have drawn; the next batch has another."""
    masks: list[Tensor] = []
    task = replace(
        classes_task(48), network=lambda: nn.Sequential(nn.Flatten(), nn.Linear(64, 40), nn.Dropout(), _Out())
    )
    loops = [Loop(task, t, Settings(batch=16)) for t in ([FreeLB(steps=3, norm=norm, eps=0.2)], [])]
    for loop in loops:
        loop.begin()
        loop.model[2].register_forward_hook(lambda _, __, output: masks.append(output == 0))
        loop.one_step()
        loop.one_step()
    one, two, plain = masks[:3], masks[3:6], masks[6:]
    assert all(torch.equal(mask, one[0]) for mask in (*one, plain[0]))
    assert all(torch.equal(mask, two[0]) for mask in (*two, plain[1]))
    assert not torch.equal(one[0], two[0])


class _Out(nn.Linear):
    def __init__(self) -> None:
        super().__init__(40, 2)


def test_a_step_of_the_maximum_norm_is_along_the_gradient_not_its_sign() -> None:
    """step * g / max |g| of each example, as the authors' code has it."""
    x = torch.zeros(2, 3)
    slope = torch.tensor([[4.0, -1.0, 0.0], [0.5, 0.25, -0.1]])
    seen: list[Tensor] = []

    def gradient(batch: Batch) -> Tensor:
        seen.append(batch.inputs[0].detach().clone())
        loss = (batch.inputs[0] * slope).sum()
        loss.backward()
        return loss.detach()

    ball = FreeLB(eps=0.4, steps=2, step=0.2, norm="linf").ball()
    freelb_gradient(gradient, [], Batch((x,)), WIDE, ball, torch.Generator().manual_seed(0))
    expected = (seen[0] + 0.2 * slope / slope.abs().amax(1, keepdim=True)).clamp(-0.4, 0.4)
    torch.testing.assert_close(seen[1], expected)


def test_k_passes_each_way_make_one_step_and_clean_pictures_the_statistics() -> None:
    task = polylines_task(16)
    loops = [Loop(task, t, Settings(batch=16)) for t in ([FreeLB(steps=4)], [])]
    for loop in loops:
        loop.one_step()
    own, plain = loops
    assert (own.passes.forward, own.passes.backward, own.step) == (1 + 4, 4, 1)
    for buffer, clean in zip(own.model.buffers(), plain.model.buffers(), strict=True):
        assert torch.equal(buffer, clean)


@pytest.mark.parametrize("make", [classes_task, polylines_task])
def test_a_resumed_run_equals_an_uninterrupted_one(make, tmp_path: Path) -> None:
    assert_resumes(make(48), FreeLB, tmp_path, stops=(1, 4), passes=49)


@pytest.mark.parametrize("norm", ["linf", "l2"])
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_it_trains_in_any_precision_and_norm(norm: str, precision: str) -> None:
    technique = FreeLB(eps=0.02 if norm == "linf" else 0.1, norm=norm, steps=2)
    trained = run(classes_task(), [technique], passes=150, precision=precision, rate=1e-2)
    assert trained.history[-1][1] < 0.9 * trained.history[0][1]


@pytest.mark.parametrize("options", [{"eps": 0}, {"steps": 0}, {"norm": "max"}, {"step": -1}, {"k": 2}])
def test_wrong_options_are_one_clear_error(options: dict[str, object]) -> None:
    with pytest.raises(TechniqueOptionError) as caught:
        build("freelb", **options)
    assert caught.value.where
    assert caught.value.remedy
