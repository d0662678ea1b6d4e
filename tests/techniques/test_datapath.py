from __future__ import annotations

from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from small_tasks import LinesNetwork, classes_task, polylines_task
from stopped import assert_resumes, run, same
from torch import Tensor, nn

from techniques.datapath import (
    Datapath,
    datapaths,
    gated,
    gated_layers,
    infidelity,
    jaccard,
    shuffled,
    sign_noise,
    thresholded,
)
from techniques.errors import TechniqueOptionError
from techniques.objectives import Classification, Polylines
from techniques.task import Domain, Task


class TwoUnits(nn.Module):
    """f(x) = 2 * relu(w1 x) + relu(w2 x) with w = (1, small): the first channel carries nearly everything."""

    def __init__(self, small: float) -> None:
        super().__init__()
        self.first, self.relu, self.last = nn.Linear(1, 2, bias=False), nn.ReLU(), nn.Linear(2, 1, bias=False)
        with torch.no_grad():
            self.first.weight.copy_(torch.tensor([[1.0], [small]]))
            self.last.weight.copy_(torch.tensor([[2.0, 1.0]]))

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.relu(self.first(x)))


class OneReLUForAll(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c, self.relu = nn.Linear(3, 4), nn.Linear(4, 5), nn.Linear(5, 2), nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        return self.c(self.relu(self.b(self.relu(self.a(x)))))


def lines_inputs(count: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(2)
    return torch.rand(count, 3, 8, 12, generator=generator), torch.randn(count, 2, generator=generator)


def test_open_gates_change_nothing_and_closed_gates_silence_the_layer() -> None:
    torch.manual_seed(0)
    model, inputs = LinesNetwork().eval(), lines_inputs(3)
    plain = model(*inputs)[0]
    with gated(model, {"body.2": torch.ones(3, 8)}):
        torch.testing.assert_close(model(*inputs)[0], plain, rtol=0, atol=0)
    with gated(model, {"body.2": torch.zeros(3, 8)}):
        silent = model(*inputs)[0]
    expected = model.head(torch.cat([torch.zeros(3, 8), inputs[1]], 1))[:, :10].unflatten(1, (2, 5))
    torch.testing.assert_close(silent, expected)
    torch.testing.assert_close(model(*inputs)[0], plain, rtol=0, atol=0)


def test_every_example_has_gates_of_its_own() -> None:
    torch.manual_seed(0)
    model, inputs = LinesNetwork().eval(), lines_inputs(2)
    plain = model(*inputs)[0]
    with gated(model, {"body.2": torch.tensor([[1.0] * 8, [0.0] * 8])}):
        found = model(*inputs)[0]
    assert torch.equal(found[0], plain[0])
    assert not torch.allclose(found[1], plain[1])


def test_a_module_that_runs_twice_is_two_layers() -> None:
    torch.manual_seed(0)
    model, x = OneReLUForAll(), torch.rand(6, 3)
    assert gated_layers(model, Classification(), (x,)) == {"relu": 4, "relu#2": 5}
    with gated(model, {"relu#2": torch.zeros(6, 5)}):
        for _ in range(2):  # the count starts anew with every pass
            torch.testing.assert_close(model(x), model.c.bias.expand(6, 2))


def test_layers_that_give_the_outputs_are_not_gated() -> None:
    model, inputs = LinesNetwork(), lines_inputs(2)
    assert gated_layers(model, Polylines(), inputs) == {"body.2": 8}
    assert gated_layers(model, Polylines(), inputs, ("body.0", "head")) == {"body.0": 8}
    linear = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2))
    assert gated_layers(linear, Classification(), (torch.rand(2, 3),)) == {"0": 4}


def test_a_datapath_keeps_the_channel_that_matters_and_drops_the_other() -> None:
    gates = datapaths(TwoUnits(0.01), Classification(), (torch.ones(3, 1),), weight=0.1)
    assert thresholded(gates)["relu"].tolist() == [[1, 0]] * 3


def test_gates_approach_the_closed_form_of_one_gate() -> None:
    # f = 2 z1 + small: minimise (2 (1 - z1))^2 / 4 + weight * z1 / 2, so 1 - z1 = weight / 4
    gates = datapaths(TwoUnits(0.0), Classification(), (torch.ones(1, 1),), weight=0.4, steps=800, rate=0.02)
    assert gates["relu"][0].tolist() == pytest.approx([0.9, 0.0], abs=2e-3)


def test_gates_stay_within_their_bounds_and_close_with_the_penalty() -> None:
    torch.manual_seed(0)
    model, inputs = LinesNetwork(), lines_inputs(4)
    sums = []
    for weight in (0.0, 0.3, 30.0):
        gates = datapaths(model, Polylines(), inputs, weight=weight, steps=40)["body.2"]
        assert float(gates.min()) >= 0
        assert float(gates.max()) <= 1
        sums.append(float(gates.sum()))
    assert sums[0] == 32
    assert sums[0] > sums[1] > sums[2] == 0


def test_examples_do_not_influence_one_another() -> None:
    torch.manual_seed(0)
    model, (pictures, poses) = LinesNetwork().train(), lines_inputs(4)
    together = datapaths(model, Polylines(), (pictures, poses), steps=30)["body.2"]
    alone = datapaths(model, Polylines(), (pictures[1:2], poses[1:2]), steps=30)["body.2"]
    torch.testing.assert_close(together[1:2], alone, atol=1e-3, rtol=0)


