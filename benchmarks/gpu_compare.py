"""Real reduced precision against emulated: bits, errors, bends, and whether both err on the same frames."""

from __future__ import annotations

import itertools
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import engines
from benchmarks.emulation import precision
from benchmarks.gpu_mma import architecture_of
from cases.case import Case, open_case
from engines.ladder import ancestry
from engines.mma.arithmetic import ARCHITECTURES
from harness.feed.inputs import InputBuilder, cameras_of, context_of
from harness.lines.chunk import RungOutputs
from harness.lines.decode import build_decoder
from harness.measures.match import match
from harness.measures.measured import Measured, measured
from harness.measures.pairs import pair_metrics
from harness.model.card import Card
from harness.replay.decoding import decode_frames
from harness.replay.open import calibrated
from trueline import TruelineError

__all__ = ["Bends", "Figures", "bit_equal", "compare_engines", "compared", "emulations", "fp32_of"]

EMULATED = (
    "emulated-fp16", "emulated-fp16-fused", "emulated-fp16:plan", "emulated-fp16:plan-half", "emulated-bf16",
    "emulated-bf16-fused", "emulated-bf16:plan", "emulated-tf32", "emulated-tf32:rna", "emulated-tf32:rz",
)  # fmt: skip
LEVELS = (0.5, 0.99, 1.0)

Outputs = list[dict[str, NDArray[Any]]]


def emulations(capability: int) -> list[str]:
    """Engines that emulate a GPU of a compute capability, ten times."""
    architecture = architecture_of(capability)
    kinds = ARCHITECTURES[architecture][1] if architecture else {}
    marked = [f"emulated-mma-{kind}:{architecture}" for kind in kinds]
    planned = [f"emulated-mma-{kind}-plan:{architecture}" for kind in kinds if kind != "tf32"]
    return [*EMULATED, *marked, *planned, *(f"{name}-acc16" for name in marked if "fp16" in name)]


def compare_engines(card: Card, cases: Sequence[Path], real: Sequence[str], capability: int, folder: Path) -> Any:
    """Every real engine that runs here against every emulation of its precision, on the same frames.

    An engine that fails is named with its reason; the others go on.
    """
    answers = {name: engines.availability(name)[0] for name in real}
    able = [name for name, answer in answers.items() if answer.available]
    wanted = {precision(name) for name in able} - {"fp32"}
    emulated = [name for name in emulations(capability) if precision(name) in wanted]
    answers |= {name: engines.availability(name)[0] for name in emulated}
    opened = [open_case(case) for case in cases]
    given, failed, facts = {}, {}, {}
    for name in dict.fromkeys([*map(fp32_of, (*able, *emulated)), *able, *emulated]):
        if name in answers and not answers[name].available:
            continue
        try:
            given[name], facts[name] = outputs_of(card, opened, name, folder / "cache")
        except TruelineError as error:
            failed[name] = str(error)
    lines, ran = Bends(card), [name for name in able if name in given]
    found = {name: lines.figures(given[name], given[fp32_of(name)]) for name in given if fp32_of(name) in given}
    pairs = [(r, e) for r, e in itertools.product(able, emulated) if r in found and e in found]
    return {
        "frames": sum(len(list(case.ticks(cameras_of(card)))) for case in opened),
        "not_available": {name: answer.detail for name, answer in answers.items() if not answer.available},
        "failed": failed,
        "engines": {name: own.told() | facts[name] for name, own in found.items()},
        "fp32": {name: bit_equal(given[name], given["ort-fp32"]) for name in ran if precision(name) == "fp32"}
        if "ort-fp32" in given
        else {},
        "pairs": [
            {"real": r, "emulated": e, **compared(found[r], found[e]), **bit_equal(given[r], given[e])}
            for r, e in pairs
            if precision(r) == precision(e)
        ],
    }


@dataclass(frozen=True)
class Figures:
    """What an engine does against the fp32 engine of its own runtime.

    Attributes:
        rms: of each output, RMS of the difference over RMS of the output, over all frames.
        bends: (frame, bends of its lines and bands in the card's length unit), of frames that have any.
        lost: lines that only one of the two has.
    """

    rms: dict[str, float]
    bends: dict[int, list[float]]
    lost: int

    def told(self) -> dict[str, Any]:
        """For the JSON."""
        values = [value for found in self.bends.values() for value in found]
        levels = np.quantile(values, LEVELS).tolist() if values else []
        return {"rms": self.rms, "bend_p50_p99_max": levels, "lines_of_one_only": self.lost}


