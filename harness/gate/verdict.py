"""The verdict: what each rule found, their precedence, the exit code, and verdict.json.

Worst first: CRASHED > NONFINITE > FAIL > NOT_RUN > INCONCLUSIVE > PASS, over required rules. Exit code 0 for PASS, 1
for FAIL, NONFINITE and CRASHED, 3 for NOT_RUN and INCONCLUSIVE (2 is for bad input, which has no verdict).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, fields
from enum import StrEnum
from pathlib import Path
from typing import Any

from harness.errors import RunError
from harness.run.json import plain, write_json
from harness.run.manifest import summed
from harness.run.question import HOLD_S
from harness.run.statistic import Worst
from trueline import __version__

__all__ = [
    "CaseOutcome",
    "LeftOut",
    "RuleOutcome",
    "RungOutcome",
    "Status",
    "Unjudged",
    "Verdict",
    "worst_of",
    "write_verdict",
]

SCHEMA = 1
DIFFERENCES = 8  # told of what differs from the baseline; verdict.json has all


class Status(StrEnum):
    """What was found, worst first."""

    CRASHED = "CRASHED"
    NONFINITE = "NONFINITE"
    FAIL = "FAIL"
    NOT_RUN = "NOT_RUN"
    INCONCLUSIVE = "INCONCLUSIVE"
    PASS = "PASS"

    @property
    def exit_code(self) -> int:
        """Exit code of a gate that ends so."""
        if self is Status.PASS:
            return 0
        return 3 if self in (Status.NOT_RUN, Status.INCONCLUSIVE) else 1


def worst_of(statuses: Iterable[Status]) -> Status:
    """The worst of them; NOT_RUN where there is none, because nothing looked at is nothing passed."""
    order = list(Status)
    return min(statuses, key=order.index, default=Status.NOT_RUN)


@dataclass(frozen=True, slots=True)
class CaseOutcome:
    """One case under one rule and rung.

    Attributes:
        case: its id.
        status: for scope `population`, PASS or FAIL say on which side of the limit the case by itself is.
        value: the statistic, in the rule's unit; NaN where there is none.
        compared: values the statistic was made of.
        reason: one line.
        worst: where to look, its value in `worst_unit`.
        worst_unit: unit of the worst row's value.
        baseline: the baseline's statistic, where the rule compares with one.
    """

    case: str
    status: Status
    value: float = math.nan
    compared: int = 0
    reason: str = ""
    worst: Worst | None = None
    worst_unit: str = ""
    baseline: float | None = None


@dataclass(frozen=True, slots=True)
class RungOutcome:
    """One rule on one rung; `statistics` are the numbers a population rule decided by."""

    rung: str
    reference: str | None
    status: Status
    reason: str
    cases: tuple[CaseOutcome, ...] = ()
    statistics: Mapping[str, float | int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class RuleOutcome:
    """One rule on every rung it looks at; numbers are in `unit`, that of its limit."""

    id: str
    metric: str
    statistic: str
    pattern: str
    band: tuple[str, ...]
    output: str
    scope: str
    compare: str
    required: bool
    higher_is_worse: bool
    limit: str
    limit_value: float
    unit: str
    note: str
    status: Status
    rungs: tuple[RungOutcome, ...]
    reason: str = ""
    hold_s: float = HOLD_S


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A rule that the chosen profile does not expect to be judged."""

    id: str
    reason: str
    required: bool


@dataclass(frozen=True, slots=True)
class Unjudged:
    """A rung of the run that went wrong where no rule looked; it decides nothing and is told everywhere."""

    rung: str
    status: Status
    reason: str

    def __str__(self) -> str:
        return f"not judged: {self.rung} {self.reason}"


