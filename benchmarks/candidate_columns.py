"""The columns a candidate is judged by, never one score: clean, robust, deployability (docs/techniques/one_run.md).

Pictures are the task's test set: variant 0 the train pipeline, variant 1 the deploy pipeline. Errors are mean absolute
lateral errors within 40 m, metres. Corruptions act on raw values in 0..1 and move no line.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import polars as pl
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from harness.run.folder import Run
from techniques.attack import Ball, attacked_error
from techniques.task import Batch, Task

__all__ = ["CORRUPTIONS", "PGD", "car_columns", "clean_and_robust", "deployability"]

PGD = Ball(eps=2 / 255, steps=10, random_start=True)
REFERENCE, CAR, FP16, FP16_PARENT = (
    "train/torch-fp32",
    "deploy/torch-fp32",
    "deploy/emulated-fp16",
    "deploy/ort-fp32",
)


def _noise(x: Tensor) -> Tensor:
    return x + 0.03 * torch.randn(x.shape, generator=torch.Generator().manual_seed(0))


def _blur(x: Tensor) -> Tensor:
    return F.avg_pool2d(F.pad(x, (1, 1, 1, 1), mode="replicate"), 3, 1)


def _coarse(x: Tensor) -> Tensor:
    half = F.interpolate(x, scale_factor=0.5, mode="bilinear", align_corners=False, antialias=True)
    return F.interpolate(half, size=x.shape[2:], mode="bilinear", align_corners=False)


CORRUPTIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "noise": _noise,
    "blur": _blur,
    "half resolution": _coarse,
    "brighter": lambda x: x + 0.08,
    "darker": lambda x: x - 0.08,
    "contrast": lambda x: (x - 0.45) * 0.7 + 0.45,
}


def clean_and_robust(task: Task, model: nn.Module) -> dict[str, float]:
    """Errors of a network on the task's test pictures: as they are, deployed, attacked, corrupted; and the gap."""
    model.eval()
    (domain,) = task.domains
    assert domain is not None
    batches = list(_batches(task))

    def error(alter: Callable[[Batch], Tensor]) -> float:
        with torch.no_grad():
            parts = [task.objective.error(task.objective.outputs(model, (alter(b),)), b.targets) for b in batches]
        return float(torch.cat(parts).nanmean())

    found = {"clean": error(lambda b: b.inputs[0]), "deploy": error(lambda b: b.variants[0][0])}
    found["gap"] = _gap(task, model, batches)
    found["pgd"] = attacked_error(model, task.objective, batches, task.domains, PGD)
    for name, corrupt in CORRUPTIONS.items():
        found[name] = error(lambda b, c=corrupt: domain.normalised(c(domain.raw(b.inputs[0])).clamp(0, 1)))  # type: ignore[misc]  # bound now
    return found


def deployability(run: Run, verdict: Mapping[str, Any]) -> dict[str, Any]:
    """Worst case of what the gate limits, for the car's pipeline and for emulated fp16, and the gap of every case."""
    half = _worst(run, FP16, FP16_PARENT)
    return {"verdict": verdict["verdict"], "car": car_columns(run), "fp16": half}


def car_columns(run: Run) -> dict[str, Any]:
    """Worst case of what the gate limits for the car's pipeline in PyTorch, metres, and the gap of every case."""
    steady = run.read("series_metrics").filter(rung=CAR, reference=REFERENCE).filter(pl.col("station") < 40 - 1e-6)
    last = {"bias": steady["bias"].abs().max(), "jitter": steady["jitter"].max()}
    return _worst(run, CAR, REFERENCE) | last


def _worst(run: Run, rung: str, against: str) -> dict[str, Any]:
    """Of one rung against another: worst p99 of bend, worst offset, swings of its own, mean |offset| of every case."""
    near = pl.col("band").is_in(["near", "mid"])
    own = run.read("line_metrics").filter(near, pl.col("rung") == rung, pl.col("reference") == against)
    bend = own.group_by("case").agg(pl.col("bend").drop_nulls().quantile(0.99))["bend"].max()
    offset = own.group_by("case").agg(pl.col("offset_mean").abs().mean()).sort("case")
    swings = run.read("events").filter(
        pl.col("rung") == rung,
        pl.col("reference") == against,
        pl.col("kind") == "swing",
        pl.col("owner") == "candidate",
    )
    return {
        "bend_p99": bend,
        "offset_max": own["offset_max"].max(),
        "swings": len(swings),
        "offset_by_case": dict(zip(offset["case"], offset["offset_mean"], strict=True)),
    }


@torch.no_grad()
def _gap(task: Task, model: nn.Module, batches: list[Batch]) -> float:
    """Mean |y(deploy) - y(train)| within 40 m of the true lines, metres: accuracy plays no part in it."""
    gaps = []
    for batch in batches:
        lab, car = (task.objective.outputs(model, x) for x in (batch.inputs, batch.variants[0]))
        truth = torch.where(torch.isfinite(batch.targets[0]), lab[0], torch.nan)
        gaps.append(task.objective.error(car, (truth,)))
    return float(torch.cat(gaps).nanmean())


def _batches(task: Task, size: int = 50) -> Iterator[Batch]:
    generator = torch.Generator().manual_seed(0)
    for start in range(0, len(task.test), size):
        yield task.test.batch(torch.arange(start, min(start + size, len(task.test))), generator)
