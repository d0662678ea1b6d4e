"""Which frames a report shows: the worst events, spread over kinds and cases, each once.

An event that travels down the ladder is one finding: it is shown at the first rung that has (nearly) its full size, and
names the others. Where a case has no event its largest difference is shown, so that every case has a frame to look at.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import polars as pl

__all__ = ["Tables", "WorstFrame", "candidates", "choose", "worst_events", "worst_frames"]

FULL_SIZE = 0.75  # share of an event's largest value that counts as already there
MAX_PLAIN = 60  # frames without a picture, for cases that are not among the worst
NONFINITE = 1000.0  # severity of what is not finite
SAME_MOMENT = 2  # frames this close on one rung look the same

_FRAME_METRIC = {"bend": "bend", "kink": "kink", "largest_bend": "bend"}
_KEY = ("case", "rung", "track", "band")


class Tables(Protocol):
    """What the report needs of a run: its tables, lazily."""

    def table(self, name: str) -> pl.LazyFrame:
        """One table of the run folder."""
        ...


@dataclass(frozen=True, slots=True)
class WorstFrame:
    """One frame to show and why.

    Attributes:
        case, frame, rung: where.
        kind: kind of the event, or `largest_bend` / `largest_offset` / `first` where the case has none.
        track, band: of the event; None where it has none.
        value, threshold, unit: as in events.parquet; NaN where there is no value.
        owner: candidate, reference or both.
        frame_start, frame_end: the event's frames, both included.
        severity: how bad, over kinds; 1 is at the threshold (see `worst_events`).
        also: other rungs with the same event, in ladder order.
        pictured: whether the picture is embedded.
    """

    case: str
    frame: int
    rung: str
    kind: str
    track: int | None
    band: str | None
    value: float
    threshold: float
    unit: str
    owner: str
    frame_start: int
    frame_end: int
    severity: float = 0.0
    also: tuple[str, ...] = ()
    pictured: bool = True


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
    located = _distinct(_at_their_peak(run.table("line_metrics"), chosen + rest))
    have = {f.case for f in located}
    located += _largest_differences(run, [c for c in cases if c not in have], reference, limits, unit)
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


def _at_their_peak(line_metrics: pl.LazyFrame, found: list[WorstFrame]) -> list[WorstFrame]:
    """Move each event to the frame of its window where its metric (the offset, for events over time) is largest."""
    wanted = [f for f in found if f.band is not None and f.track is not None and f.frame_end > f.frame_start]
    if not wanted:
        return found
    keys = pl.LazyFrame(
        {
            "event": list(range(len(wanted))),
            "case": [f.case for f in wanted],
            "rung": [f.rung for f in wanted],
            "track": pl.Series([f.track for f in wanted], dtype=pl.Int32),
            "band": [f.band for f in wanted],
            "from": [f.frame_start for f in wanted],
            "to": [f.frame_end for f in wanted],
            "metric": [_FRAME_METRIC.get(f.kind, "offset_max") for f in wanted],
        }
    )
    size = pl.coalesce(
        pl.when(pl.col("metric") == name).then(pl.col(name).abs()) for name in ("bend", "kink", "offset_max")
    )
    peaks = (
        line_metrics.select(*_KEY, "frame", "bend", "kink", "offset_max")
        .join(keys, on=_KEY)
        .filter(pl.col("frame").is_between(pl.col("from"), pl.col("to")))
        .select("event", "frame", size.fill_nan(None).alias("size"))
        .drop_nulls()
        .group_by("event")
        .agg(pl.col("frame").sort_by("frame").get(pl.col("size").sort_by("frame").arg_max()))
        .collect()
    )
    frame_of = dict(peaks.iter_rows())
    moved = {id(f): frame_of[i] for i, f in enumerate(wanted) if i in frame_of}
    return [replace(f, frame=moved.get(id(f), f.frame)) for f in found]


def _distinct(found: list[WorstFrame]) -> list[WorstFrame]:
    """Leave out findings that would show the same moment of the same rung again."""
    kept: list[WorstFrame] = []
    for f in found:
        if not any(k.case == f.case and k.rung == f.rung and abs(k.frame - f.frame) <= SAME_MOMENT for k in kept):
            kept.append(f)
    return kept


def _largest_differences(
    run: Tables, cases: Sequence[str], reference: str, limits: dict[str, float], unit: str
) -> list[WorstFrame]:
    """For cases without events: the row with the largest bend of its band's threshold, else offset, else any frame."""
    if not cases:
        return []
    limit = pl.col("band").replace_strict(limits, default=None, return_dtype=pl.Float64)
    rows = (
        run.table("line_metrics")
        .filter(pl.col("case").is_in(list(cases)), pl.col("reference") == reference)
        .select("case", "frame", "rung", "track", "band", pl.col("bend", "offset_max").abs().fill_nan(None))
        .with_columns((pl.col("bend") / limit).alias("by_bend"))
    )
    most = rows.group_by("case").agg(pl.col("by_bend").max().alias("bent"), pl.col("offset_max").max().alias("off"))
    is_worst = pl.when(pl.col("bent").is_not_null()).then(pl.col("by_bend") == pl.col("bent"))
    worst = (
        rows.join(most.collect(engine="streaming").lazy(), on="case")
        .filter(is_worst.otherwise(pl.col("offset_max") == pl.col("off")))
        .collect(engine="streaming")
        .sort("case", "frame", "rung", "track", "band")
        .unique("case", keep="first")
        .sort("by_bend", "case", descending=[True, False], nulls_last=True)
    )
    found = [_difference(row, limits, unit) for row in worst.iter_rows(named=True)]
    have = {f.case for f in found}
    return found + _any_frames(run, [c for c in cases if c not in have], reference)


def _difference(row: dict[str, Any], limits: dict[str, float], unit: str) -> WorstFrame:
    bent = row["by_bend"] is not None
    return WorstFrame(
        case=row["case"],
        frame=row["frame"],
        rung=row["rung"],
        kind="largest_bend" if bent else "largest_offset",
        track=row["track"],
        band=row["band"],
        value=row["bend"] if bent else row["offset_max"],
        threshold=limits[row["band"]] if bent else float("nan"),
        unit=unit,
        owner="candidate",
        frame_start=row["frame"],
        frame_end=row["frame"],
        severity=row["by_bend"] or 0.0,
    )


def _any_frames(run: Tables, cases: Sequence[str], reference: str) -> list[WorstFrame]:
    """The first frame with lines of each case; frame 0 where nothing was drawn at all."""
    if not cases:
        return []
    rows = run.table("lines").filter(pl.col("case").is_in(list(cases))).group_by("case").agg(pl.col("frame").min())
    first = dict(rows.collect().iter_rows())
    nan = float("nan")
    found = [(case, first.get(case, 0)) for case in cases]
    return [WorstFrame(c, f, reference, "first", None, None, nan, nan, "", "", f, f) for c, f in found]


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
