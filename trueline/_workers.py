"""Processes side by side that end with the block that uses them, and with the process that started it.

An executor of the standard library waits for what is running when its block is left by an error, and its workers go on
waiting for work when their parent is killed.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager, nullcontext
from multiprocessing import active_children, get_context, parent_process
from threading import Thread
from typing import Any

__all__ = ["worker_pool"]

THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


@contextmanager
def worker_pool(
    jobs: int,
    initializer: Callable[..., None] | None = None,
    initargs: tuple[Any, ...] = (),
    *,
    threads: int | None = None,
) -> Iterator[ProcessPoolExecutor]:
    """Spawned workers, as forking a process with threads deadlocks; an error in the block kills them at once.

    Args:
        jobs: how many.
        initializer: called once in each of them.
        initargs: what it is called with.
        threads: of numeric libraries in each worker; None: as the environment says. Libraries read it when they load.
    """
    others = set(active_children())
    signal.siginterrupt(signal.SIGINT, True)  # polars lets system calls go on, and Ctrl-C would wait for a worker
    pool = ProcessPoolExecutor(jobs, get_context("spawn"), initializer=_begin, initargs=(initializer, initargs))
    with nullcontext() if threads is None else _environment(dict.fromkeys(THREADS, str(threads))):
        try:
            yield pool
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            for worker in set(active_children()) - others:
                worker.kill()
                worker.join()
            raise
    pool.shutdown()


@contextmanager
def _environment(said: Mapping[str, str]) -> Iterator[None]:
    """Variables that hold in the block; workers are spawned in it, when work is submitted."""
    before = {name: os.environ.get(name) for name in said}
    os.environ.update(said)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def _begin(initializer: Callable[..., None] | None, initargs: tuple[Any, ...]) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the parent ends its workers
    Thread(target=_end_with_parent, daemon=True).start()
    if initializer is not None:
        initializer(*initargs)


def _end_with_parent() -> None:
    parent = parent_process()
    assert parent is not None  # this is a worker
    parent.join()
    os._exit(1)
