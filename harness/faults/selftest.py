"""`trueline selftest`: every fault and control on the user's own model, in processes side by side; resumable.

Each fault is a file OUT/outcomes/NAME.json under a key of all that it follows from: model, cases, policy, versions and
Trueline's own code. One whose key still holds is not planted again.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from harness.errors import UsageError
from harness.faults.bench import Bench, Ran
from harness.faults.controls import CONTROLS
from harness.faults.score import Report
from harness.faults.table import FAULTS, all_faults
from harness.faults.trial import Outcome, try_control, try_until_caught
from harness.gate import Status, load_policy
from harness.model.card import DEFAULT_CACHE, load_card
from harness.replay.hooks import Progress, quiet
from harness.replay.result_keys import machine
from harness.run.json import read_json, write_json
from trueline._workers import worker_pool

__all__ = ["Job", "self_test"]

Item = tuple[str, str]
"""`fault` or `control`, and its name."""


@dataclass(frozen=True)
class Job:
    """What a self-test runs on, by paths, so that every process opens its own.

    Attributes:
        card: model card.
        cases: case folders, or folders of them.
        out: for runs, files and outcomes.
        policy: what a candidate must pass; None: the finding thresholds.
        profile: of the policy.
        only: `CASE` or `CASE:FIRST-LAST`.
        cache: of prepared models and kept results.
    """

    card: Path
    cases: tuple[Path, ...]
    out: Path
    policy: Path | None = None
    profile: str | None = None
    only: tuple[str, ...] = ()
    cache: Path = DEFAULT_CACHE

    def bench(self) -> Bench:
        """The bench in this process."""
        policy = load_policy(self.policy) if self.policy is not None else None
        return Bench(load_card(self.card), self.cases, self.out, policy, self.profile, self.only, self.cache)


def self_test(
    job: Job,
    *,
    faults: Sequence[str] = (),
    controls: Sequence[str] = (),
    workers: int | None = None,
    progress: Progress = quiet,
) -> Report:
    """Plant every fault and control.

    Args:
        job: what it runs on.
        faults: names of faults; none: all.
        controls: names of controls; none: all.
        workers: processes; None: one for each processor.
        progress: told (name, done, total).

    Raises:
        UsageError: a name that no fault or control has.
        TruelineError: bad input, or the reference cannot be replayed.
    """
    known = all_faults()
    asked = [("fault", n) for n in _chosen(faults, known, "fault")]
    asked += [("control", n) for n in _chosen(controls, CONTROLS, "control")]
    bench = job.bench()
    progress("clean", 0, len(asked) + 1)
    clean = bench.clean()
    key = _key(job, clean)
    found = {item: done for item in asked if (done := _kept(job, key, *item)) is not None}
    waiting = [item for item in asked if item not in found]
    progress("clean", len(found) + 1, len(asked) + 1)
    for item, outcome in _tried(job, waiting, workers):
        found[item] = outcome
        _keep(job, key, item[0], outcome)
        progress(item[1], len(found) + 1, len(asked) + 1)
    name = bench.policy.name if bench.policy is not None else "default"
    fails = tuple(r.id for r in clean.verdict.rules if r.required and r.status is not Status.PASS)
    return Report(
        bench.card.name, name, str(clean.verdict.status), fails,
        tuple(found[item] for item in asked if item[0] == "fault"),
        tuple(found[item] for item in asked if item[0] == "control"),
    )  # fmt: skip


def _chosen(names: Sequence[str], known: object, what: str) -> list[str]:
    have = list(known)  # type: ignore[call-overload]  # a table by name
    for name in names:
        if name not in have:
            raise UsageError(f"no {what} {name!r}", where=f"--{what}s", remedy=f"use some of {', '.join(have)}")
    return list(dict.fromkeys(names)) or have


def _tried(job: Job, items: Sequence[Item], workers: int | None) -> Iterator[tuple[Item, Outcome]]:
    """What becomes of faults and controls, in the order in which they end; one worker is this process."""
    if workers == 1:
        yield from ((item, _work(job, *item)) for item in items)
        return
    with worker_pool(workers or os.cpu_count() or 1, threads=1) as pool:
        pending: dict[Future[Outcome], Item] = {pool.submit(_work, job, *item): item for item in items}
        while pending:
            for ended in wait(pending, return_when=FIRST_COMPLETED).done:
                yield pending.pop(ended), ended.result()


@cache
def _opened(job: Job) -> tuple[Bench, Ran]:
    bench = job.bench()
    return bench, bench.opened_clean()


def _work(job: Job, kind: str, name: str) -> Outcome:
    """One fault or control, in a process of its own."""
    bench, clean = _opened(job)
    return (
        try_until_caught(bench, clean, all_faults()[name])
        if kind == "fault"
        else try_control(bench, clean, CONTROLS[name])
    )


def _key(job: Job, clean: Ran) -> str:
    policy = "" if job.policy is None else load_policy(job.policy).model_dump_json()
    facts = [clean.run.meta["digest"], policy, job.profile, machine()["code"], machine()["packages"]]
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()


def _kept(job: Job, key: str, kind: str, name: str) -> Outcome | None:
    """The outcome of an earlier self-test of the same; faults of others are planted again."""
    file = job.out / "outcomes" / f"{kind}-{name}.json"
    if (kind == "fault" and name not in FAULTS) or not file.is_file():
        return None
    told = read_json(file)
    if told.get("key") != key:
        return None
    values = dict(told["outcome"])
    lists: dict[str, Any] = {key: tuple(value) for key, value in values.items() if isinstance(value, list)}
    return Outcome(**{**values, **lists})


def _keep(job: Job, key: str, kind: str, outcome: Outcome) -> None:
    folder = job.out / "outcomes"
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / f"{kind}-{outcome.name}.json", {"key": key, "outcome": outcome.to_json()})
