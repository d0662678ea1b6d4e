"""A comparison in the terminal, as Markdown for a pull request, and as annotations of a GitHub workflow."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from textwrap import wrap
from typing import TYPE_CHECKING

from harness.compare.model import Change, Comparison, MeasureRow, Pairing
from harness.compare.network import NetworkChange, NodeChange
from harness.errors import ReportError
from harness.run.catalogue import find_measure
from harness.run.numbers import number
from harness.summary.github import command
from harness.summary.markdown import escaped
from harness.terminal import TABLE_WIDTH, show, table, table_console
from trueline._drafts import replacing

if TYPE_CHECKING:
    from rich.console import Console

__all__ = [
    "change_cells",
    "change_lines",
    "github_lines",
    "markdown",
    "measure_cells",
    "network_sentence",
    "node_cells",
    "render",
    "told_cases",
    "write_markdown",
]

SHOWN = 12
NODE_COLUMNS = ("node", "op", "within", "first", "second")
NARROW_COLUMNS = ("measure", "first", "second", "95 % of difference", "drives", "better")
MEASURE_COLUMNS = ("measure", "first", "second", "difference", "95 % of the median", "better/worse in drives", "answer")
CHANGE_COLUMNS = ("", "finding", "where", "first", "second", "cause")


def render(comparison: Comparison, console: Console | None = None) -> None:
    """Print which is better, what is new, and what differs; a pairing after the other."""
    where = console or table_console()
    for pairing in comparison.pairings:
        first = comparison.names[0]
        answer = f"{first} -> {pairing.name}: {pairing.sentence}"
        show(*wrap(answer, where.width, subsequent_indent="  "), told_cases(pairing), console=console)
        if pairing.verdicts:
            show(f"by {comparison.policy}: {' -> '.join(pairing.verdicts)}", console=console)
        show(*_measures(pairing, comparison, where), console=console)
        show(told_counts(pairing), *change_lines(pairing, where.width), console=console)
        for difference in pairing.differences:
            show(*wrap(f"differs: {difference}", where.width, subsequent_indent="  "), console=console)
        show(*_network(pairing, where.width), console=console)
        if not pairing.differences:
            show("nothing of what they were made with differs", console=console)


def _measures(pairing: Pairing, comparison: Comparison, where: Console) -> Iterator[object]:
    """The measures that differ as a table, without the difference itself where it is narrow; the others in a line."""
    differing = [r for r in pairing.measures if r.answer != "same"]
    rows = [measure_cells(r, comparison) for r in differing]
    title = f"first: {comparison.names[0]}, second: {pairing.name}; a difference > 0 is worse"
    if rows and where.width >= TABLE_WIDTH:
        yield table(MEASURE_COLUMNS, rows, title)
    elif rows:
        better = {"first": "first", "second": "second"}
        narrow = [(*c[:3], *c[4:6], better.get(r.answer, r.answer)) for r, c in zip(differing, rows, strict=True)]
        yield table(NARROW_COLUMNS, narrow, f"{title}; drives: better/worse", borders=False)
    if same := [r.label for r in pairing.measures if r.answer == "same"]:
        yield from wrap(f"the same: {', '.join(same)}", where.width, subsequent_indent="  ")


def _network(pairing: Pairing, width: int) -> Iterator[object]:
    """Nodes that move the lines otherwise, kernels that appeared or vanished; nothing where no run was looked at."""
    change = pairing.network
    if change.whole is not None:
        yield from wrap(network_sentence(change), width, subsequent_indent="  ")
        if rows := [node_cells(n) for n in change.ranked()[:SHOWN]]:
            yield table(NODE_COLUMNS, rows, borders=False)
    for line in change.plan[:SHOWN]:
        yield from wrap(f"plan: {line}", width, subsequent_indent="  ")
    if len(change.plan) > SHOWN:
        yield f"plan: {len(change.plan) - SHOWN} more; --json has them all."
    for remark in change.remarks:
        yield from wrap(f"note: {remark}", width, subsequent_indent="  ")


def network_sentence(change: NetworkChange) -> str:
    """What all nodes together do to the lines, in both runs."""
    first, second = change.whole or (math.nan, math.nan)
    moved = f"lines move {first:.3g} -> {second:.3g}"
    others = "" if change.ranked() else "; no node moves them otherwise"
    return f"layers, {change.title}: everything together, {moved}{others}"


def node_cells(node: NodeChange) -> tuple[str, ...]:
    """One row of the table of nodes."""
    costs = ["–" if cost is None else f"{cost:.3g}" for cost in (node.first, node.second)]
    return node.name, node.op, ", ".join(node.modules[:1]), *costs


def change_lines(pairing: Pairing, width: int) -> Iterator[str]:
    """Findings that changed, below the cause that they share; what is new is told first."""
    changed = [c for c in pairing.changes if c.kind != "same"]
    told = changed[:SHOWN]
    for cause in dict.fromkeys(c.cause for c in told):
        yield from wrap(cause, width, subsequent_indent="  ")
        for c in (c for c in told if c.cause == cause):
            kind, label, where, first, second, _ = change_cells(c)
            yield from wrap(f"  {kind:<6} {label} {first} -> {second}: {where}", width, subsequent_indent=" " * 9)
    if len(changed) > SHOWN:
        yield f"{len(changed) - SHOWN} more; --json has them all."


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
        if pairing.network.whole is not None:
            parts += ["", f"{escaped(network_sentence(pairing.network))}.", ""]
            parts += _table(NODE_COLUMNS, [node_cells(n) for n in pairing.network.ranked()[:SHOWN]])
        parts += [f"- plan: {escaped(line)}" for line in pairing.network.plan[:SHOWN]]
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
