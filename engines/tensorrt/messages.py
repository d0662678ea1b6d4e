"""What TensorRT says: its log, kept so that an error of ours can say why.

TensorRT reports failure by returning None or False and writing the reason to the logger. One logger serves the process;
`collect` gives the lines of one call. `log` is called from C++ that may not throw, so it does nothing that can fail.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

__all__ = ["Messages", "recording_logger"]

LONGEST_LOG = 1000
LAYERS = "Layers:"  # how the text of a compiled plan begins, told at the lowest severity
WARNING = 2  # TensorRT's severities: 0 internal error, 1 error, 2 warning, 3 info, 4 verbose


class Messages:
    """Warnings and errors, oldest first; what is said inside `collect` also goes to the block's own Messages."""

    def __init__(self, *, plans: bool = False) -> None:
        """`plans`: keep the texts of compiled plans too, which are chatter to everybody else."""
        self._lines: list[tuple[int, str]] = []
        self._keeps_plans = plans
        self._listeners: list[Messages] = []
        self.plans: list[str] = []

    def add(self, severity: int, text: str) -> None:
        """Keep a line; information and chatter are dropped."""
        for listener in self._listeners:
            listener.add(severity, text)
        if self._keeps_plans and text.startswith(LAYERS):
            self.plans.append(text)
        if severity > WARNING:
            return
        if len(self._lines) >= LONGEST_LOG:
            del self._lines[: LONGEST_LOG // 2]
        self._lines.append((severity, text))

    @property
    def errors(self) -> list[str]:
        """Texts of errors."""
        return [text for severity, text in self._lines if severity < WARNING]

    @property
    def warnings(self) -> list[str]:
        """Texts of warnings."""
        return [text for severity, text in self._lines if severity == WARNING]

    def reason(self, otherwise: str = "it gives no reason") -> str:
        """The errors in one line, without repeats; the last warning where there is no error."""
        lines = self.errors or self.warnings[-1:] or [otherwise]
        return "; ".join(dict.fromkeys(" ".join(line.split()) for line in lines[:3]))

    @contextmanager
    def collect(self) -> Iterator[Messages]:
        """The lines said inside the block, and no others."""
        inner = Messages(plans=True)
        self._listeners.append(inner)
        try:
            yield inner
        finally:
            self._listeners.remove(inner)


def recording_logger(trt: Any, messages: Messages) -> Any:
    """A `trt.ILogger` that fills `messages`."""

    class Recorder(trt.ILogger):  # type: ignore[misc]  # the base comes from the bindings that are installed
        def __init__(self) -> None:
            trt.ILogger.__init__(self)  # the bindings demand the base's own call

        def log(self, severity: Any, msg: str) -> None:
            messages.add(int(severity), msg)

    return Recorder()
