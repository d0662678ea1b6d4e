"""Which frames a report shows: the worst events, spread over kinds and cases, each once.

An event that travels down the ladder is one finding: it is shown at the first rung that has (nearly) its full size, and
names the others. Where a case has no event its largest difference is shown, so that every case has a frame to look at.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import polars as pl

from harness.report.finding import Tables, WorstFrame
from harness.report.locate import at_their_peak, largest_differences

__all__ = ["candidates", "choose", "worst_events", "worst_frames"]

FULL_SIZE = 0.75  # share of an event's largest value that counts as already there
MAX_PLAIN = 60  # frames without a picture, for cases that are not among the worst
NONFINITE = 1000.0  # severity of what is not finite
SAME_MOMENT = 2  # frames this close on one rung look the same


def worst_frames(
    run: Tables,
    *,
    found: Sequence[WorstFrame],
    cases: Sequence[str],
    reference: str,
    limits: dict[str, float],
    unit: str,
    max_frames: int,
) -> list[WorstFrame]:
    """The frames to show, worst first: at most `max_frames` with a picture, then one for every further case.

    Args:
        run: gives line_metrics and lines.
        found: findings of the run, worst first (`candidates`).
        cases: ids of all cases.
        reference: the rung the metrics are measured against.
        limits: bend threshold of each band, for cases without events.
        unit: of lengths, `m` or `px`.
        max_frames: how many pictures to embed.
    """
    chosen = choose(found, 2 * max_frames + 4)
    without = [c for c in cases if c not in {f.case for f in chosen}]
    rest = [f for f in _best_of_each_case(found) if f.case in without]
    located = _distinct(at_their_peak(run.table("line_metrics"), chosen + rest))
    have = {f.case for f in located}
    located += largest_differences(run, [c for c in cases if c not in have], reference, limits, unit)
    return _with_pictures(located, max_frames)


def worst_events(events: pl.LazyFrame, reference: str) -> pl.DataFrame:
    """The worst event of each (case, kind, track, band, rung) against `reference`, with `severity`, worst first.

    Severity is value over threshold. Counts and lengths in frames grow without bound where offsets do not, so they
    enter by 1 + log2; an output that is not finite is worse than anything finite.
    """
    ratio = pl.when(pl.col("threshold") > 0).then(pl.col("value").abs() / pl.col("threshold")).otherwise(NONFINITE)
    counted = pl.col("unit").is_in(["frames", "count"])
    severity = (
        pl.when(pl.col("kind") == "nonfinite")
        .then(NONFINITE)
        .when(counted & (ratio > 1))
        .then(1 + ratio.log(2))
        .otherwise(ratio)
    )
    return (
        events.filter(pl.col("reference").is_null() | (pl.col("reference") == reference))
        .with_columns(severity.fill_nan(0.0).fill_null(0.0).alias("severity"))
        .sort("severity", descending=True, maintain_order=True)
        .group_by("case", "kind", "track", "band", "rung", maintain_order=True)
        .first()
        .collect()
    )


def candidates(events: pl.LazyFrame, ladder: Sequence[str], reference: str) -> list[WorstFrame]:
    """One finding per (case, kind, track, band), worst first, those that are not the candidate's own last."""
    rows = worst_events(events, reference)
    order = {name: i for i, name in enumerate(ladder)}
    groups: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    for row in rows.iter_rows(named=True):
        groups.setdefault((row["case"], row["kind"], row["track"], row["band"]), []).append(row)
    found = [_finding(group, order) for group in groups.values()]
    return sorted(found, key=lambda f: (f.owner != "candidate", -f.severity, f.case, f.kind, f.frame))


def choose(found: Sequence[WorstFrame], count: int) -> list[WorstFrame]:
    """The worst of each kind first, then case by case in turn, so that one bad case cannot fill the list."""
    seeds: dict[str, WorstFrame] = {}
    for finding in found:
        seeds.setdefault(finding.kind, finding)
    chosen = list(seeds.values())[: max(1, count // 2)]
    turns: dict[str, int] = {}
    ranked = []
    for finding in found:
        if finding not in chosen:
            turn = turns[finding.case] = turns.get(finding.case, -1) + 1
            ranked.append((turn, finding))
    chosen += [f for _, f in sorted(ranked, key=lambda pair: pair[0])]
    return sorted(chosen[:count], key=lambda f: (f.owner != "candidate", -f.severity))


def _finding(group: list[dict[str, Any]], order: dict[str, int]) -> WorstFrame:
    """The event at the first rung of the ladder that has it at full size."""
    worst = max(row["severity"] for row in group)
    along = sorted(group, key=lambda row: order.get(row["rung"], len(order)))
    first = next(row for row in along if row["severity"] >= FULL_SIZE * worst)
    return WorstFrame(
        case=first["case"],
        frame=first["frame_start"],
        rung=first["rung"],
        kind=first["kind"],
        track=first["track"],
        band=first["band"],
        value=_float(first["value"]),
        threshold=_float(first["threshold"]),
        unit=first["unit"] or "",
        owner=first["owner"] or "candidate",
        frame_start=first["frame_start"],
        frame_end=first["frame_end"],
        severity=first["severity"],
        also=tuple(row["rung"] for row in along if row is not first and _overlap(row, first)),
    )


def _overlap(a: dict[str, Any], b: dict[str, Any]) -> bool:
    return bool(a["frame_start"] <= b["frame_end"] and b["frame_start"] <= a["frame_end"])


def _best_of_each_case(found: Sequence[WorstFrame]) -> list[WorstFrame]:
    best: dict[str, WorstFrame] = {}
    for finding in found:
        best.setdefault(finding.case, finding)
    return list(best.values())


def _distinct(found: list[WorstFrame]) -> list[WorstFrame]:
    """Leave out findings that would show the same moment of the same rung again."""
    kept: list[WorstFrame] = []
    for f in found:
        if not any(k.case == f.case and k.rung == f.rung and abs(k.frame - f.frame) <= SAME_MOMENT for k in kept):
            kept.append(f)
    return kept


def _with_pictures(found: list[WorstFrame], max_frames: int) -> list[WorstFrame]:
    """The first `max_frames` keep their picture; of the others one per case stays, without it."""
    shown = found[:max_frames]
    have = {f.case for f in shown}
    plain: list[WorstFrame] = []
    for f in found[max_frames:]:
        if f.case not in have and len(plain) < MAX_PLAIN:
            have.add(f.case)
            plain.append(replace(f, pictured=False))
    return shown + plain


def _float(value: float | None) -> float:
    return float("nan") if value is None else float(value)
