"""Trials of several searches side by side, in a process each; in this one where there is one core."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock
from typing import Any

from engines.cpu import usable_cores
from harness.gate import Policy
from harness.model.card import Card
from harness.precision.search import Group, Items, Tried
from harness.precision.trial import Trials, trials_of
from trueline._workers import worker_pool

__all__ = ["Setup", "Team", "team"]


@dataclass(frozen=True)
class Setup:
    """What trials are of; every process opens its own. See `harness.precision.trial.Trials`."""

    card: Card
    cases: Sequence[Path]
    policy: Policy | None
    engine: str
    form: str
    cache: Path


@dataclass
class Team:
    """Whoever tries sets.

    Attributes:
        run: calls a method of `Trials` by its name.
        tell: told how many sets were tried.
        jobs: processes.
        count: replays so far.
    """

    run: Callable[..., Any]
    tell: Callable[[int], None]
    jobs: int = 1
    count: int = 0
    _lock: Lock = field(default_factory=Lock)

    def tried(self, kept: Items, group: Group) -> Tried:
        """See `Trials.tried`."""
        given: Tried = self.run("tried", kept, group)
        with self._lock:
            self.count += 1
            self.tell(self.count)
        return given

    def each(self, search: Callable[[int], Items], seeds: Sequence[int]) -> list[Items]:
        """A search for every seed, side by side where there are processes for them."""
        if self.jobs == 1:
            return [search(seed) for seed in seeds]
        threads = ThreadPoolExecutor(self.jobs)
        try:
            return list(threads.map(search, seeds))
        finally:
            threads.shutdown(wait=False, cancel_futures=True)  # an error ends the processes, and they the threads


@contextmanager
def team(setup: Setup, trials: Trials, most: int, tell: Callable[[int], None]) -> Iterator[Team]:
    """As many processes as there are cores, `most` at most.

    Args:
        setup: what the trials are of.
        trials: this process's, which know what must hold.
        most: searches that go on side by side.
        tell: told how many sets were tried.
    """
    jobs = min(most, usable_cores())
    if jobs <= 1:
        yield Team(lambda method, *arguments: getattr(trials, method)(*arguments), tell)
        return
    with worker_pool(jobs, _begin, (setup, *trials.known()), threads=max(1, usable_cores() // jobs)) as pool:
        yield Team(lambda method, *arguments: pool.submit(_call, method, arguments).result(), tell, jobs)


_trials: list[Trials] = []  # of a worker


def _begin(setup: Setup, wanted: frozenset[str], cases: Sequence[Path]) -> None:
    trials, _ = trials_of(setup.card, setup.cases, setup.policy, setup.engine, setup.form, setup.cache)
    trials.take(wanted, cases)
    _trials.append(trials)


def _call(method: str, arguments: tuple[Any, ...]) -> Any:
    return getattr(_trials[0], method)(*arguments)
