"""Findings of two runs beside one another: new, worse, better, gone, same."""

from __future__ import annotations

from collections.abc import Mapping, Set

from harness.compare.model import KINDS, Change, Kind
from harness.ladder import Explanation, Finding
from harness.ladder.words import size_of
from harness.run.catalogue import label_of

__all__ = ["changes_of"]

MUCH = 1.2
"""So many times as severe is worse or better; less is the same."""

_Key = tuple[str, str, str | None]


def changes_of(first: Explanation, second: Explanation, cases: Set[str]) -> tuple[Change, ...]:
    """What became of the findings of common cases; findings of one measure and band of a case are one.

    Lines are not told apart: their numbers are given anew by every run.

    Args:
        first, second: of the runs.
        cases: that both runs have.
    """
    a, b = (_worst(e, cases) for e in (first, second))
    found = [_change(key, a.get(key), b.get(key)) for key in dict.fromkeys([*b, *a])]
    return tuple(sorted(found, key=lambda c: (KINDS.index(c.kind), -c.severity, c.case)))


def _worst(explanation: Explanation, cases: Set[str]) -> Mapping[_Key, Finding]:
    worst: dict[_Key, Finding] = {}
    for f in explanation.findings:
        key = (f.case, f.measure, f.band)
        if f.case in cases and (key not in worst or f.severity > worst[key].severity):
            worst[key] = f
    return worst


def _change(key: _Key, first: Finding | None, second: Finding | None) -> Change:
    case, measure, band = key
    worse = max((f for f in (second, first) if f is not None), key=lambda f: f.severity)
    told = second or worse
    return Change(
        kind=_kind(first, second),
        case=case,
        measure=measure,
        label=label_of(measure),
        band=band,
        rung=worse.rung,
        frame=worse.frame,
        first="" if first is None else size_of(first.value, first.unit),
        second="" if second is None else size_of(second.value, second.unit),
        severity=worse.severity,
        cause=told.cause or told.factor or told.note or "no single step to blame",
    )


def _kind(first: Finding | None, second: Finding | None) -> Kind:
    if first is None:
        return "new"
    if second is None:
        return "gone"
    if second.severity >= MUCH * first.severity:
        return "worse"
    return "better" if first.severity >= MUCH * second.severity else "same"
