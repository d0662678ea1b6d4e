"""Regularisers of one run do not get in each other's way, nor in that of an attack."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from small_tasks import classes_task, polylines_task
from whole_runs import assert_same

from techniques.registry import build_all
from techniques.task import Task
from techniques.technique import Technique
from techniques.training import Loop, Settings

TASKS = {"classes": classes_task(64), "polylines": polylines_task(64)}
OPTIONS = {"pgd": {"steps": 1}, "rotation": {"eps": 0.02, "steps": 1}, "uat++": {"steps": 1}}
NAMES = ["preprocessing", "gaussian", "quantisation-noise", "pgd", "rotation", "uat++", "jacobian"]


def _all(task: Task, order: list[str]) -> list[Technique]:
    names = [n for n in order if n != "preprocessing" or task is TASKS["polylines"]]  # classes have no variants
    return build_all({name: OPTIONS.get(name, {}) for name in names})


@pytest.mark.parametrize("order", [NAMES, NAMES[::-1]], ids=["forward", "backward"])
@pytest.mark.parametrize("name", list(TASKS))
def test_all_in_one_run_go_on_where_they_stopped(name: str, order: list[str], tmp_path: Path) -> None:
    task, settings = TASKS[name], Settings(budget_passes=200, batch=16)
    one = Loop(task, _all(task, order), settings).run()
    first = Loop(task, _all(task, order), settings, tmp_path)
    first.begin()
    while first.progress < 0.6:
        first.one_step()
    first.save()
    torch.manual_seed(99)
    second = Loop(task, _all(task, order), settings, tmp_path).run()
    assert_same(one, second)
    assert list(one.model.state_dict()) == list(task.network().state_dict())
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in one.model.modules())