@dataclass(frozen=True)
class Verdict:
    """What the gate says, with all that is needed to say it again.

    Attributes:
        rules: what each rule found, in the policy's order.
        left_out: rules for other profiles.
        unjudged: rungs that went wrong where no rule looked.
        blind: why the verdict cannot tell a network that draws the same lines on every road; empty if it can.
        policy: name, path, hashes of the files, profile, and the rules as resolved.
        run: path and run.json of the judged run.
        baseline: the same of the baseline, None without one.
        floors: noise floors that were taken into account, rung -> metric -> base units.
    """

    rules: tuple[RuleOutcome, ...]
    left_out: tuple[LeftOut, ...]
    policy: Mapping[str, Any]
    run: Mapping[str, Any]
    baseline: Mapping[str, Any] | None = None
    floors: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    unjudged: tuple[Unjudged, ...] = ()
    blind: str = ""

    @property
    def status(self) -> Status:
        """The worst of the required rules; NOT_RUN where none was judged."""
        return worst_of(r.status for r in self.rules if r.required)

    @property
    def remarks(self) -> tuple[str, ...]:
        """What a reader must know beside the rules: first what the verdict is blind to; then guesses of the card, the
        baseline, what was not judged and what was left out."""
        left_out = (f"left out: {', '.join(ids)}: {reason}" for reason, ids in self._left_out_by_reason().items())
        return (
            *([self.blind] if self.blind else []),
            *_guesses(self.run),
            *_told_baseline(self.baseline),
            *(str(u) for u in self.unjudged),
            *left_out,
        )

    def _left_out_by_reason(self) -> dict[str, list[str]]:
        found: dict[str, list[str]] = {}
        for rule in self.left_out:
            found.setdefault(rule.reason, []).append(rule.id)
        return found

    @property
    def exit_code(self) -> int:
        """0, 1 or 3; see the top of this module."""
        return self.status.exit_code

    def rule(self, name: str) -> RuleOutcome | None:
        """What one rule found, None if it was not judged."""
        return next((r for r in self.rules if r.id == name), None)

    def to_json(self) -> dict[str, Any]:
        """verdict.json: plain values; NaN is null, infinity the word inf."""
        return {
            "schema": SCHEMA,
            "verdict": self.status.value,
            "exit_code": self.exit_code,
            "blind": self.blind,
            "trueline": __version__,
            "policy": _told(self.policy),
            "rules": [_rule_json(r) for r in self.rules],
            "left_out": [_told(asdict(r)) for r in self.left_out],
            "unjudged": [{"rung": u.rung, "verdict": u.status.value, "reason": u.reason} for u in self.unjudged],
            "remarks": list(self.remarks),
            "floors": _told(self.floors),
            "run": _told(self.run),
            "baseline": _told(self.baseline),
        }


def _guesses(run: Mapping[str, Any]) -> Iterator[str]:
    """What the run's card says nobody has confirmed."""
    warnings = (run.get("meta") or {}).get("warnings") or ()
    yield from (str(w["text"]) for w in warnings if w.get("kind") == "unconfirmed")


def _told_baseline(baseline: Mapping[str, Any] | None) -> Iterator[str]:
    if baseline is None:
        return
    said = f" (accepted {baseline['accepted']}: {baseline['reason']})" if baseline.get("kind") == "accepted" else ""
    yield f"baseline: {baseline['path']}{said}"
    if not baseline.get("used", True):
        yield 'no rule compares with the baseline: give one compare = "baseline"'
    differs = list(baseline.get("differs", ()))
    if differs:
        more = f"; and {len(differs) - DIFFERENCES} more" if len(differs) > DIFFERENCES else ""
        yield f"since the baseline: {'; '.join(differs[:DIFFERENCES])}{more}"


def write_verdict(verdict: Verdict, path: Path) -> None:
    """Write verdict.json so that a reader sees the old file or the whole new one.

    Raises:
        RunError: it cannot be written there.
    """
    try:
        write_json(path, summed(verdict.to_json()))
    except OSError as error:
        raise RunError(
            f"cannot write the verdict: {error.strerror}", where=str(path), remedy="choose a folder that can be written"
        ) from error


def _rule_json(rule: RuleOutcome) -> dict[str, Any]:
    known = {f.name: getattr(rule, f.name) for f in fields(rule) if f.name not in ("status", "rungs")}
    found: dict[str, Any] = _told(known)
    return found | {"verdict": rule.status.value, "rungs": [_rung_json(r) for r in rule.rungs]}


def _rung_json(rung: RungOutcome) -> dict[str, Any]:
    return {
        "rung": rung.rung,
        "reference": rung.reference,
        "verdict": rung.status.value,
        "reason": rung.reason,
        "statistics": _told(rung.statistics),
        "cases": [_case_json(c) for c in rung.cases],
    }


def _case_json(case: CaseOutcome) -> dict[str, Any]:
    worst = {k: v for k, v in asdict(case.worst).items() if v is not None} if case.worst else None
    return {
        "case": case.case,
        "verdict": case.status.value,
        "value": _told(case.value),
        "compared": case.compared,
        "reason": case.reason,
        "worst": _told(worst | {"unit": case.worst_unit}) if worst else None,
        "baseline": _told(case.baseline),
    }


def _told(value: Any) -> Any:
    """JSON values only; a metric may be infinite, and then that is its value."""
    return plain(value, tell_infinity=True)
