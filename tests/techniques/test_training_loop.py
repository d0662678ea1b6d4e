"""The training loop: budgets, seeds, hooks, resuming, bad requests."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import pytest
import torch
from small_tasks import classes_task, polylines_task
from torch import nn

from techniques.errors import (
    CheckpointError,
    EmptyData,
    NonFiniteLoss,
    TaskError,
    TechniqueConflict,
    TechniqueOptionError,
    UnknownTechnique,
)
from techniques.registry import TABLE, build, build_all, names, outline
from techniques.task import Batch, Domain, TensorExamples
from techniques.technique import Technique
from techniques.training import Loop, Settings

SMALL = Settings(budget_passes=24, batch=16, rate=1e-2)


@pytest.fixture(params=[classes_task, polylines_task], ids=["classes", "lines"])
def task(request):
    return request.param(96)


def _same(a: nn.Module, b: nn.Module) -> bool:
    return all(torch.equal(x, y) for x, y in zip(a.state_dict().values(), b.state_dict().values(), strict=True))


def test_a_plain_step_costs_two_passes_and_training_stops_at_the_budget(task):
    trained = Loop(task, [], SMALL).run()
    assert (trained.steps, trained.passes.forward, trained.passes.backward) == (12, 12, 12)
    assert [passes for passes, _ in trained.history] == list(range(2, 25, 2))


def test_training_lowers_the_error(task):
    loop = Loop(task, [], replace(SMALL, budget_passes=160))
    before = loop.mean_error(loop.model, task.test)
    assert loop.mean_error(loop.run().model, task.test) < 0.8 * before


def test_evaluation_costs_nothing_and_changes_nothing(task):
    loop = Loop(task, [], SMALL)
    loop.one_step()
    state, passes = {k: v.clone() for k, v in loop.model.state_dict().items()}, loop.passes.total
    loop.mean_error(loop.model, task.test)
    assert loop.passes.total == passes
    assert loop.model.training
    assert all(torch.equal(v, state[k]) for k, v in loop.model.state_dict().items())


def test_the_seed_decides_the_outcome(task):
    assert _same(Loop(task, [], SMALL).run().model, Loop(task, [], SMALL).run().model)
    assert not _same(Loop(task, [], SMALL).run().model, Loop(task, [], replace(SMALL, seed=1)).run().model)


def test_what_a_technique_draws_does_not_change_the_order_of_the_data(task):
    @dataclass
    class Drawing(Technique):
        name: ClassVar[str] = "drawing"

        def before_step(self, loop: Loop, batch: Batch) -> Batch:
            torch.rand(7, generator=loop.generator)
            return batch

    assert _same(Loop(task, [], SMALL).run().model, Loop(task, [Drawing()], SMALL).run().model)


def test_an_epoch_shows_every_example_once(task):
    seen: list[torch.Tensor] = []

    @dataclass
    class Watching(Technique):
        def before_step(self, loop: Loop, batch: Batch) -> Batch:
            seen.append(batch.inputs[0])
            return batch

    loop = Loop(task, [Watching()], SMALL)
    for _ in range(6):
        loop.one_step()
    rows = torch.cat(seen).flatten(1)
    assert loop.epoch == 1
    assert len(torch.unique(rows, dim=0)) == len(task.train) == len(rows)


def test_hooks_come_in_their_order_and_the_first_technique_is_outermost(task):
    said: list[str] = []

    @dataclass
    class Saying(Technique):
        who: str = ""

        def start(self, loop):
            said.append(f"{self.who} start")

        def before_step(self, loop, batch):
            said.append(f"{self.who} before")
            return batch

        def gradient(self, loop, batch, inner):
            said.append(f"{self.who} in")
            loss = inner(batch)
            said.append(f"{self.who} out")
            return loss

        def loss(self, loop, batch, outputs, loss):
            said.append(f"{self.who} loss")
            return loss

        def after_step(self, loop):
            said.append(f"{self.who} after")

        def finish(self, loop):
            said.append(f"{self.who} finish")

    Loop(task, [Saying("a"), Saying("b")], replace(SMALL, budget_passes=2)).run()
    steps = ["before", "in", "out", "loss", "after", "finish"]
    assert said == [
        "a start", "b start", "a before", "b before", "a in", "b in", "a loss", "b loss", "b out", "a out",
        "a after", "b after", "a finish", "b finish",
    ]  # fmt: skip
    assert all(any(step in word for word in said) for step in steps)


def test_a_run_stopped_anywhere_goes_on_to_the_same_weights(task, tmp_path):
    whole = Loop(task, [], SMALL).run()
    stopped = Loop(task, [], SMALL, tmp_path)
    for _ in range(7):
        stopped.one_step()
    stopped.save()
    resumed = Loop(task, [], replace(SMALL, checkpoint_s=99.0), tmp_path).run()
    assert resumed.steps == 12
    assert _same(whole.model, resumed.model)
    assert [loss for _, loss in whole.history] == pytest.approx([loss for _, loss in resumed.history], abs=0)


@pytest.mark.parametrize("other", [(replace(SMALL, seed=5), []), (SMALL, ["gaussian"])], ids=["settings", "techniques"])
def test_the_state_of_another_run_is_refused(task, tmp_path, other):
    settings, techniques = other
    loop = Loop(task, [], SMALL, tmp_path)
    loop.one_step()
    loop.save()
    with pytest.raises(CheckpointError, match="other settings or techniques"):
        Loop(task, [build(name) for name in techniques], settings, tmp_path).run()


def test_other_options_of_a_technique_are_another_run(task, tmp_path):
    loop = Loop(task, [build("gaussian", sigma=0.1)], SMALL, tmp_path)
    loop.one_step()
    loop.save()
    with pytest.raises(CheckpointError):
        Loop(task, [build("gaussian", sigma=0.2)], SMALL, tmp_path).run()


def test_a_loss_that_is_not_finite_stops_the_run_with_the_step(task):
    @dataclass
    class Broken(Technique):
        name: ClassVar[str] = "broken"

        def loss(self, loop, batch, outputs, loss):
            return loss * (float("nan") if loop.step == 3 else 1.0)

    with pytest.raises(NonFiniteLoss, match="nan") as raised:
        Loop(task, [Broken()], SMALL).run()
    assert "step 3" in raised.value.where
    assert "broken" in raised.value.where


def test_the_rate_rises_and_falls_over_the_budget_whatever_a_step_costs(task):
    loop = Loop(task, [], replace(SMALL, budget_passes=1000))
    rates = [loop.scheduled_rate(p / 100) for p in range(101)]
    assert max(rates) == pytest.approx(1e-2)
    assert rates.index(max(rates)) == 15
    assert rates[-1] < 1e-4 < rates[0]


def test_both_optimisers_and_schedules_run(task):
    for optimiser in ("adamw", "sgd"):
        for schedule in ("one-cycle", "cosine", "constant"):
            settings = replace(SMALL, optimiser=optimiser, schedule=schedule, budget_passes=6)
            assert Loop(task, [], settings).run().steps == 3


def test_reduced_precision_trains_too(task):
    trained = Loop(task, [], replace(SMALL, precision="bf16")).run()
    assert all(value.dtype == torch.float32 for value in trained.model.parameters())
    assert all(torch.isfinite(value).all() for value in trained.model.parameters())


@pytest.mark.parametrize(
    ("key", "value"),
    [("budget_passes", 0), ("batch", -1), ("rate", 0.0), ("clip", -1.0), ("optimiser", "adam"), ("schedule", "step"),
     ("precision", "fp16"), ("rate", float("nan"))],
)  # fmt: skip
def test_settings_out_of_range_are_refused_by_name(key, value):
    with pytest.raises(TechniqueOptionError) as raised:
        Settings(**{key: value})
    assert key in raised.value.where


@pytest.mark.parametrize("device", ["cuda:99", "abacus"])
def test_a_device_that_is_not_there_is_one_clear_error(task, device):
    with pytest.raises(TechniqueOptionError, match=device) as raised:
        Loop(task, [], replace(SMALL, device=device))
    assert "\n" not in str(raised.value)


def test_no_data_and_no_parameters_are_refused(task):
    class Nothing:
        def __len__(self):
            return 0

    with pytest.raises(EmptyData):
        Loop(replace(task, train=Nothing()), [], SMALL)
    with pytest.raises(EmptyData):
        TensorExamples((torch.empty(0, 3),))
    with pytest.raises(EmptyData):
        Loop(task, [], SMALL).mean_error(task.network(), Nothing())
    with pytest.raises(TaskError, match="no parameters"):
        Loop(replace(task, network=nn.Identity), [], SMALL).begin()


def test_a_domain_converts_clips_and_refuses_nonsense():
    domain = Domain(0, 1, (0.4, 0.5, 0.6), (0.2, 0.25, 0.3))
    raw = torch.rand(2, 3, 4, 4)
    torch.testing.assert_close(domain.raw(domain.normalised(raw)), raw)
    wide = domain.clip(domain.normalised(raw * 3 - 1))
    assert domain.raw(wide).min() > -1e-6
    assert domain.raw(wide).max() < 1 + 1e-6
    for bad in ({"low": 1.0, "high": 0.0}, {"std": (0.0,)}):
        with pytest.raises(TechniqueOptionError):
            Domain(**bad)


@pytest.mark.parametrize("name", names())
def test_every_technique_has_a_name_a_summary_and_checked_options(name):
    technique = build(name)
    assert technique.name == name
    assert len(outline(name).summary) > 10
    with pytest.raises(TechniqueOptionError, match="no option 'strength_of_will'"):
        build(name, strength_of_will=1)


def test_unknown_names_get_a_hint_and_rivals_are_refused():
    with pytest.raises(UnknownTechnique) as raised:
        build("greedy-soop")
    assert "greedy-soup" in raised.value.remedy
    with pytest.raises(TechniqueConflict, match="attack"):
        build_all({"fgsm": {}, "pgd": {}})
    with pytest.raises(TechniqueConflict, match="final weights"):
        build_all({"swa": {}, "uniform-soup": {}})
    assert [t.name for t in build_all({"fgsm": {}, "swa": {}})] == ["fgsm", "swa"]
    assert list(TABLE) == names()
