"""An explanation in words, for the terminal."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from harness.ladder.model import Explanation, Finding
from harness.ladder.words import place_of, sentence, size_of
from harness.run.catalogue import label_of
from harness.terminal import table_console

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

__all__ = ["headline", "render"]

SHOWN = 12


def headline(explanation: Explanation) -> str:
    """How many findings there are and where most begin, in one sentence; report and pytest say the same."""
    count = len(explanation.findings)
    if not count:
        return f"No finding against {explanation.reference} on {max(len(explanation.rungs) - 1, 0)} rungs."
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
    from rich.text import Text

    console = console or table_console()
    console.print(Text(headline(explanation)))
    if explanation.findings:
        console.print(Text(f"worst: {sentence(explanation.findings[0])}"))
        console.print(_suspects(explanation))
        console.print(_findings(explanation))
        left = len(explanation.findings) - len(_shown(explanation))
        if left:
            console.print(f"{left} more; --json has them all.")
    for words in explanation.differences:
        console.print(Text(f"train and deploy differ: {words}"))
    for note in explanation.notes:
        console.print(Text(f"note: {note}"))


def _suspects(explanation: Explanation) -> Table:
    table = _table(f"Where findings against {explanation.reference} begin", "rung", "stage", "factor", "findings", "of")
    for s in explanation.suspects:
        kinds = ", ".join(f"{count} {label_of(kind)}" for kind, count in s.kinds.items())
        factor = s.cause or s.factor or " + ".join(s.factors) or "none"
        cases = f"{len(s.cases)} case{'s' if len(s.cases) != 1 else ''}"
        _row(table, s.rung, s.stage or "none alone", factor, f"{s.count} ({s.share:.0%})", f"{kinds}; {cases}")
    return table


def _findings(explanation: Explanation) -> Table:
    table = _table("The worst of them", "case, rung", "what", "size", "first step", "shares of the steps", "alone")
    for f in _shown(explanation):
        _row(table, f"{f.case}\n{f.rung}", _what(f), _size(f), _first(f), _shares(f), _alone(f))
    return table


def _table(title: str, *columns: str) -> Table:
    from rich.table import Table

    table = Table(title=title, title_justify="left")
    for column in columns:
        table.add_column(column, overflow="fold")
    return table


def _row(table: Table, *cells: str) -> None:
    """Cells are what others wrote too: no markup."""
    from rich.text import Text

    table.add_row(*(Text(cell) for cell in cells))


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
    return "\n".join(
        [*lines, *(f"breaks {b.rule}: {b.statistic} {b.number:.3g} {b.unit}".rstrip() for b in rules.values())]
    )


def _first(f: Finding) -> str:
    blame = f.cause or f.factor or "nobody alone"
    return f"{f.first}: {blame}" + (f"; {f.note}" if f.note else "")


def _shares(f: Finding) -> str:
    return "\n".join(f"{' + '.join(s.factors)} {_share(s.share)}" for s in f.steps)


def _alone(f: Finding) -> str:
    rows = [f"{'without ' if a.taken_out else ''}{a.factor} {size_of(a.value, f.unit)}" for a in f.alone]
    return "\n".join([*rows, f"interaction {size_of(f.interaction, f.unit)}"] if rows else rows)


def _share(share: float) -> str:
    return "not measured" if math.isnan(share) else f"{share:.0%}"
