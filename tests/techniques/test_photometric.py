"""Random light and colour: ranges, independence of pictures, units, refusals."""

from __future__ import annotations

import pytest
import torch
from small_tasks import numbers_task, polylines_task

from techniques.errors import TechniqueOptionError
from techniques.photometric import Photometric, disturbed, disturbed_inputs
from techniques.task import Domain
from techniques.training import Loop, Settings

GREY = torch.full((4000, 3, 4, 4), 0.5)


def draws(strength: float = 1.0) -> torch.Tensor:
    return disturbed(GREY, torch.Generator().manual_seed(0), strength)


def test_a_flat_picture_stays_within_what_the_ranges_allow() -> None:
    found = draws().mean((2, 3))
    low, high = 0.5**1.18 * 0.88 * 0.96 - 0.04, 0.5**0.85 * 1.12 * 1.04 + 0.04
    noise = 4 * 0.015 / 4
    assert found.min() > low - noise
    assert found.max() < high + noise
    assert found.min() < low + 0.05
    assert found.max() > high - 0.05


def test_pictures_are_disturbed_each_by_itself_and_channels_a_little() -> None:
    found = draws().mean((2, 3))
    assert found.std(0).min() > 0.03
    spread = found.std(1)
    assert 0.005 < spread.mean() < 0.03


def test_strength_widens_and_0_is_none() -> None:
    assert torch.allclose(draws(0.0), GREY, atol=1e-6)
    assert draws(2.0).std() > 1.5 * draws(1.0).std()


def test_softness_blurs_and_sharpens_and_leaves_the_mean_column_of_a_line() -> None:
    line = torch.full((400, 1, 5, 21), 0.3)
    line[..., 10] = 0.6
    found = disturbed(line, torch.Generator().manual_seed(1))
    paint = found - found[..., :1]
    column = (paint * torch.arange(21)).sum((1, 2, 3)) / paint.sum((1, 2, 3))
    assert abs(float(column.median()) - 10) < 0.05
    side = (found[..., 9] - found[..., 0]).mean((1, 2))
    assert side.min() < -0.02
    assert side.max() > 0.02


def test_raw_units_of_0_to_255_give_the_same_pictures() -> None:
    x = torch.rand(5, 3, 6, 6)
    domains = Domain(0, 1, (0.4,), (0.2,)), Domain(0, 255, (102.0,), (51.0,))
    (a,), (b,) = (
        disturbed_inputs((d.normalised(d.high * x),), (d,), torch.Generator().manual_seed(2)) for d in domains
    )
    assert torch.allclose(a, b, atol=1e-4)


def test_a_pose_is_left_alone_and_a_task_without_pictures_is_refused() -> None:
    picture, pose = torch.rand(3, 1, 4, 4), torch.rand(3, 6)
    changed, same = disturbed_inputs((picture, pose), (Domain(), None), torch.Generator())
    assert same is pose
    assert not torch.equal(changed, picture)
    with pytest.raises(TechniqueOptionError, match="no input is a picture"):
        disturbed_inputs((pose,), (Domain(),), torch.Generator())


@pytest.mark.parametrize("strength", [0, -1, 2.5])
def test_a_strength_out_of_range_is_refused(strength: float) -> None:
    with pytest.raises(TechniqueOptionError, match="above 0 and at most 2"):
        Photometric(strength)


def test_it_costs_no_passes() -> None:
    for task in (polylines_task(24), numbers_task(24)):
        run = Loop(task, [Photometric()], Settings(budget_passes=8, batch=8)).run()
        assert (run.steps, run.passes.total) == (4, 8)
