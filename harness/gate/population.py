"""Deciding for a population of drives: the share that violates a limit or is worse than a baseline, or a rate.

PASS and FAIL each need their own one-sided bound (harness.gate.stats); too few cases are INCONCLUSIVE whatever they
show. docs/gate.md says how often either answer is wrong.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from harness.gate.policy import Rule
from harness.gate.stats import cases_needed, dispersion_of, hours_needed, rate_bounds, share_bounds
from harness.gate.verdict import Status
from trueline._text import counted

__all__ = ["Decision", "Drive", "decide_rate", "decide_share"]

_STATUS = {True: Status.PASS, False: Status.FAIL, None: Status.INCONCLUSIVE}


@dataclass(frozen=True, slots=True)
class Decision:
    """What the cases show, and the numbers it was decided by."""

    status: Status
    reason: str
    statistics: Mapping[str, float | int]


@dataclass(slots=True)
class Drive:
    """Episodes of one drive, and how long it was compared: its cases together."""

    episodes: int = 0
    hours: float = 0.0


def decide_rate(rule: Rule, drives: Sequence[Drive], per_h: float) -> Decision:
    """Whether all drives have at most `per_h` episodes an hour, given those of some drives, one at least.

    Clips of one drive resemble each other, so that the drive is what is counted, not the clip.
    """
    counts, hours = [d.episodes for d in drives], [d.hours for d in drives]
    bounds = rate_bounds(counts, hours, rule.confidence)
    numbers: dict[str, float | int] = {
        "drives": len(drives),
        "episodes": sum(counts),
        "hours": sum(hours),
        "per_hour": bounds.estimate,
        "lower": bounds.lower,
        "upper": bounds.upper,
        "allowed_per_hour": per_h,
        "confidence": rule.confidence,
    }
    least = f"{bounds.lower:.3g} to " if bounds.lower else "at most "
    text = f"{counted(sum(counts), 'episode')} in {_time(sum(hours))} of {counted(len(drives), 'drive')}"
    text += f", so {least}{bounds.upper:.3g} an hour; allowed {per_h:.3g}"
    status = _STATUS[bounds.proves(per_h)]
    if status is Status.INCONCLUSIVE:
        needed = hours_needed(per_h, rule.confidence, sum(counts), dispersion_of(counts, hours, rule.confidence))
        numbers["hours_needed"] = needed
        enough = f"{_time(needed)} with no further episode would pass" if needed < float("inf") else "no time is enough"
        text += f"; {enough}"
    elif len(drives) < rule.min_cases:
        status, text = Status.INCONCLUSIVE, f"{text}; min_cases asks for {counted(rule.min_cases, 'drive')}"
    return Decision(status, text, numbers)


def _time(hours: float) -> str:
    return f"{hours:.3g} h" if hours >= 1 else f"{60 * hours:.3g} min" if hours >= 1 / 60 else f"{3600 * hours:.3g} s"


def decide_share(rule: Rule, violations: int, units: int, noun: str = "cases", mean: str = "") -> Decision:
    """Whether at most `allowed_share` of all drives violate the limit, given `violations` of `units`, one at least.

    Args:
        rule: of scope `population`; against a baseline a drive violates it that is worse by more than the limit.
        violations: drives that violate it.
        units: drives.
        noun: `cases` where every case is its own drive, else `drives`.
        mean: the mean worsening in words, for who reads it; it decides nothing.
    """
    assert rule.allowed_share is not None  # the policy's validator saw to it
    bounds = share_bounds(violations, units, rule.confidence)
    numbers: dict[str, float | int] = {
        noun: units,
        "violations": violations,
        "share": bounds.estimate,
        "lower": bounds.lower,
        "upper": bounds.upper,
        "allowed_share": rule.allowed_share,
        "confidence": rule.confidence,
    }
    against = rule.compare == "baseline"
    what = f"are worse than the baseline by more than {rule.limit}" if against else "violate the limit"
    text = f"{violations} of {units} {noun} {what}" + (f" (mean {mean})" if mean else "")
    if units < rule.min_cases:
        return Decision(Status.INCONCLUSIVE, f"{text}; min_cases asks for {rule.min_cases} {noun}", numbers)
    status = _STATUS[bounds.proves(rule.allowed_share)]
    text += f", so {_between(bounds.lower, bounds.upper)} of all do; allowed {rule.allowed_share:.1%}"
    if status is Status.INCONCLUSIVE:
        needed = cases_needed(rule.allowed_share, rule.confidence, violations)
        numbers[f"{noun}_needed"] = needed
        text += f"; {needed} {noun} with no further violation would pass"
    return Decision(status, text, numbers)


def _between(lower: float, upper: float) -> str:
    if lower == 0:
        return f"at most {upper:.1%}"
    return f"at least {lower:.1%}" if upper == 1 else f"{lower:.1%} to {upper:.1%}"
