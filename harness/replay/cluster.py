"""A replay on a Ray cluster: cases are the shards, and a worker is an actor that holds the whole ladder opened.

The machine that starts the replay opens the engines too: it fixes the ladder, the run's identity and its provenance,
and writes the tables from the parts that workers send. A worker replays one case at a time by the same loop
(worker.py); where it dies, the case goes to another. Ray places actors and finds out who died; nothing is scheduled
here. Cards, cases and caches must lie under the same paths on every machine.
"""

from __future__ import annotations

import sys
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, Self

from cases.case import Case
from engines.cpu import usable_cores
from engines.silent import load_ray
from harness.errors import RunError, UsageError
from harness.replay.hooks import Progress
from harness.replay.identity import versions
from harness.replay.open import FRAMES
from harness.run.folder import adopt_parts
from trueline import TruelineError

if TYPE_CHECKING:
    from harness.replay.case_loop import Ladder

__all__ = ["Cluster", "Job", "RayCluster"]

DEATHS = 3  # of workers at one case, after which the case is to blame
LOCAL = "local"


@dataclass(frozen=True)
class Job:
    """What a worker needs to know, in plain values.

    Attributes:
        card: path of the model card.
        cases: paths of the first cases, which engines may be calibrated and batches tried on.
        only: frames to replay of each case, as `--only` says them.
        rungs: fields of every rung, the root first.
        floor, batch, isolate, timeout_s: as `replay` takes them.
        cache: folder of prepared artefacts.
        threads: of numeric libraries.
        versions: of the libraries that decide what comes out.
    """

    card: str
    cases: tuple[str, ...]
    only: tuple[str, ...]
    rungs: tuple[dict[str, Any], ...]
    floor: bool
    batch: int
    isolate: bool
    timeout_s: float | None
    cache: str
    threads: int
    versions: dict[str, str]

    @classmethod
    def of(
        cls,
        ladder: Ladder,
        cases: Sequence[Case],
        only: Sequence[str],
        cache: Path,
        *,
        floor: bool,
        isolate: bool,
        timeout_s: float | None,
    ) -> Self:
        """The job of a ladder that is open here."""
        return cls(
            card=str(ladder.card.path.resolve()),
            cases=tuple(str(case.root.resolve()) for case in cases[:FRAMES]),
            only=tuple(only),
            rungs=tuple(asdict(rung) for rung in ladder.rungs),
            floor=floor,
            batch=ladder.batch,
            isolate=isolate,
            timeout_s=timeout_s,
            cache=str(cache.resolve()),
            threads=_threads(),
            versions=versions(),
        )


class Cluster(Protocol):
    """Where cases are replayed."""

    def replay(self, job: Job, waiting: Sequence[Case], out: Path, progress: Progress) -> None:
        """Replay these cases and leave their parts in the run folder."""
        ...


@dataclass(frozen=True)
class RayCluster:
    """A Ray cluster.

    Attributes:
        address: of a running one, as `ray.init` takes it; `local` starts one on this machine, for as long as it takes.
        gpus_per_engine: GPUs that every worker has to itself.
    """

    address: str = LOCAL
    gpus_per_engine: float = 0.0

    def replay(self, job: Job, waiting: Sequence[Case], out: Path, progress: Progress) -> None:
        """Replay cases on as many workers as the cluster has room for.

        Raises:
            UsageError: Ray is not installed, or there is no cluster at that address.
            RunError: one case has killed its worker again and again, or a worker has other libraries than this machine.
            TruelineError: a case cannot be read, or the reference failed; finished cases stay.
        """
        if not waiting:
            return
        with _connected(self.address) as ray:
            count = _room(ray, job.threads, self.gpus_per_engine)
            crew = _Crew(ray, job, self.gpus_per_engine, min(count, len(waiting)))
            try:
                _replay_all(crew, waiting, out, progress)
            finally:
                crew.dismiss()


