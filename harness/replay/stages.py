"""Stages of a replay that overlap: what comes before the engines runs ahead of them, what comes after runs behind.

    feed (a thread)  ->  engines (the caller's thread)  ->  lines and measures (a thread)

Order is kept everywhere, so a replay does the same in the same order however far its stages are apart. An error stays
where it happened: one ahead comes out of the iterator in its place, one behind at the next `submit` or `drain`. Python
code of the stages takes turns, but engines, video decoding and array work run outside its lock.
"""

from __future__ import annotations

import sys
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from queue import Full, Queue
from typing import Protocol, TypeVar

__all__ = ["Behind", "ahead", "behind"]

T = TypeVar("T")

AHEAD_BYTES = 8 * 2**20  # in one train of items; at most three trains are alive
AHEAD_ITEMS = 64
PATIENCE_S = 0.05  # between looks at whether anybody still wants what a stage makes
LAST_S = 10.0  # that a stage may take to end what it is at, where its caller was stopped
TURN_S = 0.0005  # a thread that waits for Python's lock asks for it after this time: engines of 0.1 ms cannot wait 5 ms


class Closing(Protocol):
    """Something to close; closing it twice does no harm."""

    def close(self) -> None:
        """Give back what it holds."""
        ...


class _End:
    """What stands at the end of a stream: nothing, or what stopped it."""

    def __init__(self, error: BaseException | None) -> None:
        self.error = error


@contextmanager
def ahead(items: Iterable[T], size: Callable[[T], int]) -> Iterator[Iterator[T]]:
    """The same items in the same order, made ahead in a thread; the thread is gone when the block ends.

    Args:
        items: made one after the other; what they raise is raised in its place.
        size: bytes that an item holds: few large ones or many small ones are made ahead.
    """
    trains: Queue[list[T] | _End] = Queue(maxsize=1)
    unwanted = threading.Event()
    thread = threading.Thread(target=_make, args=(items, size, trains, unwanted), name="trueline-feed", daemon=True)
    thread.start()
    try:
        yield _taken(trains)
    finally:
        unwanted.set()
        thread.join(LAST_S)


def _make(
    items: Iterable[T], size: Callable[[T], int], trains: Queue[list[T] | _End], unwanted: threading.Event
) -> None:
    """Fill trains until the items end, or nobody wants them."""
    end, train, held = _End(None), [], 0
    try:
        for item in items:
            train.append(item)
            held += size(item)
            if held >= AHEAD_BYTES or len(train) >= AHEAD_ITEMS:
                if not _put(trains, train, unwanted):
                    return
                train, held = [], 0
    except BaseException as error:
        end = _End(error)
    if not train or _put(trains, train, unwanted):
        _put(trains, end, unwanted)


def _put(trains: Queue[list[T] | _End], train: list[T] | _End, unwanted: threading.Event) -> bool:
    while not unwanted.is_set():
        try:
            trains.put(train, timeout=PATIENCE_S)
        except Full:
            continue
        return True
    return False


def _taken(trains: Queue[list[T] | _End]) -> Iterator[T]:
    while True:
        train = trains.get()
        if isinstance(train, _End):
            if train.error is not None:
                raise train.error
            return
        waiting = deque(train)
        del train
        while waiting:
            yield waiting.popleft()


class Behind:
    """Work done one after the other in a thread; `behind` opens one.

    At most one piece is at work while the next is being made, so memory holds two.
    """

    def __init__(self) -> None:
        self._work: Queue[Callable[[], None] | None] = Queue()
        self._free = threading.Semaphore(1)
        self._error: BaseException | None = None
        self._held: deque[Closing] = deque(maxlen=2)
        self._stopped = False
        self._thread = threading.Thread(target=self._run, name="trueline-measure", daemon=True)
        self._thread.start()

    def submit(self, work: Callable[[], None]) -> None:
        """Do this after all that was submitted before; waits until all of that is done.

        Raises:
            BaseException: what earlier work raised; nothing is done after that.
        """
        self.drain()
        self._free.acquire()
        self._work.put(work)

    def drain(self) -> None:
        """Wait until all is done; raises what any work raised."""
        with self._free:
            pass
        if self._error is not None:
            raise self._error

    def hold(self, resource: Closing) -> None:
        """See that what work needs is closed in the end, whether the work is done or not; the last two are kept."""
        self._held.append(resource)

    def stop(self) -> None:
        """Begin nothing more, and end the thread; what is being done is waited for, though not for ever."""
        self._stopped = True
        self._work.put(None)
        self._thread.join(LAST_S)
        for resource in self._held:
            resource.close()

    def _run(self) -> None:
        while (work := self._work.get()) is not None:
            try:
                if self._error is None and not self._stopped:
                    work()
            except BaseException as error:
                self._error = error
            del work
            self._free.release()


@contextmanager
def behind() -> Iterator[Behind]:
    """A stage behind the caller, drained where the block ends well and stopped in any case."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(TURN_S)
    stage: Behind = Behind()
    try:
        yield stage
        stage.drain()
    finally:
        stage.stop()
        sys.setswitchinterval(before)
