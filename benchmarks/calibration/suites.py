"""The gate on suites of simulated drives: `judge_rules` on numbers that are kept, instead of on tables.

Given its version, drives are independent, so any N of a version's drives are a suite that it might have met. They are
shuffled and cut into suites of N without overlap, some times over; the version's share of failing suites is the mean.
That is unbiased for every N up to the number of drives. Drives of different versions are never mixed, and the version
is the sample's unit: resampling the drives of one would not tell how versions differ.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase

import numpy as np
from numpy.typing import NDArray

from benchmarks.calibration.drives import Version
from benchmarks.calibration.numbers import ROOT, RUNG, Numbers, facts_of, key_of, single_bands
from harness.gate.noise import Floors
from harness.gate.policy import Policy, Rule
from harness.gate.rules import Scene, judge_rules
from harness.gate.verdict import RuleOutcome, Status, worst_of
from harness.gate.view import Looked, RuleView, RunView
from harness.run.facts import RunFacts
from harness.run.question import Question
from harness.run.statistic import Measured

__all__ = ["Judged", "JudgedVersion", "answered_by", "judge_cases", "questions_of", "simulated_rules"]

NOT_SIMULATED = ("tensor_metrics", "state_metrics", "path_metrics", "floors", "latency", "accuracy")
SHUFFLES = 8


def simulated_rules(policy: Policy) -> tuple[list[Rule], list[str]]:
    """(required rules that the simulation answers, ids of the other required ones).

    What it has not: truth, motion, a baseline, states, tensors, more than one step from lab to car, tagged cases.
    """
    asked, left = [], []
    for rule in policy.rules:
        if not rule.required:
            continue
        fits = rule.compare == "limit" and rule.reference is None and not rule.tags and _matches(rule)
        (asked if fits and _table(rule.question) not in NOT_SIMULATED else left).append(rule)
    return asked, [rule.id for rule in left]


def _matches(rule: Rule) -> bool:
    return fnmatchcase(RUNG, rule.rung) and not set(rule.where) - {"no-truth"}


def _table(question: Question) -> str:
    if question.measure.kind == "event":
        kind = question.measure.measured
        return "state_metrics" if kind in ("state_reset", "batch_rows", "batch_lines") else question.answers_in
    return question.measure.table


def questions_of(policies: Iterable[Policy]) -> list[Question]:
    """What all their simulated rules ask, one band each, once each."""
    asked = [q for p in policies for rule in simulated_rules(p)[0] for q in single_bands(rule.question)]
    return list({key_of(q): q for q in asked}.values())


def answered_by(rule: Rule, numbers: Numbers, case: int) -> Measured:
    """The number of a rule in a case: the worst of its bands, that are not applicable or have one."""
    found = [numbers.of(key_of(q), case) for q in single_bands(rule.question)]
    known = [m for m in found if m.compared]
    if not known:
        return found[0]
    worst = (max if rule.higher_is_worse else min)(known, key=lambda m: m.value)
    named = rule.question.band and len(known) < len(found)
    why = next((m.unanswered for m in known if m.unanswered), "a band has no value" if named else "")
    return replace(worst, compared=sum(m.compared for m in known), unanswered=why)


@dataclass(frozen=True)
class _Kept(RunView):
    """A run of which only the numbers are left."""

    numbers: Mapping[str, Mapping[str, Measured]] = field(default_factory=dict)

    def under(self, rules: Sequence[Looked], min_frames_share: float) -> list[RuleView]:
        return [
            RuleView(self, rule, references, min_frames_share, self._measured(rule.id)) for rule, references in rules
        ]

    def _measured(self, rule: str) -> dict[tuple[str, str], Measured]:
        return {(RUNG, case): self.numbers[rule][case] for case in self.facts.cases}


@dataclass
class Judged:
    """Suites of one size of one version.

    Attributes:
        suites: how many were judged.
        failed: how many of them fail a required rule.
        open: how many fail none and do not pass either: not run, inconclusive.
        by_rule: how many each rule fails.
        open_by_rule: how many each rule leaves open.
    """

    suites: int = 0
    failed: int = 0
    open: int = 0
    by_rule: Counter[str] = field(default_factory=Counter)
    open_by_rule: Counter[str] = field(default_factory=Counter)

    def add(self, found: Mapping[str, Status]) -> None:
        """One suite more: what each rule says of it."""
        bad = [name for name, status in found.items() if status in (Status.FAIL, Status.CRASHED, Status.NONFINITE)]
        unsure = [name for name, status in found.items() if status in (Status.NOT_RUN, Status.INCONCLUSIVE)]
        self.suites += 1
        self.failed += bool(bad)
        self.open += bool(unsure) and not bad
        self.by_rule.update(bad)
        self.open_by_rule.update(unsure)


def judge_cases(version: Version, numbers: Numbers, policy: Policy, cases: Sequence[int]) -> list[RuleOutcome]:
    """What the gate says of a suite of some of a version's cases."""
    return _Answered.of(version, numbers, policy).judged(cases)