class _Crew:
    """The workers. A dead one is replaced; until there is room for it, the others go on without it.

    Attributes:
        busy: what a worker is at -> the worker, and its case; None while it opens the ladder.
    """

    def __init__(self, ray: Any, job: Job, gpus: float, size: int) -> None:
        from harness.replay.worker import CaseWorker

        self.ray, self._job = ray, job
        self._kind = ray.remote(max_restarts=0, num_gpus=gpus, scheduling_strategy="SPREAD")(CaseWorker)
        self._idle: deque[Any] = deque()
        self.busy: dict[Any, tuple[Any, Case | None]] = {}
        for _ in range(size):
            self.hire()

    def hire(self) -> None:
        """Ask for another worker."""
        worker = self._kind.remote(asdict(self._job))
        self.busy[worker.open.remote()] = (worker, None)

    def begin(self, queue: deque[Case]) -> None:
        """Hand cases to workers that are free."""
        while queue and self._idle:
            worker, case = self._idle.popleft(), queue.popleft()
            self.busy[worker.replay.remote(str(case.root.resolve()))] = (worker, case)

    def free(self, worker: Any) -> None:
        """A worker is ready for a case."""
        self._idle.append(worker)

    def dismiss(self) -> None:
        """End all workers."""
        for worker in (*self._idle, *(worker for worker, _ in self.busy.values())):
            self.ray.kill(worker)


def _replay_all(crew: _Crew, waiting: Sequence[Case], out: Path, progress: Progress) -> None:
    queue, deaths = deque(waiting), Counter[str]()
    done, total = 0, sum(case.length for case in waiting)
    while queue or any(case is not None for _, case in crew.busy.values()):
        crew.begin(queue)
        ready, _ = crew.ray.wait(list(crew.busy), num_returns=1)
        worker, case = crew.busy.pop(ready[0])
        answer = _answer(crew.ray, ready[0])
        if isinstance(answer, Exception):
            deaths[case.id if case else ""] += 1
            _blame(case, deaths[case.id if case else ""], answer)
            queue.extendleft([case] if case else [])
            crew.hire()
            continue
        if answer["error"]:
            raise _told(answer["error"])
        crew.free(worker)
        if case is not None:
            adopt_parts(out / "parts", case.id, answer["parts"])
            done += case.length
            progress(case.id, done, total)


def _answer(ray: Any, task: Any) -> Any:
    """What a worker gave, or how it died; a bug of ours in it is raised."""
    try:
        return ray.get(task)
    except ray.exceptions.RayTaskError:
        raise
    except ray.exceptions.RayError as error:
        return error


def _blame(case: Case | None, deaths: int, error: Exception) -> None:
    """Give up where workers die again and again of one thing.

    Raises:
        RunError: they do.
    """
    if deaths < DEATHS:
        return
    if case is None:
        what, remedy = (
            f"{deaths} workers died while they opened the engines",
            "try one engine at a time, with --isolate",
        )
    else:
        what = f"the worker of case {case.id} died {deaths} times"
        remedy = "replay this case alone, without a cluster, with --isolate"
    raise RunError(what, where=f"--ray, {type(error).__name__}", remedy=remedy) from error


def _told(said: dict[str, str]) -> TruelineError:
    return RunError(said["what"], where=said["where"], remedy=said["remedy"])


def _room(ray: Any, threads: int, gpus: float) -> int:
    """Workers that the cluster has processors, or GPUs, for; at least one."""
    there = ray.cluster_resources()
    return max(1, int(there.get("GPU", 0) // gpus if gpus else there.get("CPU", 0) // threads))


def _threads() -> int:
    """Threads of numeric libraries here: other numbers add in another order."""
    torch = sys.modules.get("torch")
    return int(torch.get_num_threads()) if torch else usable_cores()


@contextmanager
def _connected(address: str) -> Iterator[Any]:
    """Ray, connected to a cluster; whatever was started here is gone afterwards.

    Raises:
        UsageError: not installed, or no cluster there.
    """
    try:
        ray = load_ray()
    except ImportError as error:
        raise UsageError(
            f"Ray does not import: {error}", where="--ray", remedy="pip install 'trueline[ray]'"
        ) from error
    if ray.is_initialized():  # whoever connected this process keeps the connection
        yield ray
        return
    try:
        where = {"include_dashboard": False} if address == LOCAL else {"address": address}
        ray.init(log_to_driver=False, logging_level="ERROR", **where)
    except (ConnectionError, ValueError, RuntimeError) as error:
        raise UsageError(
            f"no Ray cluster: {' '.join(str(error).split())[:200]}",
            where=f"--ray {address}",
            remedy="start one with `ray start --head`, or give `local`",
        ) from error
    try:
        yield ray
    finally:
        ray.shutdown()
