"""Which frames a report shows: those of the worst findings, spread over kinds and cases, each once.

Where a case has no finding its largest difference is shown, so that every case has a frame to look at.
"""

from __future__ import annotations

from collections.abc import Sequence

from harness.ladder import Finding
from harness.ladder.words import sentence
from harness.model.grid import Grid
from harness.report.finding import Tables, WorstFrame
from harness.report.locate import at_their_peak, largest_differences

__all__ = ["choose", "frames_of", "worst_frames"]

SAME_MOMENT = 2  # frames this close on one rung look the same


def worst_frames(
    run: Tables,
    *,
    found: Sequence[WorstFrame],
    cases: Sequence[str],
    reference: str,
    grid: Grid,
    most: int,
) -> list[WorstFrame]:
    """The frames to show: the worst finding, the others worst first, then one of every case without any.

    Args:
        run: gives line_metrics and lines.
        found: frames of the findings, the one to begin with first, then worst first (`frames_of`).
        cases: ids of all cases.
        reference: the rung the metrics are measured against.
        grid: thresholds, for cases without findings.
        most: how many findings, beside the worst of each case.
    """
    leading = list(found[:1])
    chosen = leading + choose(found[1:], most)
    have = {f.case for f in chosen}
    rest = [f for f in _best_of_each_case(found) if f.case not in have]
    located = _distinct(at_their_peak(run.table("line_metrics"), chosen + rest))
    have = {f.case for f in located}
    return located + largest_differences(run, [c for c in cases if c not in have], reference, grid)


def frames_of(findings: Sequence[Finding]) -> list[WorstFrame]:
    """The frame of each finding that has one, in their order: on the rung where it is told, the others named."""
    return [_frame(f) for f in findings if f.frame is not None]


def _frame(finding: Finding) -> WorstFrame:
    assert finding.frame is not None  # frames_of chose it so
    first = finding.frame if finding.frame_start is None else finding.frame_start
    return WorstFrame(
        case=finding.case,
        frame=finding.frame,
        rung=finding.rung,
        kind=finding.measure,
        track=finding.track,
        band=finding.band,
        value=finding.value,
        threshold=finding.threshold,
        unit=finding.unit,
        frame_start=first,
        frame_end=finding.frame if finding.frame_end is None else finding.frame_end,
        severity=finding.severity,
        also=tuple(r for r in finding.rungs if r != finding.rung),
        sentence=sentence(finding),
        first=finding.first,
        stage=finding.stage or "",
        steps=finding.steps,
    )


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
    return sorted(chosen[:count], key=lambda f: -f.severity)


def _best_of_each_case(found: Sequence[WorstFrame]) -> list[WorstFrame]:
    best: dict[str, WorstFrame] = {}
    for finding in found:
        best.setdefault(finding.case, finding)
    return list(best.values())


def _distinct(found: list[WorstFrame]) -> list[WorstFrame]:
    """Leave out findings that would show the same measure at the same moment of the same rung again."""
    kept: list[WorstFrame] = []
    for f in found:
        if not any(_same_moment(k, f) for k in kept):
            kept.append(f)
    return kept


def _same_moment(a: WorstFrame, b: WorstFrame) -> bool:
    return (a.case, a.rung, a.kind) == (b.case, b.rung, b.kind) and abs(a.frame - b.frame) <= SAME_MOMENT
