"""A comparison in the terminal, as Markdown for a pull request, and as annotations of a GitHub workflow."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from harness.compare.model import Change, Comparison, MeasureRow, Pairing
from harness.errors import ReportError
from harness.run.catalogue import find_measure
from harness.run.numbers import number
from harness.summary.github import command
from harness.summary.markdown import escaped
from harness.terminal import show, table
from trueline._drafts import replacing

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["change_cells", "github_lines", "markdown", "measure_cells", "render", "told_cases", "write_markdown"]

SHOWN = 12
MEASURE_COLUMNS = ("measure", "first", "second", "difference", "95 % of the median", "better/worse in drives", "answer")
CHANGE_COLUMNS = ("", "finding", "where", "first", "second", "cause")


def render(comparison: Comparison, console: Console | None = None) -> None:
    """Print which is better, what is new, and what differs; a pairing after the other."""
    for pairing in comparison.pairings:
        first = comparison.names[0]
        show(f"{first} -> {pairing.name}: {pairing.sentence}", told_cases(pairing), console=console)
        if pairing.verdicts:
            show(f"by {comparison.policy}: {' -> '.join(pairing.verdicts)}", console=console)
        rows = [measure_cells(r, comparison) for r in pairing.measures]
        if rows:
            show(
                table(MEASURE_COLUMNS, rows, f"first: {first}, second: {pairing.name}; a difference > 0 is worse"),
                console=console,
            )
        show(told_counts(pairing), console=console)
        changed = [c for c in pairing.changes if c.kind != "same"]
        if changed:
            show(table(CHANGE_COLUMNS, [change_cells(c) for c in changed[:SHOWN]]), console=console)
        if len(changed) > SHOWN:
            show(f"{len(changed) - SHOWN} more; --json has them all.", console=console)
        show(*(f"differs: {d}" for d in pairing.differences), console=console)
        if not pairing.differences:
            show("nothing of what they were made with differs", console=console)


def told_cases(pairing: Pairing) -> str:
    """How many cases both have, and which are left out."""
    parts = [f"{len(pairing.cases)} common cases of {pairing.drives} drives, {len(pairing.rungs)} common rungs"]
    for names, words in (
        (pairing.only_first, "only in the first"),
        (pairing.only_second, "only in the second"),
        (pairing.changed, "of another recording"),
    ):
        if names:
            parts.append(f"{len(names)} {words}")
    return "; ".join(parts)


def told_counts(pairing: Pairing) -> str:
    """How many findings are new, worse, better, gone, same."""
    return "findings: " + ", ".join(f"{count} {kind}" for kind, count in pairing.counts.items())


def measure_cells(row: MeasureRow, comparison: Comparison) -> tuple[str, ...]:
    """One row of the table of measures."""
    quantity = find_measure(row.measure).quantity

    def told(value: float) -> str:
        return "–" if not math.isfinite(value) else number(value, quantity, comparison.length_unit)

    interval = "no bound" if not math.isfinite(row.low) else f"{told(row.low)} to {told(row.high)}"
    answer = {"first": "first is better", "second": "second is better"}.get(row.answer, row.answer)
    label = f"{row.label}{f', {row.unit}' if row.unit else ''}"
    return label, told(row.first), told(row.second), told(row.median), interval, f"{row.better}/{row.worse}", answer


def change_cells(change: Change) -> tuple[str, ...]:
    """One row of the table of findings."""
    where = ", ".join(p for p in (change.case, change.band or "", change.rung) if p)
    return change.kind, change.label, where, change.first or "–", change.second or "–", change.cause


def markdown(comparison: Comparison) -> str:
    """The comparison for a comment on a pull request; what others wrote is text, never markup."""
    parts: list[str] = []
    for pairing in comparison.pairings:
        parts += [
            f"## {escaped(comparison.names[0])} → {escaped(pairing.name)}",
            "",
            f"**{escaped(pairing.sentence)}**",
            "",
        ]
        if pairing.verdicts:
            parts += [f"{escaped(comparison.policy)}: {' → '.join(pairing.verdicts)}", ""]
        parts += [f"{told_cases(pairing)}. {told_counts(pairing)}.", ""]
        parts += _table(
            CHANGE_COLUMNS, [change_cells(c) for c in pairing.changes if c.kind in ("new", "worse", "gone")][:SHOWN]
        )
        parts += _table(MEASURE_COLUMNS, [measure_cells(r, comparison) for r in pairing.measures])
        parts += [f"- differs: {escaped(d)}" for d in pairing.differences] or [
            "- nothing of what they were made with differs"
        ]
        parts += [""]
    return "\n".join(parts).rstrip() + "\n"


def _table(columns: tuple[str, ...], rows: list[tuple[str, ...]]) -> list[str]:
    if not rows:
        return []
    lines = ["| " + " | ".join(columns) + " |", "|" + "---|" * len(columns)]
    return [*lines, *("| " + " | ".join(escaped(c) for c in row) + " |" for row in rows), ""]


def github_lines(comparison: Comparison) -> Iterator[str]:
    """One annotation for every new and worse finding, and one for the answer."""
    for pairing in comparison.pairings:
        for change in [c for c in pairing.changes if c.kind in ("new", "worse")][:SHOWN]:
            kind, label, where, first, second, cause = change_cells(change)
            yield command("warning", f"{kind}: {label} {second}", f"{where}: {first} -> {second}; {cause}")
        yield command(
            "notice", f"{comparison.names[0]} -> {pairing.name}", f"{pairing.sentence}; {told_counts(pairing)}"
        )


def write_markdown(comparison: Comparison, path: Path) -> None:
    """Write it to a file.

    Raises:
        ReportError: it cannot be written there.
    """
    try:
        with replacing(path) as draft:
            draft.write_text(markdown(comparison), encoding="utf-8")
    except OSError as error:
        raise ReportError(
            f"cannot write Markdown: {error.strerror}", where=str(path), remedy="choose a folder that can be written"
        ) from error
