"""Runs that the tests of averaging techniques share: whole, and stopped in the middle and taken up again."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
from small_tasks import classes_task, polylines_task

from techniques.task import Task
from techniques.technique import Technique
from techniques.training import Loop, Settings, Trained

TASKS: dict[str, Callable[[], Task]] = {"classes": lambda: classes_task(96), "polylines": lambda: polylines_task(96)}


def settings(passes: int = 60, **options: object) -> Settings:
    return Settings(**{"budget_passes": passes, "batch": 16, "optimiser": "sgd", "rate": 0.02, **options})  # type: ignore[arg-type]  # a test's options


def run(task: Task, technique: Technique, passes: int = 60, **options: object) -> Trained:
    return Loop(task, [technique], settings(passes, **options)).run()


def stopped_run(task: Task, make: Callable[[], Technique], folder: Path, steps: int, passes: int = 60) -> Trained:
    """The same run, but its process ends after `steps` and another goes on from the folder."""
    first = Loop(task, [make()], settings(passes), folder)
    for _ in range(steps):
        first.one_step()
    first.save()
    return Loop(task, [make()], settings(passes), folder).run()


def same_weights(a: torch.nn.Module, b: torch.nn.Module) -> bool:
    return all(torch.equal(x, y) for x, y in zip(a.state_dict().values(), b.state_dict().values(), strict=True))
