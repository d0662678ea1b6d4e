"""What is measured of a network: on the bench's pictures, and by the real gate on clips."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch
from filelock import FileLock
from numpy.typing import NDArray

from benchmarks.candidate_columns import car_columns
from benchmarks.study.bench import LAB, PIPELINES, Pictures
from cases.synth import synth_cases
from engines.errors import EngineUnavailable
from harness.cli.demo import example_folder
from harness.gate import judge, load_policy
from harness.model.card import load_card
from harness.replay.replay import replay
from harness.run.folder import Run

__all__ = [
    "ENGINES",
    "GATE_CLIPS",
    "NUMERIC",
    "answers",
    "clips",
    "gate",
    "lost_and_moved",
    "numeric",
    "on_pictures",
    "slope",
]

Array = NDArray[Any]
Lines = Callable[[torch.Tensor], tuple[torch.Tensor, torch.Tensor]]
"""Normalised pictures to (y [batch, 4, 33] metres, presence logits [batch, 4])."""

WITHIN_M, STATION_STEP_M = 40.0, 2.5
ENGINES = ("torch-fp32", "ort-fp32-none", "ort-fp32")  # what the release policy asks for
NUMERIC = ("emulated-fp16", "emulated-fp16-fused", "emulated-tf32")
GATE_CLIPS = {"screen": (8950, 8, 4), "confirm": (9500, 60, 12)}  # first seed, clips, those with numeric rungs too
GATE_SECONDS = 2.0


@torch.no_grad()
def answers(lines: Lines, images: Array, batch: int = 50) -> tuple[Array, Array]:
    """(y [picture, pipeline, 4, 33], presence logits [picture, pipeline, 4]) for pictures of every pipeline."""
    flat = images.reshape(-1, *images.shape[2:])
    found = [lines(torch.from_numpy(flat[i : i + batch])) for i in range(0, len(flat), batch)]
    y, presence = (np.concatenate([part[k].numpy() for part in found]) for k in range(2))
    return tuple(a.reshape(*images.shape[:2], *a.shape[1:]) for a in (y, presence))  # type: ignore[return-value]


def on_pictures(y: Array, presence: Array, pictures: Pictures) -> dict[str, Any]:
    """Per clip in mm: `gap` to the lab's own answer and `error` against truth, by pipeline; and the whole set's slope.

    Mean over true lines and stations within 40 m; `slope` as below, of the lab's answers; `present`: share of slots
    that the lab's answers rightly call present or absent.
    """
    near = np.arange(y.shape[-1]) * STATION_STEP_M <= WITHIN_M
    truth = pictures.lines
    there = np.isfinite(truth)
    lab = y[:, PIPELINES.index(LAB)]
    found: dict[str, Any] = {"gap": {}, "error": {}, "tags": list(pictures.tags)}
    for i, name in enumerate(PIPELINES):
        if name != LAB:
            gap = np.where(there, np.abs(y[:, i] - lab), np.nan)
            found["gap"][name] = _by_clip(gap[..., near], pictures.clip)
        found["error"][name] = _by_clip(np.abs(y[:, i] - truth)[..., near], pictures.clip)
    found["slope"] = round(slope(lab[..., near], truth[..., near]), 4)
    found["present"] = round(float(((presence[:, 0] > 0) == there[..., 0]).mean()), 4)
    return found


def slope(y: Array, truth: Array) -> float:
    """Least-squares slope of what is answered on what is true, each within its slot and station.

    1 for a network that follows the road; 0 for one that draws the same lines on every road, whose gap is 0 too.

    Args:
        y, truth: [picture, slot, station]; NaN in truth where there is no line.
    """
    there = np.isfinite(truth)
    count = np.maximum(there.sum(axis=0), 1)
    own, true = (np.where(there, values, 0) for values in (y, truth))
    own, true = (np.where(there, values - values.sum(axis=0) / count, 0) for values in (own, true))
    return float((own * true).sum() / (true**2).sum())


def _by_clip(values_m: Array, clip: Array) -> list[float]:
    """Mean over everything that is known of each clip, mm."""
    return [round(1000 * float(np.nanmean(values_m[clip == c])), 3) for c in range(int(clip.max()) + 1)]


def gate(folder: Path, stage: str, work: Path) -> dict[str, Any]:
    """A candidate's folder through replay and the release policy on the stage's clips.

    Returns `verdict`, `broken`: rule -> cases that do not pass it, `passed`: share of clips that pass every required
    rule, the worst case of what the gate limits (`bend_p99`, `offset_max`, `bias`, `jitter` in metres, `swings`), and
    `numeric`: per clip, mean |offset| of each emulation to ort-fp32, mm.
    """
    cases = clips(stage, work)
    judged = _replayed("gate", folder, work, cases, ENGINES, ("train", "deploy"))
    verdict = judge(judged, load_policy(example_folder() / "release.trueline.toml")).to_json()
    found = {"verdict": verdict["verdict"], **_broken(verdict, [p.name for p in cases]), **car_columns(judged)}
    shutil.rmtree(judged.path)
    found["numeric"] = numeric(folder, stage, work, NUMERIC)
    return dict(_rounded(found))


def numeric(folder: Path, stage: str, work: Path, engines: Sequence[str]) -> dict[str, list[float]]:
    """Engine -> per clip, mean |offset| to ort-fp32, mm, on the first of the stage's clips.

    Raises:
        EngineUnavailable: one of them did not run to its end.
    """
    cases = clips(stage, work)[: GATE_CLIPS[stage][2]]
    run = _replayed("numeric", folder, work, cases, ("ort-fp32", *engines), ("deploy",))
    for rung in run.meta["rungs"]:
        if rung["status"] != "ok":
            raise EngineUnavailable(rung["reason"], where=rung["name"], remedy="see docs/engines.md for what it needs")
    found = {engine: _moved(run, engine) for engine in engines}
    shutil.rmtree(run.path)
    return dict(_rounded(found))


def lost_and_moved(folder: Path, stage: str, work: Path, engines: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Engine -> `lost`, share of ort-fp32's lines that it lacks, and `moved_mm`, mean |offset| of the others or None.

    Of a network whose numbers an engine may not hold: a line that is not finite is lost, and no error here.
    """
    cases = clips(stage, work)[: GATE_CLIPS[stage][2]]
    run = _replayed("numeric", folder, work, cases, ("ort-fp32", *engines), ("deploy",))
    found: dict[str, dict[str, Any]] = {}
    for engine in engines:
        about = {"rung": f"deploy/{engine}", "reference": "deploy/ort-fp32"}
        frames = run.read("frame_metrics").filter(**about)
        counted = frames["missing"].sum() + frames["matched"].sum()
        moved = [v for v in _moved(run, engine) if np.isfinite(v)]
        found[engine] = {
            "lost": float(frames["missing"].sum() / counted) if counted else 0.0,
            "moved_mm": float(np.mean(moved)) if moved else None,
        }
    shutil.rmtree(run.path)
    return dict(_rounded(found))


