"""The ball: where an attack may begin and go, and what is none."""

from __future__ import annotations

import math

import pytest
import torch

from techniques.ball import Ball, moved, started, watched
from techniques.errors import TechniqueOptionError
from techniques.task import Domain

RAW = (Domain(),)
X = torch.rand(2, 1, 3, 3)


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_random_starts_fill_the_ball_and_are_never_the_clean_input(norm: str) -> None:
    x = torch.full((400, 1, 2, 2), 0.5)
    change = started((x,), RAW, Ball(0.2, norm, random_start=True), torch.Generator().manual_seed(0))[0] - x
    size = change.flatten(1).abs().amax(1) if norm == "linf" else change.flatten(1).norm(dim=1)
    assert size.min() > 0
    assert size.max() <= 0.2 + 1e-6
    assert size.max() > 0.19
    assert change.mean().abs() < 0.01


def test_a_step_from_inside_is_the_step_and_from_the_rim_stays_on_it() -> None:
    center = torch.full((1, 1, 1, 2), 0.5)
    ball, up = Ball(0.1, step=0.04), torch.tensor([[[[1.0, -3.0]]]])
    once = moved((center,), (up,), (center,), RAW, ball)
    torch.testing.assert_close(once[0].flatten(), torch.tensor([0.54, 0.46]))
    for _ in range(5):
        once = moved(once, (up,), (center,), RAW, ball)
    torch.testing.assert_close(once[0].flatten(), torch.tensor([0.6, 0.4]))


def test_without_signs_a_step_keeps_the_gradients_proportions_example_by_example() -> None:
    domain = Domain(0, 1, (0.0, 0.0), (0.5, 0.25))
    center = domain.normalised(torch.full((2, 2, 1, 1), 0.5))
    slope = torch.tensor([[2.0, 0.5], [0.0, -1e-20]]).view(2, 2, 1, 1)  # per normalised unit: 4 and 2 per raw unit
    ball = Ball(0.1, step=0.04, signs=False)
    change = domain.raw(moved((center,), (slope,), (center,), (domain,), ball)[0]) - 0.5
    torch.testing.assert_close(change.flatten(1), torch.tensor([[0.04, 0.02], [0.0, -0.04]]))
    far = moved((center,), (slope,), (center,), (domain,), Ball(0.1, step=9.0, signs=False))[0]
    assert (domain.raw(far) - 0.5).abs().max() == pytest.approx(0.1, abs=1e-6)


def test_an_input_without_a_gradient_stays() -> None:
    assert moved((X,), (None,), (X,), RAW, Ball())[0] is X


def test_watched_inputs_want_gradients_only_where_they_may_change() -> None:
    picture, pose = watched((X, X), (Domain(), None))
    assert picture.requires_grad
    assert not pose.requires_grad


@pytest.mark.parametrize(
    "options",
    [
        {"eps": 0.0},
        {"eps": -1},
        {"eps": math.nan},
        {"eps": "8/255"},
        {"steps": 0},
        {"steps": 1.5},
        {"step": 0.0},
        {"norm": "l1"},
    ],
)
def test_a_ball_that_is_none_is_refused(options: dict[str, object]) -> None:
    with pytest.raises(TechniqueOptionError, match="eps > 0") as caught:
        Ball(**options)  # type: ignore[arg-type]  # wrong on purpose
    assert caught.value.where
    assert caught.value.remedy


def test_default_steps() -> None:
    assert Ball(0.1).step_length == 0.1
    assert Ball(0.1, random_start=True).step_length == pytest.approx(0.125)
    assert Ball(0.1, steps=5).step_length == pytest.approx(0.05)
    assert Ball(0.1, steps=5, step=0.3).step_length == 0.3
