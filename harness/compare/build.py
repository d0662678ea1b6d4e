"""From runs to what they say beside one another: common cases, measures in pairs, findings that came and went."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl

from harness.compare.changes import changes_of
from harness.compare.model import Answer, Comparison, MeasureRow, Pairing
from harness.compare.network import network_change
from harness.errors import UsageError
from harness.gate import judge
from harness.gate.pairs import paired, shown_ones
from harness.gate.provenance import provenance_differences, provenance_of
from harness.ladder import Explanation, explain
from harness.ladder.words import listed
from harness.report.glossary import columns
from harness.report.summary import pooled, severity
from harness.run.catalogue import Measure
from harness.run.facts import RunFacts, read_facts
from harness.run.numbers import unit_text
from harness.run.paths import told_apart
from trueline._text import counted

if TYPE_CHECKING:
    from harness.gate.policy import Policy
    from harness.gate.verdict import Verdict
    from harness.run.folder import Run

__all__ = ["Seen", "compare_runs", "see"]


class Seen:
    """A run and what was asked of it once: facts, explanation, numbers of every case, verdict."""

    def __init__(self, run: Run, name: str, policy: Policy | None, profile: str | None) -> None:
        self.run = run
        self.name = name
        self.facts: RunFacts = read_facts(run.meta)
        self.verdict: Verdict | None = None if policy is None else judge(run, policy, profile)
        self.explanation: Explanation = explain(run, self.verdict)
        self.numbers = pooled(run, self.facts)


def see(runs: Sequence[Run], policy: Policy | None = None, profile: str | None = None) -> list[Seen]:
    """The runs, each read once.

    Raises:
        UsageError: fewer than two, or lengths in different units.
    """
    if len(runs) < 2:
        raise UsageError("one run is no comparison", where="RUN", remedy="give two runs or more")
    names = told_apart([Path(run.path) for run in runs])
    seen = [Seen(run, name, policy, profile) for run, name in zip(runs, names, strict=True)]
    units = {s.facts.length_unit for s in seen}
    if len(units) > 1:
        raise UsageError(
            f"lengths are in {' and in '.join(sorted(units))}", where="RUN", remedy="compare runs of one frame"
        )
    return seen


def compare_runs(runs: Sequence[Run], policy: Policy | None = None, profile: str | None = None) -> Comparison:
    """Hold runs against the first of them.

    Args:
        runs: two or more; the first is what the others are compared with.
        policy: judges each of them; None: no verdict is told.
        profile: of the policy.

    Raises:
        UsageError: fewer than two, or runs that cannot be compared.
    """
    return comparison_of(see(runs, policy, profile), policy)


def comparison_of(seen: Sequence[Seen], policy: Policy | None = None) -> Comparison:
    """The comparison of runs that were read."""
    return Comparison(
        names=tuple(s.name for s in seen),
        length_unit=seen[0].facts.length_unit,
        pairings=tuple(_pairing(seen[0], other) for other in seen[1:]),
        policy=policy.name if policy is not None else "",
        exit_code=seen[-1].verdict.exit_code if seen[-1].verdict is not None else 0,
        paths=tuple(str(s.run.path) for s in seen),
    )


def _pairing(first: Seen, second: Seen) -> Pairing:
    a, b = first.facts.cases, second.facts.cases
    both = [c for c in a if c in b]
    common = tuple(c for c in both if a[c].digest == b[c].digest)
    rungs = tuple(r for r in first.facts.ladder if r in second.facts.rungs)
    rows = _measures(first, second, common, rungs)
    answer, sentence = _answer(rows, first.name, second.name, common)
    return Pairing(
        name=second.name,
        answer=answer,
        sentence=sentence,
        cases=common,
        only_first=tuple(c for c in a if c not in b),
        only_second=tuple(c for c in b if c not in a),
        changed=tuple(c for c in both if a[c].digest != b[c].digest),
        drives=len({a[c].drive for c in common}),
        rungs=rungs,
        measures=rows,
        changes=changes_of(first.explanation, second.explanation, set(common)),
        differences=provenance_differences(provenance_of(first.run.meta), provenance_of(second.run.meta)),
        verdicts=tuple(s.verdict.status.value for s in (first, second) if s.verdict is not None),
        network=network_change(*((Path(s.run.path), s.facts) for s in (first, second))),
    )


def _measures(first: Seen, second: Seen, cases: Sequence[str], rungs: Sequence[str]) -> tuple[MeasureRow, ...]:
    """One row for each measure of the report's table that both runs have; those that say something first."""
    drive = {c: first.facts.cases[c].drive for c in cases}
    rows = []
    for measure in columns():
        if not measure.comparable:
            continue
        sides = [_by_drive(measure, s, drive, rungs) for s in (first, second)]
        shared = [d for d in sides[0] if d in sides[1]]
        if not shared:
            continue
        sign = 1.0 if measure.higher_is_worse else -1.0
        found = paired([sign * (sides[1][d] - sides[0][d]) for d in shared])
        middle = [statistics.median(side[d] for d in shared) for side in sides]
        rows.append(
            MeasureRow(
                measure.name,
                measure.label,
                unit_text(measure.quantity, first.facts.length_unit),
                middle[0],
                middle[1],
                found.pairs,
                found.better,
                found.worse,
                found.median,
                found.low,
                found.high,
                found.chance,
            )
        )
    differing = [r for r in rows if r.better or r.worse]  # the others can show nothing, so they are no attempts
    told = dict(zip((r.measure for r in differing), shown_ones([r.chance for r in differing]), strict=True))
    judged = [replace(r, answer=_row_answer(r, told.get(r.measure, False))) for r in rows]
    return tuple(sorted(judged, key=lambda r: (r.answer in ("unknown", "same"), r.chance)))


