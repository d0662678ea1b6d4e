"""What PyTorch's exporters say: nothing on the terminal, warnings kept, an error's first cause in one line."""

from __future__ import annotations

import contextlib
import io
import logging
import os
import sys
import traceback
import warnings
from collections.abc import Iterator
from pathlib import Path

from engines.base import first_line

__all__ = ["cause_of", "listening"]

CHATTY = ("torch.onnx", "torch.export", "onnxscript", "onnx_ir")
IDLE = ("torchvision is not installed",)  # what says nothing of this network
SHOWN, LONGEST = 8, 240  # warnings kept, and characters of each


def cause_of(error: BaseException, root: Path) -> str:
    """The first cause of an exporter's error in one line: what, at which line of the card's code, and in which step.

    The exporters wrap it in advice, of which only what names a node of the graph is kept.
    """
    chain = [error]
    while chain[-1].__cause__ is not None:
        chain.append(chain[-1].__cause__)
    first, *wrappers = reversed(chain)
    steps = [first_line(w) for w in wrappers if str(w).startswith("Error when ")]
    return "; ".join([_cut(first_line(first)) + _place_of(first, root), *map(_cut, steps)])


def _place_of(error: BaseException, root: Path) -> str:
    """` at network.py:12 in forward`, the last line of the card's own code in the error's trace; else nothing."""
    frames = [f for f in traceback.extract_tb(error.__traceback__) if Path(f.filename).is_relative_to(root.resolve())]
    return f" at {Path(frames[-1].filename).name}:{frames[-1].lineno} in {frames[-1].name}" if frames else ""


def _cut(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= LONGEST else f"{line[: LONGEST - 3]}..."


@contextlib.contextmanager
def listening(root: Path) -> Iterator[list[str]]:
    """Nothing reaches the terminal; what is warned of or logged as a warning is in the list afterwards, each once."""
    heard: dict[str, None] = {}
    with warnings.catch_warnings(record=True) as caught, _logs() as logged, _without_graph_log():
        warnings.simplefilter("always")
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            yield (lines := [])
    for entry in caught:
        if not issubclass(entry.category, DeprecationWarning | PendingDeprecationWarning | FutureWarning):
            inside = Path(entry.filename).is_relative_to(root.resolve())
            place = f" at {Path(entry.filename).name}:{entry.lineno}" if inside else ""
            heard[f"{_cut(str(entry.message))}{place}"] = None
    heard |= dict.fromkeys(_cut(message) for message in logged)
    kept = [text for text in heard if not any(word in text for word in IDLE)]
    lines += kept[:SHOWN] + ([f"{len(kept) - SHOWN} more"] if len(kept) > SHOWN else [])


class _Collector(logging.Handler):
    """Keeps what is logged as a warning or worse."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.messages: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.messages.append(record.getMessage())


@contextlib.contextmanager
def _logs() -> Iterator[list[str]]:
    """The exporters' log lines, kept from every other handler."""
    names = [name for name in logging.root.manager.loggerDict if name.startswith(CHATTY)]
    loggers = [logging.getLogger(name) for name in {*names, *CHATTY}]
    before = [(logger, logger.level, logger.propagate, logger.handlers) for logger in loggers]
    collector = _Collector()
    for logger in loggers:
        logger.setLevel(logging.WARNING)
        logger.propagate, logger.handlers = False, [collector]
    try:
        yield collector.messages
    finally:
        for logger, level, propagate, handlers in before:
            logger.setLevel(level)
            logger.propagate, logger.handlers = propagate, handlers


@contextlib.contextmanager
def _without_graph_log() -> Iterator[None]:
    """The legacy exporter prints its whole graph from C++ where it fails, past Python's own streams."""
    sys.stdout.flush()
    try:
        kept = os.dup(1)
    except OSError:  # there is no such stream, and nothing to keep clean
        yield
        return
    try:
        with Path(os.devnull).open("wb") as nowhere:
            os.dup2(nowhere.fileno(), 1)
        yield
    finally:
        os.dup2(kept, 1)
        os.close(kept)
