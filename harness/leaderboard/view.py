"""A leaderboard for people: a table in the terminal, or Markdown for a pull request."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from harness.leaderboard.board import Board
from harness.leaderboard.candidate import COLUMNS, Candidate
from harness.run.numbers import number
from harness.summary.markdown import escaped
from harness.terminal import show, table

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["markdown", "render"]


def render(board: Board, console: Console | None = None) -> None:
    """Print it: the answer first."""
    show(board.best[1], console=console)
    show(table(_heads(board), list(_rows(board)), _title(board)), console=console)
    show(*_remarks(board), console=console)


def markdown(board: Board) -> str:
    """The same as Markdown; names of others are text, never markup."""
    heads, rows = _heads(board), list(_rows(board))
    lines = [f"**{escaped(board.best[1])}**", "", _line(heads), _line(["---"] * len(heads))]
    lines += [_line([escaped(cell) for cell in row]) for row in rows]
    lines += ["", escaped(_title(board)), *(f"- {escaped(remark)}" for remark in _remarks(board))]
    return "\n".join(lines) + "\n"


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _heads(board: Board) -> list[str]:
    swept = any(c.sweep is not None for c in board.candidates)
    robust = "robust: sweep" if swept else "robust: gap of the pipelines"
    worst = ["worst bend"] if swept else []
    unit = board.unit
    return ["candidate", "verdict", f"clean, {unit}", f"{robust}, {unit}", *worst, f"deployability, {unit}", "front"]


def _rows(board: Board) -> Iterator[list[str]]:
    swept = any(c.sweep is not None for c in board.candidates)
    for one in board.candidates:
        columns = [_told(board, one, name) for name in COLUMNS]
        worst = [_worst(one, board.unit)] if swept else []
        front = "front" if board.on_front(one) else "barred" if one.barred else ""
        yield [one.name, one.verdict.status.value, *columns[:2], *worst, columns[2], front]


def _told(board: Board, one: Candidate, name: str) -> str:
    """`0.031 (0.024 to 0.038)`."""
    column = one.columns[name]
    text = number(column.mean, "length", board.unit)
    if len(column.by_drive) < 2:
        return text
    best, worst = (number(end, "length", board.unit) for end in column.ends)
    return f"{text} ({best} to {worst})"


def _worst(one: Candidate, unit: str) -> str:
    found = one.sweep.meta.get("worst") if one.sweep is not None else None
    return "–" if not found else f"{number(found['bend'], 'length', unit)} {found['band']}"


def _title(board: Board) -> str:
    return (
        "lower is better: mean (best to worst drive); told apart by the sign test over drives at "
        f"{board.confidence:.2%}, so that all comparisons together are wrong in 5 % at most"
    )


def _remarks(board: Board) -> list[str]:
    """Why candidates are barred, and why columns are empty."""
    said = [f"{one.name} may not be chosen: {one.barred}" for one in board.candidates if one.barred]
    for name in COLUMNS:
        whys = {one.name: one.columns[name].why for one in board.candidates if one.columns[name].why}
        same = set(whys.values())
        if len(whys) == len(board.candidates) and len(same) == 1:
            said.append(f"no number for {name}: {same.pop()}")
        else:
            said += [f"{one}: no number for {name}: {why}" for one, why in whys.items()]
    if any(len(c.columns[n].by_drive) == 1 for c in board.candidates for n in COLUMNS):
        said.append("one drive tells nobody apart: give cases of more drives")
    return said
