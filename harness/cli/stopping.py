"""A command that is told to stop, by Ctrl-C or SIGTERM: it ends what it started and says how to go on.

Both unwind the stack as an error does, so that engines, programs and workers are closed by the blocks that own them.
"""

from __future__ import annotations

import shlex
import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import FrameType

__all__ = ["Stop", "how_to_go_on", "stoppable"]

KEPT = {
    "demo": "what is finished is kept",
    "replay": "finished cases are kept",
    "run": "finished cases are kept",
    "selftest": "finished faults are kept",
    "train": "the last state that was written is kept",
    "case synth": "finished cases are kept",
}


class Stop:
    """Which signal told the command to stop; none so far."""

    signal: int = signal.SIGINT

    @property
    def exit_code(self) -> int:
        """128 and the signal, as shells have it: 130 after Ctrl-C, 143 after SIGTERM."""
        return 128 + self.signal


@contextmanager
def stoppable() -> Iterator[Stop]:
    """Turn SIGTERM into a KeyboardInterrupt; a second one ends the process at once."""
    stop = Stop()

    def terminate(number: int, _: FrameType | None) -> None:
        signal.signal(number, signal.SIG_DFL)
        stop.signal = number
        raise KeyboardInterrupt

    try:
        before = signal.signal(signal.SIGTERM, terminate)
    except ValueError:  # only the main thread may
        yield stop
        return
    try:
        yield stop
    finally:
        signal.signal(signal.SIGTERM, before)


def how_to_go_on(arguments: Sequence[str]) -> str:
    """One line: the command that goes on, where it can."""
    kept = KEPT.get(" ".join(arguments[:2])) or KEPT.get(" ".join(arguments[:1]))
    if kept is None:
        return "stopped"
    return f"stopped; {kept}, to go on: {shlex.join(['trueline', *arguments])}"
