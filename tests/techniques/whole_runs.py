"""A tiny run of the loop with one technique, straight through and stopped half way: both must end in the same bits."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch

from techniques.task import Task
from techniques.technique import Technique
from techniques.training import Loop, Settings, Trained


def trained(task: Task, technique: Technique, budget: int = 60, **settings: object) -> Trained:
    """A run of a few steps."""
    return Loop(task, [technique], Settings(budget_passes=budget, batch=16, **settings)).run()  # type: ignore[arg-type]  # tests pass what Settings takes


def resumed(task: Task, make: Callable[[], Technique], folder: Path, stop_at: float, budget: int = 60) -> Trained:
    """The same run, stopped once that share of the budget is used and taken up by a new loop and technique."""
    settings = Settings(budget_passes=budget, batch=16)
    first = Loop(task, [make()], settings, folder)
    first.begin()
    while first.progress < stop_at:
        first.one_step()
    first.save()
    torch.manual_seed(99)  # a new process has drawn otherwise
    return Loop(task, [make()], settings, folder).run()


def assert_same(one: Trained, other: Trained) -> None:
    """Same weights and buffers to the bit, same history and budget."""
    assert one.history == other.history
    assert one.passes == other.passes
    weights, others = one.model.state_dict(), other.model.state_dict()
    assert list(weights) == list(others)
    for name, value in weights.items():
        assert torch.equal(value, others[name]), name
