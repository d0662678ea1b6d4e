"""What adversarial trainings share: gradients in shares, and clean statistics."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import pytest
import torch
from small_tasks import classes_task, polylines_task
from torch import Tensor, nn

from techniques.adversarial import AttackedTraining, gradient_in_shares, keep_clean_statistics, whole
from techniques.errors import TechniqueOptionError
from techniques.registry import build
from techniques.task import TensorExamples
from techniques.training import Loop, Settings


def test_shares_of_gradients_add_to_what_is_there() -> None:
    one, other, unused = (nn.Parameter(torch.tensor(v)) for v in (2.0, 5.0, 1.0))
    one.grad = torch.tensor(100.0)

    def first() -> Tensor:
        loss = one**2 + other
        loss.backward()
        return loss.detach()

    def second() -> Tensor:
        loss = 3 * one
        loss.backward()
        return loss.detach()

    loss = gradient_in_shares([one, other, unused], [(0.25, first), (0.75, second)])
    assert float(loss) == pytest.approx(0.25 * 9 + 0.75 * 6)
    assert float(one.grad) == pytest.approx(100 + 0.25 * 4 + 0.75 * 3)
    assert other.grad is not None
    assert float(other.grad) == pytest.approx(0.25)
    assert unused.grad is None


def test_a_part_sees_no_gradient_of_another() -> None:
    """A technique inside may look at, or clear, the gradients it finds."""
    weight = nn.Parameter(torch.tensor(1.0))
    weight.grad = torch.tensor(9.0)
    seen = []

    def part() -> Tensor:
        seen.append(weight.grad)
        weight.grad = torch.tensor(4.0)
        return torch.tensor(0.0)

    gradient_in_shares([weight], [(0.5, part), (0.5, part)])
    assert seen == [None, None]
    assert float(weight.grad) == 13.0


def test_the_clean_pass_counts_only_where_there_are_statistics_to_keep() -> None:
    for make, frozen, passes in ((polylines_task, False, 1), (polylines_task, True, 0), (classes_task, False, 1)):
        task = make(16)
        loop = Loop(task, [], Settings(batch=16))
        if frozen:
            loop.model.eval()
        keep_clean_statistics(loop, loop._next_batch())
        assert (loop.passes.forward, loop.passes.backward) == (passes, 0)


def test_a_frame_without_an_attack_is_no_technique() -> None:
    with pytest.raises(TypeError, match="abstract"):
        AttackedTraining()  # type: ignore[abstract]  # wrong on purpose


@pytest.mark.parametrize("value", [0, 1.5, True, "2"])
def test_whole_numbers_are_checked(value: object) -> None:
    with pytest.raises(TechniqueOptionError, match="whole number"):
        whole("pgd", "restarts", value, 1)  # type: ignore[arg-type]  # wrong on purpose


@pytest.mark.parametrize("name", ["fgsm", "fgm", "pgd", "freeat", "yopo", "freelb", "smart"])
@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_a_network_in_another_dtype_is_attacked_and_trained_in_it(name: str, dtype: torch.dtype) -> None:
    loops = []
    for kind in (torch.float32, dtype):
        task = polylines_task(16)
        (picture, pose), (lines,) = task.train.examples.inputs, task.train.examples.targets
        train = TensorExamples((picture.to(kind), pose.to(kind)), (lines.to(kind),))
        network = partial(lambda k: task.network().to(k), kind)  # noqa: B023  # called within this turn
        loop = Loop(
            replace(task, network=network, train=train), [build(name)], Settings(batch=16, rate=1.0, optimiser="sgd")
        )
        loop.one_step()
        loops.append(loop)
    for own, other in zip(*(loop.model.parameters() for loop in loops), strict=True):
        assert other.dtype == dtype
        torch.testing.assert_close(other.float(), own, atol=1e-4 if dtype == torch.float64 else 3e-2, rtol=1e-3)
    assert loops[0].history[0][1] == pytest.approx(loops[1].history[0][1], rel=1e-5 if dtype == torch.float64 else 0.05)
