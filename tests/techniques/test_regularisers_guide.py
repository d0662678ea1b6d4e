"""The guide's snippets run as they stand, one after the other, and its table of passes is true."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch
from small_tasks import classes_task, polylines_task

from techniques.registry import build
from techniques.training import Loop, Settings

GUIDE = Path(__file__).parents[2] / "docs" / "techniques" / "regularisers.md"


def test_the_snippets_run() -> None:
    task = polylines_task(48)
    generator = torch.Generator().manual_seed(0)
    names = {
        "task": task,
        "model": task.network(),
        "objective": task.objective,
        "batch": task.train.batch(torch.arange(16), generator),
        "domains": task.domains,
        "generator": generator,
    }
    snippets = re.findall(r"```python\n(.*?)```", GUIDE.read_text(), re.DOTALL)
    assert len(snippets) == 8
    for snippet in snippets:
        exec(snippet, names)
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in names["model"].parameters())


def _told() -> dict[str, int]:
    """Name -> passes of a step with defaults, as the guide's first table says."""
    rows = re.findall(r"^\| `([\w+-]+)` \| `techniques\.\w+` \| (.*) \|$", GUIDE.read_text(), re.MULTILINE)
    return {name: int(re.findall(r"\d+", text.split(";")[0])[-1]) for name, text in rows}


@pytest.mark.parametrize("name", sorted(_told()))
def test_a_step_costs_what_the_guide_says(name: str) -> None:
    task = polylines_task(48) if name == "preprocessing" else classes_task(48)
    loop = Loop(task, [build(name)], Settings(budget_passes=100, batch=8))
    before = 0
    while loop.progress < 0.6:
        before = loop.passes.total
        loop.one_step()
    assert loop.passes.total - before == _told()[name]


def test_the_guide_tells_every_option_and_its_default() -> None:
    text = GUIDE.read_text()
    for name in _told():
        for option in vars(build(name)):
            if not option.startswith("_") and option != "teacher":
                assert f"`{option}`" in text, f"{name}: {option}"
