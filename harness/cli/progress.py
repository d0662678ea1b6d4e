"""How far long work is, on standard error: a bar in a terminal, a plain line now and then where there is none.

Work tells (what, done, total): what it is at, and how much of the whole job is done. A new total, or a smaller `done`,
begins another stage, with a bar and a clock of its own.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from harness.terminal import cell, say, table_console
from trueline._text import shown

if TYPE_CHECKING:
    from rich.progress import Progress

__all__ = ["LINE_EVERY_S", "Lines", "Stage", "duration", "progress_bar"]

LINE_EVERY_S = 10.0  # between lines of a log

Update = Callable[[str, int, int], None]


class Stage:
    """Work with one total: how long it takes and how long it will.

    Args:
        total: units of work.
        done: of them, when the clock starts.
        now_s: time of the clock.
    """

    def __init__(self, total: int, done: int, now_s: float) -> None:
        self.total, self.done = total, done
        self._first, self._start_s = done, now_s

    def continues(self, done: int, total: int) -> bool:
        """Whether that is the same work, further on."""
        return total == self.total and done >= self.done

    def left_s(self, now_s: float) -> float | None:
        """Seconds left at the mean pace so far; None before anything is done."""
        ahead = self.done - self._first
        return (now_s - self._start_s) / ahead * (self.total - self.done) if ahead else None


class Lines:
    """Progress where output is no terminal: a line every LINE_EVERY_S, with what is done, the total and the time left.

    Args:
        label: what the work is.
        clock: seconds.
        write: takes a line.
    """

    def __init__(
        self, label: str, clock: Callable[[], float] = time.monotonic, write: Callable[[str], None] = say
    ) -> None:
        self._label, self._clock, self._write = label, clock, write
        self._told_s = clock()
        self._stage: Stage | None = None

    def update(self, what: str, done: int, total: int) -> None:
        """Take the news; say it if it is time."""
        now_s = self._clock()
        if self._stage is None or not self._stage.continues(done, total):
            self._stage = Stage(total, done, now_s)
        self._stage.done = done
        if now_s - self._told_s < LINE_EVERY_S:
            return
        self._told_s = now_s
        left_s = self._stage.left_s(now_s)
        left = f", {duration(left_s)} left" if left_s is not None else ""
        self._write(f"{self._label} {what}: {done} of {total}{left}")


@contextmanager
def progress_bar(label: str) -> Iterator[Update]:
    """Show the progress of a block of work; the function it gives takes (what, done, total)."""
    if not sys.stderr.isatty():
        yield Lines(label).update
        return
    with _rich() as bar:
        yield _Bar(bar, label).update


class _Bar:
    """One bar for each stage, with the time left of the whole of it; the first one waits for the first news."""

    def __init__(self, bar: Progress, label: str) -> None:
        self._bar, self._label = bar, label
        self._task = bar.add_task(shown(label), total=None)
        self._stage: Stage | None = None

    def update(self, what: str, done: int, total: int) -> None:
        text = shown(f"{self._label} {what}", one_line=True)
        if self._stage is not None and not self._stage.continues(done, total):
            self._task = self._bar.add_task(text, total=total)
            self._stage = None
        self._stage = self._stage or Stage(total, done, 0.0)
        self._stage.done = done
        self._bar.update(self._task, completed=done, total=total, description=text)


def _rich() -> Progress:
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn
    from rich.text import Text

    class TimeLeft(ProgressColumn):
        def render(self, task: Task) -> Text:
            if task.finished:
                return cell(f"in {duration(task.finished_time or 0.0)}")
            return cell("" if task.time_remaining is None else f"{duration(task.time_remaining)} left")

    columns = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(), TimeLeft())
    return Progress(*columns, console=table_console(stderr=True), speed_estimate_period=300)


def duration(seconds: float) -> str:
    """A time in words: `42 s`, `3 min 20 s`, `2 h 05 min`."""
    whole = max(0, round(seconds))
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02} min"
