"""What a replay asks of libraries through the environment, while it runs and for the processes it starts; its heap."""

from __future__ import annotations

import ctypes
import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["SETTINGS", "give_back", "replay_environment", "roomy_heap"]

SETTINGS = {
    # Runtimes with thread pools of their own take turns in a replay. OpenMP threads that spin while another pool works
    # made a 0.2 ms PyTorch call take 35 to 55 ms on two busy cores; waiting passively costs microseconds. It takes
    # effect where PyTorch has not been loaded yet.
    "OMP_WAIT_POLICY": "PASSIVE",
    # Part files are read one at a time when the tables are written: polars reads several ahead, and memory grew with
    # the number of cases.
    "POLARS_MAX_CONCURRENT_SCANS": "1",
    "POLARS_ROW_GROUP_PREFETCH_SIZE": "1",
}

# of malloc.h
_ARENA_MAX = -8  # with a heap for each thread, what one stage makes and another frees stays
_MMAP_MAX, _MMAP_THRESHOLD, _TRIM_THRESHOLD = -4, -3, -1
_USUAL = {  # what glibc begins with, and comes to by itself once large arrays were freed
    _MMAP_MAX: 65536,
    _MMAP_THRESHOLD: 32 << 20,
    _TRIM_THRESHOLD: 64 << 20,
}
_NEVER = 2**31 - 1


@contextmanager
def replay_environment() -> Iterator[None]:
    """Set SETTINGS; a choice already made is kept, and the environment is as before afterwards."""
    added = {name: value for name, value in SETTINGS.items() if name not in os.environ}
    os.environ.update(added)
    if (libc := _glibc()) is not None:
        libc.mallopt(_ARENA_MAX, 1)
    try:
        yield
    finally:
        for name in added:
            os.environ.pop(name, None)


@contextmanager
def roomy_heap() -> Iterator[None]:
    """What is freed in the block stays with the process until its end, for the next array of that size.

    Otherwise every large array is new pages, which the system clears first. A look at single nodes opens a session for
    each, with the same tens of megabytes: a third of its time were pages.
    """
    libc = _glibc()
    if libc is None:
        yield
        return
    libc.mallopt(_MMAP_MAX, 0)
    libc.mallopt(_TRIM_THRESHOLD, _NEVER)
    try:
        yield
    finally:
        for option, value in _USUAL.items():
            libc.mallopt(option, value)
        give_back()


def give_back() -> None:
    """Give memory that is free back to the system."""
    if (libc := _glibc()) is not None:
        libc.malloc_trim(0)


def _glibc() -> ctypes.CDLL | None:
    """The C library, where its allocator is one whose heap can be asked for this."""
    return ctypes.CDLL("libc.so.6") if platform.libc_ver()[0] == "glibc" else None
