"""All that Trueline prints goes through here, so that any text is shown as it is, whatever data it came from.

A rung called `recorded:car:`, the extra `trueline[gpu]` or a case id with an escape sequence is text, never markup, an
emoji or a command to the terminal. Results go to standard output, remarks and errors to standard error.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TextIO

from harness.run.json import plain
from trueline._text import harmless, shown

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

__all__ = [
    "TABLE_WIDTH", "accept_any_text", "cell", "fail", "listing", "print_json", "say", "show", "table", "table_console",
]  # fmt: skip

TABLE_WIDTH = 110  # columns: in a narrower terminal a table of sentences breaks its words
WIDTH_WITHOUT_TERMINAL = 160  # columns: a pipe or a log file has no edge at 80


def cell(text: object, style: str = "") -> Text:
    """A piece of text for a table or a line, in a style of ours."""
    from rich.text import Text

    return Text(shown(text), style)


def table(columns: Sequence[str], rows: Sequence[Sequence[object]], title: str = "", *, borders: bool = True) -> Table:
    """A table; cells are texts of `cell`, or anything else, which is shown as plain text.

    Without borders many short numbers fit into 80 columns.
    """
    from rich.table import Table
    from rich.text import Text

    made = Table(title=cell(title) if title else None, title_justify="left")
    if not borders:
        made.box, made.pad_edge, made.padding = None, False, (0, 1)
    for column in columns:
        made.add_column(cell(column), overflow="fold")
    for row in rows:
        made.add_row(*(one if isinstance(one, Text) else cell(one) for one in row))
    return made


def listing(
    columns: Sequence[str],
    rows: Sequence[Sequence[str]],
    title: str = "",
    *,
    head: int = 1,
    console: Console | None = None,
) -> list[Table] | list[Text]:
    """Rows of texts for `show`: a table, or in a terminal narrower than TABLE_WIDTH a block for each row.

    A block begins with the texts of the first `head` columns; below it stand the others that are not empty, each behind
    its column's name.
    """
    where = console or table_console()
    if where.width >= TABLE_WIDTH:
        return [table(columns, rows, title)]
    from textwrap import wrap

    indent = max(map(len, columns[head:])) + 4
    lines = [title] if title else []
    for row in rows:
        lines += wrap(" ".join(": ".join(row[:head]).split()), max(where.width, 40), subsequent_indent="  ")
        for name, text in zip(columns[head:], row[head:], strict=True):
            for number, line in enumerate(text.splitlines()):
                label = f"  {name if number == 0 else '':{indent - 2}}"
                lines += wrap(line, max(where.width, 40), initial_indent=label, subsequent_indent=" " * indent)
    return [cell(line) for line in lines]


def show(*parts: object, console: Console | None = None) -> None:
    """Print tables of `table`, texts of `cell`, or anything else as plain text, each from a new line.

    Args:
        parts: what to print.
        console: where to; None for standard output.
    """
    if console is None and all(isinstance(part, str) for part in parts):
        for part in parts:
            print(shown(part))  # rich takes a while to load
        return
    from rich.table import Table
    from rich.text import Text

    where = console or table_console()
    for part in parts:
        if isinstance(part, Table):
            where.print(part, markup=False, emoji=False, highlight=False)
        else:
            text = part if isinstance(part, Text) else cell(part)
            where.print(text, markup=False, emoji=False, highlight=False, soft_wrap=True)


def say(text: object) -> None:
    """A remark for people, on standard error."""
    print(shown(text), file=sys.stderr)


def fail(text: object) -> None:
    """`error: ...` in one line, on standard error."""
    print(f"error: {shown(text, one_line=True)}", file=sys.stderr)


def print_json(value: Any) -> None:
    """JSON for machines on standard output; NaN and infinity become null."""
    text = json.dumps(plain(value), indent=1, ensure_ascii=False, allow_nan=False)
    print("".join(c if harmless(c) else f"\\u{ord(c):04x}" for c in text))


def table_console(*, stderr: bool = False) -> Console:
    """A console as wide as the terminal, or WIDTH_WITHOUT_TERMINAL where there is none."""
    from rich.console import Console

    console = Console(stderr=stderr, markup=False, emoji=False, highlight=False)
    if not console.is_terminal:
        console.width = max(console.width, WIDTH_WITHOUT_TERMINAL)
    return console


def accept_any_text(*streams: TextIO) -> None:
    """Let streams write out what their encoding lacks, where they would raise."""
    for stream in streams:
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors="backslashreplace")
