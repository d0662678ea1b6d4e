"""FGM: every example moves by eps, along its own gradient."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from small_tasks import classes_task, polylines_task
from stopped import assert_resumes, run
from torch import nn

from techniques.errors import TechniqueOptionError
from techniques.fgm import FGM, fgm
from techniques.objectives import Classification
from techniques.registry import build
from techniques.task import Batch, Domain

MIDDLE = Domain(-10, 10)  # so wide that nothing is clipped


def test_every_example_moves_by_eps_along_its_own_gradient() -> None:
    """A norm over the batch would leave the confident example where it is."""
    torch.manual_seed(0)
    model = nn.Linear(6, 2)
    x, y = torch.randn(20, 6), torch.randint(2, (20,))
    x[0] += 4 * (model.weight[y[0]] - model.weight[1 - y[0]]).detach()  # classified with confidence: a faint gradient
    found = fgm(model, Classification(), Batch((x,), (y,)), (MIDDLE,), 0.3)[0]
    against = ((model.weight[1] - model.weight[0]) * (1 - 2 * y)[:, None]).detach()
    expected = x + 0.3 * against / against.norm(dim=1, keepdim=True)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


def test_eps_is_a_length_in_raw_units() -> None:
    torch.manual_seed(0)
    domain = Domain(0, 255, (128.0, 100.0), (64.0, 16.0))
    raw = 100 + 50 * torch.rand(5, 2, 3, 3)
    model = nn.Sequential(nn.Flatten(), nn.Linear(18, 3))
    batch = Batch((domain.normalised(raw),), (torch.zeros(5, dtype=torch.long),))
    found = domain.raw(fgm(model, Classification(), batch, (domain,), 20.0)[0])
    torch.testing.assert_close((found - raw).flatten(1).norm(dim=1), torch.full((5,), 20.0), rtol=1e-3, atol=1e-3)


def test_the_step_is_along_the_gradient_with_respect_to_the_raw_value() -> None:
    """By the chain rule a channel with a small deviation is the more sensitive one."""
    domain = Domain(0, 1, (0.5, 0.5), (0.1, 0.4))
    raw = torch.full((1, 2, 1, 1), 0.5)
    model = nn.Sequential(nn.Flatten(), nn.Linear(2, 2, bias=False))
    with torch.no_grad():
        model[1].weight.copy_(torch.tensor([[1.0, 1.0], [-1.0, -1.0]]))
    batch = Batch((domain.normalised(raw),), (torch.tensor([0]),))
    change = domain.raw(fgm(model, Classification(), batch, (domain,), 0.1)[0]) - raw
    direction = torch.tensor([-1 / 0.1, -1 / 0.4])
    torch.testing.assert_close(change.flatten(), 0.1 * direction / direction.norm())


@pytest.mark.parametrize("make", [classes_task, polylines_task])
def test_a_resumed_run_equals_an_uninterrupted_one(make, tmp_path: Path) -> None:
    assert_resumes(make(48), FGM, tmp_path, stops=(1, 4), passes=42)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_it_trains_in_any_precision(precision: str) -> None:
    trained = run(classes_task(), [FGM(eps=0.1)], passes=240, precision=precision, rate=1e-2)
    assert trained.history[-1][1] < 0.7 * trained.history[0][1]


@pytest.mark.parametrize("options", [{"eps": 0}, {"clean_share": 2}, {"norm": "linf"}])
def test_wrong_options_are_one_clear_error(options: dict[str, object]) -> None:
    with pytest.raises(TechniqueOptionError) as caught:
        build("fgm", **options)
    assert caught.value.where
    assert caught.value.remedy


def test_a_length_beyond_the_diagonal_of_the_range_is_one_clear_error() -> None:
    with pytest.raises(TechniqueOptionError, match="whole raw range"):
        run(classes_task(16), [FGM(eps=8.1)])  # 64 values in 0..1: the diagonal is 8
