"""Rotation head: turned pictures that give nothing away, a head that learns and is never part of the candidate."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from small_tasks import classes_task, polylines_task
from torch import nn
from whole_runs import assert_same, resumed, trained

from techniques.errors import TaskError, TechniqueOptionError
from techniques.objectives import Classification
from techniques.registry import build
from techniques.rotation import TRANSFORMS, Rotation, captured, pooled, roll_flip, rotations, turned
from techniques.task import Domain, Task, TensorExamples
from techniques.training import Loop, Settings

ALL = torch.arange(4)


def _generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_square_pictures_are_turned_by_quarters_exactly() -> None:
    x = torch.rand(4, 2, 5, 5)
    found = rotations(x, ALL)
    for row in range(4):
        assert torch.equal(found[row], torch.rot90(x[row], row, (1, 2)))


@pytest.mark.parametrize("size", [(6, 12), (12, 6), (7, 12)])
def test_the_frame_gives_no_rotation_away(size: tuple[int, int]) -> None:
    """What lies inside the central square looks the same from all sides; what lies outside must not be seen."""
    height, width = size
    side = min(size)
    x = torch.rand(1, 3, *size)
    top, left = (height - side) // 2, (width - side) // 2
    square = x[..., top : top + side, left : left + side]
    square.copy_(sum(torch.rot90(square, k, (2, 3)) for k in range(4)) / 4)
    found = rotations(x.repeat(4, 1, 1, 1), ALL)
    assert found.shape == (4, 3, *size)
    for row in range(1, 4):
        torch.testing.assert_close(found[row], found[0])


def test_four_quarter_turns_are_none() -> None:
    x = torch.rand(2, 1, 6, 6)
    one = torch.ones(2, dtype=torch.long)
    assert torch.equal(rotations(rotations(rotations(rotations(x, one), one), one), one), x)


@pytest.mark.parametrize("size", [(8, 8), (8, 24), (20, 10)])
def test_rolled_and_mirrored_pictures_have_no_empty_corner(size: tuple[int, int]) -> None:
    """A slope stays a slope up to the corners: a value from beyond the border would bend it."""
    rows, columns = (s.double() for s in torch.meshgrid(*(torch.arange(n) for n in size), indexing="ij"))
    middle = size[0] // 2 - 1, size[1] // 2 - 1
    for slope in (rows, columns):
        found = roll_flip(slope.repeat(4, 1, 1, 1), ALL, degrees=10.0)[:, 0]
        here = found[:, middle[0], middle[1]].view(-1, 1, 1)
        down = found[:, middle[0] + 1, middle[1]].view(-1, 1, 1) - here
        along = found[:, middle[0], middle[1] + 1].view(-1, 1, 1) - here
        plane = here + (rows - middle[0]) * down + (columns - middle[1]) * along
        assert float((found - plane).abs().max()) < 0.5


def test_rolls_to_both_sides_are_mirror_images() -> None:
    x = torch.rand(1, 3, 9, 14, dtype=torch.float64)
    left, right = (roll_flip(x, torch.tensor([way])) for way in (2, 3))
    torch.testing.assert_close(roll_flip(x.flip(-1), torch.tensor([3])).flip(-1), left)
    assert not torch.allclose(left, right)
    torch.testing.assert_close(roll_flip(x, torch.tensor([1])), roll_flip(x.flip(-1), torch.tensor([0])))


def test_a_roll_is_a_rotation_of_the_picture_not_of_its_frame() -> None:
    """Straight edges through the middle of a wide picture turn by the asked angle in pixels."""
    height, width = 41, 121
    rows, _columns = torch.meshgrid(torch.arange(height) - 20.0, torch.arange(width) - 60.0, indexing="ij")
    found = roll_flip(rows[None, None].double(), torch.tensor([2]), degrees=10.0)[0, 0]
    inner = found[15:26, 40:81]
    angle = torch.atan2((inner[:, 1:] - inner[:, :-1]).mean(), (inner[1:] - inner[:-1]).mean())
    assert abs(float(torch.rad2deg(angle))) == pytest.approx(10, abs=0.01)


def test_only_pictures_with_a_domain_are_turned() -> None:
    picture, pose, mask = torch.rand(4, 1, 6, 6), torch.rand(4, 2), torch.rand(4, 1, 6, 6)
    found = turned((picture, pose, mask), (Domain(), None, None), ALL, "rotations")
    assert found[1] is pose
    assert found[2] is mask
    assert not torch.equal(found[0], picture)
    with pytest.raises(TechniqueOptionError, match="no picture to turn"):
        turned((pose,), (Domain(),), ALL, "rotations")


def test_features_are_captured_and_the_hook_goes_even_after_an_error() -> None:
    model = nn.Sequential(nn.Linear(3, 4), nn.ReLU())
    with captured(model, "0") as found:
        model(torch.ones(2, 3))
    assert found[0].shape == (2, 4)
    with pytest.raises(ZeroDivisionError), captured(model, "0"):
        raise ZeroDivisionError
    assert not any(m._forward_hooks for m in model.modules())


def test_pooling_is_the_mean_over_all_but_batch_and_channel() -> None:
    x = torch.rand(2, 3, 4, 5)
    torch.testing.assert_close(pooled(x), x.mean((2, 3)))
    assert pooled(x[..., 0, 0]).shape == (2, 3)
    with pytest.raises(TaskError, match="one tensor"):
        pooled((x,))  # type: ignore[arg-type]  # what a network may do


@pytest.mark.parametrize("layer", [None, "no.such"])
def test_a_missing_feature_layer_is_named_with_what_there_is(layer: str | None) -> None:
    with pytest.raises(TaskError, match="auxiliary head") as caught:
        trained(replace(classes_task(32), feature_layer=layer), Rotation())
    assert caught.value.where == "Task.feature_layer"
    assert "'0', '1', '2'" in caught.value.remedy


@pytest.mark.parametrize("transforms", list(TRANSFORMS))
@pytest.mark.parametrize("task", [classes_task(64), polylines_task(64)], ids=["classes", "polylines"])
def test_a_resumed_run_equals_an_uninterrupted_one_and_the_head_stays_behind(
    task: Task, transforms: str, tmp_path: Path
) -> None:
    def make() -> Rotation:
        return Rotation(transforms=transforms, eps=0.02, steps=1)

    one = trained(task, make())
    assert_same(one, resumed(task, make, tmp_path, 0.5))
    assert list(one.model.state_dict()) == list(task.network().state_dict())
    assert not any(m._forward_hooks for m in one.model.modules())


def test_all_passes_are_counted() -> None:
    for technique, each in ((Rotation(), 4), (Rotation(eps=0.02, steps=3), 4 + 6)):
        loop = Loop(classes_task(32), [technique], Settings(budget_passes=100, batch=8))
        loop.one_step()
        assert loop.passes.total == each
        assert loop.passes.forward == loop.passes.backward


def test_batchnorm_does_not_see_turned_pictures() -> None:
    loops = [Loop(classes_task(32), t, Settings(budget_passes=100, batch=8)) for t in ([], [Rotation(eps=0.02)])]
    for loop in loops:
        loop.one_step()
    plain, with_head = (dict(loop.model.named_buffers()) for loop in loops)
    assert plain
    assert all(torch.equal(plain[k], with_head[k]) for k in plain)


def _upright() -> Task:
    """Bright above, dark below: easily told how it was turned."""
    g = _generator()
    x = torch.rand(128, 1, 8, 8, generator=g) * 0.3 + torch.linspace(0.7, 0, 8).view(1, 1, 8, 1)
    examples = TensorExamples((x,), (torch.randint(2, (128,), generator=g),))

    def network() -> nn.Module:
        return nn.Sequential(nn.Conv2d(1, 8, 3), nn.Tanh(), nn.Flatten(), nn.Linear(8 * 36, 2))

    return Task(network, Classification(), (Domain(),), examples, examples, examples, feature_layer="1")


def test_the_head_learns_how_a_picture_was_turned() -> None:
    loop = Loop(_upright(), [Rotation(weight=2.0)], Settings(budget_passes=400, batch=32, rate=2e-2))
    loop.run()
    x = loop.task.test.batch(torch.arange(64), _generator()).inputs[0]
    way = torch.arange(64) % 4
    with torch.no_grad(), captured(loop.model, "1") as found:
        loop.model(rotations(x, way))
        guess = loop.extra_modules["rotation"](pooled(found[0])).argmax(1)
    assert float((guess == way).float().mean()) > 0.9


def test_double_networks_have_a_double_head() -> None:
    task = _upright()
    examples = TensorExamples((task.train.inputs[0].double(),), task.train.targets)  # type: ignore[attr-defined]  # TensorExamples
    found = trained(replace(task, network=lambda: task.network().double(), train=examples), Rotation(), 20)
    assert next(found.model.parameters()).dtype == torch.float64


@pytest.mark.parametrize("transforms", list(TRANSFORMS))
def test_it_trains_in_bf16(transforms: str) -> None:
    assert trained(polylines_task(32), Rotation(transforms=transforms, eps=0.02), 40, precision="bf16").steps > 1


@pytest.mark.parametrize("options", [{"weight": -1.0}, {"transforms": "spin"}, {"eps": -0.1}, {"steps": 0}])
def test_it_is_refused_what_makes_no_sense(options) -> None:
    with pytest.raises(TechniqueOptionError, match="must be"):
        build("rotation", **options)
