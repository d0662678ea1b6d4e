"""One run as the gate sees it, and as one rule sees it: its numbers, and why a number cannot be used."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import polars as pl

from harness.gate.policy import Rule
from harness.gate.verdict import Status
from harness.run.facts import CaseFact, RunFacts, RunLike, read_facts
from harness.run.rows import compared_frames, nonfinite_counts
from harness.run.statistic import Asked, Measured, answers
from trueline._text import counted

__all__ = ["Looked", "RuleView", "RunView", "Trouble"]

Trouble = tuple[Status, str]
"""What keeps a number from being used, and why."""

Looked = tuple[Rule, Mapping[str, str]]
"""A rule, and the rungs it looks at, each with the rung it is compared with."""


@dataclass(frozen=True)
class RunView:
    """A run as every rule sees it.

    Attributes:
        run: the run.
        facts: what its run.json says.
        nonfinite: where its outputs are not finite, by (rung, case).
        compared: frames on which rungs were compared, by (rung, reference, case).
        truth: cases with ground truth that the model can be held against.
        state: whether a state of the model is fed back.
        motion: whether the car's way is known and varies enough to be held against lines, in some case.
    """

    run: RunLike
    facts: RunFacts
    nonfinite: Mapping[tuple[str, str], int]
    compared: Mapping[tuple[str, str, str], int]
    truth: frozenset[str] = frozenset()
    state: bool = False
    motion: bool = False

    @classmethod
    def of(cls, run: RunLike) -> RunView:
        """Read what every rule needs, once."""
        truth = run.table("accuracy").select("case").unique().collect()["case"]
        state = bool(run.table("state_metrics").select("case").head(1).collect().height)
        told = run.table("path_metrics").filter(pl.col("path_skill").is_not_null()).head(1).collect()
        found = frozenset(truth), state, bool(told.height)
        return cls(run, read_facts(run.meta), nonfinite_counts(run), compared_frames(run), *found)

    def under(self, rules: Sequence[Looked], min_frames_share: float) -> list[RuleView]:
        """What rules see of the run, in their order; its tables are read once for all of them.

        Args:
            rules: each with its rungs.
            min_frames_share: share of a case's frames that must have been compared.
        """
        found = answers(self.run, self.facts, [Asked(rule.question, references) for rule, references in rules])
        return [
            RuleView(self, rule, references, min_frames_share, measured)
            for (rule, references), measured in zip(rules, found, strict=True)
        ]

    def frames(self, rung: str, reference: str, case: str) -> int:
        """Frames of a case on which a rung was compared with another."""
        return self.compared.get((rung, reference, case), 0)


@dataclass(frozen=True)
class RuleView:
    """A run under one rule.

    Attributes:
        view: the run.
        rule: the rule.
        references: the rung each rung is compared with.
        min_frames_share: share of a case's frames that must have been compared.
        measured: the rule's statistic by (rung, case), base units.
    """

    view: RunView
    rule: Rule
    references: Mapping[str, str]
    min_frames_share: float
    measured: Mapping[tuple[str, str], Measured]

    def number(self, rung: str, case: str) -> Measured:
        """The statistic of one case; compared on nothing where the tables have no row."""
        return self.measured.get((rung, case), Measured(math.nan, 0))

    def frames(self, rung: str, case: CaseFact) -> int:
        """Frames of a case on which the rung was compared; 0 where the measure compares with none."""
        return self.view.frames(rung, self.references[rung], case.id) if self.rule.spec.has_reference else 0

    def cases(self) -> list[CaseFact]:
        """Cases that the rule is about, by id."""
        judged = [c for c in self.view.facts.cases.values() if self.rule.judges_case(c.id, c.tags)]
        if "truth" in self.rule.where or "no-truth" in self.rule.where:
            judged = [c for c in judged if (c.id in self.view.truth) == ("truth" in self.rule.where)]
        return sorted(judged, key=lambda c: c.id)

    def cannot_tell(self, rung: str, case: str) -> bool:
        """Whether the case itself has nothing that the metric could tell, whatever the rung drew."""
        found = self.measured.get((rung, case))
        return self.rule.spec.of_case and found is not None and not found.compared and not found.nonfinite

    def stopped(self, rung: str) -> Trouble | None:
        """Why the rung, or the one it is compared with, did not finish; None if both did."""
        for name in self._involved(rung):
            fact = self.view.facts.rungs.get(name)
            if fact is None:
                return Status.NOT_RUN, f"the run has no rung {name}"
            if fact.status == "crashed":
                return Status.CRASHED, f"{name} crashed: {fact.reason}"
            if fact.status == "not_run":
                return Status.NOT_RUN, f"{name} was not run: {fact.reason}"
        root = self.view.facts.reference
        if self.rule.spec.kind == "event" and self.references[rung] != root:
            return Status.NOT_RUN, f"events are told only against the run's reference {root}"
        return None

    def trouble(self, rung: str, case: CaseFact) -> Trouble | None:
        """What makes a case's number worthless; None if nothing does."""
        found = self.number(rung, case.id)
        for name in self._involved(rung):
            if count := self.view.nonfinite.get((name, case.id), 0):
                return Status.NONFINITE, f"{name} gave outputs that are not finite, up to {count} in a frame"
        if found.nonfinite:
            return Status.NONFINITE, f"{self.rule.metric} is not finite in {found.nonfinite} of its values"
        if found.compared == 0 and self.rule.spec.kind == "floor":
            return Status.NOT_RUN, "its noise floor was not measured; replay --floor does, under the last pipeline"
        if found.compared == 0 or math.isnan(found.value):
            return Status.NOT_RUN, f"nothing to compare: {self.rule.metric} has no value in this case"
        return self._too_few_frames(rung, case)

    def _too_few_frames(self, rung: str, case: CaseFact) -> Trouble | None:
        if not self.rule.spec.has_reference:
            return None
        frames, needed = self.frames(rung, case), self.min_frames_share * case.frames
        if frames >= needed:
            return None
        text = f"compared on {frames} of {counted(case.frames, 'frame')}, min_frames_share = {self.min_frames_share:g}"
        return Status.NOT_RUN, text

    def _involved(self, rung: str) -> tuple[str, ...]:
        """The rung, and the one it is compared with."""
        return (rung, self.references[rung]) if self.rule.spec.has_reference else (rung,)
