"""Where faults are planted: model, cases, policy and the clean run that every faulted one is held against.

The gate judges by the user's own policy. Two things are added to its profile, so that every stage has a rung: the
virtual car, and for faults of numerics an engine of lower precision where the profile has none.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from cases.case import find_cases
from harness.faults.car import CAR, with_car
from harness.faults.openers import of_numerics
from harness.faults.protocol import Planted, Site
from harness.faults.recordings import as_recorded
from harness.gate import Policy, Verdict, default_policy, judge
from harness.gate.policy import Profile
from harness.gate.select import choose_profile
from harness.ladder import Explanation, explain
from harness.model.card import DEFAULT_CACHE, Card
from harness.replay.replay import DEFAULT_ENGINES, replay
from harness.replay.result_keys import machine
from harness.run.folder import Run

__all__ = ["Bench", "Ran"]

PIPELINES = ("deploy",)  # and the reference
LOW_PRECISION = "emulated-fp16"
PROFILE, CLEAN = "selftest", "clean"


@dataclass(frozen=True, slots=True)
class Ran:
    """One replay, judged and explained."""

    run: Run
    verdict: Verdict
    explanation: Explanation


@dataclass(frozen=True)
class Bench:
    """See the module.

    Attributes:
        card: the model.
        cases: case folders.
        out: a folder for runs and files.
        policy: what a candidate must pass; None: the finding thresholds, as the clean run has them.
        profile: of the policy; None for the only one, or `default`.
        only: `CASE` or `CASE:FIRST-LAST`.
        cache: of prepared models and kept results.
    """

    card: Card
    cases: tuple[Path, ...]
    out: Path
    policy: Policy | None = None
    profile: str | None = None
    only: tuple[str, ...] = ()
    cache: Path = DEFAULT_CACHE

    @cached_property
    def recorded(self) -> tuple[Path, ...]:
        """The cases as the virtual car recorded them."""
        return tuple(as_recorded(case, self.out / "cases") for case in find_cases(self.cases))

    @cached_property
    def expected(self) -> Profile | None:
        """The chosen profile of the policy."""
        return choose_profile(self.policy, self.profile) if self.policy is not None else None

    def engines(self, stage: str) -> tuple[str, ...]:
        """Engines that a fault of this stage runs on, the virtual car last."""
        chosen = [e for e in (self.expected.engines if self.expected else self._default()) if e != CAR]
        if stage == "numerics" and not any(of_numerics(self.card, e) for e in chosen):
            chosen.append(LOW_PRECISION)
        return (*chosen, CAR)

    @cached_property
    def runs(self) -> Path:
        """Folder of the runs that this version of Trueline made."""
        return self.out / f"runs-{machine()['code'][:12]}"

    def _default(self) -> Sequence[str]:
        return [e for e in DEFAULT_ENGINES if self.card.torch is not None or not e.startswith("torch")]

    def site(self, name: str) -> Site:
        """Where a fault or control is planted."""
        return Site(self.card, self.out / "planted" / name, self.recorded, self.cache)

    def clean(self) -> Ran:
        """The chain as it is, on all engines that faults run on; its tensors are kept for faulted runs."""
        return self.run(CLEAN, Planted(self.card), "numerics", {}, results="keep")

    def opened_clean(self) -> Ran:
        """The clean run that another process has finished: nothing is replayed or locked."""
        return self._told(Run.open(self.runs / CLEAN), "numerics")

    def run(
        self,
        name: str,
        planted: Planted,
        stage: str,
        settings: Mapping[str, Any],
        *,
        results: Literal["leave", "take", "keep"] = "take",
    ) -> Ran:
        """Replay, judge and explain what is planted."""
        hooks = planted.hooks
        run = replay(
            planted.card,
            planted.cases or self.recorded,
            engines=self.engines(stage),
            preprocess=PIPELINES,
            out=self.runs / name,
            only=self.only,
            steps=False,
            batch=planted.batch,
            hooks=replace(hooks, open_engine=with_car(hooks.open_engine, planted.car), results=results),
            cache=self.cache,
            reuse=True,
            keep_tensors=True,
            settings={"planted": name, **settings},
        )
        return self._told(run, stage)

    def _told(self, run: Run, stage: str) -> Ran:
        verdict = judge(run, *self._judged(stage))
        return Ran(run, verdict, explain(run, verdict))

    def _judged(self, stage: str) -> tuple[Policy, str]:
        """The policy, with the profile of a fault of this stage."""
        policy = self.policy or self._default_policy
        profile = Profile(engines=self.engines(stage), preprocess=PIPELINES)
        return policy.model_copy(update={"profile": {PROFILE: profile}}), PROFILE

    @cached_property
    def _default_policy(self) -> Policy:
        return default_policy(Run.open(self.runs / CLEAN))
