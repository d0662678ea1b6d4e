from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from small_tasks import LinesNetwork, classes_task, polylines_task
from stopped import assert_resumes, run, same
from torch import Tensor, nn

from techniques.batchnorm import evaluating
from techniques.errors import EmptyData, ModelMismatch, TechniqueOptionError
from techniques.lazy import Lazy, kernel, kernel_change, laziness, linearisation_error, movement
from techniques.objectives import Classification, Polylines
from techniques.task import Task


class Scaled(nn.Module):
    """f(x) = a^2 * b * x: linear in b, not in a."""

    def __init__(self, a: float, b: float) -> None:
        super().__init__()
        self.a, self.b = nn.Parameter(torch.tensor([a])), nn.Parameter(torch.tensor([b]))

    def forward(self, x: Tensor) -> Tensor:
        return self.a**2 * self.b * x


def weights(model: nn.Module) -> dict[str, Tensor]:
    return {k: p.detach().clone() for k, p in model.named_parameters()}


def lines_inputs(count: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(2)
    return torch.rand(count, 3, 8, 12, generator=generator), torch.randn(count, 2, generator=generator)


def kernel_by_backward(model: nn.Module, inputs: tuple[Tensor, ...]) -> Tensor:
    """One backward pass for every example and every output."""
    rows = []
    with evaluating(model):
        for i in range(len(inputs[0])):
            out = Polylines().outputs(model, tuple(x[i : i + 1] for x in inputs))[0].flatten()  # the lines
            per_output = []
            for value in out:
                grads = torch.autograd.grad(value, list(model.parameters()), retain_graph=True)
                per_output.append(torch.cat([g.flatten() for g in grads]).double())
            rows.append(torch.stack(per_output))
    slopes = torch.stack(rows)
    return torch.einsum("ikp,jkp->ij", slopes, slopes) / slopes.shape[1]


def test_the_kernel_is_what_plain_backward_passes_give() -> None:
    torch.manual_seed(0)
    model, inputs = LinesNetwork().train(), lines_inputs(5)
    found = kernel(model, Polylines(), weights(model), inputs, outputs=99)
    torch.testing.assert_close(found, kernel_by_backward(model, inputs), rtol=1e-4, atol=1e-6)


def test_a_kernel_is_symmetric_and_positive() -> None:
    torch.manual_seed(0)
    model = LinesNetwork()
    found = kernel(model, Polylines(), weights(model), lines_inputs(6), outputs=3)
    torch.testing.assert_close(found, found.T)
    assert float(torch.linalg.eigvalsh(found).min()) > -1e-6


def test_kernel_change_and_cosine_follow_their_formulas() -> None:
    then, now = torch.tensor([[3.0, 0.0], [0.0, 4.0]]), torch.tensor([[6.0, 0.0], [0.0, 8.0]])
    assert kernel_change(now, then) == pytest.approx((1.0, 1.0))
    assert kernel_change(then, then) == pytest.approx((0.0, 1.0))
    assert kernel_change(torch.tensor([[0.0, 1.0], [1.0, 0.0]]), then)[1] == 0
    assert all(math.isnan(v) for v in kernel_change(torch.zeros(2, 2), torch.zeros(2, 2)))


def test_the_linearisation_error_is_the_share_of_higher_order_seen_from_the_first_weights() -> None:
    model, start = Scaled(3.0, 5.0), {"a": torch.tensor([1.0]), "b": torch.tensor([2.0])}
    # a^2 b - a0^2 b0 = 43; the line gives 2 a0 b0 (a - a0) + a0^2 (b - b0) = 11; 32 of 43 are missed
    found = linearisation_error(model, Classification(), weights(model), start, (torch.ones(4, 2),))
    assert found == pytest.approx(32 / 43)


def test_a_network_that_is_linear_in_what_moved_has_no_linearisation_error() -> None:
    model, start = Scaled(3.0, 5.0), {"a": torch.tensor([3.0]), "b": torch.tensor([2.0])}
    assert linearisation_error(model, Classification(), weights(model), start, (torch.ones(4, 2),)) < 1e-6


def test_movement_is_relative_to_the_first_weights() -> None:
    start = {"a": torch.tensor([3.0]), "b": torch.tensor([4.0])}
    assert movement({"a": torch.tensor([3.0]), "b": torch.tensor([5.0])}, start) == pytest.approx(0.2)
    assert movement(start, start) == 0
    assert math.isnan(movement({"a": torch.ones(1)}, {"a": torch.zeros(1)}))


def test_a_network_that_did_not_move_is_as_lazy_as_can_be() -> None:
    model = LinesNetwork()
    found = laziness(model, Polylines(), weights(model), lines_inputs(4))
    assert (found.movement, found.kernel_change) == (0, 0)
    assert found.kernel_cosine == pytest.approx(1)
    assert math.isnan(found.linearisation_error)


def test_small_steps_are_lazier_than_large_ones() -> None:
    torch.manual_seed(0)
    model = LinesNetwork()
    start, direction = weights(model), {k: torch.randn_like(p) for k, p in model.named_parameters()}
    found = []
    for size in (0.001, 0.01, 0.1):
        model.load_state_dict({k: start[k] + size * direction[k] for k in start}, strict=False)
        found.append(laziness(model, Polylines(), start, lines_inputs(8)))
    for name in ("movement", "kernel_change", "linearisation_error"):
        values = [getattr(row, name) for row in found]
        assert values == sorted(values), name
    assert found[0].kernel_cosine > found[2].kernel_cosine


def test_nothing_of_the_network_is_changed() -> None:
    torch.manual_seed(0)
    model = LinesNetwork().train()
    before, modes = {k: v.clone() for k, v in model.state_dict().items()}, [m.training for m in model.modules()]
    laziness(model, Polylines(), {k: v + 0.1 for k, v in weights(model).items()}, lines_inputs(4))
    assert same(before, model.state_dict())
    assert [m.training for m in model.modules()] == modes
    assert all(p.grad is None and p.requires_grad for p in model.parameters())


def test_doubles_are_probed_as_doubles() -> None:
    model = Scaled(3.0, 5.0).double()
    start = {"a": torch.tensor([1.0]), "b": torch.tensor([2.0])}
    found = laziness(model, Classification(), start, (torch.ones(4, 2, dtype=torch.float64),))
    assert found.linearisation_error == pytest.approx(32 / 43, abs=1e-12)


@pytest.mark.parametrize("make", [classes_task, polylines_task])
def test_the_probe_changes_nothing_in_training(make: type[Task]) -> None:
    watched, control = run(make(64), [Lazy(examples=8)]), run(make(64), [])
    assert same(watched.model.state_dict(), control.model.state_dict())
    assert (watched.history, watched.passes) == (control.history, control.passes)
    found = watched.reports["lazy"]
    assert found["examples"] == 8
    assert 0 < found["movement"] < 2
    assert 0 < found["kernel_cosine"] <= 1


def test_a_resumed_run_measures_from_its_own_first_weights(tmp_path: Path) -> None:
    assert_resumes(polylines_task(48), lambda: Lazy(examples=6, outputs=2), tmp_path, [3], 24)


def test_bad_input_is_one_clear_error() -> None:
    model = LinesNetwork()
    with pytest.raises(ModelMismatch, match=r"head\.weight"):
        laziness(model, Polylines(), {k: v for k, v in weights(model).items() if k != "head.weight"}, lines_inputs(2))
    with pytest.raises(EmptyData, match="needs inputs"):
        laziness(model, Polylines(), weights(model), lines_inputs(0))
    for options in ({"examples": 1}, {"outputs": 0}):
        with pytest.raises(TechniqueOptionError, match="examples >= 2"):
            Lazy(**options)
