"""Bytes through pipes with a deadline; both ends of one message.

A message is 8 bytes of length, little-endian, and that many bytes.
"""

from __future__ import annotations

import math
import os
import select
from collections.abc import Sequence
from time import monotonic

__all__ = ["Gone", "Late", "deadline_of", "read_exactly", "read_message", "write_all", "write_message"]

_BUFFERS_A_CALL = 64
_MAX_MESSAGE_BYTES = 2**36


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


def read_message(fd: int, deadline: float) -> bytearray:
    """Read one message.

    Raises:
        Gone, Late: as their names say.
        ValueError: a length that no message has; the other end writes something else.
    """
    length = int.from_bytes(read_exactly(fd, 8, deadline), "little")
    if length > _MAX_MESSAGE_BYTES:
        raise ValueError(f"a message of {length} bytes")
    return read_exactly(fd, length, deadline)


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


def read_exactly(fd: int, count: int, deadline: float) -> bytearray:
    """Read so many bytes.

    Raises:
        Gone, Late: as their names say.
    """
    buffer = bytearray(count)
    view, filled = memoryview(buffer), 0
    while filled < count:
        try:
            got = os.readv(fd, [view[filled:]])
        except BlockingIOError:
            _wait(fd, select.POLLIN, deadline)
            continue
        if got == 0:
            raise Gone
        filled += got
    return buffer


def _wait(fd: int, event: int, deadline: float) -> None:
    left_s = deadline - monotonic()
    if left_s <= 0:
        raise Late
    poll = select.poll()
    poll.register(fd, event)
    poll.poll(None if left_s == math.inf else math.ceil(left_s * 1e3))
