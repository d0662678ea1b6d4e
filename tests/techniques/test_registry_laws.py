"""Laws that every technique of the registry obeys, whatever it does."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from tempfile import mkdtemp

import pytest
import torch
from pipelines import with_next
from safetensors.torch import save_file
from small_tasks import LinesNetwork, numbers_task, polylines_task
from stopped import same
from torch import nn

from techniques.registry import build, names
from techniques.technique import Technique
from techniques.training import Loop, Settings, Trained


class StridedLines(LinesNetwork):
    """With a layer that subsamples."""

    def __init__(self) -> None:
        super().__init__()
        self.body[0].stride = (2, 2)


def strided_numbers() -> nn.Module:
    """For pictures [1, 8, 8]."""
    return nn.Sequential(nn.Conv2d(1, 8, 3, 2, 1), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 16, 2))


TASKS = {
    name: replace(with_next(polylines_task(48, seed=seed)), network=StridedLines)
    for name, seed in (("first", 0), ("second", 1))
}
ELSEWHERE = ("preprocessing", "consistency", "worst-of-variants", "bn-adapt", "temporal")  # need variants, frames


def options(name: str, network: Callable[[], nn.Module] = StridedLines) -> dict[str, object]:
    """Options that make a technique quick, or possible."""
    few: dict[str, dict[str, object]] = {
        "criticality": {"draws": 2, "examples": 8},
        "datapath": {"examples": 8, "steps": 3},
        "lazy": {"examples": 4, "outputs": 2},
        "bn-adapt": {"variant": 0},
        "seasoned-soup": {"of": "gaussian", "option": "sigma", "strengths": (0.0, 0.05)},
    }
    if name == "distil":
        return {"teachers": (teacher_of(network),), "share": 0.5 if network is StridedLines else 0}
    return few.get(name, {})


@cache
def teacher_of(network: Callable[[], nn.Module]) -> str:
    """A file of weights of such a network."""
    path = Path(mkdtemp()) / "teacher.safetensors"
    torch.manual_seed(3)
    save_file(network().state_dict(), path)
    return str(path)


def trained(technique: Technique, task: str, seed: int, passes: int = 48) -> Trained:
    return Loop(TASKS[task], [technique], Settings(budget_passes=passes, batch=12, seed=seed)).run()


@pytest.mark.parametrize("name", names())
def test_an_object_used_in_two_runs_gives_what_fresh_objects_give(name: str) -> None:
    """Bit for bit, with another seed and other data: nothing that one run remembers reaches the next."""
    used = build(name, **options(name))
    for task, seed in (("first", 0), ("second", 5)):
        found, expected = trained(used, task, seed), trained(build(name, **options(name)), task, seed)
        assert same(found.model.state_dict(), expected.model.state_dict())
        assert repr(found.reports) == repr(expected.reports)
        assert found.history == expected.history


@pytest.mark.parametrize("name", names())
def test_an_object_in_two_runs_at_a_time_serves_both(name: str) -> None:
    used = build(name, **options(name))
    settings = [Settings(budget_passes=36, batch=12, seed=seed) for seed in (0, 5)]
    loops = [Loop(TASKS[t], [used], s) for t, s in zip(("first", "second"), settings, strict=True)]
    for _ in range(2):
        for loop in loops:
            loop.one_step()
    other = Loop(TASKS["second"], [build(name, **options(name))], settings[1])
    other.one_step()
    other.one_step()
    assert same(loops[1].model.state_dict(), other.model.state_dict())


@pytest.mark.parametrize("name", [n for n in names() if n not in ELSEWHERE])
def test_every_technique_trains_a_regression_by_squared_error(name: str, tmp_path: Path) -> None:
    task = replace(numbers_task(48), network=strided_numbers)
    settings = Settings(budget_passes=48, batch=12)
    run = Loop(task, [build(name, **options(name, strided_numbers))], settings).run()
    assert all(torch.isfinite(value).all() for value in run.model.state_dict().values())


@pytest.mark.parametrize("name", names())
def test_a_candidate_has_the_plain_networks_weights_by_name_and_shape(name: str) -> None:
    """No head, no quantiser, no filter is left in it: the network as the technique builds it takes them as they are."""
    run = trained(build(name, **options(name)), "first", 0)
    plain, found = StridedLines().state_dict(), run.model.state_dict()
    assert {k: (v.shape, v.dtype) for k, v in found.items()} == {k: (v.shape, v.dtype) for k, v in plain.items()}
    rebuilt, change = StridedLines(), build(name, **options(name)).architecture()
    if change is not None:
        rebuilt = change[0](rebuilt, **change[1])
    rebuilt.load_state_dict(found)
    inputs = TASKS["first"].test.batch(torch.arange(8), torch.Generator()).inputs
    for own, other in zip(run.model(*inputs), rebuilt.eval()(*inputs), strict=True):
        assert torch.equal(own, other)


def test_techniques_know_the_run_and_not_the_loop() -> None:
    """techniques.training imports the techniques' base; the other way round would be a circle."""
    modules = {path.stem: path.read_text() for path in (Path(__file__).parents[2] / "techniques").glob("*.py")}
    assert len(modules) > 30
    assert [name for name, text in modules.items() if "techniques.training import" in text] == []