class Bends:
    """Decodes two engines' outputs and measures the lines of one against those of the other."""

    def __init__(self, card: Card) -> None:
        self._decoder, self._grid = build_decoder(card), card.grid
        self._kept = [output.name for output in card.outputs]

    def figures(self, own: Outputs, reference: Outputs) -> Figures:
        """Of an engine against its fp32."""
        one, other = self._lines(reference), self._lines(own)
        found = match(one.lines, other.lines, self._grid, one.at_bands, other.at_bands)
        pairs = pair_metrics(one.lines, other.lines, found, self._grid, one.at_bands, other.at_bands)
        bends: dict[int, list[float]] = {}
        for frame, values in zip(one.lines.frame[found.reference].tolist(), pairs.bands["bend"], strict=True):
            bends.setdefault(frame, []).extend(values[np.isfinite(values)].tolist())
        lost = len(found.missing) + len(found.extra)
        rms = {name: relative_rms(own, reference, name) for name in own[0]}
        return Figures(rms, {frame: values for frame, values in bends.items() if values}, lost)

    def _lines(self, outputs: Outputs) -> Measured:
        stacked = {name: np.stack([one[name] for one in outputs]) for name in self._kept if name in outputs[0]}
        decoded = decode_frames(self._decoder, stacked, np.arange(len(outputs)))
        if decoded.error is not None:
            raise decoded.error
        ran = np.ones(len(outputs), bool)
        return measured(RungOutputs(ran, ran, {}, decoded.lines), self._grid)


def relative_rms(own: Outputs, reference: Outputs, name: str) -> float:
    """RMS of the difference over RMS of the reference, over all frames; NaN where either has no finite RMS."""
    a, b = (np.stack([one[name] for one in outputs]).astype(np.float64) for outputs in (own, reference))
    with np.errstate(all="ignore"):
        return float(np.sqrt(np.mean((a - b) ** 2) / np.mean(b**2)))


def compared(real: Figures, emulated: Figures) -> dict[str, Any]:
    """Emulated over real: RMS error of each output, p50, p99 and max of bend; rank correlation over frames."""
    from scipy.stats import spearmanr

    frames = sorted(set(real.bends) & set(emulated.bends))
    largest = [[max(own.bends[frame]) for frame in frames] for own in (real, emulated)]
    rank = float(spearmanr(*largest).statistic) if len(frames) > 2 else float("nan")
    levels = [np.quantile([v for f in frames for v in own.bends[f]] or [np.nan], LEVELS) for own in (emulated, real)]
    with np.errstate(divide="ignore", invalid="ignore"):
        ratios = levels[0] / levels[1]
        rms = {name: float(np.divide(emulated.rms[name], real.rms[name])) for name in real.rms}
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


def outputs_of(card: Card, cases: Sequence[Case], name: str, cache: Path) -> tuple[Outputs, dict[str, Any]]:
    """What an engine gives for every frame under the deploy pipeline, calibrated as in a replay; seconds it took."""
    start = time.perf_counter()
    engine = engines.open(name, calibrated(name, card.source(cache), card, cases))
    ready = time.perf_counter()
    found: Outputs = []
    for case in cases:
        engine.start_case(context_of(case))
        build = InputBuilder(card, case, "deploy")
        found += [dict(engine.infer(build(tick))) for tick in case.ticks(cameras_of(card))]
    facts = {"open_s": round(ready - start, 2), "frames_s": round(time.perf_counter() - ready, 2)}
    engine.close()
    return found, facts


def _same(a: NDArray[Any], b: NDArray[Any]) -> NDArray[np.bool_]:
    word = np.dtype(f"u{a.dtype.itemsize}")
    return np.ascontiguousarray(a).view(word) == np.ascontiguousarray(b).view(word)


def fp32_of(name: str) -> str:
    """The nearest engine above that computes in fp32; an fp32 engine's own is `ort-fp32`, or PyTorch on the CPU."""
    above = [engine for engine, _ in ancestry(name)]
    if precision(name) == "fp32":
        return "torch-fp32" if name.startswith("torch") else "ort-fp32"
    return next(engine for engine in above if precision(engine) == "fp32")
