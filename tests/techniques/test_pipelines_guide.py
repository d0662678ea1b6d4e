"""The guide's snippets run as they stand, its table of passes is true, and it tells every option."""

from __future__ import annotations

import dataclasses
import re
from dataclasses import replace
from functools import cache
from pathlib import Path
from tempfile import mkdtemp

import pytest
import torch
from pipelines import with_next
from safetensors.torch import save_file
from small_tasks import LinesNetwork, polylines_task

from techniques.registry import build
from techniques.task import Task
from techniques.training import Loop, Settings

GUIDE = (Path(__file__).parents[2] / "docs" / "techniques" / "pipelines.md").read_text(encoding="utf-8")


class _Strided(LinesNetwork):
    def __init__(self) -> None:
        super().__init__()
        self.body[0].stride = (2, 2)


def _task() -> Task:
    return replace(with_next(polylines_task(48)), network=_Strided)


def test_the_snippets_run() -> None:
    task, generator = _task(), torch.Generator().manual_seed(0)
    batch = task.train.batch(torch.arange(16), generator)
    names = {
        "task": task,
        "model": task.network(),
        "objective": task.objective,
        "batch": batch,
        "domains": task.domains,
        "generator": generator,
    }
    snippets = re.findall(r"```python\n(.*?)```", GUIDE, re.DOTALL)
    assert len(snippets) == len(_told())
    for snippet in snippets:
        exec(snippet, names)


@cache
def _teacher() -> str:
    path = Path(mkdtemp()) / "teacher.safetensors"
    save_file(_Strided().state_dict(), path)
    return str(path)


def _options(name: str) -> dict[str, object]:
    needed: dict[str, dict[str, object]] = {"bn-adapt": {"variant": 0}}
    return {"teachers": (_teacher(), _teacher())} if name == "distil" else needed.get(name, {})


def _told() -> dict[str, int]:
    """Name -> passes of a step with defaults, as the guide's table says."""
    rows = re.findall(r"^\| `([\w+-]+)` \| `techniques\.\w+` \| (.*) \|$", GUIDE, re.MULTILINE)
    return {name: int(re.findall(r"\d+", text.replace("; without BatchNorm 4", ""))[-1]) for name, text in rows}


@pytest.mark.parametrize("name", sorted(_told()))
def test_a_step_costs_what_the_guide_says(name: str) -> None:
    loop = Loop(_task(), [build(name, **_options(name))], Settings(budget_passes=100, batch=8))
    loop.one_step()
    assert loop.passes.total == _told()[name]


@pytest.mark.parametrize("name", sorted(_told()))
def test_the_guide_tells_every_option(name: str) -> None:
    section = next(part for part in GUIDE.split("\n## ") if name == part.splitlines()[0])
    for field in dataclasses.fields(build(name)):
        if field.init:
            assert f"`{field.name}`" in section
