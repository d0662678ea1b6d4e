"""Which rungs and cases a rule looks at; the pytest plugin asks before anything has run."""

from __future__ import annotations

from collections.abc import Iterable
from fnmatch import fnmatchcase

from engines.registry import family
from harness.errors import PolicyError
from harness.feed.swaps import swap_of
from harness.gate.policy import Policy, Profile, Rule
from harness.gate.view import RunView
from harness.run.rungs import engine_of

__all__ = ["choose_profile", "select_rungs", "unasked"]


def choose_profile(policy: Policy, name: str | None) -> Profile | None:
    """The profile of that name; without a name the only one, or the one called `default`; None if there are none.

    Raises:
        PolicyError: no such profile, or several to choose from.
    """
    known = policy.profile
    if name is not None:
        if name in known:
            return known[name]
        remedy = f"it must be in {sorted(known)}" if known else "choose none: the policy has no profiles"
        raise PolicyError(f"no profile {name!r}", where=str(policy.path), remedy=remedy)
    if len(known) <= 1:
        return next(iter(known.values()), None)
    if "default" in known:
        return known["default"]
    raise PolicyError(
        f"it has {len(known)} profiles and none was chosen",
        where=str(policy.path),
        remedy=f"choose one of {sorted(known)} by --profile (pytest: --trueline-profile)",
    )


def select_rungs(rule: Rule, profile: Profile | None, present: Iterable[str], reference: str) -> tuple[str, ...]:
    """Rungs that a rule looks at: of those the profile expects, or without a profile of those present in the run.

    Without a profile, rungs that swap single steps of the preprocessing are left out: they are evidence, nobody drives
    them. The reference is left out where the metric compares with it, a recording where the metric is a noise floor:
    what the car dumped cannot be run again.
    """
    candidates = profile.rungs if profile is not None else tuple(r for r in present if not _swaps(r))
    compared_with = (rule.reference or reference) if rule.spec.has_reference else None
    if compared_with == "parent":
        compared_with = reference  # the root of the ladder has no parent
    if rule.spec.kind == "floor":
        candidates = tuple(r for r in candidates if family(engine_of(r)) != "recorded")
    return tuple(dict.fromkeys(r for r in candidates if fnmatchcase(r, rule.rung) and r != compared_with))


def unasked(rule: Rule, run: RunView, has_baseline: bool) -> str:
    """Why a run gives no reason to ask a rule (its `where`); empty if it does.

    Args:
        rule: the rule.
        run: the run to judge.
        has_baseline: whether there is a baseline to compare with.
    """
    cases = run.facts.cases.values()
    lacking = {
        "truth": "" if run.truth else "no case has ground truth",
        "no-truth": "every case has ground truth" if run.truth >= {c.id for c in cases} else "",
        "motion": "" if run.motion else "no case knows the car's motion on a way that varies",
        "baseline": "" if has_baseline else "no baseline was given",
        "state": "" if run.state else "the model feeds no state back",
        "tags": ""
        if any(rule.judges_case(c.id, c.tags) for c in cases)
        else f"no case is tagged {', '.join(rule.tags)}",
    }
    return next((lacking[condition] for condition in rule.where if lacking[condition]), "")


def _swaps(rung: str) -> bool:
    return swap_of(rung.partition("/")[0]) is not None