@dataclass(frozen=True)
class _Answered:
    """What a policy's rules got of every case of a version, so that many suites of them can be judged."""

    facts: RunFacts
    policy: Policy
    known: Mapping[str, Sequence[Measured]]

    @classmethod
    def of(cls, version: Version, numbers: Numbers, policy: Policy) -> _Answered:
        rules, _ = simulated_rules(policy)
        known = {rule.id: [answered_by(rule, numbers, k) for k in range(version.cases)] for rule in rules}
        asked = policy.model_copy(update={"profile": {}, "rules": tuple(rules)})
        return cls(facts_of(version), asked, known)

    def judged(self, cases: Sequence[int]) -> list[RuleOutcome]:
        names = list(self.facts.cases)
        chosen = replace(self.facts, cases={names[k]: self.facts.cases[names[k]] for k in cases})
        known = {rule: {names[k]: every[k] for k in cases} for rule, every in self.known.items()}
        compared = {(RUNG, ROOT, name): fact.frames for name, fact in chosen.cases.items()}
        view = _Kept(_Nothing(), chosen, {}, compared, numbers=known)
        outcomes = judge_rules(Scene(view, self.policy, None, self.facts.reference, Floors()))
        return [o for o in outcomes if isinstance(o, RuleOutcome)]


class _Nothing:
    meta: Mapping[str, object] = {}

    def table(self, name: str) -> object:
        raise AssertionError(f"only numbers were kept, not {name}")


@dataclass(frozen=True)
class JudgedVersion:
    """All cases of a version, judged once. A rule of scope `each` says of a suite the worst it says of its cases."""

    version: Version
    numbers: Numbers
    policy: Policy
    outcomes: Mapping[str, RuleOutcome]

    @classmethod
    def of(cls, version: Version, numbers: Numbers, policy: Policy) -> JudgedVersion:
        """Judge every case."""
        found = judge_cases(version, numbers, policy, range(version.cases))
        return cls(version, numbers, policy, {o.id: o for o in found if o.scope == "each"})

    def statuses(self) -> dict[str, list[Status]]:
        """Rule of scope `each` -> status of every case."""
        return {name: [c.status for c in o.rungs[0].cases] for name, o in self.outcomes.items()}

    def values(self) -> dict[str, list[float]]:
        """Rule of scope `each` -> number of every case, in the limit's unit."""
        return {name: [c.value for c in o.rungs[0].cases] for name, o in self.outcomes.items()}

    def suites(self, size: int, shuffles: int = SHUFFLES, among: NDArray[np.bool_] | None = None) -> Judged:
        """Suites of so many cases, whole drives each.

        Args:
            size: cases of a suite.
            shuffles: how many times the drives are cut anew.
            among: cases that may be in one, bool [cases]; where fewer than `size` are left, all of them are one suite.
        """
        of_cases = self.statuses()
        others = [r for r in simulated_rules(self.policy)[0] if r.scope == "population"]
        rest = _Answered.of(self.version, self.numbers, self.policy.model_copy(update={"rules": tuple(others)}))
        judged = Judged()
        for cases in self._cut(size, shuffles, np.ones(self.version.cases, bool) if among is None else among):
            found = {name: worst_of(every[k] for k in cases) for name, every in of_cases.items()}
            if others:
                found |= {o.id: o.status for o in rest.judged(cases)}
            judged.add(found)
        return judged

    def _cut(self, size: int, shuffles: int, among: NDArray[np.bool_]) -> Iterator[list[int]]:
        rng = np.random.default_rng([*self.version.seed, size])
        drives = np.unique(self.version.drives[among])
        of_suite = min(math.ceil(size / self.version.clips), len(drives))
        for _ in range(1 if of_suite == len(drives) else shuffles):
            order = rng.permutation(drives)
            for first in range(0, len(order) - of_suite + 1, of_suite):
                chosen = np.isin(self.version.drives, order[first : first + of_suite])
                yield np.flatnonzero(chosen & among).tolist()
