"""How far long work is, in a log and in a terminal."""

from __future__ import annotations

import pytest

from harness.cli.progress import LINE_EVERY_S, Lines, duration, progress_bar


class Clock:
    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


def _told(seconds_a_frame: float, frames: int) -> list[str]:
    clock, lines = Clock(), list[str]()
    progress = Lines("replaying", clock, lines.append)
    for done in range(frames + 1):
        progress.update("tunnel", done, frames)
        clock.now_s += seconds_a_frame
    return lines


def test_a_log_gets_a_line_now_and_then_with_the_time_left() -> None:
    lines = _told(seconds_a_frame=1.0, frames=60)
    assert len(lines) == 60 // LINE_EVERY_S
    assert lines[0] == "replaying tunnel: 10 of 60, 50 s left"
    assert lines[-1] == "replaying tunnel: 60 of 60, 0 s left"


def test_short_work_says_nothing_in_a_log() -> None:
    assert _told(seconds_a_frame=0.1, frames=60) == []


def test_the_time_left_is_that_of_all_the_work_not_of_the_case() -> None:
    clock, lines = Clock(), list[str]()
    progress = Lines("replaying", clock, lines.append)
    for done in range(101):
        progress.update(f"case {done // 50}", done, 100)
        clock.now_s += 1.0
    assert lines[4] == "replaying case 1: 50 of 100, 50 s left"


def test_a_resumed_job_reckons_with_its_own_pace() -> None:
    clock, lines = Clock(), list[str]()
    progress = Lines("training:", clock, lines.append)
    for done in range(900, 1001, 10):
        progress.update("passes", done, 1000)
        clock.now_s += 5.0
    assert lines[0] == "training: passes: 920 of 1000, 40 s left"


def test_another_total_begins_another_stage() -> None:
    clock, lines = Clock(), list[str]()
    progress = Lines("training:", clock, lines.append)
    for done in range(3):
        progress.update("parts", done, 3)
        clock.now_s += 60.0
    progress.update("passes", 0, 100)
    assert "left" not in lines[-1]
    clock.now_s += 20.0
    progress.update("passes", 50, 100)
    assert lines[-1] == "training: passes: 50 of 100, 20 s left"


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.2, "0 s"), (59.4, "59 s"), (60, "1 min 00 s"), (200, "3 min 20 s"), (7500, "2 h 05 min"), (-3, "0 s")],
)
def test_times_are_said_in_words(seconds: float, words: str) -> None:
    assert duration(seconds) == words


def test_a_terminal_gets_a_bar_with_the_time_left(monkeypatch: pytest.MonkeyPatch) -> None:
    import io
    import sys

    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    screen = Terminal()
    monkeypatch.setattr(sys, "stderr", screen)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "120")
    with progress_bar("replaying") as progress:
        for done in range(4):
            progress("[tunnel]:car:", done, 4)
        progress("\x1b[2J", 4, 4)
    shown = screen.getvalue()
    assert "replaying [tunnel]:car:" in shown or "replaying \\x1b[2J" in shown
    assert "4/4" in shown
    assert "\x1b[2J" not in shown
