"""Consistency in time: lines carried against plain geometry and the synthetic road's truth; the loss written out."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pipelines import STATION, with_next
from small_tasks import classes_task, polylines_task
from stopped import assert_resumes, run, same

from cases.synth import draw_scene, render_frame
from cases.synth.scene import TRUTH_X_M
from techniques.errors import TaskError, TechniqueOptionError
from techniques.objectives import Polylines
from techniques.registry import build
from techniques.temporal import Temporal, carried_lines
from techniques.training import Loop, Settings

X = torch.linspace(0, 80, 33, dtype=torch.float64)


@given(
    st.floats(-3, 3), st.floats(-0.2, 0.2), st.floats(-0.01, 0.01),
    st.floats(0, 5), st.floats(-1, 1), st.floats(-0.2, 0.2),
)  # fmt: skip
@settings(max_examples=60, deadline=None)
def test_a_line_is_where_numpy_finds_its_points_after_the_move(
    offset: float, slope: float, bow: float, forward: float, left: float, turn: float
) -> None:
    x = X.numpy()
    y = offset + slope * x + bow * x**2 / 10
    motion = torch.tensor([[forward, left, turn]], dtype=torch.float64)
    found, there = carried_lines(torch.tensor(y)[None, None], X, motion)
    points = np.stack([x - forward, y - left])
    turned = np.array([[math.cos(turn), math.sin(turn)], [-math.sin(turn), math.cos(turn)]]) @ points
    if (np.diff(turned[0]) <= 0).any():
        assert not there.any()
        return
    inside = (x >= turned[0][0]) & (x <= turned[0][-1])
    assert there[0, 0].tolist() == inside.tolist()
    np.testing.assert_allclose(found[0, 0][there[0, 0]].numpy(), np.interp(x, *turned)[inside], atol=1e-6)
    assert not found[~there].any()


def test_standing_still_changes_nothing_and_driving_along_a_straight_line_neither() -> None:
    y = torch.randn(2, 3, 33, dtype=torch.float64)
    found, there = carried_lines(y, X, torch.zeros(2, 3))
    torch.testing.assert_close(found, y)
    assert there.all()
    straight = torch.full((1, 1, 33), 1.8, dtype=torch.float64)
    found, there = carried_lines(straight, X, torch.tensor([[2.0, 0.0, 0.0]]))
    torch.testing.assert_close(found[there], straight[there])
    assert there.sum() == 32  # what comes into view at the far end is not known


@pytest.mark.parametrize("seed", [9000, 9003, 9011])
def test_the_synthetic_roads_truth_moves_as_the_vehicle_does(seed: int) -> None:
    """Signs and all: the truth of one frame, carried, is that of the next to a centimetre within 60 m."""
    scene = draw_scene(seed, 4.0)
    apart = []
    for t_s in np.arange(0, 3, 0.5):
        now, then = scene.state(t_s).pose, scene.state(t_s + 0.1).pose
        east, north = then.x_m - now.x_m, then.y_m - now.y_m
        cos, sin = math.cos(now.yaw_rad), math.sin(now.yaw_rad)
        motion = torch.tensor([[cos * east + sin * north, cos * north - sin * east, then.yaw_rad - now.yaw_rad]])
        assert motion[0, 0] > 0.5  # a moving vehicle
        one, two = (torch.tensor(render_frame(scene, t).lines)[None] for t in (t_s, t_s + 0.1))
        found, there = carried_lines(torch.nan_to_num(one), torch.tensor(TRUTH_X_M), motion)
        known = there & torch.isfinite(one).all(-1, keepdim=True) & torch.isfinite(two)
        apart.append((found - two)[known & (torch.tensor(TRUTH_X_M) <= 60)].abs())
    worst = torch.cat(apart)
    assert len(worst) > 200
    assert worst.max() < 0.01


def test_gradients_go_into_the_lines_and_are_finite_where_nothing_is_known() -> None:
    y = torch.randn(1, 2, 33, dtype=torch.float64, requires_grad=True)
    motion = torch.tensor([[1.3, 0.2, 0.05]], dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda v: carried_lines(v, X, motion)[0], (y,))
    back = torch.linspace(0, 200, 33, dtype=torch.float64).expand(1, 1, 33).clone().requires_grad_()
    found, there = carried_lines(back, X, torch.tensor([[0.0, 0.0, -1.5]]))  # the turned line doubles back
    assert not there.any()
    found.sum().backward()
    assert torch.isfinite(back.grad).all()


def test_the_loss_is_the_formula_written_out() -> None:
    task = with_next(polylines_task(16))
    loop = Loop(task, [Temporal(weight=3.0)], Settings(batch=16))
    loop.begin()
    batch = loop._next_batch()
    loop.outputs(batch.inputs)  # running statistics of some batch
    loss = loop.techniques[0].loss(loop, batch, loop.outputs(batch.inputs), torch.tensor(10.0))
    loop.model.eval()
    (y, logits), then = loop.model(*batch.inputs), loop.model(*batch.following.inputs)
    moved, there = carried_lines(y, STATION, batch.following.motion)
    carried = torch.where(there, moved, then[0].detach()), logits
    expected = 10 + 3 * task.objective.divergence(then, carried).mean()
    torch.testing.assert_close(loss, expected)


def test_both_frames_cost_two_passes_each_and_the_first_ones_make_the_statistics() -> None:
    loops = [Loop(with_next(polylines_task(16)), t, Settings(batch=16)) for t in ([Temporal()], [])]
    for loop in loops:
        loop.one_step()
    own, plain = loops
    assert own.passes.total == 6
    for buffer, clean in zip(own.model.buffers(), plain.model.buffers(), strict=True):
        assert torch.equal(buffer, clean)


def test_weight_zero_trains_as_without_it() -> None:
    task = with_next(polylines_task(48))
    one, plain = (Loop(task, t, Settings(batch=16)) for t in ([Temporal(weight=0)], []))
    for _ in range(3):
        one.one_step()
        plain.one_step()
    assert same(one.model.state_dict(), plain.model.state_dict())


def test_it_steadies_the_lines_at_equal_steps() -> None:
    task = with_next(polylines_task(96))
    batch = task.train.batch(torch.arange(96), torch.Generator())
    shaken = []
    for techniques in ([], [Temporal(weight=30.0)]):
        model = run(task, techniques, passes=240 * (1 + 2 * len(techniques)), rate=1e-2, seed=1).model
        with torch.no_grad():
            now, then = model(*batch.inputs), model(*batch.following.inputs)
            carried = task.objective.carried(now, batch.following.motion, then)
        shaken.append(float((then[0] - carried[0]).square().mean()))
    assert shaken[1] < 0.9 * shaken[0]


def test_a_resumed_run_equals_an_uninterrupted_one(tmp_path: Path) -> None:
    assert_resumes(with_next(polylines_task(48)), Temporal, tmp_path, stops=(1, 4), passes=42)


def test_it_trains_in_bf16() -> None:
    assert run(with_next(polylines_task(32)), [Temporal()], passes=24, precision="bf16").steps == 4


def test_what_it_cannot_do_is_one_clear_error() -> None:
    for task in (polylines_task(16), classes_task(16)):
        with pytest.raises(TaskError, match="needs the frame after each example"):
            run(task, [Temporal()])
    with pytest.raises(TechniqueOptionError, match="no method carried"):
        run(replace(with_next(polylines_task(16)), objective=Polylines()), [Temporal()])
    for options in ({"weight": -1}, {"frames": 2}):
        with pytest.raises(TechniqueOptionError):
            build("temporal", **options)
