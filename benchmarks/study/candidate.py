"""How a cell's network comes about: a start, an arm's fine-tuning, a mean of weights, or training from scratch."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.study.arms import Techniques
from benchmarks.study.bench import Array
from engines.dotted import load_dotted, modules_of
from engines.torch_model import build_module
from harness.cli.demo import example_folder
from harness.model.card import load_card
from harness.training import TaskFile, load_task_file, train_candidate
from techniques.task import Task

__all__ = ["FINE_TUNING", "SCRATCH", "lines_of", "mean_of_weights", "together", "trained"]

SCRATCH: dict[str, Any] = {
    "budget_passes": 5200, "batch": 32, "optimiser": "adamw", "rate": 4e-3, "weight_decay": 0.01,
    "schedule": "one-cycle", "clip": 5.0,
}  # fmt: skip
FINE_TUNING: dict[str, Any] = SCRATCH | {"budget_passes": 1200, "batch": 16, "rate": 1e-3, "schedule": "cosine"}


def trained(
    techniques: Techniques,
    training: Mapping[str, Any],
    seed: int,
    out: Path,
    pictures: Path,
    *,
    initial: Path | None = None,
    data: Mapping[str, Any] | None = None,
    teachers: Sequence[Path] = (),
    card: str | None = None,
) -> dict[str, Any]:
    """Train a candidate into OUT, or go on where it stopped; returns its provenance.

    Args:
        initial: weights to begin with; None for fresh ones of the seed.
        data: options of the demo's task besides the folder of pictures.
        teachers: weights for technique distil.
        card: in the demo's folder; None: the task's own.
    """
    options = {name: dict(given) for name, given in techniques.items()}
    if teachers:
        options["distil"]["teachers"] = [str(path.resolve()) for path in teachers]
    settings = dict(training) | ({"initial": str(initial.resolve())} if initial else {})
    update = {
        "training": settings,
        "technique": options,
        "options": {"work": str(pictures.resolve()), **(data or {})},
    }
    update |= {"card": example_folder() / card} if card else {}
    file = _task_file().model_copy(update=update)
    return train_candidate(file, list(options), out, seed=seed, name=out.name).provenance


def mean_of_weights(parts: Sequence[Path], like: Path, out: Path, pictures: Path) -> dict[str, Any]:
    """The folder LIKE with the mean of several networks' weights, BatchNorm's statistics anew; returns a report.

    Args:
        parts: safetensors files of weights of one architecture.
        like: a candidate's folder with that architecture.
    """
    from safetensors.torch import load_file, save_file

    from techniques.training import Loop, Settings
    from techniques.weights import average

    states = [load_file(part) for part in parts]
    mean = average(states, [1 / len(states)] * len(states))
    loop = Loop(_task(pictures), [], Settings(batch=FINE_TUNING["batch"]))
    loop.model.load_state_dict(mean)
    loop.recompute_batchnorm(loop.model)
    shutil.copytree(like, out, dirs_exist_ok=True)
    save_file({k: v.contiguous() for k, v in loop.model.state_dict().items()}, out / "weights.safetensors")
    return {"steps": 0, "passes": {"forward": 0, "backward": 0}, "seconds": 0.0}


def lines_of(folder: Path, cache: Path) -> Any:
    """Pictures to (y, presence logits) of a candidate's folder; see measure.answers."""
    model = build_module(load_card(folder / "model.toml").source(cache)).eval()

    def lines(images: Any) -> Any:
        y, presence, _ = model.parts(images)  # type: ignore[operator]  # RoadLines.parts
        return y, presence

    return lines


def together(found: Sequence[tuple[Array, Array]]) -> tuple[Array, Array]:
    """The mean of several networks' answers; presence as the mean of its logits."""
    return sum(y for y, _ in found) / len(found), sum(p for _, p in found) / len(found)  # type: ignore[return-value]


def _task_file() -> TaskFile:
    return load_task_file(example_folder() / "task.toml")


def _task(pictures: Path) -> Task:
    root = example_folder()
    with modules_of(root):
        task: Task = load_dotted("task:make", root)(work=str(pictures))
    return task
