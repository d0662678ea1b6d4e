"""Masks: sums written out pixel by pixel, unknown pixels, and training."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from small_tasks import masks_task
from stopped import run
from torch import Tensor

from techniques.masks import Masks
from techniques.training import Loop, Settings

SEEDS = st.integers(0, 2**31 - 1)


def _masks(seed: int, size: int = 3) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
    """Logits of 3 classes on 2x2 pixels and of 2 classes on 3, with labels of which a quarter is unknown."""
    g = torch.Generator().manual_seed(seed)
    logits = torch.randn(size, 3, 2, 2, generator=g), torch.randn(size, 2, 3, generator=g)
    labels = []
    for part in logits:
        own = torch.randint(part.shape[1], (size, *part.shape[2:]), generator=g)
        labels.append(torch.where(torch.rand(own.shape, generator=g) < 0.25, -1, own))
    return logits, tuple(labels)


def _pixels(logits: Tensor, labels: Tensor, i: int) -> list[tuple[list[float], int]]:
    """(probabilities, label) of every pixel of example i."""
    p = torch.softmax(logits[i].double(), 0).flatten(1).T.tolist()
    return list(zip(p, labels[i].flatten().tolist(), strict=True))


@given(SEEDS)
@settings(max_examples=25, deadline=None)
def test_loss_and_error_are_means_over_known_pixels_then_over_masks(seed: int) -> None:
    logits, labels = _masks(seed)
    loss, error = Masks().loss(logits, labels).tolist(), Masks().error(logits, labels).tolist()
    for i in range(3):
        losses, errors = [], []
        for part, own in zip(logits, labels, strict=True):
            known = [(p, c) for p, c in _pixels(part, own, i) if c >= 0]
            losses.append(sum(-math.log(p[c]) for p, c in known) / max(len(known), 1))
            if known:
                errors.append(sum(p.index(max(p)) != c for p, c in known) / len(known))
        assert loss[i] == pytest.approx(sum(losses) / 2, abs=1e-5)
        expected = sum(errors) / len(errors) if errors else math.nan
        assert error[i] == pytest.approx(expected, abs=1e-6, nan_ok=True)


@given(SEEDS)
@settings(max_examples=25, deadline=None)
def test_divergence_is_the_mean_kl_of_pixels(seed: int) -> None:
    (outputs, labels), (reference, _) = _masks(seed), _masks(seed + 1)
    found = Masks().divergence(outputs, reference).tolist()
    for i in range(3):
        means = []
        for part, other, own in zip(outputs, reference, labels, strict=True):
            pairs = zip(_pixels(other, own, i), _pixels(part, own, i), strict=True)
            kls = [sum(a * math.log(a / b) for a, b in zip(p, q, strict=True)) for (p, _), (q, _) in pairs]
            means.append(sum(kls) / len(kls))
        assert found[i] == pytest.approx(sum(means) / 2, abs=1e-5)
    assert not Masks().divergence(outputs, outputs).any()


def test_mixing_whole_shares_is_the_loss_and_unknown_pixels_stay_unknown() -> None:
    logits, labels = _masks(3)
    others = tuple(t.flip(0) for t in labels)
    both = tuple(torch.where(o == -1, -1, t) for t, o in zip(labels, others, strict=True))
    torch.testing.assert_close(Masks().mixed_loss(logits, labels, others, torch.ones(3)), Masks().loss(logits, both))
    either = tuple(torch.where(t == -1, -1, o) for t, o in zip(labels, others, strict=True))
    found = Masks().mixed_loss(logits, labels, others, torch.zeros(3))
    torch.testing.assert_close(found, Masks().loss(logits, either))


def test_distance_counts_pixels_of_another_class() -> None:
    masks = torch.tensor([[[0, 1], [1, 1]], [[0, 1], [0, 0]], [[0, 1], [1, 1]]])
    assert Masks().distance((masks,)).tolist() == [[0, 0.5, 0], [0.5, 0, 0.5], [0, 0.5, 0]]


def test_a_network_of_two_masks_learns() -> None:
    task = masks_task(48)
    before = Loop(task, [], Settings())
    trained = run(task, [], passes=160, rate=2e-2)
    assert before.mean_error(trained.model, task.test) < 0.5 * before.mean_error(before.model, task.test)
