"""What a verdict cannot see: engines and pipelines are compared with the lab's own lines, so a network that draws the
same lines on every road agrees with itself everywhere and passes. Only ground truth, or the car's own way, tells it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

from harness.gate.verdict import RuleOutcome
from harness.run.catalogue import find_measure

__all__ = ["blindness"]


def blindness(rules: Iterable[RuleOutcome], policy: str) -> str:
    """Why a verdict cannot tell a network that draws the same lines on every road; empty if it can.

    Args:
        rules: what was judged.
        policy: name of the policy.
    """
    if any(rule.required and find_measure(rule.metric).needs_eyes and _has_number(rule) for rule in rules):
        return ""
    return (
        "This verdict cannot tell a network that draws the same lines on every road: no required rule of "
        f"{policy} on ground truth or ego-path consistency had a number."
    )


def _has_number(rule: RuleOutcome) -> bool:
    return any(math.isfinite(case.value) for rung in rule.rungs for case in rung.cases)
