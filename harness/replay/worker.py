"""One worker of a replay on a cluster: a process that holds the ladder opened and replays a case at a time."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trueline import TruelineError

if TYPE_CHECKING:
    from harness.replay.case_loop import Ladder
    from harness.replay.cluster import Job

__all__ = ["CaseWorker"]


class CaseWorker:
    """Replays cases of one job; nothing heavy is loaded before the number of threads is set.

    Args:
        job: fields of harness.replay.cluster.Job.
    """

    def __init__(self, job: dict[str, Any]) -> None:
        os.environ["OMP_NUM_THREADS"] = str(job["threads"])  # Ray says 1 where nobody does
        self._said = job
        self._ladder: Ladder | None = None
        self._stack = ExitStack()

    def open(self) -> dict[str, Any]:
        """Open the ladder; answers as `replay` does."""

        def nothing() -> dict[str, bytes]:
            self._opened()
            return {}

        return self._answered(nothing)

    def replay(self, case: str) -> dict[str, Any]:
        """Replay the case in that folder.

        Returns:
            `parts`: name -> content of every part file; `error`: what, where, remedy of what stopped it, or None.
        """
        return self._answered(lambda: self._parts(Path(case)))

    def _answered(self, work: Callable[[], dict[str, bytes]]) -> dict[str, Any]:
        try:
            return {"parts": work(), "error": None}
        except TruelineError as error:
            told = {"what": f"{type(error).__name__}: {error.what}", "where": error.where, "remedy": error.remedy}
            return {"parts": {}, "error": told}

    def _parts(self, folder: Path) -> dict[str, bytes]:
        from cases.case import open_case
        from harness.replay.case_loop import replay_case
        from harness.replay.hooks import quiet
        from harness.replay.only import only_these
        from harness.replay.stages import behind

        ladder, first = self._opened(), self._said["cases"][0]
        case = open_case(folder)
        only = [text for text in self._said["only"] if text == case.id or text.startswith(f"{case.id}:")]
        (case,) = only_these([case], only, stateful=bool(ladder.card.state))
        with tempfile.TemporaryDirectory(prefix="trueline-") as scratch:
            with behind() as later:
                replay_case(ladder, case, Path(scratch), quiet, later, rows_tried=str(folder) == first)
            return {p.name: p.read_bytes() for p in sorted((Path(scratch) / "parts" / case.id).iterdir())}

    def _opened(self) -> Ladder:
        from harness.replay.cluster import Job

        if self._ladder is None:
            self._ladder = _open(Job(**self._said), self._stack)
        return self._ladder


def _open(job: Job, stack: ExitStack) -> Ladder:
    """The ladder, as the machine that started the replay has it.

    Raises:
        RunError: this machine has other libraries.
        TruelineError: an engine cannot be opened here.
    """
    from functools import partial

    from threadpoolctl import threadpool_limits

    from cases.case import open_case
    from engines.isolate import isolated
    from harness.errors import RunError
    from harness.model.card import load_card
    from harness.replay.batches import batched
    from harness.replay.environment import replay_environment
    from harness.replay.hooks import Hooks
    from harness.replay.identity import versions
    from harness.replay.open import open_engines
    from harness.replay.open_ladder import open_ladder
    from harness.run.rungs import Rung

    there, here = job.versions, versions()
    if other := [
        f"{n} {here.get(n)} for {there.get(n)}" for n in sorted({*there, *here}) if here.get(n) != there.get(n)
    ]:
        raise RunError(
            f"this worker has {', '.join(other)}", where=os.uname().nodename, remedy="install the same there"
        )
    stack.enter_context(replay_environment())
    card, cases, cache = load_card(Path(job.card)), [open_case(Path(c)) for c in job.cases], Path(job.cache)
    timeout_s = job.timeout_s and job.timeout_s * job.batch
    hooks = Hooks(partial(isolated, timeout_s=timeout_s)) if job.isolate else Hooks()
    rungs = [Rung(**{**fields, "factors": tuple(fields["factors"])}) for fields in job.rungs]
    opened = open_engines(dict.fromkeys(r.engine for r in rungs), batched(card, job.batch), cases, hooks, cache, stack)
    for name, failure in opened.missing.items():
        raise RunError(f"{name} does not open on this worker: {failure.reason}", where=os.uname().nodename,
                       remedy="give every machine of the cluster what this engine needs")  # fmt: skip
    stack.enter_context(threadpool_limits(limits=1, user_api="blas"))
    return open_ladder(card, cases, rungs, opened, hooks, cache, stack, floor=job.floor, batch=job.batch)[0]
