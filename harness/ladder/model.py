"""What an explanation is made of. Plain data: `to_json` gives what `trueline explain --json` prints."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from harness.run.json import plain

__all__ = ["Alone", "Breach", "Explanation", "Finding", "Step", "Suspect"]


@dataclass(frozen=True, slots=True)
class Step:
    """One rung on the way from the reference to the rung of a finding, and what its step added.

    Attributes:
        rung: the rung the step leads to.
        factors: in what it differs from the rung before.
        stage: stage of its factor; None where it changes several.
        value: size of the finding there, NaN where it could not be measured.
        added: how much worse it is than the rung before, NaN where either is unknown.
        share: `added` divided by the finding's final size; negative where the step makes it smaller. The shares of a
            path add up to one only where every rung on it could be measured.
    """

    rung: str
    factors: tuple[str, ...]
    stage: str | None
    value: float
    added: float
    share: float


@dataclass(frozen=True, slots=True)
class Alone:
    """One factor by itself: size of the finding on `rung`, which has the factor, minus that on `base`, which lacks it.

    Attributes:
        taken_out: whether the factor was taken out of the whole chain, not put alone on the reference.
    """

    factor: str
    rung: str
    base: str
    value: float
    taken_out: bool = False


@dataclass(frozen=True, slots=True)
class Breach:
    """A limit of a policy that a finding breaks, with the number that the gate set against it.

    Attributes:
        rule: id of the rule.
        measure: what the rule limits; a finding's measures of one family break each its own.
        rung: the rung it was broken on.
        number: the rule's number there, in `unit`; with `worse` how much worse than the baseline; NaN where values are
            not finite.
        limit: as the policy writes it.
        unit: of the number.
        statistic: as the rule writes it.
        required: whether the verdict depends on the rule.
    """

    rule: str
    measure: str
    rung: str
    number: float
    limit: str
    unit: str
    statistic: str
    required: bool


@dataclass(frozen=True, slots=True)
class Finding:
    """What went wrong in one place: a line and band of a case, or a number of the whole case; and how it came about.

    Measures of one family (catalogue.Measure.family) that are over their thresholds or limits in one place are one
    finding, told by the one that is furthest over.

    Attributes:
        case: id of the case.
        rung: the last rung of the path that has it; of several branches of the ladder the one where it is worst.
        rungs: every rung that has it.
        measure: name of the measure, as policies write it; of an event its kind.
        statistic: of a number of the whole case; empty where one place is meant.
        track: line, None where it is not of one line.
        band: near, mid, far; None where it is not of one band.
        frame: the worst frame; None for a number of the whole case.
        frame_start, frame_end: frames of the worst stretch, both included.
        stretches: how many such stretches the rung has on this line and band.
        value: size of the worst, in `unit`.
        threshold: from where on it is a finding.
        unit: of value and threshold.
        reference: the rung it was measured against.
        first: the first rung of the path at which it has half its final size or more.
        stage: the stage to blame; None where there is none to blame alone, `note` says why.
        factor: the factor to blame, one preprocessing step where a single one shows it.
        cause: the factor in words, with the options that differ.
        steps: the path.
        alone: the path's factors by themselves, as far as the run has the rungs.
        interaction: final size minus the sum of the factors alone on the reference; NaN where one was not measured.
        breaches: limits of the policy that it breaks.
        note: what qualifies the blame, in words.
    """

    case: str
    rung: str
    rungs: tuple[str, ...]
    measure: str
    statistic: str
    track: int | None
    band: str | None
    frame: int | None
    frame_start: int | None
    frame_end: int | None
    stretches: int
    value: float
    threshold: float
    unit: str
    reference: str
    first: str
    stage: str | None
    factor: str | None
    cause: str
    steps: tuple[Step, ...]
    alone: tuple[Alone, ...]
    interaction: float
    severity: float
    breaches: tuple[Breach, ...] = ()
    note: str = ""


@dataclass(frozen=True, slots=True)
class Suspect:
    """One step of the ladder and one factor of it, with all they are blamed for.

    Attributes:
        rung: the rung where the findings first appear.
        stage: as `Finding.stage`.
        factors: in what the rung differs from its parent.
        factor: as `Finding.factor`.
        cause: as `Finding.cause`.
        count: findings that begin there.
        share: count divided by all findings.
        kinds: measure -> number of findings.
        cases: cases they are in.
        worst: severity of the worst.
    """

    rung: str
    stage: str | None
    factors: tuple[str, ...]
    factor: str | None
    cause: str
    count: int
    share: float
    kinds: dict[str, int]
    cases: tuple[str, ...]
    worst: float


@dataclass(frozen=True)
class Stop:
    """Where a rung that crashed went wrong: the first rung on the way to it that crashed or did not run.

    Attributes:
        rung: that first one.
        stage: as `Finding.stage`.
        words: what happened there.
    """

    rung: str
    stage: str | None
    words: str


@dataclass(frozen=True)
class Explanation:
    """What `explain` says of a run: findings, worst first, and the steps they are blamed on, most blamed first.

    Attributes:
        reference: the root of the ladder.
        unit: of lengths.
        findings: worst first.
        suspects: steps that findings begin at.
        rungs: rungs that were looked at, root first.
        differences: what the two pipelines differ in, in words.
        notes: what could not be looked at and why; and what was left out.
        unfinished: rungs of the ladder itself, no swaps, that did not run or crashed.
        stopped: rung that crashed -> where that began.
    """

    reference: str
    unit: str
    findings: tuple[Finding, ...]
    suspects: tuple[Suspect, ...]
    rungs: tuple[str, ...]
    differences: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    unfinished: tuple[str, ...] = ()
    stopped: dict[str, Stop] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Plain values; NaN becomes None. `steps` sums the suspects by rung: count and share."""
        document = asdict(self)
        document["steps"] = {
            rung: {
                "count": sum(s.count for s in self.suspects if s.rung == rung),
                "share": sum(s.share for s in self.suspects if s.rung == rung),
            }
            for rung in dict.fromkeys(s.rung for s in self.suspects)
        }
        found: dict[str, Any] = plain(document)
        return found