def _row_answer(row: MeasureRow, told: bool) -> Answer:
    if not row.better and not row.worse:
        return "same"
    if not told:
        return "unknown"
    return "second" if row.better > row.worse else "first"


def _by_drive(measure: Measure, seen: Seen, drive: Mapping[str, str], rungs: Sequence[str]) -> dict[str, float]:
    """Drive -> the worst of its cases, bands and common rungs, by its share of the threshold where bands have one."""
    rows = seen.numbers.filter(
        pl.col("metric") == measure.name, pl.col("case").is_in(list(drive)), pl.col("rung").is_in(list(rungs))
    )
    worst: dict[str, tuple[float, float]] = {}
    for case, band, value in rows.select("case", "band", "worst").iter_rows():
        size = severity(measure, value, band, seen.facts.grid)
        order = size if size is not None else (value if measure.higher_is_worse else -value)
        key = drive[case]
        if key not in worst or order > worst[key][0]:
            worst[key] = (order, value)
    return {d: value for d, (_, value) in worst.items() if math.isfinite(value)}


def _answer(rows: Sequence[MeasureRow], first: str, second: str, cases: Sequence[str]) -> tuple[Answer, str]:
    """Which is better, and why; mixed measures answer `neither`."""
    better = [r.label for r in rows if r.answer == "second"]
    worse = [r.label for r in rows if r.answer == "first"]
    if not cases:
        return "unknown", "unknown: the runs have no case in common"
    if better and worse:
        return "neither", f"neither: {second} is better by {listed(better)}, {first} by {listed(worse)}"
    if better:
        return "second", f"{second} is better than {first}: by {listed(better)}, and by no measure worse"
    if worse:
        return "first", f"{first} is better than {second}: by {listed(worse)}, and by no measure worse"
    if rows and all(r.answer == "same" for r in rows):
        return "same", f"the same: no measure differs in any of {counted(len(cases), 'case')}"
    most = max((r.pairs for r in rows), default=0)
    few = f"{most} drives" if most != 1 else "one drive"
    return "unknown", f"unknown: no measure is shown to differ by {few}"
