"""Bytes through pipes with a deadline; both ends of one message.

A message is 8 bytes of length, little-endian, and that many bytes.
"""

from __future__ import annotations

import math
import os
import select
from collections.abc import Callable, Sequence
from time import monotonic

__all__ = ["Gone", "Late", "TooLong", "deadline_of", "read_exactly", "read_message", "write_all", "write_message"]

_BUFFERS_A_CALL = 64
_AT_ONCE_BYTES = 64 * 2**20  # room is made for so much before it has arrived
_LOOK_S = 0.2  # how often a waiting reader looks after the other end


class Gone(Exception):
    """The other end was closed."""


class Late(Exception):
    """The deadline passed."""


def deadline_of(timeout_s: float | None) -> float:
    """The moment, by `time.monotonic`, when a time limit that starts now ends; None: never."""
    return math.inf if timeout_s is None else monotonic() + timeout_s


def write_message(fd: int, buffers: Sequence[memoryview], deadline: float) -> None:
    """Write one message made of several buffers.

    Raises:
        Gone, Late: as their names say.
    """
    length = sum(len(b) for b in buffers)
    write_all(fd, [memoryview(length.to_bytes(8, "little")), *buffers], deadline)


class TooLong(ValueError):
    """A message of more bytes than its reader takes."""


def read_message(fd: int, deadline: float, most_bytes: int, meanwhile: Callable[[], None] = lambda: None) -> bytearray:
    """Read one message.

    Args:
        fd: of the pipe, non-blocking.
        deadline: of `deadline_of`.
        most_bytes: of a message.
        meanwhile: called now and then while there is nothing to read.

    Raises:
        Gone, Late: as their names say.
        TooLong: it announces more.
    """
    length = int.from_bytes(read_exactly(fd, 8, deadline, meanwhile), "little")
    if length > most_bytes:
        raise TooLong(f"a message of {length / 2**20:.0f} MiB")
    return read_exactly(fd, length, deadline, meanwhile)


def write_all(fd: int, buffers: Sequence[memoryview], deadline: float) -> None:
    """Write buffers of bytes one after the other.

    Raises:
        Gone, Late: as their names say.
    """
    left = [b for b in buffers if len(b)]
    while left:
        try:
            written = os.writev(fd, left[:_BUFFERS_A_CALL])
        except BlockingIOError:
            _wait(fd, select.POLLOUT, deadline)
            continue
        except BrokenPipeError as error:
            raise Gone from error
        while left and written >= len(left[0]):
            written -= len(left.pop(0))
        if written:
            left[0] = left[0][written:]


def read_exactly(fd: int, count: int, deadline: float, meanwhile: Callable[[], None] = lambda: None) -> bytearray:
    """Read so many bytes; memory is taken as they arrive where they are many.

    Raises:
        Gone, Late: as their names say.
    """
    whole = bytearray()
    while len(whole) < count:
        part = bytearray(min(count - len(whole), _AT_ONCE_BYTES))
        _fill(fd, part, deadline, meanwhile)
        whole = whole + part if whole else part
    return whole


def _fill(fd: int, buffer: bytearray, deadline: float, meanwhile: Callable[[], None]) -> None:
    view, filled = memoryview(buffer), 0
    while filled < len(buffer):
        try:
            got = os.readv(fd, [view[filled:]])
        except BlockingIOError:
            _wait(fd, select.POLLIN, deadline)
            meanwhile()
            continue
        if got == 0:
            raise Gone
        filled += got


def _wait(fd: int, event: int, deadline: float) -> None:
    """Wait until something can be done, or a little: whoever waits looks after the other end meanwhile."""
    left_s = deadline - monotonic()
    if left_s <= 0:
        raise Late
    poll = select.poll()
    poll.register(fd, event)
    poll.poll(math.ceil(min(left_s, _LOOK_S) * 1e3))
