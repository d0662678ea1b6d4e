"""A network's nodes as a table in a terminal: those that move the lines most, and what goes wrong first."""

from __future__ import annotations

import math
from collections.abc import Iterator

from harness.layers.table import LayerRow, LayerTable
from trueline._text import counted

__all__ = ["COLUMNS", "layer_cells", "layer_lines", "layer_title"]

COLUMNS = (
    "#", "node", "op", "module, nodes, kernel", "lines", "max", "changed", "injected", "cumulative", "x in", "largest",
    "room", "vanish", "spacing",
)  # fmt: skip
MOST_NAMES = 2


def layer_title(found: LayerTable) -> str:
    """What the table is of."""
    return f"{found.b} against {found.a}, {counted(found.frames, 'frame')}, lines in {found.unit}"


def layer_lines(found: LayerTable) -> Iterator[str]:
    """What is said before the table."""
    switched = [row for row in found.rows if row.reason == "switched"]
    whole, unit = found.whole, found.unit
    yield (
        f"everything as {found.b}: lines move {_short(whole.line_rms)} {unit} RMS, {_short(whole.line_max)} {unit} at "
        f"most, {whole.lines_changed} missing or extra"
    )
    yield (
        f"{len(switched)} of {len(found.rows)} nodes and inputs were switched alone, {found.how}; with nothing "
        f"switched lines move {_short(found.floor)} {unit}"
    )
    for reason in ("adds nothing", "not on the way to the lines"):
        if count := sum(row.reason == reason for row in found.rows):
            yield f"{count}: {reason}"
    if found.first_nonfinite is not None:
        yield f"the first tensor that is not finite in {found.b} is that of {found.first_nonfinite}"


def layer_cells(found: LayerTable, most: int | None = None) -> list[tuple[object, ...]]:
    """Rows of the table, the farthest mover first.

    Args:
        found: the table.
        most: rows at most; None for all.
    """
    places = {row.name: place for place, row in enumerate(found.rows)}
    return [_cells(places[row.name], row) for row in found.ranked()[:most]]


def _cells(place: int, row: LayerRow) -> tuple[object, ...]:
    numbers, moved = row.numbers, row.moved
    names = row.modules or tuple(name for name in row.nodes if name != row.name)
    more = f" +{len(names) - MOST_NAMES}" if len(names) > MOST_NAMES else ""
    within = ", ".join(names[:MOST_NAMES]) + more + (f" [{row.kernel}]" if row.kernel else "")
    lines = ("", "", "") if moved is None else (_short(moved.cost), _short(moved.line_max), moved.lines_changed)
    return (
        place, row.name, row.op, within, *lines, _short(numbers.injected),
        _short(numbers.cumulative), _short(numbers.amplification), _short(numbers.largest),
        _short(numbers.to_overflow), _short(numbers.vanishing), _short(numbers.spacing),
    )  # fmt: skip


def _short(value: float) -> str:
    return "" if math.isnan(value) else f"{value:.3g}"
