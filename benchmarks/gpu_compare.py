"""Real reduced precision against emulated: bits, errors, bends, and whether both err on the same frames."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

import engines
from benchmarks.emulation import bends, precision, rms_errors
from benchmarks.engines import run_on
from benchmarks.gpu_mma import architecture_of
from cases.case import open_case
from engines.mma.arithmetic import ARCHITECTURES
from harness.feed.inputs import InputBuilder, cameras_of
from harness.model.card import Card
from harness.run.folder import Run

__all__ = ["bit_equal", "compare_engines", "emulations", "figures"]

EMULATED = ("emulated-fp16", "emulated-fp16-fused", "emulated-bf16", "emulated-bf16-fused", "emulated-tf32",
            "emulated-tf32:rna", "emulated-tf32:rz")  # fmt: skip
BIT_FRAMES = 3  # on which outputs are compared bit by bit

Outputs = list[dict[str, NDArray[Any]]]


def emulations(capability: int) -> list[str]:
    """Engines that emulate a GPU of a compute capability, ten times."""
    architecture = architecture_of(capability)
    kinds = ARCHITECTURES[architecture][1] if architecture else {}
    marked = [f"emulated-mma-{kind}:{architecture}" for kind in kinds]
    return [*EMULATED, *marked, *(f"{name}-acc16" for name in marked if "fp16" in name)]


def compare_engines(card: Card, cases: Sequence[Path], real: Sequence[str], capability: int, folder: Path) -> Any:
    """Every real engine that runs here against every emulation of its precision, on the same frames."""
    answers = {name: engines.availability(name)[0] for name in real}
    able = [name for name, answer in answers.items() if answer.available]
    wanted = {precision(name) for name in able} - {"fp32"}
    emulated = [name for name in emulations(capability) if precision(name) in wanted]
    emulated = [name for name in emulated if engines.availability(name)[0].available]
    run = run_on(card, cases, [*_fp32(able), *able, "ort-fp32", *emulated], folder)
    outputs = {name: outputs_of(card, cases[0], name, BIT_FRAMES) for name in (*able, *emulated) if _ran(run, name)}
    pairs = [(r, e) for r, e in itertools.product(able, emulated) if precision(r) == precision(e)]
    return {
        "frames": sum(case["frames"] for case in run.meta["cases"]),
        "not_available": {name: answer.detail for name, answer in answers.items() if not answer.available},
        "failed": {rung["engine"]: rung["reason"] for rung in run.rungs if rung["status"] != "ok"},
        "pairs": [
            {"real": r, "emulated": e, **figures(run, r, e), **bit_equal(outputs[r], outputs[e])}
            for r, e in pairs
            if r in outputs and e in outputs
        ],
    }


def figures(run: Run, real: str, emulated: str) -> dict[str, Any]:
    """Emulated over real: RMS error of each output, p50, p99 and max of bend; rank correlation over frames.

    Each engine's error is against its own parent in the run, the fp32 engine of the same runtime.
    """
    from scipy.stats import spearmanr

    one, other = (_rung(run, name) for name in (emulated, real))
    errors = [rms_errors(run, rung["name"], _fp32_rung(run, rung)) for rung in (one, other)]
    both = bends(run, one["name"], _fp32_rung(run, one)).join(
        bends(run, other["name"], _fp32_rung(run, other)), on=["case", "frame"], suffix="_real"
    )
    levels = [np.quantile(np.concatenate(both[column].to_list()), (0.5, 0.99, 1)) for column in ("bend", "bend_real")]
    largest = both.select(pl.col("bend", "bend_real").list.max())
    rank = float(spearmanr(largest["bend"], largest["bend_real"]).statistic) if len(both) > 2 else float("nan")
    with np.errstate(divide="ignore", invalid="ignore"):
        ratios = levels[0] / levels[1]
        rms = {output: float(np.divide(errors[0][output], errors[1][output])) for output in errors[0]}
    return {
        "rms_ratio": rms,
        **{f"bend_{level}_ratio": float(ratio) for level, ratio in zip(("p50", "p99", "max"), ratios, strict=True)},
        "rank_correlation": rank,
    }


def bit_equal(one: Outputs, other: Outputs) -> dict[str, dict[str, float]]:
    """Share of the elements of each output that have the same bits, over all frames."""
    shares = {}
    for name in one[0]:
        same = [
            a[name].tobytes() == b[name].tobytes() or _same(a[name], b[name]) for a, b in zip(one, other, strict=True)
        ]
        shares[name] = float(np.mean([np.mean(equal) for equal in same]))
    return {"bit_equal": shares}


def outputs_of(card: Card, case: Path, name: str, frames: int) -> Outputs:
    """What an engine gives for the first frames of a case, deploy pipeline."""
    engine, opened = engines.open(name, card.source()), open_case(case)
    build = InputBuilder(card, opened, "deploy")
    found = [engine.infer(build(tick)) for tick in itertools.islice(opened.ticks(cameras_of(card)), frames)]
    engine.close()
    return [dict(outputs) for outputs in found]


def _same(a: NDArray[Any], b: NDArray[Any]) -> NDArray[np.bool_]:
    word = np.dtype(f"u{a.dtype.itemsize}")
    return np.ascontiguousarray(a).view(word) == np.ascontiguousarray(b).view(word)


def _fp32(names: Sequence[str]) -> list[str]:
    """The fp32 engines under which those of a run hang: without them an error is against something farther away."""
    from engines.ladder import ancestry

    above = [engine for name in names for engine, _ in ancestry(name) if precision_is_fp32(engine)]
    return [name for name in dict.fromkeys(above) if name not in names and engines.availability(name)[0].available]


def precision_is_fp32(name: str) -> bool:
    """Whether an engine's name says fp32."""
    return "fp32" in name


def _rung(run: Run, engine: str) -> dict[str, Any]:
    return next(dict(rung) for rung in run.rungs if rung["engine"] == engine and rung["preprocess"] == "deploy")


def _ran(run: Run, engine: str) -> bool:
    return any(rung["engine"] == engine and rung["status"] == "ok" for rung in run.rungs)


def _fp32_rung(run: Run, rung: dict[str, Any]) -> str:
    """The nearest rung above that computes in fp32."""
    by_name = {other["name"]: other for other in run.rungs}
    above = by_name[rung["parent"]]
    while "fp32" not in above["engine"]:
        above = by_name[above["parent"]]
    return str(above["name"])