def clips(stage: str, work: Path) -> list[Path]:
    """Folders of the cases that the gate judges a stage by, made where they are not there."""
    seed, count, _ = GATE_CLIPS[stage]
    with FileLock(work / "clips.lock"):
        return synth_cases(seed, count, GATE_SECONDS, work / "clips")


def _replayed(
    name: str, folder: Path, work: Path, cases: list[Path], engines: Sequence[str], pipelines: Sequence[str]
) -> Run:
    card, out = load_card(folder / "model.toml"), work / "runs" / f"{folder.name}-{name}"
    cache = work / "cache" / folder.name
    return replay(card, cases, engines=engines, preprocess=pipelines, out=out, steps=False, cache=cache)


def _broken(verdict: Mapping[str, Any], cases: list[str]) -> dict[str, Any]:
    """Required rules that a case does not pass, and in which cases; the share of cases that pass all."""
    failed: dict[str, set[str]] = {}
    for rule in verdict["rules"]:
        found = [c for rung in rule["rungs"] for c in rung["cases"] if c["verdict"] != "PASS"]
        if rule["required"] and rule["scope"] == "each" and found:
            failed[rule["id"]] = {c["case"] for c in found}
    bad = set[str]().union(*failed.values())
    return {"broken": {k: sorted(v) for k, v in failed.items()}, "passed": 1 - len(bad) / len(cases)}


def _moved(run: Run, engine: str) -> list[float]:
    """Mean |offset| near and mid of each case against the same pipeline in ort-fp32, mm."""
    own = run.read("line_metrics").filter(
        pl.col("band").is_in(["near", "mid"]),
        pl.col("rung") == f"deploy/{engine}",
        pl.col("reference") == "deploy/ort-fp32",
    )
    rows = own.group_by("case").agg(pl.col("offset_mean").abs().mean()).sort("case")
    return [1000 * float(v) for v in rows["offset_mean"]]


def _rounded(value: Any) -> Any:
    """Floats to five significant digits."""
    if isinstance(value, Mapping):
        return {k: _rounded(v) for k, v in value.items()}
    if isinstance(value, list):
        return [_rounded(v) for v in value]
    return float(f"{value:.5g}") if isinstance(value, float) else value
