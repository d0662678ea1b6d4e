"""Rungs of a run that went wrong where no rule looked: nothing that crashed is passed over in silence.

A profile expects some rungs and a rule's pattern chooses some of them; the others decide nothing. What happened to
them is told in every output of a verdict all the same.
"""

from __future__ import annotations

from collections.abc import Iterable

from harness.feed.swaps import swap_of
from harness.gate.verdict import RuleOutcome, Status, Unjudged
from harness.gate.view import RunView
from harness.run.facts import RungFact

__all__ = ["unjudged_rungs"]


def unjudged_rungs(view: RunView, rules: Iterable[RuleOutcome]) -> tuple[Unjudged, ...]:
    """Rungs that crashed, gave values that are not finite, or did not run, and that no rule judged; worst first.

    A swap of one step that cannot be built is no news: `explain` says why, and nobody drives it.
    """
    judged = {rung.rung for rule in rules for rung in rule.rungs}
    judged |= {rung.reference for rule in rules for rung in rule.rungs if rung.reference is not None}
    found = [u for rung in view.facts.rungs.values() if rung.name not in judged and (u := _went_wrong(view, rung))]
    return tuple(sorted(found, key=lambda u: list(Status).index(u.status)))


def _went_wrong(view: RunView, rung: RungFact) -> Unjudged | None:
    if rung.status == "crashed":
        return Unjudged(rung.name, Status.CRASHED, f"crashed: {rung.reason}")
    cases = [case for (name, case), count in view.nonfinite.items() if name == rung.name and count]
    if cases:
        more = f" and {len(cases) - 1} more" if len(cases) > 1 else ""
        return Unjudged(rung.name, Status.NONFINITE, f"gave outputs that are not finite in case {min(cases)}{more}")
    if rung.status == "not_run" and swap_of(rung.preprocess) is None:
        return Unjudged(rung.name, Status.NOT_RUN, f"was not run: {rung.reason}")
    return None
