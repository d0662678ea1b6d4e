"""Memory that two processes share and one of them writes: tensors pass without going through a pipe."""

from __future__ import annotations

import mmap
import os
import tempfile
from collections.abc import Sequence

__all__ = ["Mailbox"]

_PAGE = 2**16


class Mailbox:
    """One process puts bytes, tells the other how many, and the other looks at them; it grows and never shrinks.

    Args:
        fd: an open file both have; `Mailbox.new()` makes one that has no name and vanishes with the last of them.
    """

    def __init__(self, fd: int) -> None:
        self.fd = fd
        self._map: mmap.mmap | None = None

    @classmethod
    def new(cls) -> Mailbox:
        """A mailbox in memory (on Linux; elsewhere in an unnamed temporary file)."""
        if hasattr(os, "memfd_create"):
            return cls(os.memfd_create("trueline-mailbox"))
        with tempfile.TemporaryFile() as file:
            return cls(os.dup(file.fileno()))

    def put(self, buffers: Sequence[memoryview]) -> int:
        """Write buffers of bytes one after the other from the start; returns their length together."""
        length = sum(len(b) for b in buffers)
        if self._map is None or len(self._map) < length:
            size = -(-length // _PAGE) * _PAGE
            os.ftruncate(self.fd, size)
            self._map = mmap.mmap(self.fd, size)
        at = 0
        for buffer in buffers:
            self._map[at : at + len(buffer)] = buffer
            at += len(buffer)
        return length

    def look(self, length: int) -> memoryview:
        """The bytes that the other process put; they change when it puts the next ones."""
        if self._map is None or len(self._map) < length:
            self._map = mmap.mmap(self.fd, os.fstat(self.fd).st_size)
        return memoryview(self._map)[:length]

    def close(self) -> None:
        """Close the file; views of it stay as they are."""
        self._map = None
        os.close(self.fd)
