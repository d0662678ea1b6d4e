from __future__ import annotations

import math

import pytest
import torch
from small_tasks import classes_task, polylines_task
from stopped import assert_resumes, run, same

from techniques.errors import ModelMismatch, TechniqueOptionError
from techniques.task import Batch, Domain
from techniques.training import Loop, Settings
from techniques.weights import cloned
from techniques.wiseft import WiSEFT, broadened, path_errors, point_on_path

TASKS = {"classes": classes_task(), "polylines": polylines_task()}


def state(value: float) -> dict[str, torch.Tensor]:
    return {"w": torch.tensor([value, -0.0]), "n": torch.tensor(int(value))}


def test_the_ends_are_the_networks_bit_for_bit_and_are_not_repaired():
    def never(_):
        raise AssertionError("an end was repaired")

    start, end = state(1.1), state(2.3)
    assert same(point_on_path(start, end, 0, repaired=never), start)
    assert same(point_on_path(start, end, 1.0, repaired=never), end)


def test_between_the_ends_every_point_is_repaired():
    errors = path_errors(
        state(1), state(3), [0, 0.25, 0.5, 1], lambda s: float(s["w"][0]), repaired=lambda s: {"w": s["w"] * 10}
    )
    assert errors == [1.0, 15.0, 20.0, 3.0]


@pytest.mark.parametrize("alpha", [-0.1, 1.5, math.nan])
def test_points_off_the_path_are_refused(alpha):
    with pytest.raises(TechniqueOptionError, match=r"in 0\.\.1"):
        point_on_path(state(1), state(2), alpha)


def test_other_keys_are_one_clear_error():
    with pytest.raises(ModelMismatch, match="keys differ"):
        point_on_path(state(1), {"v": torch.zeros(2)}, 0.5)


def test_every_example_is_one_of_its_pipelines_all_equally_likely():
    inputs = (torch.zeros(3000, 2), torch.zeros(3000))
    variants = tuple((torch.full((3000, 2), float(v)), torch.full((3000,), float(v))) for v in (1, 2))
    batch = broadened(Batch(inputs, (), variants), (Domain(), None), 0.1, torch.Generator().manual_seed(0))
    picture, pose = batch.inputs
    assert torch.equal(picture[:, 0], pose)  # both inputs of one pipeline
    assert torch.bincount(pose.long()).tolist() == pytest.approx([1000] * 3, abs=100)


def test_without_variants_noise_of_raw_units_is_on_inputs_that_have_a_domain():
    domain = Domain(0, 255, (120.0, 130.0), (50.0, 60.0))
    x, pose = domain.normalised(torch.full((400, 2, 5, 5), 128.0)), torch.randn(400, 3)
    batch = broadened(Batch((x, pose)), (domain, None), 20.0, torch.Generator().manual_seed(0))
    assert float(domain.raw(batch.inputs[0]).std()) == pytest.approx(20.0, rel=0.03)
    assert torch.equal(batch.inputs[1], pose)


@pytest.mark.parametrize("name", TASKS)
def test_it_trains_and_a_stopped_run_goes_on(name, tmp_path):
    task = TASKS[name]
    before = Loop(task, [], Settings())
    first_error = before.mean_error(before.model, task.test)
    trained = run(task, [WiSEFT(points=3)], passes=300)
    report = trained.reports["wise-ft"]
    assert trained.passes.total == 300
    assert before.mean_error(trained.model, task.test) < 0.75 * first_error
    assert before.mean_error(trained.model, task.selection) == report["plain"][1]
    assert report["alphas"] == [0, 0.5, 1]
    assert len(report["broad"]) == 3
    assert_resumes(task, lambda: WiSEFT(points=3), tmp_path, stops=[3, 8], passes=24)


@pytest.mark.parametrize("name", TASKS)
def test_the_ends_in_the_loop_are_the_two_networks_bit_for_bit(name):
    networks = {}

    class Watch(WiSEFT):
        def finish(self, loop):
            networks[0.0], networks[1.0] = self._broad_network, cloned(loop.model.state_dict())
            super().finish(loop)

    for alpha in (0.0, 1.0):
        trained = run(TASKS[name], [Watch(alpha=alpha, points=2)], passes=24)
        assert same(trained.model.state_dict(), networks[alpha])
    assert not same(networks[0.0], networks[1.0])


def test_the_broad_phase_sees_other_pipelines_and_fine_tuning_the_plain_inputs():
    seen = []

    class Watch(WiSEFT):
        def before_step(self, loop, batch):
            found = super().before_step(loop, batch)
            moved = (found.inputs[0] != batch.inputs[0]).flatten(1).any(1)
            seen.append((float(moved.float().mean()), loop.optimiser.param_groups[0]["lr"]))
            return found

    run(TASKS["polylines"], [Watch(points=2, rate=0.3)], passes=80, rate=0.01)
    broad, fine = seen[:20], seen[20:]
    assert sum(share for share, _ in broad) / 20 == pytest.approx(0.5, abs=0.15)
    assert {share for share, _ in fine} == {0.0}
    assert fine[0][1] == pytest.approx(0.003)
    assert max(rate for _, rate in broad) == pytest.approx(0.01, rel=0.05)
    assert fine[-1][1] < 0.1 * fine[0][1]


@pytest.mark.parametrize(
    ("option", "value"),
    [("alpha", 1.1), ("alpha", math.nan), ("broad", -0.1), ("broad", 1.0), ("rate", 0), ("noise", 0), ("points", 1)],
)
def test_options_out_of_range_are_named(option, value):
    with pytest.raises(TechniqueOptionError) as error:
        WiSEFT(**{option: value})
    assert option in error.value.where


def test_a_budget_without_fine_tuning_is_one_clear_error():
    with pytest.raises(TechniqueOptionError, match="no step for fine-tuning"):
        run(TASKS["classes"], [WiSEFT(broad=0.9)], passes=4)


def test_it_trains_in_bf16():
    assert run(TASKS["polylines"], [WiSEFT(points=2)], passes=16, precision="bf16").steps == 8