def test_the_network_its_mode_and_gradients_are_left_alone() -> None:
    torch.manual_seed(0)
    model = LinesNetwork().train()
    before = {k: v.clone() for k, v in model.state_dict().items()}
    gates = datapaths(model, Polylines(), lines_inputs(4), steps=5)
    infidelity(model, Polylines(), lines_inputs(4), gates)
    assert same(before, model.state_dict())
    assert all(m.training for m in model.modules())
    assert all(p.grad is None for p in model.parameters())
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())


def test_a_datapath_is_more_faithful_than_random_channels_of_the_same_number() -> None:
    task = classes_task(64)
    model = run(task, [], passes=200).model
    inputs = task.test.batch(torch.arange(24), torch.Generator()).inputs
    path = thresholded(datapaths(model, task.objective, inputs))
    own = float(infidelity(model, task.objective, inputs, path).mean())
    for seed in range(3):
        random = shuffled(path, torch.Generator().manual_seed(seed))
        assert own < float(infidelity(model, task.objective, inputs, random).mean())


def test_infidelity_is_the_relative_square_of_what_closing_takes_away() -> None:
    model, x = TwoUnits(1.0), torch.ones(2, 1)
    closed = {"relu": torch.tensor([[1.0, 0.0], [0.0, 0.0]])}
    assert infidelity(model, Classification(), (x,), closed).tolist() == pytest.approx([1 / 9, 1.0])


gate_rows = st.lists(st.lists(st.sampled_from([0.0, 1.0]), min_size=5, max_size=5), min_size=2, max_size=2)


@given(gate_rows)
@settings(max_examples=40, deadline=None)
def test_jaccard_is_that_of_sets(rows: list[list[float]]) -> None:
    a, b = ({i for i, v in enumerate(row) if v} for row in rows)
    expected = len(a & b) / len(a | b) if a | b else 1
    found = jaccard({"l": torch.tensor(rows[:1])}, {"l": torch.tensor(rows[1:])})["l"]
    assert float(found) == pytest.approx(expected)


@given(st.integers(0, 1000))
@settings(max_examples=20, deadline=None)
def test_shuffled_gates_are_as_sparse_layer_by_layer(seed: int) -> None:
    gates = {"a": torch.rand(3, 7, generator=torch.Generator().manual_seed(seed)), "b": torch.ones(3, 2)}
    found = shuffled(gates, torch.Generator().manual_seed(seed))
    for name, gate in gates.items():
        assert torch.equal(found[name].sort(1).values, gate.sort(1).values)


def test_sign_noise_moves_every_value_by_eps_raw_units_and_stays_in_range() -> None:
    domain = Domain(0, 1, (0.4, 0.5, 0.6), (0.2, 0.25, 0.3))
    raw, pose = torch.rand(2, 3, 4, 4) * 0.8 + 0.1, torch.rand(2, 2)
    picture, same_pose = sign_noise((domain.normalised(raw), pose), (domain, None), 0.05, torch.Generator())
    torch.testing.assert_close((domain.raw(picture) - raw).abs(), torch.full_like(raw, 0.05))
    assert torch.equal(same_pose, pose)
    edge = sign_noise((domain.normalised(torch.ones_like(raw)),), (domain,), 0.05, torch.Generator())[0]
    assert float(domain.raw(edge).max()) <= 1 + 1e-6


@pytest.mark.parametrize("make", [classes_task, polylines_task])
def test_the_probe_changes_nothing_in_training_and_reports(make: type[Task]) -> None:
    watched, control = run(make(64), [Datapath(examples=6, steps=10)]), run(make(64), [])
    assert same(watched.model.state_dict(), control.model.state_dict())
    assert (watched.history, watched.passes) == (control.history, control.passes)
    report = watched.reports["datapath"]
    assert report["infidelity"] >= 0
    for row in report["layers"]:
        assert set(row) == {"layer", "open", "jaccard_fgsm", "jaccard_noise"}
        assert all(0 <= row[k] <= 1 for k in ("open", "jaccard_fgsm", "jaccard_noise"))


def test_a_resumed_run_reports_the_same(tmp_path: Path) -> None:
    assert_resumes(polylines_task(48), lambda: Datapath(examples=4, steps=5), tmp_path, [3], 20)


def test_what_cannot_be_probed_is_refused_before_training() -> None:
    task = classes_task(32)
    blind = Task(task.network, task.objective, (None,), task.train, task.selection, task.test)
    with pytest.raises(TechniqueOptionError, match="of which 0 may change"):
        run(blind, [Datapath(examples=4)], passes=0.1)  # type: ignore[arg-type]  # not one step
    with pytest.raises(TechniqueOptionError, match="no layer 'nowhere'"):
        run(task, [Datapath(examples=4, layers=("nowhere",))])
    with pytest.raises(TechniqueOptionError, match="more than the whole raw range"):
        run(task, [Datapath(examples=4, eps=8)])
    with pytest.raises(TechniqueOptionError, match="no layer inside"):
        gated_layers(nn.Sequential(nn.Linear(3, 2)), Classification(), (torch.rand(2, 3),))


@pytest.mark.parametrize("options", [{"examples": 0}, {"weight": -1}, {"steps": 0}, {"rate": 0}, {"eps": 0}])
def test_options_out_of_range_are_refused(options: dict[str, float]) -> None:
    with pytest.raises(TechniqueOptionError):
        Datapath(**options)  # type: ignore[arg-type]  # wrong on purpose
