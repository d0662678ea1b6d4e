"""Any engine in a process of its own: what kills that process costs one rung, not the replay.

    engine = isolated("trt-fp16", source, timeout_s=60)

A segmentation fault, an out-of-memory kill, an `abort()` or a hang raises EngineCrashed, with the signal or exit code
and the end of what the process wrote to stderr. The next call starts a new process, so another rung of the same engine
and the next case go on; an engine whose process dies while it opens is not opened again. Errors that the engine raises
are the same as without isolation; exceptions that are none of ours are crashes.

Settings that hold for a whole process (environment variables, denormals where they cannot be set by thread, a
library's global switches) can differ from engine to engine this way.

Tensors pass through shared memory: about 0.1 ms for small ones, and about two copies of large ones (docs/engines.md).
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
from collections.abc import Mapping
from typing import Any

from numpy.typing import NDArray

from engines.child.mailbox import Mailbox
from engines.child.messages import raised, to_json
from engines.child.pipes import Gone, Late, deadline_of, read_exactly, write_all
from engines.child.process import Process
from engines.errors import EngineCrashed, EngineError, EngineInputError, EngineOptionError
from engines.formats.packed import pack, unpack
from engines.protocol import CaseContext, ModelSource, Tensors

__all__ = ["DEFAULT_TIMEOUT_S", "IsolatedEngine", "isolated"]

DEFAULT_TIMEOUT_S = 60.0
OPENING_FACTOR = 20  # an export or a plan takes longer than a frame
_GRACE_S = 5.0
_START = """import json, sys
sys.path[:] = json.loads(sys.argv[1])
from engines.child.serve import main
main(*map(int, sys.argv[2:]))"""


def isolated(
    name: str,
    source: ModelSource,
    timeout_s: float | None = DEFAULT_TIMEOUT_S,
    env: Mapping[str, str] | None = None,
    options: Mapping[str, Any] | None = None,
) -> IsolatedEngine:
    """Open an engine in a process of its own.

    Args:
        name: of the engine.
        source: the model.
        timeout_s: limit of one `infer`; opening may take 20 times as long. None: no limit.
        env: environment variables of that process, added to ours.
        options: of the engine.

    Raises:
        EngineError: the engine itself cannot be opened. A process that dies or hangs while opening raises nothing yet:
            every `infer` will raise EngineCrashed, so that a replay calls the rung crashed and goes on.
    """
    if timeout_s is not None and not timeout_s > 0:
        raise EngineOptionError(f"timeout_s {timeout_s}", where=f"isolated {name}", remedy="give seconds above 0")
    return IsolatedEngine(name, source, timeout_s, env or {}, options or {})


class IsolatedEngine:
    """The outside of an engine in another process; started again after a crash."""

    def __init__(
        self,
        name: str,
        source: ModelSource,
        timeout_s: float | None,
        env: Mapping[str, str],
        options: Mapping[str, Any],
    ) -> None:
        self.name, self.uses_time, self.keeps_state = name, False, True
        self._timeout_s, self._env = timeout_s, dict(env)
        self._where = f"{source.name}, engine {name}, isolated"
        self._isolation = {"isolated": True, "timeout_s": timeout_s, "env": dict(env)}
        self._provenance: dict[str, Any] = {"engine": name, **self._isolation}
        self._ask = {"op": "open", "name": name, "source": to_json(source), "options": json.dumps(dict(options))}
        self._context: CaseContext | None = None
        self._now_ns: int | None = None
        self._worker: _Worker | None = None
        self._lost: EngineCrashed | None = None  # it cannot start again: while opening for good, else for this case
        self._opened = False
        with contextlib.suppress(EngineCrashed):
            self._start()

    @property
    def provenance(self) -> Mapping[str, Any]:
        """That of the engine, and how it was isolated."""
        return self._provenance

    def start_case(self, context: CaseContext) -> None:
        """A new case; a process that died before is started again, and one that dies here is reported by `infer`."""
        self._context = context
        if not self._opened:
            return
        self._lost = None
        with contextlib.suppress(EngineCrashed):
            if self._worker is None:
                self._start()
            else:
                self._start_case()

    def seek(self, timestamp_ns: int) -> None:
        """The next `infer` is for this moment."""
        self._now_ns = timestamp_ns

    def infer(self, inputs: Mapping[str, NDArray[Any]]) -> Tensors:
        """Run the engine once in its process.

        Raises:
            EngineCrashed: the process died or took too long, or the engine failed.
            EngineError: what the engine raises.
        """
        if self._lost is not None:
            raise EngineCrashed(self._lost.what, where=self._lost.where, remedy=self._lost.remedy)
        if self._worker is None:
            self._start()
        now = "" if self._now_ns is None else str(self._now_ns)
        return self._call({"op": "infer", "now": now}, inputs, self._timeout_s)[0]

    def close(self) -> None:
        """End the process."""
        if self._worker is not None:
            self._worker.end(_GRACE_S)
        self._worker = None

    def _start(self) -> None:
        """Start the process, open the engine in it and bring it to the present case."""
        limit_s = None if self._timeout_s is None else self._timeout_s * OPENING_FACTOR
        try:
            self._worker = _Worker(self._env)
            self._learn(self._call(self._ask, {}, limit_s)[1])
        except EngineError as error:
            self.close()
            if isinstance(error, EngineCrashed):
                self._lost, self._opened = error, False
            raise
        self._opened = True
        if self._context is not None:
            self._start_case()

    def _start_case(self) -> None:
        assert self._context is not None  # the callers know of a case
        try:
            self._learn(self._call({"op": "start_case", "context": to_json(self._context)}, {}, self._timeout_s)[1])
        except EngineCrashed as error:
            self._lost = error
            raise

    def _learn(self, answer: Mapping[str, str]) -> None:
        facts = json.loads(answer["facts"])
        self.uses_time, self.keeps_state = bool(facts["uses_time"]), bool(facts["keeps_state"])
        self._provenance = {**facts["provenance"], **self._isolation}

    def _call(
        self, ask: Mapping[str, str], tensors: Mapping[str, NDArray[Any]], timeout_s: float | None
    ) -> tuple[Tensors, dict[str, str]]:
        worker = self._worker
        assert worker is not None  # the callers started it
        try:
            letter = pack(tensors, ask)
        except (TypeError, AttributeError) as error:
            raise EngineInputError(str(error), where=self._where, remedy="give NumPy arrays of numbers") from error
        try:
            answer, said = unpack(worker.exchange(letter, timeout_s))
        except (Gone, Late, ValueError) as error:
            raise self._crashed(worker, ask["op"], timeout_s, late=isinstance(error, Late)) from error
        if "error" in said:
            raise raised(said["error"], self._where, "run it without isolation to see where it was raised")
        return {name: array.copy() for name, array in answer.items()}, said

    def _crashed(self, worker: _Worker, doing: str, timeout_s: float | None, *, late: bool) -> EngineCrashed:
        self._worker = None
        what = {"open": "opening", "start_case": "starting a case", "infer": "running"}[doing]
        how = f"it did not answer within {timeout_s:g} s{worker.process.last_words()}" if late else worker.ending()
        worker.end(0)
        return EngineCrashed(
            f"its process was lost while {what}: {how}",
            where=self._where,
            remedy="give it more time with --timeout" if late else "run that engine alone on this input",
        )


class _Worker:
    """The process, its pipes and its mailboxes."""

    def __init__(self, env: Mapping[str, str]) -> None:
        self._inbox, self._outbox = Mailbox.new(), Mailbox.new()
        their_requests, self._requests = os.pipe()
        self._replies, their_replies = os.pipe()
        their_lifeline, self._lifeline = os.pipe()
        theirs = (their_requests, their_replies, their_lifeline)
        handed = (*theirs, self._inbox.fd, self._outbox.fd)
        argv = [sys.executable, "-P", "-c", _START, json.dumps([p for p in sys.path if isinstance(p, str)])]
        try:
            self.process = Process([*argv, *map(str, handed)], env=env, pass_fds=handed)
        finally:
            for fd in theirs:
                os.close(fd)
        os.set_blocking(self._requests, False)
        os.set_blocking(self._replies, False)
        self._open = True

    def exchange(self, letter: list[memoryview], timeout_s: float | None) -> memoryview:
        """Send a letter and wait for the answer, which the next one overwrites.

        Raises:
            Gone, Late: the process ended, or the time limit did.
        """
        deadline = deadline_of(timeout_s)
        write_all(self._requests, [memoryview(self._inbox.put(letter).to_bytes(8, "little"))], deadline)
        length = int.from_bytes(read_exactly(self._replies, 8, deadline, self.process.tend), "little")
        self.process.tend()
        return self._outbox.look(length)

    def ending(self) -> str:
        """How the process ended, in words."""
        return self.process.ending()

    def end(self, grace_s: float) -> None:
        """Hang up, wait so long for it to end by itself, kill it, and give everything back."""
        if not self._open:
            return
        self._open = False
        os.close(self._requests)
        self.process.stop(grace_s)
        self.process.forget()
        for fd in (self._replies, self._lifeline):
            os.close(fd)
        self._inbox.close()
        self._outbox.close()
