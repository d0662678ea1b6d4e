from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch
from averages_runs import TASKS, run, same_weights, settings, stopped_run

from techniques.errors import TechniqueOptionError
from techniques.low_precision import LowPrecision, Widths, quantised
from techniques.swa import SWA, add_to_average, averaging
from techniques.swalp import SWALP
from techniques.training import Loop


class Watched(SWALP):
    """Remembers weights."""

    def start(self, loop: Loop) -> None:
        super().start(loop)
        self.weights: list[torch.Tensor] = [loop.model[4].weight.detach().clone()]

    def after_step(self, loop: Loop) -> None:
        super().after_step(loop)
        self.weights.append(loop.model[4].weight.detach().clone())


def test_weights_are_low_precision_at_every_step_and_the_candidate_is_their_mean() -> None:
    trained = run(TASKS["classes"](), Watched(weight_bits=5, every=1, after=0.5, anneal=0.0))
    (technique,) = trained.techniques
    assert all(torch.equal(quantised(w, 5), w) for w in technique.weights)
    final = trained.model[4].weight.detach()
    torch.testing.assert_close(final, torch.stack(technique.weights[-15:]).mean(0))
    assert not torch.equal(quantised(final, 8), final)


def test_the_candidate_has_no_quantisers() -> None:
    task = TASKS["classes"]()
    trained = run(task, SWALP(activation_bits=2))
    plain = task.network().eval()
    plain.load_state_dict(trained.model.state_dict())
    x = task.test.inputs[0].clone().requires_grad_()
    assert torch.equal(trained.model(x), plain(x))
    hooks = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
    assert not any(getattr(m, h) for m in trained.model.modules() for h in hooks)
    assert [type(m) for m in trained.model.modules()] == [type(m) for m in plain.modules()]
    copy.deepcopy(trained.model)


def test_with_full_precision_everywhere_it_is_swa() -> None:
    task, full = TASKS["classes"](), {f"{k}_bits": 0 for k in ("weight", "activation", "gradient", "error", "momentum")}
    assert same_weights(run(task, SWALP(**full)).model, run(task, SWA()).model)  # type: ignore[arg-type]  # bits only


def test_the_mean_gets_below_the_floor_of_the_grid_it_is_the_mean_of() -> None:
    generator = torch.Generator().manual_seed(0)
    x, best = torch.randn(256, 8, generator=generator), torch.randn(1, 8, generator=generator)
    model = torch.nn.Linear(8, 1, bias=False)
    optimiser = torch.optim.SGD(model.parameters(), lr=0.05)
    LowPrecision(Widths(weight=4, gradient=0, error=0)).install(model, optimiser)
    average = averaging(model)
    for step in range(1200):
        optimiser.zero_grad()
        (x @ (model.weight - best).T).square().mean().backward()
        optimiser.step()
        if step >= 200:
            add_to_average(average, model)
    floor = (quantised(best, 4, rounding="nearest") - best).norm()
    assert (model.weight - best).norm() > floor
    assert (average.module.weight - best).norm() < floor / 2


@pytest.mark.parametrize("name", TASKS)
def test_a_resumed_run_equals_an_uninterrupted_one(name: str, tmp_path: Path) -> None:
    def make() -> SWALP:
        return SWALP(every=2, activation_bits=4, weight_bits=6)

    task = TASKS[name]()
    whole = run(task, make())
    assert same_weights(whole.model, stopped_run(task, make, tmp_path, 19).model)
    assert all(torch.isfinite(p).all() for p in whole.model.parameters())


@pytest.mark.parametrize("optimiser", ["sgd", "adamw"])
def test_eight_bits_learn(optimiser: str) -> None:
    task = TASKS["polylines"]()
    loop = Loop(task, [SWALP()], settings(200, optimiser=optimiser, rate=0.01))
    before = loop.mean_error(loop.model, task.test)
    assert loop.mean_error(loop.run().model, task.test) < 0.8 * before


def test_runs_in_bf16_autocast() -> None:
    trained = run(TASKS["polylines"](), SWALP(), 20, precision="bf16")
    assert all(torch.isfinite(p).all() for p in trained.model.parameters())


@pytest.mark.parametrize("options", [{"weight_bits": 1}, {"error_bits": 20}, {"rounding": "down"}, {"every": 0}])
def test_options_out_of_range_are_one_clear_error(options: dict[str, object]) -> None:
    with pytest.raises(TechniqueOptionError, match=rf"\[technique.swalp\] {next(iter(options))}"):
        SWALP(**options)  # type: ignore[arg-type]  # options of several types
