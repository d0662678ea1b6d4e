"""What the cells of a sweep say together: response curves, metres per step, the ratio to a baseline, constancy.

Over cases, numbers are the mean of the cases' (`deviation`, `input_rms`) or the worst of them (quantiles, bend, swing,
missing): a regression suite is as good as its worst case.

    corruption ratio   CE_c = sum over severities of D(c, s) / the same of the baseline;  mCE = mean over c of CE_c

with D the mean deviation, in place of the error of a classifier: Hendrycks and Dietterich, "Benchmarking Neural Network
Robustness to Common Corruptions and Perturbations", ICLR 2019, arXiv 1903.12261, section 4. D is 0 for a model whose
lines do not move, which is their relative mCE: the clean error is taken off already.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

__all__ = ["CONSTANT", "Curve", "Point", "Ratio", "constant", "curves", "gain", "ratio"]

Cell = Mapping[str, Any]

CONSTANT = 0.05  # share of the true movement that a model must follow at least to be said to look at the picture


@dataclass(frozen=True, slots=True)
class Point:
    """One severity of one perturbation over all cases; None where there is no number.

    Attributes:
        severity, amount: 1 to 5, and in the perturbation's unit.
        cases: that were measured.
        deviation: mean over cases, in the card's unit.
        offset_p50, offset_p99, bend_p99: worst case and band.
        swing_s: seconds of swing of the worst case.
        missing: share of lines lost in the worst case.
        input_rms: mean over cases, 8-bit steps.
        follow: mean over cases.
        crashed: cases in which the model failed.
    """

    severity: int
    amount: float
    cases: int
    deviation: float | None
    offset_p50: float | None
    offset_p99: float | None
    bend_p99: float | None
    swing_s: float | None
    missing: float | None
    input_rms: float | None
    follow: float | None
    crashed: int


@dataclass(frozen=True, slots=True)
class Curve:
    """The response to one perturbation; `why` says why there is none."""

    perturbation: str
    points: tuple[Point, ...]
    why: str = ""


@dataclass(frozen=True, slots=True)
class Ratio:
    """The corruption ratio to a baseline: of each perturbation that both have, and their mean; None where undefined."""

    by_perturbation: Mapping[str, float | None]
    mean: float | None


def curves(cells: Iterable[Cell]) -> list[Curve]:
    """One for every perturbation, in the order of the cells."""
    found: dict[str, dict[int, list[Cell]]] = {}
    for cell in cells:
        found.setdefault(cell["perturbation"], {}).setdefault(cell["severity"], []).append(cell)
    return [_curve(name, by_severity) for name, by_severity in found.items()]


def gain(curve: Curve) -> float | None:
    """Deviation per 8-bit step of input change, summed over severities; None where the input does not change."""
    both = [(p.deviation, p.input_rms) for p in curve.points if p.deviation is not None and p.input_rms]
    total = sum(rms for _, rms in both)
    return sum(d for d, _ in both) / total if total > 0 else None


def ratio(cells: Sequence[Cell], baseline: Sequence[Cell]) -> Ratio:
    """How far lines deviate against those of a baseline, on the cells that both have measured (see the module)."""
    theirs = {_key(c): c for c in baseline if _measured(c)}
    sums: dict[str, tuple[float, float]] = {}
    for cell in cells:
        other = theirs.get(_key(cell))
        if other is not None and _measured(cell):
            own, base = sums.get(cell["perturbation"], (0.0, 0.0))
            sums[cell["perturbation"]] = own + cell["deviation"], base + other["deviation"]
    by = {name: own / base if base > 0 else None for name, (own, base) in sums.items()}
    known = [value for value in by.values() if value is not None]
    return Ratio(by, sum(known) / len(known) if known else None)


def constant(cells: Iterable[Cell]) -> bool:
    """Whether the lines do not follow the picture: the same whatever is done to it, or deaf to where it moves."""
    done = [c for c in cells if c["status"] == "ok" and c["input_rms"]]
    followed = [c["follow"] for c in done if c["follow"] is not None]
    if followed:
        return all(abs(share) < CONSTANT for share in followed)
    return bool(done) and all(c["unmoved"] for c in done)


def _curve(name: str, by_severity: Mapping[int, Sequence[Cell]]) -> Curve:
    every = [c for cells in by_severity.values() for c in cells]
    why = "" if any(c["status"] == "ok" for c in every) else "; ".join(dict.fromkeys(c["reason"] for c in every))
    return Curve(name, tuple(_point(s, cells) for s, cells in sorted(by_severity.items())), why)


def _point(severity: int, cells: Sequence[Cell]) -> Point:
    done = [c for c in cells if c["status"] == "ok"]
    quantile = {n: _worst(v for c in done for v in c[n]) for n in ("offset_p50", "offset_p99", "bend_p99")}
    return Point(
        severity,
        float(cells[0]["amount"]),
        len(done),
        deviation=_mean(c["deviation"] for c in done),
        **quantile,
        swing_s=_worst(c["swing_s"] for c in done),
        missing=_worst(c["missing"] for c in done),
        input_rms=_mean(c["input_rms"] for c in done),
        follow=_mean(c["follow"] for c in done),
        crashed=sum(c["status"] == "crashed" for c in cells),
    )


def _key(cell: Cell) -> tuple[Any, ...]:
    return cell["perturbation"], cell["severity"], cell["amount"], cell["case"]


def _measured(cell: Cell) -> bool:
    return cell["status"] == "ok" and cell["deviation"] is not None


def _mean(values: Iterable[float | None]) -> float | None:
    known = [v for v in values if v is not None]
    return math.fsum(known) / len(known) if known else None


def _worst(values: Iterable[float | None]) -> float | None:
    return max((v for v in values if v is not None), default=None)
