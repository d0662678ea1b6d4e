"""An explanation in words, for the terminal."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

from harness.ladder.model import Explanation, Finding
from harness.ladder.words import broken_by, place_of, sentence, size_of
from harness.run.catalogue import label_of
from harness.terminal import listing, show
from trueline._text import counted

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

__all__ = ["headline", "render"]

SHOWN = 12
NAMED = 3  # rungs of a sentence
LITTLE = 0.05  # of the size of a finding: what a factor alone gives below that is not worth a line


def headline(explanation: Explanation) -> str:
    """How many findings there are and where most begin, in one sentence; report and pytest say the same."""
    return " ".join((_found(explanation), *_unfinished(explanation)))


def _unfinished(explanation: Explanation) -> Iterator[str]:
    """What was meant to be looked at and could not be, in one sentence; none where all was."""
    names = explanation.unfinished
    if names:
        shown = ", ".join(names[:NAMED]) + (f" and {len(names) - NAMED} more" if len(names) > NAMED else "")
        yield f"Not seen to the end: {shown}."


def _found(explanation: Explanation) -> str:
    count = len(explanation.findings)
    if not count:
        return f"No finding against {explanation.reference} on {counted(max(len(explanation.rungs) - 1, 0), 'rung')}."
    first = explanation.suspects[0]
    blamed = first.factor or "no single step"
    cause = f" ({first.cause})" if first.cause else ""
    if count == 1:
        return f"1 finding; it begins at {first.rung}: {blamed}{cause}."
    return f"{count} findings; {first.count} begin at {first.rung}: {blamed}{cause}."


def render(explanation: Explanation, console: Console | None = None) -> None:
    """Print who is to blame, the worst finding of each step, kind and case with its shares, and what was left out.

    Args:
        explanation: of a run.
        console: where to; None for standard output.
    """
    show(headline(explanation), console=console)
    if explanation.findings:
        show(f"worst: {sentence(explanation.findings[0])}", console=console)
        show(*_suspects(explanation, console), *_findings(explanation, console), console=console)
        left = len(explanation.findings) - len(_shown(explanation))
        if left:
            show(f"{left} more; --json has them all.", console=console)
    show(*(f"train and deploy differ: {words}" for words in explanation.differences), console=console)
    show(*(f"note: {note}" for note in explanation.notes), console=console)


def _suspects(explanation: Explanation, console: Console | None) -> list[Table] | list[Text]:
    rows = []
    for s in explanation.suspects:
        kinds = ", ".join(f"{count} {label_of(kind)}" for kind, count in s.kinds.items())
        factor = s.cause or s.factor or " + ".join(s.factors) or "none"
        cases = counted(len(s.cases), "case")
        rows.append((s.rung, s.stage or "none alone", factor, f"{s.count} ({s.share:.0%})", f"{kinds}; {cases}"))
    title = f"Where findings against {explanation.reference} begin"
    return listing(("rung", "stage", "factor", "findings", "of"), rows, title, console=console)


def _findings(explanation: Explanation, console: Console | None) -> list[Table] | list[Text]:
    columns = ("case, rung", "what", "size", "first step", "shares of the steps", "alone")
    rows = [(f"{f.case}\n{f.rung}", _what(f), _size(f), _first(f), _shares(f), _alone(f)) for f in _shown(explanation)]
    return listing(columns, rows, "The worst of them", console=console)


def _shown(explanation: Explanation) -> list[Finding]:
    """The worst of each measure that begins at a step, in each case; of these the worst few."""
    worst: dict[tuple[str, str, str], Finding] = {}
    for f in explanation.findings:
        worst.setdefault((f.first, f.measure, f.case), f)
    return list(worst.values())[:SHOWN]


def _what(f: Finding) -> str:
    place = place_of(f)
    text = f"{f.statistic} {label_of(f.measure)}".strip() + (f", {place}" if place else "")
    return text + (f" ({f.stretches} stretches)" if f.stretches > 1 else "")


def _size(f: Finding) -> str:
    lines = [f"{size_of(f.value, f.unit)} (limit {size_of(f.threshold, f.unit)})"]
    rules = {b.rule: b for b in f.breaches}
    return "\n".join([*lines, *(f"breaks {broken_by(b)}" for b in rules.values())])


def _first(f: Finding) -> str:
    blame = f.cause or f.factor or "nobody alone"
    return f"{f.first}: {blame}" + (f"; {f.note}" if f.note else "")


def _shares(f: Finding) -> str:
    return "\n".join(f"{' + '.join(s.factors)} {_share(s.share)}" for s in f.steps)


def _alone(f: Finding) -> str:
    """Each factor by itself on the reference, and what is gone without it; those that do nothing are left out."""
    rows = [
        f"{'without ' if a.taken_out else ''}{a.factor} {'-' if a.taken_out else ''}{size_of(a.value, f.unit)}"
        for a in f.alone
        if not abs(a.value) < LITTLE * abs(f.value)
    ]
    return "\n".join([*rows, f"interaction {size_of(f.interaction, f.unit)}"] if f.alone else rows)


def _share(share: float) -> str:
    return "not measured" if math.isnan(share) else f"{round(share, 2) + 0.0:.0%}"  # no minus before a zero
