"""What did not pass, gathered by cause: one wrong resize that breaks nine rules on nine rungs is one block.

The cause of a broken limit is the step that `explain` blames its finding on. Of rungs that crashed it is the first one
on the way that did. What has no finding (a metric without a value, too few cases) is gathered by what was said of it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from harness.gate.verdict import CaseOutcome, RuleOutcome, RungOutcome, Status, Verdict
from harness.ladder.model import Explanation, Finding, Stop
from harness.ladder.words import sentence
from trueline._text import counted

__all__ = ["Block", "Broken", "blocks_of", "findings_of"]

_ORDER = list(Status)


@dataclass(frozen=True, slots=True)
class Broken:
    """One rule that is not PASS on one rung, in one case; `case` is None where the cases together decide."""

    rule: RuleOutcome
    rung: RungOutcome
    case: CaseOutcome | None
    finding: Finding | None
    stop: Stop | None = None

    @property
    def status(self) -> Status:
        """What was found there."""
        return self.rung.status if self.case is None else self.case.status

    @property
    def reason(self) -> str:
        """Why, in one line."""
        return self.rung.reason if self.case is None else self.case.reason


@dataclass(frozen=True, slots=True)
class Block:
    """All that one cause did.

    Attributes:
        status: the worst of it.
        required: whether the verdict depends on any of it.
        cause: in words: `resize: antialias true -> false`, or what was said where nothing is blamed.
        first: the rung at which it begins; empty where that is not known.
        stage: preprocess, export, ...; None where no single stage is blamed.
        worst: the worst place in one sentence.
        rules: rules it breaks.
        rungs: rungs it breaks them on.
        cases: cases it breaks them in, the worst first.
        frames: case -> first and last frame of the worst stretch; a case that is wrong as a whole has None.
        count: limits broken, one for each rule, rung and case.
    """

    status: Status
    required: bool
    cause: str
    first: str
    stage: str | None
    worst: str
    rules: tuple[str, ...]
    rungs: tuple[str, ...]
    cases: tuple[str, ...]
    frames: Mapping[str, tuple[int, int] | None]
    count: int

    @property
    def headline(self) -> str:
        """Status, cause and where it begins, in one line."""
        begins = f"; begins at {self.first}" if self.first else ""
        return f"{self.status.value}{'' if self.required else ' (advisory)'} {self.cause}{begins}"

    @property
    def extent(self) -> str:
        """How much it breaks, in one line."""
        broken = ((self.rules, "rule"), (self.rungs, "rung"), (self.cases, "case"))
        return ", ".join(counted(len(names), word) for names, word in broken if names)


def blocks_of(verdict: Verdict, explanation: Explanation | None = None) -> tuple[Block, ...]:
    """The blocks of a verdict: required before advisory, worst first.

    Args:
        verdict: what the gate found.
        explanation: of the same run and verdict; None: nothing is blamed on a step.
    """
    gathered: dict[tuple[object, ...], list[Broken]] = {}
    stopped = explanation.stopped if explanation is not None else {}
    for broken in _broken(verdict, findings_of(explanation)):
        if broken.status is Status.CRASHED:
            broken = replace(broken, stop=stopped.get(broken.rung.rung))
        gathered.setdefault(_cause_key(broken), []).append(broken)
    blocks = [_block(group) for group in gathered.values()]
    return tuple(sorted(blocks, key=lambda b: (not b.required, _ORDER.index(b.status), -b.count)))


def findings_of(explanation: Explanation | None) -> dict[tuple[str, str, str], Finding]:
    """(rule, rung, case) -> the finding that breaks that limit there."""
    found = explanation.findings if explanation is not None else ()
    return {(breach.rule, breach.rung, f.case): f for f in reversed(found) for breach in f.breaches}


def _broken(verdict: Verdict, findings: Mapping[tuple[str, str, str], Finding]) -> Iterator[Broken]:
    for rule in verdict.rules:
        for rung in rule.rungs:
            if rung.status is Status.PASS:
                continue
            if rule.scope == "each" and rung.cases:
                for case in rung.cases:
                    if case.status is not Status.PASS:
                        yield Broken(rule, rung, case, findings.get((rule.id, rung.rung, case.case)))
            else:
                own = [findings[key] for c in rung.cases if (key := (rule.id, rung.rung, c.case)) in findings]
                worst = max(own, key=lambda f: f.severity, default=None)
                yield Broken(rule, rung, None, worst if rung.status is Status.FAIL else None)


def _cause_key(broken: Broken) -> tuple[object, ...]:
    if broken.finding is not None:
        return ("begins", broken.finding.first, broken.finding.stage, broken.finding.factor)
    if broken.stop is not None:
        return ("stopped", broken.stop.rung)
    if broken.status in (Status.FAIL, Status.INCONCLUSIVE):
        return (broken.status, broken.rule.id)  # what was said holds numbers
    return (broken.status, broken.reason)


def _block(group: list[Broken]) -> Block:
    group = sorted(group, key=_worst_first)
    first, finding, stop = group[0], group[0].finding, group[0].stop
    return Block(
        status=first.status,
        required=first.rule.required,
        cause=_cause(first),
        first=finding.first if finding is not None else stop.rung if stop is not None else "",
        stage=finding.stage if finding is not None else stop.stage if stop is not None else None,
        worst=sentence(finding) if finding is not None else _place(first),
        rules=tuple(dict.fromkeys(b.rule.id for b in group)),
        rungs=tuple(sorted({b.rung.rung for b in group})),
        cases=tuple(dict.fromkeys(name for b in group for name in _cases(b))),
        frames=_frames(group),
        count=len(group),
    )


def _worst_first(broken: Broken) -> tuple[object, ...]:
    severity = broken.finding.severity if broken.finding is not None else 0.0
    return (not broken.rule.required, _ORDER.index(broken.status), -severity)


def _cause(broken: Broken) -> str:
    finding = broken.finding
    if broken.stop is not None:
        return broken.stop.words
    if finding is None:
        numbers = broken.status in (Status.FAIL, Status.INCONCLUSIVE)
        return f"{broken.rule.id}: {broken.rule.note or broken.reason}" if numbers else broken.reason
    return finding.cause or finding.factor or finding.note or "no single step to blame"


def _place(broken: Broken) -> str:
    """Where there is no finding: rule, rung, case and what was said."""
    case = f", case {broken.case.case}" if broken.case is not None else ""
    frame = f" at {broken.case.worst}" if broken.case is not None and broken.case.worst is not None else ""
    return f"{broken.rule.id} on {broken.rung.rung}{case}: {broken.reason}{frame}"


def _cases(broken: Broken) -> tuple[str, ...]:
    if broken.case is not None:
        return (broken.case.case,)
    return tuple(c.case for c in broken.rung.cases if c.status is not Status.PASS)


def _frames(group: list[Broken]) -> dict[str, tuple[int, int] | None]:
    """Of each case the frames of its worst; the whole case where that is a number of all its frames."""
    found: dict[str, tuple[int, int] | None] = {}
    for broken in group:
        finding = broken.finding
        for case in _cases(broken):
            if case not in found:
                found[case] = _stretch_of(finding, case) if finding is not None else _frame_of(broken)
    return found


def _stretch_of(finding: Finding, case: str) -> tuple[int, int] | None:
    if finding.case != case or finding.frame_start is None or finding.frame_end is None:
        return None
    return finding.frame_start, finding.frame_end


def _frame_of(broken: Broken) -> tuple[int, int] | None:
    worst = broken.case.worst if broken.case is not None else None
    if worst is None or worst.frame is None:
        return None
    return worst.frame, worst.frame if worst.frame_end is None else worst.frame_end
