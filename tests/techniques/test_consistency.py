"""Consistency between pipelines: against scipy and the formula written out; what it costs and what it asks for."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pipelines import with_three
from scipy.spatial.distance import jensenshannon
from small_tasks import classes_task, masks_task, numbers_task, polylines_task
from stopped import assert_resumes, run, same
from torch import Tensor, nn

from techniques.consistency import Consistency, inconsistency, jensen_shannon
from techniques.errors import TaskError, TechniqueOptionError
from techniques.objectives import Classification, Polylines
from techniques.registry import build
from techniques.task import Batch
from techniques.training import Loop, Settings
from techniques.variants import drawn


@given(st.integers(0, 999), st.integers(2, 4))
@settings(max_examples=25, deadline=None)
def test_jensen_shannon_is_scipys_squared_distance_of_two_and_the_written_out_mean_of_more(seed: int, n: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    logits = [3 * torch.randn(4, 5, 2, 3, generator=generator) for _ in range(n)]
    p = np.stack([torch.softmax(x.double(), 1).numpy() for x in logits])
    mixture = p.mean(0)
    kl = (p * np.log(p / mixture)).sum(2).mean(0).mean((1, 2))
    np.testing.assert_allclose(jensen_shannon(logits).numpy(), kl, atol=1e-6)
    if n == 2:
        pixels = jensenshannon(p[0], p[1], axis=1) ** 2
        np.testing.assert_allclose(jensen_shannon(logits).numpy(), pixels.mean((1, 2)), atol=1e-6)


def test_jensen_shannon_of_certain_answers_is_finite_and_at_most_log_n() -> None:
    sure = torch.tensor([[200.0, -200.0]]), torch.tensor([[-200.0, 200.0]])
    leaves = [x.clone().requires_grad_() for x in sure]
    found = jensen_shannon(leaves)
    assert found.item() == pytest.approx(np.log(2))
    found.sum().backward()
    assert all(torch.isfinite(x.grad).all() for x in leaves)
    assert not jensen_shannon([sure[0], sure[0]]).any()


def test_rows_are_drawn_whole_and_none_of_them_twice() -> None:
    rows = torch.arange(500.0)
    batch = Batch((rows[:, None], rows), (), tuple((rows[:, None] + 1000 * k, rows + 1000 * k) for k in (1, 2, 3)))
    first, second = drawn(batch, 2, torch.Generator().manual_seed(0))
    for picture, pose in (first, second):
        assert torch.equal(picture[:, 0], pose)
        assert torch.equal(pose % 1000, rows)
        counts = torch.bincount((pose // 1000).long(), minlength=4)[1:]
        assert counts.min() > 130
    assert ((first[1] // 1000) != (second[1] // 1000)).all()
    assert len(drawn(batch, 9, torch.Generator())) == 3


@pytest.mark.parametrize("others", [1, 2])
def test_the_loss_is_the_formula_written_out(others: int) -> None:
    task = with_three(polylines_task(16))
    loop = Loop(task, [Consistency(weight=3.0, others=others)], Settings(batch=16))
    loop.begin()
    batch = loop._next_batch()
    loop.outputs(batch.inputs)  # running statistics of some batch
    again = torch.Generator()
    again.set_state(loop.generator.get_state())
    loss = loop.techniques[0].loss(loop, batch, loop.outputs(batch.inputs), torch.tensor(10.0))
    expected = torch.tensor(0.0)
    loop.model.eval()  # BatchNorm as it will drive, on both sides
    outputs = loop.model(*batch.inputs)
    for inputs in drawn(batch, others, again):
        y, logits = loop.model(*inputs)
        present = torch.sigmoid(outputs[1])
        lateral = ((y - outputs[0]) ** 2).mean(-1) * present.detach()
        each = lateral.mean(-1) + 0.2 * ((torch.sigmoid(logits) - present) ** 2).mean(-1)
        expected = expected + each.mean() / others
    torch.testing.assert_close(loss, 10 + 3 * expected)
    own, theirs = (torch.autograd.grad(v, list(loop.model.parameters()), retain_graph=True) for v in (loss, expected))
    for one, other in zip(own, theirs, strict=True):
        torch.testing.assert_close(one, 3 * other, atol=1e-5, rtol=1e-4)


def test_jsd_of_masks_takes_all_versions_together() -> None:
    outputs = tuple(torch.randn(2, 3, 4, generator=torch.Generator().manual_seed(i)) for i in range(3))
    found = inconsistency(Classification(), outputs[:1], [(outputs[1],), (outputs[2],)], "jsd")
    torch.testing.assert_close(found, jensen_shannon(outputs))


@pytest.mark.parametrize(("others", "passes"), [(1, 6), (2, 8), (9, 10)])
def test_both_sides_cost_two_passes_each_and_plain_pictures_make_the_statistics(others: int, passes: int) -> None:
    task = with_three(polylines_task(16))
    loops = [Loop(task, t, Settings(batch=16)) for t in ([Consistency(others=others)], [])]
    for loop in loops:
        loop.one_step()
    own, plain = loops
    assert own.passes.total == passes
    for buffer, clean in zip(own.model.buffers(), plain.model.buffers(), strict=True):
        assert torch.equal(buffer, clean)


def test_without_batchnorm_the_picture_needs_no_further_pass() -> None:
    class Plain(nn.Conv2d):
        def forward(self, x: Tensor) -> tuple[Tensor, ...]:
            return super().forward(x).chunk(2, 1)

    loop = Loop(replace(masks_task(16), network=lambda: Plain(1, 4, 3, padding=1)), [Consistency()], Settings(batch=16))
    loop.one_step()
    assert loop.passes.total == 4


def test_weight_zero_trains_as_without_it() -> None:
    task = polylines_task(48)
    one, plain = (Loop(task, t, Settings(batch=16)) for t in ([Consistency(weight=0)], []))
    for _ in range(3):
        one.one_step()
        plain.one_step()
    assert same(one.model.state_dict(), plain.model.state_dict())


@pytest.mark.parametrize(("make", "rule"), [(polylines_task, "divergence"), (masks_task, "jsd")])
def test_it_makes_pipelines_agree(make, rule: str) -> None:
    """At equal steps, the mean divergence between a test picture and its variant falls."""
    task = make(96)
    apart = []
    for techniques in ([], [Consistency(weight=30.0, rule=rule)]):
        model = run(task, techniques, passes=240 * (1 + 2 * len(techniques)), rate=1e-2, seed=1).model
        batch = task.test.batch(torch.arange(96), torch.Generator())
        with torch.no_grad():
            outputs, others = (task.objective.outputs(model, x) for x in (batch.inputs, batch.variants[0]))
        apart.append(float(inconsistency(task.objective, outputs, [others]).mean()))
    assert apart[1] < 0.7 * apart[0]


@pytest.mark.parametrize(("make", "rule"), [(polylines_task, "divergence"), (masks_task, "jsd")])
def test_a_resumed_run_equals_an_uninterrupted_one(make, rule: str, tmp_path: Path) -> None:
    assert_resumes(make(48), lambda: Consistency(rule=rule), tmp_path, stops=(1, 4), passes=42)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_it_trains_in_any_precision(precision: str) -> None:
    trained = run(polylines_task(), [Consistency()], passes=240, precision=precision, rate=1e-2)
    assert trained.history[-1][1] < 0.8 * trained.history[0][1]


def test_what_it_cannot_do_is_one_clear_error() -> None:
    with pytest.raises(TaskError, match="consistency needs examples as other pipelines"):
        run(classes_task(32), [Consistency()])
    for task in (polylines_task(16), numbers_task(16)):
        with pytest.raises(TechniqueOptionError, match="no classes") as caught:
            run(with_three(task), [Consistency(rule="jsd")])
        assert "divergence" in caught.value.remedy
    for options in ({"weight": -1}, {"rule": "kl"}, {"others": 0}, {"others": 1.5}, {"pairs": 2}):
        with pytest.raises(TechniqueOptionError):
            build("consistency", **options)
    assert not inconsistency(Polylines(), (torch.zeros(2, 1, 3), torch.zeros(2, 1)), []).any()


def test_before_its_ramp_it_costs_nothing_and_trains_plainly() -> None:
    task = with_three(polylines_task(24))
    settings = Settings(budget_passes=40, batch=8)
    loop, plain = (
        Loop(task, [Consistency(weight=5.0, ramp_start=0.5, ramp_stop=0.75)], settings),
        Loop(task, [], settings),
    )
    spent = []
    while loop.progress < 1:
        before = loop.passes.total
        at = loop.progress
        loop.one_step()
        spent.append((at, loop.passes.total - before))
    assert {cost for at, cost in spent if at < 0.5} == {2}
    assert {cost for at, cost in spent if at > 0.5} == {6}
    early = sum(at < 0.5 for at, _ in spent)
    plain.begin()
    for _ in range(early):
        plain.one_step()
    assert [loss for _, loss in plain.history] == [loss for _, loss in loop.history[:early]]


def test_a_ramp_that_runs_backwards_is_refused() -> None:
    with pytest.raises(TechniqueOptionError, match="at most ramp_stop"):
        Consistency(ramp_start=0.6, ramp_stop=0.5)
