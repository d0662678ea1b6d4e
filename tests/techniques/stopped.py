"""A run that is stopped and taken up must equal the run that was not."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import Tensor

from techniques.task import Task
from techniques.technique import Technique
from techniques.training import Loop, Settings, Trained


def run(task: Task, techniques: Sequence[Technique], passes: int = 40, **settings: object) -> Trained:
    return Loop(task, techniques, Settings(budget_passes=passes, batch=16, **settings)).run()


def same(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    """Bit for bit, NaN included."""
    return a.keys() == b.keys() and all(
        a[k].dtype == b[k].dtype
        and torch.equal(a[k].contiguous().view(torch.uint8), b[k].contiguous().view(torch.uint8))
        if a[k].dim()
        else torch.equal(a[k], b[k])
        for k in a
    )


def assert_resumes(task: Task, make: Callable[[], Technique], folder: Path, stops: Sequence[int], passes: int) -> None:
    settings = Settings(budget_passes=passes, batch=16, seed=3)
    whole = Loop(task, [make()], settings).run()
    for stop in stops:
        first = Loop(task, [make()], settings, folder / str(stop))
        for _ in range(stop):
            first.one_step()
        first.save()
        second = Loop(task, [make()], settings, folder / str(stop)).run()
        assert same(second.model.state_dict(), whole.model.state_dict()), f"differs after a stop at step {stop}"
        assert second.reports == whole.reports
        assert second.history == whole.history
