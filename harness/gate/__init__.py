"""The gate: a run, a policy, a verdict (docs/gate.md).

load_policy -> judge -> Verdict -> write_verdict; harness.summary tells it to people and to CI
"""

from __future__ import annotations

from collections.abc import Sequence

from harness.errors import UnitMismatch
from harness.gate.accepted import accept, read_accepted, write_accepted
from harness.gate.baseline import Baseline, as_baseline, open_baseline
from harness.gate.blind import blindness
from harness.gate.default import default_policy
from harness.gate.load import load_policy
from harness.gate.noise import Floors
from harness.gate.policy import Policy
from harness.gate.provenance import provenance_differences, provenance_of
from harness.gate.rules import Scene, judge_rules
from harness.gate.select import choose_profile
from harness.gate.unjudged import unjudged_rungs
from harness.gate.verdict import LeftOut, RuleOutcome, Status, Verdict, write_verdict
from harness.gate.view import RunView
from harness.run.facts import RunLike
from trueline import TruelineError

__all__ = [
    "Baseline",
    "Policy",
    "Status",
    "Verdict",
    "accept",
    "default_policy",
    "judge",
    "load_policy",
    "open_baseline",
    "read_accepted",
    "write_accepted",
    "write_verdict",
]


def judge(
    run: RunLike,
    policy: Policy | None = None,
    profile: str | None = None,
    baseline: RunLike | Baseline | None = None,
) -> Verdict:
    """Judge a run by a policy.

    Args:
        run: the candidate's run.
        policy: what it must pass; None: no finding at the thresholds of the catalogue (harness/gate/default.py).
        profile: name of the profile; without it the only one, or `default`.
        baseline: what rules with `compare = "baseline"` compare with: a run, or accepted numbers
            (harness.gate.baseline.open_baseline); None for the policy's own, if it names one.

    Raises:
        PolicyError: the profile does not exist or must be chosen, or a limit on kink is within the noise floor.
        UnitMismatch: a limit's unit does not fit the run's lengths, or the baseline's lengths not the run's.
        RunError: a run lacks what every run has.
    """
    policy = policy if policy is not None else default_policy(run)
    chosen = choose_profile(policy, profile)
    if baseline is None and policy.baseline is not None:
        baseline = open_baseline(policy.baseline)
    candidate, before = RunView.of(run), as_baseline(baseline)
    _same_unit(candidate, before)
    scene = Scene(candidate, policy, chosen, policy.reference or candidate.facts.reference, Floors.of(run), before)
    try:
        found = judge_rules(scene)
    except TruelineError as error:
        raise error.within(str(policy.path)) from error.__cause__
    name = next((n for n, p in policy.profile.items() if p is chosen), None)
    rules = tuple(r for r in found if isinstance(r, RuleOutcome))
    return Verdict(
        rules=rules,
        left_out=tuple(r for r in found if isinstance(r, LeftOut)),
        policy=_resolved(policy, name),
        run=_identity(run),
        baseline=_baseline(candidate, before, rules) if before is not None else None,
        floors=scene.floors.to_json(),
        unjudged=unjudged_rungs(candidate, rules),
        blind=blindness(rules, policy.name),
    )


def _same_unit(candidate: RunView, baseline: Baseline | None) -> None:
    if baseline is not None and baseline.length_unit != candidate.facts.length_unit:
        raise UnitMismatch(
            f"the baseline's lengths are in {baseline.length_unit}, the run's in {candidate.facts.length_unit}",
            where="baseline",
            remedy="give a baseline of the same model card",
        )


def _resolved(policy: Policy, profile: str | None) -> dict[str, object]:
    """The policy with everything it inherits, and the profile that was chosen."""
    keys = policy.model_dump(mode="json", by_alias=True)
    return keys | {"name": policy.name, "path": str(policy.path), "profile": profile, "profiles": keys["profile"]}


def _baseline(candidate: RunView, baseline: Baseline, rules: Sequence[RuleOutcome]) -> dict[str, object]:
    """Which baseline it was, whether a rule compared with it, and what else differs."""
    differs = provenance_differences(baseline.provenance, provenance_of(candidate.run.meta))
    used = any(rule.compare == "baseline" for rule in rules)
    return baseline.identity() | {"used": used, "differs": list(differs)}


def _identity(run: RunLike) -> dict[str, object]:
    """What it takes to find or repeat a run."""
    return {"path": str(getattr(run, "path", "")), "meta": dict(run.meta)}
