from __future__ import annotations

import copy
import math
from pathlib import Path

import pytest
import torch
from small_tasks import LinesNetwork, classes_task, polylines_task
from stopped import assert_resumes, run, same
from torch import Tensor, nn

from techniques.criticality import (
    Criticality,
    Layer,
    distances,
    fresh_states,
    layer_criticality,
    layers,
    snapshot,
    swapped,
)
from techniques.errors import EmptyData, ModelMismatch, TechniqueOptionError
from techniques.task import Task
from techniques.training import Loop, Settings


class Odd(nn.Module):
    """Tensors on the network itself, shared weights, BatchNorm without affine part, a buffer that is not stored."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.rand(3))
        self.first = nn.Linear(3, 3)
        self.norm = nn.BatchNorm1d(3, affine=False)
        self.second = nn.Linear(3, 3)
        self.second.weight = self.first.weight
        self.register_buffer("scratch", torch.zeros(3), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.second(self.norm(self.first(x))) * self.scale


def trained_and_first(seed: int = 0) -> tuple[nn.Module, dict[str, Tensor]]:
    """A network whose every tensor differs from what it was."""
    torch.manual_seed(seed)
    model = LinesNetwork()
    start = snapshot(model)
    with torch.no_grad():
        for tensor in model.state_dict().values():
            tensor.add_(1)
    return model, start


def total(model: nn.Module) -> float:
    """An 'error' from which it can be read which tensors are in place."""
    return sum(float(v.double().sum()) * 3.0**i for i, v in enumerate(model.state_dict().values()))


def test_every_stored_tensor_belongs_to_exactly_one_layer() -> None:
    found = layers(LinesNetwork())
    assert [layer.name for layer in found] == ["body.0", "body.1", "head"]
    assert sorted(k for layer in found for k in layer.keys) == sorted(LinesNetwork().state_dict())
    assert set(found[1].keys) - set(found[1].parameters) == {
        "body.1.running_mean",
        "body.1.running_var",
        "body.1.num_batches_tracked",
    }


def test_tensors_of_the_network_itself_and_shared_weights_are_layers_too() -> None:
    found = {layer.name: layer for layer in layers(Odd())}
    assert found["(root)"].keys == ("scale",)
    assert set(found["first"].keys) == {"first.weight", "second.weight", "first.bias"}
    assert set(found["second"].keys) == {"first.weight", "second.weight", "second.bias"}
    assert found["norm"].parameters == ()


def test_shared_weights_are_reset_under_both_names() -> None:
    torch.manual_seed(0)
    model = Odd()
    start = snapshot(model)
    with torch.no_grad():
        model.first.weight.add_(1)
    rows = layer_criticality(
        model, lambda m: float((m.second.weight.detach() - start["first.weight"]).abs().max()), start
    )
    by_name = {row.layer: row.re_initialised[0] for row in rows}
    assert by_name["first"] == by_name["second"] == 0
    assert by_name["norm"] == pytest.approx(1)


def test_resetting_a_layer_resets_all_of_it_and_nothing_else() -> None:
    model, start = trained_and_first()
    rows = layer_criticality(model, total, start)
    now = total(model)
    keys = list(model.state_dict())
    for row, layer in zip(rows, layers(model), strict=True):
        by_hand = sum(float(model.state_dict()[k].numel()) * 3.0 ** keys.index(k) for k in layer.keys)
        assert row.trained == now
        assert now - row.re_initialised[0] == pytest.approx(by_hand, rel=1e-6)


def test_re_initialisation_agrees_with_a_network_put_together_by_hand() -> None:
    model, start = trained_and_first()
    pictures, poses = torch.rand(8, 3, 8, 12), torch.rand(8, 2)

    def error(network: nn.Module) -> float:
        with torch.no_grad():
            return float(network(pictures, poses)[0].square().mean())

    by_hand = copy.deepcopy(model).eval()
    old = LinesNetwork()
    old.load_state_dict(start)
    by_hand.head = old.head
    assert layer_criticality(model, error, start)[-1].re_initialised[0] == error(by_hand)


def test_the_network_its_mode_and_its_gradients_are_afterwards_as_they_were() -> None:
    model, start = trained_and_first()
    model.train()
    model.body[1].eval()
    model.head.bias.grad = torch.ones_like(model.head.bias)
    before = snapshot(model)
    layer_criticality(model, total, start, fresh=list(fresh_states(LinesNetwork, 2)))
    assert same(before, snapshot(model))
    assert [m.training for m in model.modules()] == [True, True, True, False, True, True]
    assert torch.equal(model.head.bias.grad, torch.ones_like(model.head.bias))


def test_weights_come_back_even_when_the_evaluation_fails() -> None:
    model, start = trained_and_first()
    before, calls = snapshot(model), []

    def fail(_: nn.Module) -> float:
        calls.append(1)
        if len(calls) == 2:
            raise ValueError("no data")
        return 0.0

    with pytest.raises(ValueError, match="no data"):
        layer_criticality(model, fail, start)
    assert same(before, snapshot(model))


def test_re_randomising_takes_another_draw_than_the_run_began_with() -> None:
    torch.manual_seed(5)
    start = snapshot(LinesNetwork())
    fresh = list(fresh_states(LinesNetwork, 3))
    for state in fresh:
        assert not torch.equal(state["head.weight"], start["head.weight"])
    assert not torch.equal(fresh[0]["head.weight"], fresh[1]["head.weight"])
    assert torch.equal(fresh[0]["body.1.running_var"], torch.ones(8))


def test_fresh_draws_repeat_by_seed_and_leave_the_global_generator_alone() -> None:
    torch.manual_seed(5)
    before = torch.get_rng_state()
    once, again, other = (list(fresh_states(LinesNetwork, 2, seed)) for seed in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), before)
    assert same(once[1], again[1])
    assert not same(once[1], other[1])


def test_a_constructor_that_loads_trained_weights_is_no_distribution() -> None:
    trained = LinesNetwork()
    with pytest.raises(ModelMismatch, match="nothing was drawn"):
        list(fresh_states(lambda: copy.deepcopy(trained), 2))


def test_distances_follow_their_formulas() -> None:
    layer = Layer("a", ("a.w", "a.b", "a.n"), ("a.w", "a.b"))
    start = {"a.w": torch.tensor([3.0, 0.0]), "a.b": torch.tensor([4.0]), "a.n": torch.tensor(0)}
    now = {"a.w": torch.tensor([3.0, -2.0]), "a.b": torch.tensor([5.0]), "a.n": torch.tensor(9)}
    assert distances(now, start, layer) == pytest.approx((math.sqrt(5) / 5, math.sqrt(5 / 3), 2))
    assert distances(start, start, layer) == (0, 0, 0)


def test_distances_of_layers_that_began_at_zero_or_have_no_parameters_say_so() -> None:
    zero, one = {"b": torch.zeros(2)}, {"b": torch.ones(2)}
    assert distances(one, zero, Layer("b", ("b",), ("b",)))[0] == math.inf
    assert all(math.isnan(v) for v in distances(one, zero, Layer("b", ("b",), ())))


def test_states_of_another_network_are_refused() -> None:
    model, start = trained_and_first()
    with pytest.raises(ModelMismatch, match=r"head\.weight is \[1, 1\] there and \[12, 10\] here"):
        swapped(snapshot(model), {**start, "head.weight": torch.zeros(1, 1)}, layers(model)[2])
    del start["body.0.bias"]
    with pytest.raises(ModelMismatch, match=r"body\.0\.bias is missing there"):
        layer_criticality(model, total, start)


@pytest.mark.parametrize("make", [classes_task, polylines_task])
def test_the_probe_changes_nothing_in_training(make: type[Task]) -> None:
    watched = run(make(64), [Criticality(draws=2, epochs=(1,), examples=32)])
    control = run(make(64), [])
    assert same(watched.model.state_dict(), control.model.state_dict())
    assert (watched.history, watched.passes) == (control.history, control.passes)


@pytest.mark.parametrize("make", [classes_task, polylines_task])
def test_a_resumed_run_reports_what_the_uninterrupted_one_does(make: type[Task], tmp_path: Path) -> None:
    assert_resumes(make(48), lambda: Criticality(draws=2, epochs=(1, 2), examples=16), tmp_path, [2, 7], 24)


def test_the_report_resets_to_the_weights_the_very_run_began_with() -> None:
    task = classes_task(64)
    loop = Loop(task, [Criticality(draws=3, epochs=(1,), examples=64)], Settings(budget_passes=40, batch=16, seed=4))
    start = snapshot(loop.model)
    trained = loop.run()
    report = trained.reports["criticality"]
    assert report["unit"] == "wrong"
    assert report["trained_error"] == loop.mean_error(trained.model, task.test)
    assert [row["layer"] for row in report["layers"]] == ["0", "1", "4"]
    assert all(set(row["re_initialised"]) == {"0", "1"} for row in report["layers"])
    assert all(len(row["re_randomised"]) == 3 for row in report["layers"])
    by_hand = copy.deepcopy(trained.model)
    by_hand.load_state_dict(swapped(snapshot(trained.model), start, layers(trained.model)[2]))
    assert report["layers"][2]["re_initialised"]["0"] == loop.mean_error(by_hand, task.test)


def test_a_network_of_doubles_is_probed_as_doubles() -> None:
    model, start = trained_and_first()
    model.double()
    rows = layer_criticality(
        model,
        total,
        {k: v.double() for k, v in start.items() if v.is_floating_point()}
        | {k: v for k, v in start.items() if not v.is_floating_point()},
    )
    assert len(rows) == 3
    assert model.head.weight.dtype == torch.float64


@pytest.mark.parametrize("options", [{"draws": 1}, {"examples": 0}, {"epochs": (0,)}])
def test_options_out_of_range_are_refused(options: dict[str, object]) -> None:
    with pytest.raises(TechniqueOptionError, match="draws >= 2"):
        Criticality(**options)  # type: ignore[arg-type]  # wrong on purpose


def test_nothing_to_evaluate_on_is_one_clear_error() -> None:
    task = classes_task(32)
    empty = Task(task.network, task.objective, task.domains, task.train, task.selection, _Nothing(), unit="wrong")
    with pytest.raises(EmptyData, match="nothing to measure"):
        run(empty, [Criticality(draws=2, epochs=())], passes=4)


class _Nothing:
    def __len__(self) -> int:
        return 0


def test_the_documented_loops_run() -> None:
    page = Path(__file__).parents[2] / "docs" / "techniques" / "probes.md"
    blocks = [part.split("```")[0] for part in page.read_text().split("```python\n")[1:]]
    assert len(blocks) == 6
    exec("\n".join(blocks), {})  # our own page
