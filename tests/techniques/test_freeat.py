"""FreeAT: algorithm 1 written out, the noise that is carried on, and steps that nobody else must take."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from small_tasks import classes_task, polylines_task
from stopped import assert_resumes, run
from torch import Tensor, nn

from techniques.errors import NonFiniteLoss, TechniqueConflict, TechniqueOptionError
from techniques.freeat import FreeAT, free_replay
from techniques.registry import build
from techniques.task import Batch, Domain
from techniques.technique import Technique
from techniques.training import Loop, Settings


def _network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(16, 8), nn.Tanh(), nn.Linear(8, 3))


def _batches() -> list[tuple[Tensor, Tensor]]:
    generator = torch.Generator().manual_seed(3)
    return [
        (torch.rand(6, 1, 4, 4, generator=generator), torch.randint(3, (6,), generator=generator)) for _ in range(3)
    ]


def test_replays_in_any_loop_are_algorithm_1() -> None:
    eps, replays = 0.1, 4
    slow = _network()
    sgd = torch.optim.SGD(slow.parameters(), 0.3)
    delta = torch.zeros(6, 1, 4, 4)
    for x, y in _batches():
        for _ in range(replays):
            delta = delta.detach().requires_grad_()
            sgd.zero_grad()
            F.cross_entropy(slow((x + delta).clamp(0, 1)), y).backward()
            sgd.step()
            delta = (delta + eps * delta.grad.sign()).clamp(-eps, eps)

    fast, carried = _network(), None
    optimiser = torch.optim.SGD(fast.parameters(), 0.3)

    def gradient(batch: Batch) -> Tensor:
        loss = F.cross_entropy(fast(*batch.inputs), *batch.targets)
        loss.backward()
        return loss.detach()

    for x, y in _batches():
        for _ in range(replays):
            optimiser.zero_grad()
            _, carried = free_replay(gradient, Batch((x,), (y,)), (Domain(),), carried, eps)
            optimiser.step()
    for parameter, expected in zip(fast.parameters(), slow.parameters(), strict=True):
        torch.testing.assert_close(parameter, expected)
    torch.testing.assert_close(carried[0], delta.detach())


def test_noise_that_the_raw_range_cut_off_stays() -> None:
    """The gradient goes through the clip: of a value beyond the range it is zero."""
    x, noise = torch.tensor([[0.95, 0.05, 0.5]]), (torch.tensor([[0.1, -0.1, 0.1]]),)

    def gradient(batch: Batch) -> Tensor:
        loss = (batch.inputs[0] * torch.tensor([-1.0, 1.0, -1.0])).sum()
        loss.backward()
        return loss.detach()

    _, after = free_replay(gradient, Batch((x,)), (Domain(),), noise, 0.1)
    torch.testing.assert_close(after[0], torch.tensor([[0.1, -0.1, 0.0]]))


def test_the_noise_stays_in_the_ball_in_raw_units_and_goes_from_batch_to_batch() -> None:
    task = polylines_task(48)
    loop = Loop(task, [FreeAT(eps=0.1, replays=3)], Settings(batch=16))
    (technique,) = loop.techniques
    loop.one_step()
    first = [n.clone() for n in technique._noise]
    raw = first[0] * task.domains[0].scale(first[0])
    assert raw.abs().max() == pytest.approx(0.1, abs=1e-6)
    assert not first[1].any()  # the pose stays
    seen = []
    inner = loop._plain_gradient
    loop._plain_gradient = lambda batch: (seen.append(batch.inputs[0].detach().clone()), inner(batch))[1]
    loop.one_step()
    clean = task.train.batch(torch.arange(48), torch.Generator()).inputs[0]
    possible = task.domains[0].clip(clean + first[0][:1])  # whichever example came first
    assert (possible - seen[0][:1]).abs().flatten(1).amax(1).min() < 1e-6


def test_every_replay_is_one_pass_each_way_and_one_step_of_the_optimiser() -> None:
    task = classes_task(64)
    task_without_batchnorm = type(task)(
        lambda: nn.Sequential(nn.Flatten(), nn.Linear(64, 2)),
        task.objective, task.domains, task.train, task.selection, task.test,
    )  # fmt: skip
    taken = []
    loop = Loop(task_without_batchnorm, [FreeAT(replays=4)], Settings(budget_passes=16, batch=32))
    loop.begin()
    step = loop.optimiser.step
    loop.optimiser.step = lambda *a, **k: (taken.append(1), step(*a, **k))[1]
    trained = loop.run()
    assert (trained.passes.forward, trained.passes.backward) == (8, 8)
    assert len(taken) == 8
    assert trained.steps == 2


def test_one_replay_without_noise_is_plain_training() -> None:
    """The first replay of all starts from zero noise."""
    task = polylines_task(16)
    loops = [Loop(task, t, Settings(batch=16)) for t in ([FreeAT(replays=1)], [])]
    for loop in loops:
        loop.one_step()
    for own, plain in zip(*(loop.model.state_dict().values() for loop in loops), strict=True):
        torch.testing.assert_close(own, plain)


def test_noise_of_another_shape_is_forgotten() -> None:
    network, seen = _network(), []

    def gradient(batch: Batch) -> Tensor:
        seen.append(batch.inputs[0].detach())
        loss = network(*batch.inputs).sum()
        loss.backward()
        return loss.detach()

    x = torch.rand(6, 1, 4, 4)
    _, noise = free_replay(gradient, Batch((x,)), (Domain(),), None, 0.1)
    _, noise = free_replay(gradient, Batch((x[:2],)), (Domain(),), noise, 0.1)
    assert torch.equal(seen[1], x[:2])
    assert noise[0].shape == (2, 1, 4, 4)


class _Around(Technique):
    name = "around"

    def gradient(self, loop, batch, inner):
        return inner(batch)


def test_a_technique_around_it_that_holds_the_weights_is_refused() -> None:
    task = classes_task(32)
    with pytest.raises(TechniqueConflict, match="steps of the optimiser") as caught:
        Loop(task, [_Around(), FreeAT()], Settings(budget_passes=10)).run()
    assert "before around" in str(caught.value.remedy)
    Loop(task, [FreeAT(), _Around()], Settings(budget_passes=10)).run()


def test_a_replay_whose_loss_is_not_finite_takes_no_step() -> None:
    task = classes_task(32)
    loop = Loop(task, [FreeAT(replays=3)], Settings(batch=32))
    loop.begin()
    before = [p.clone() for p in loop.model.parameters()]
    inner = loop._plain_gradient
    loop._plain_gradient = lambda batch: inner(batch) * torch.nan
    with pytest.raises(NonFiniteLoss, match="the loss is nan"):
        loop.one_step()
    assert all(torch.equal(a, b) for a, b in zip(before, loop.model.parameters(), strict=True))


@pytest.mark.parametrize("make", [classes_task, polylines_task])
def test_a_resumed_run_equals_an_uninterrupted_one(make, tmp_path: Path) -> None:
    assert_resumes(make(48), FreeAT, tmp_path, stops=(1, 4), passes=54)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_it_trains_in_any_precision(precision: str) -> None:
    trained = run(classes_task(), [FreeAT(eps=0.02)], passes=240, precision=precision, rate=1e-2)
    assert trained.history[-1][1] < 0.85 * trained.history[0][1]


@pytest.mark.parametrize("options", [{"eps": 0}, {"replays": 0}, {"replays": 2.5}, {"m": 8}])
def test_wrong_options_are_one_clear_error(options: dict[str, object]) -> None:
    with pytest.raises(TechniqueOptionError) as caught:
        build("freeat", **options)
    assert caught.value.where
    assert caught.value.remedy
