"""Classification and masked polylines: slow oracles, masks, and what mixing and divergence must obey."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from techniques.errors import ModelMismatch
from techniques.objectives import Classification, Polylines, Regression, as_tuple

SEEDS = st.integers(0, 2**31 - 1)


def _logits(seed: int, size: int = 6, classes: int = 4) -> tuple[tuple[Tensor], tuple[Tensor]]:
    g = torch.Generator().manual_seed(seed)
    return (torch.randn(size, classes, generator=g) * 3,), (torch.randint(classes, (size,), generator=g),)


def _lines(seed: int, size: int = 5) -> tuple[tuple[Tensor, Tensor], tuple[Tensor]]:
    g = torch.Generator().manual_seed(seed)
    y, logits = torch.randn(size, 3, 4, generator=g), torch.randn(size, 3, generator=g)
    truth = torch.randn(size, 3, 4, generator=g)
    truth[torch.rand(size, 3, 4, generator=g) < 0.3] = torch.nan
    truth[torch.rand(size, 3, generator=g) < 0.3] = torch.nan
    return (y, logits), (truth,)


def test_as_tuple_takes_what_networks_return() -> None:
    x = torch.zeros(2)
    assert as_tuple(x)[0] is x
    assert as_tuple([x, x]) == (x, x)


@given(SEEDS)
@settings(max_examples=20, deadline=None)
def test_cross_entropy_and_divergence_are_the_written_out_sums(seed: int) -> None:
    outputs, targets = _logits(seed)
    reference, _ = _logits(seed + 1)
    p, q = (torch.softmax(o[0].double(), -1).tolist() for o in (reference, outputs))
    loss = Classification().loss(outputs, targets).tolist()
    divergence = Classification().divergence(outputs, reference).tolist()
    for i, label in enumerate(targets[0].tolist()):
        assert loss[i] == pytest.approx(-math.log(q[i][label]), abs=1e-5)
        kl = sum(a * math.log(a / b) for a, b in zip(p[i], q[i], strict=True))
        assert divergence[i] == pytest.approx(kl, abs=1e-4)


@given(SEEDS, st.floats(0, 1))
@settings(max_examples=20, deadline=None)
def test_mixed_cross_entropy_is_that_of_the_mixed_one_hot_label(seed: int, share: float) -> None:
    outputs, targets = _logits(seed)
    others = (targets[0].flip(0),)
    s = torch.full((6,), share)
    label = share * torch.eye(4)[targets[0]] + (1 - share) * torch.eye(4)[others[0]]
    expected = -(label * torch.log_softmax(outputs[0], -1)).sum(-1)
    torch.testing.assert_close(Classification().mixed_loss(outputs, targets, others, s), expected)


def test_classes_are_at_distance_zero_or_one_and_errors_are_counted() -> None:
    labels = (torch.tensor([0, 1, 0]),)
    assert Classification().distance(labels).tolist() == [[0, 1, 0], [1, 0, 1], [0, 1, 0]]
    assert Classification().error((torch.eye(3)[[0, 1, 2]],), labels).tolist() == [0, 0, 1]


@given(SEEDS)
@settings(max_examples=20, deadline=None)
def test_line_loss_is_the_slow_loop_over_what_is_there(seed: int) -> None:
    objective = Polylines(beta=0.5, presence_weight=0.3)
    (y, logits), (truth,) = _lines(seed)
    found = objective.loss((y, logits), (truth,)).tolist()
    for i in range(len(y)):
        lateral, count, presence = 0.0, 0, 0.0
        for line in range(3):
            there = False
            for station in range(4):
                t, own = float(truth[i, line, station]), float(y[i, line, station])
                if math.isnan(t):
                    continue
                there, d = True, abs(own - t)
                lateral, count = lateral + (d * d / 2 / 0.5 if d < 0.5 else d - 0.25), count + 1
            p = 1 / (1 + math.exp(-float(logits[i, line])))
            presence -= math.log(p if there else 1 - p) / 3
        assert found[i] == pytest.approx(lateral / max(count, 1) + 0.3 * presence, abs=1e-5)


@given(SEEDS)
@settings(max_examples=20, deadline=None)
def test_a_missing_station_gives_no_gradient_and_never_a_nan(seed: int) -> None:
    (y, logits), (truth,) = _lines(seed)
    y.requires_grad_()
    logits.requires_grad_()
    Polylines().loss((y, logits), (truth,)).sum().backward()
    assert y.grad is not None
    assert logits.grad is not None
    assert torch.isfinite(y.grad).all()
    assert torch.isfinite(logits.grad).all()
    assert (y.grad[truth.isnan()] == 0).all()


@given(SEEDS)
@settings(max_examples=10, deadline=None)
def test_mixing_with_oneself_or_with_all_of_the_share_is_the_plain_loss(seed: int) -> None:
    outputs, targets = _lines(seed)
    objective, one, half = Polylines(), torch.ones(5), torch.full((5,), 0.5)
    torch.testing.assert_close(
        objective.mixed_loss(outputs, targets, targets, half), objective.loss(outputs, targets), rtol=1e-5, atol=1e-6
    )
    other = (targets[0].nan_to_num(0.0),)  # has every line: only what both have counts
    torch.testing.assert_close(objective.mixed_loss(outputs, targets, other, one), objective.loss(outputs, targets))


def test_lines_that_only_one_has_are_not_mixed_but_their_presence_is() -> None:
    objective = Polylines(presence_weight=1.0)
    own, other = torch.full((1, 2, 4), torch.nan), torch.full((1, 2, 4), torch.nan)
    own[0, 0], other[0, 1] = 1.0, 2.0
    outputs = (torch.full((1, 2, 4), 9.0), torch.zeros(1, 2))
    found = objective.mixed_loss(outputs, (own,), (other,), torch.tensor([0.25]))
    assert float(found) == pytest.approx(math.log(2))  # no lateral term; cross entropy of p = 1/2 with any label


@given(SEEDS)
@settings(max_examples=20, deadline=None)
def test_divergence_is_zero_only_at_the_reference(seed: int) -> None:
    for objective, outputs in ((Classification(), _logits(seed)[0]), (Polylines(), _lines(seed)[0])):
        same = objective.divergence(outputs, outputs)
        other = objective.divergence(tuple(o.flip(-1) + torch.arange(o.shape[-1]) for o in outputs), outputs)
        assert same.abs().max() < 1e-5
        assert (other > 0).all()


def test_a_line_that_the_reference_says_is_absent_may_lie_anywhere() -> None:
    reference = (torch.zeros(1, 2, 4), torch.tensor([[50.0, -50.0]]))
    moved = torch.zeros(1, 2, 4)
    moved[0, 1] = 100.0
    assert float(Polylines().divergence((moved, reference[1]), reference)) < 1e-6
    assert float(Polylines().divergence((moved.flip(1), reference[1]), reference)) > 1


def test_distance_is_rms_over_shared_stations_and_infinite_between_different_lines() -> None:
    nan = torch.nan
    y = torch.tensor(
        [
            [[0.0, 0.0, nan], [nan, nan, nan]],
            [[3.0, 1.0, 5.0], [nan, nan, nan]],
            [[0.0, 0.0, 0.0], [0.0, 0.0, 0.0]],  # has a second line
            [[nan, nan, 7.0], [nan, nan, nan]],  # the same line, but nowhere beside the first example's
        ]
    )
    found = Polylines().distance((y,))
    assert found.diagonal().tolist() == [0, 0, 0, 0]
    assert float(found[0, 1]) == pytest.approx(math.sqrt((9 + 1) / 2))
    assert float(found[1, 3]) == pytest.approx(2)
    assert torch.isinf(found[0, 2])
    assert torch.isinf(found[0, 3])
    torch.testing.assert_close(found, found.T)


def test_examples_without_any_line_are_at_distance_zero_and_have_no_error() -> None:
    nothing = (torch.full((2, 3, 4), torch.nan),)
    assert Polylines().distance(nothing).tolist() == [[0, 0], [0, 0]]
    outputs = (torch.zeros(2, 3, 4), torch.zeros(2, 3))
    assert Polylines().error(outputs, nothing).isnan().all()
    assert float(Polylines().error((outputs[0] + 2, outputs[1]), (torch.zeros(2, 3, 4),)).mean()) == 2


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.float16])
def test_every_dtype_of_outputs_is_worth_about_the_same(dtype: torch.dtype) -> None:
    for objective, (outputs, targets) in ((Classification(), _logits(3)), (Polylines(), _lines(3))):
        low = tuple(o.to(dtype).requires_grad_() for o in outputs)
        share = torch.full((len(outputs[0]),), 0.3)
        others = tuple(t.flip(0) for t in targets)
        for found, expected in (
            (objective.loss(low, targets), objective.loss(outputs, targets)),
            (objective.mixed_loss(low, targets, others, share), objective.mixed_loss(outputs, targets, others, share)),
        ):
            torch.testing.assert_close(found.float(), expected, rtol=0.03, atol=0.03)
            found.float().sum().backward(retain_graph=True)


def _numbers(seed: int, size: int = 5) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
    """Outputs [5, 3] and [5], and targets of those shapes, a quarter of them unknown."""
    g = torch.Generator().manual_seed(seed)
    outputs = torch.randn(size, 3, generator=g), torch.randn(size, generator=g)
    targets = torch.randn(size, 3, generator=g), torch.randn(size, generator=g)
    return outputs, tuple(torch.where(torch.rand(t.shape, generator=g) < 0.25, torch.nan, t) for t in targets)


def _rows(parts: tuple[Tensor, ...]) -> list[list[float]]:
    return torch.cat([p.reshape(len(p), -1) for p in parts], 1).tolist()


@given(SEEDS)
@settings(max_examples=30, deadline=None)
def test_regression_is_the_written_out_mean_over_known_values(seed: int) -> None:
    outputs, targets = _numbers(seed)
    loss, error = Regression().loss(outputs, targets).tolist(), Regression().error(outputs, targets).tolist()
    for i, (found, truth) in enumerate(zip(_rows(outputs), _rows(targets), strict=True)):
        apart = [a - b for a, b in zip(found, truth, strict=True) if not math.isnan(b)]
        assert loss[i] == pytest.approx(sum(d * d for d in apart) / max(len(apart), 1), abs=1e-5)
        expected = sum(map(abs, apart)) / len(apart) if apart else math.nan
        assert error[i] == pytest.approx(expected, abs=1e-5, nan_ok=True)


@given(SEEDS)
@settings(max_examples=20, deadline=None)
def test_regression_has_no_gradient_where_nothing_is_known(seed: int) -> None:
    outputs, targets = _numbers(seed)
    leaves = tuple(o.clone().requires_grad_() for o in outputs)
    Regression().loss(leaves, targets).sum().backward()
    for leaf, target in zip(leaves, targets, strict=True):
        assert torch.equal(leaf.grad == 0, target.isnan() | (leaf.detach() == target))


@given(SEEDS, st.floats(0, 1))
@settings(max_examples=20, deadline=None)
def test_mixed_regression_is_that_of_the_mixed_values_both_know(seed: int, share: float) -> None:
    outputs, targets = _numbers(seed)
    others = tuple(t.flip(0) for t in targets)
    mixed = tuple(share * a + (1 - share) * b for a, b in zip(targets, others, strict=True))
    found = Regression().mixed_loss(outputs, targets, others, torch.full((5,), share))
    torch.testing.assert_close(found, Regression().loss(outputs, mixed))


def test_regression_divergence_is_symmetric_and_zero_for_equal_outputs() -> None:
    (one, _), (other, _) = _numbers(0), _numbers(1)
    forth, back = Regression().divergence(one, other), Regression().divergence(other, one)
    assert torch.equal(forth, back)
    assert (forth > 0).all()
    assert not Regression().divergence(one, one).any()


def test_regression_distance_is_the_rms_and_infinite_between_what_is_known_otherwise() -> None:
    y = torch.tensor([[0.0, 0.0], [3.0, 4.0], [1.0, math.nan], [5.0, math.nan], [math.nan, math.nan]])
    found = Regression().distance((y,))
    inf = math.inf
    assert found[0, 1].item() == pytest.approx((25 / 2) ** 0.5)
    assert found[2, 3].item() == pytest.approx(4.0)
    assert found.diagonal().tolist() == [0.0] * 5
    assert found[0, 2:].tolist() == [inf] * 3
    assert found[4, :4].tolist() == [inf] * 4


def test_a_label_of_another_shape_is_never_broadcast() -> None:
    with pytest.raises(ModelMismatch, match=r"gives \[\(4, 1\)\], its targets are \[\(4,\)\]"):
        Regression().loss((torch.zeros(4, 1),), (torch.zeros(4),))


def test_every_objective_names_what_is_judged() -> None:
    parts = torch.zeros(2, 3), torch.zeros(2, 4)
    assert [p.shape[1] for p in Regression().judged(parts)] == [3, 4]
    for objective in (Classification(), Polylines()):
        assert [p.shape[1] for p in objective.judged(parts)] == [3]
