"""Where tables for people are printed."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["table_console"]

WIDTH_WITHOUT_TERMINAL = 160  # columns: a pipe or a log file has no edge at 80


def table_console(*, stderr: bool = False) -> Console:
    """A console as wide as the terminal, or WIDTH_WITHOUT_TERMINAL where there is none."""
    from rich.console import Console

    console = Console(stderr=stderr)
    if not console.is_terminal:
        console.width = max(console.width, WIDTH_WITHOUT_TERMINAL)
    return console
