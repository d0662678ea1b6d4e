"""A policy file as a test suite: a model, cases to replay it on, and one item per rule, rung and case.

Everything is known before anything has run, so that a missing engine has items of its own to fail.
"""

from __future__ import annotations

import glob
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from cases.case import find_cases, open_case
from harness.errors import PolicyError
from harness.gate import Policy, load_policy
from harness.gate.policy import Profile, Rule
from harness.gate.select import choose_profile, select_rungs
from harness.model.card import Card, load_card
from harness.plugin.options import GateOptions
from harness.run.folder import Run
from trueline._reading import read_toml

__all__ = ["Suite", "Wanted", "load_suite"]


@dataclass(frozen=True, slots=True)
class Wanted:
    """One item. rung None: the suite has no required rule to judge; case None: the rung as a whole."""

    rule: Rule | None
    rung: str | None = None
    case: str | None = None

    @property
    def name(self) -> str:
        """Name of the item below its file."""
        if self.rule is None:
            return "no-required-rule"
        return f"{self.rule.id}[{'-'.join(p for p in (self.rung, self.case) if p)}]"


@dataclass(frozen=True)
class Suite:
    """A policy with what it is to be judged on.

    Attributes:
        policy: the policy.
        profile: the chosen profile, None where a finished run is judged without one.
        reference: rung compared with.
        cases: (id, tags) of every case.
        present: rungs of the finished run; empty where one is still to be made.
        card: the model to replay, None where a finished run is judged.
        folders: case folders to replay, in the order of `cases`.
    """

    policy: Policy
    profile: Profile | None
    reference: str
    cases: tuple[tuple[str, tuple[str, ...]], ...]
    present: tuple[str, ...] = ()
    card: Card | None = None
    folders: tuple[Path, ...] = ()

    def wanted(self) -> list[Wanted]:
        """The items, in the policy's order."""
        items = [w for rule in self.policy.rules for w in self._of_rule(rule)]
        if not any(w.rule is not None and w.rule.required for w in items):
            items.append(Wanted(None))
        return items

    def _of_rule(self, rule: Rule) -> Iterator[Wanted]:
        rungs = select_rungs(rule, self.profile, self.present, self.reference)
        cases = [case for case, tags in self.cases if rule.judges_case(case, tags)]
        for rung in rungs:
            if rule.scope == "each" and cases:
                yield from (Wanted(rule, rung, case) for case in cases)
            else:
                yield Wanted(rule, rung)
        if not rungs and self.profile is None:
            yield Wanted(rule, rule.rung)


def load_suite(path: Path, options: GateOptions) -> Suite | None:
    """Read a policy as a suite; None if it only serves to be extended, with neither a card nor cases.

    Raises:
        TruelineError: the policy, its card or its cases cannot be used, or something is missing to replay them.
    """
    if options.run is None and _is_fragment(path):
        return None
    policy = load_policy(path)
    profile = choose_profile(policy, options.profile)
    if options.run is not None:
        run = Run.open(options.run)
        cases = tuple((str(c["id"]), tuple(c.get("tags", ()))) for c in run.meta["cases"])
        present = tuple(r["name"] for r in run.rungs)
        return Suite(policy, profile, policy.reference or run.reference, cases, present)
    return _to_replay(policy, profile)


def _is_fragment(path: Path) -> bool:
    """Whether a policy names neither a model nor cases nor a policy that might; a broken file is none."""
    try:
        raw = read_toml(path)
    except (OSError, ValueError):
        return False
    return not raw.keys() & {"card", "cases", "extends"}


def _to_replay(policy: Policy, profile: Profile | None) -> Suite | None:
    if policy.card is None and not policy.cases:
        return None
    lacking = {"card": policy.card, "cases": policy.cases, "[profile.NAME]": profile}
    for key, value in lacking.items():
        if not value:
            raise PolicyError(
                f"a policy that pytest runs needs {key}",
                where=str(policy.path),
                remedy="docs/pytest.md shows one, or judge a finished run with --trueline-run",
            )
    assert policy.card is not None  # seen just now
    card = load_card(policy.card)
    folders = tuple(_case_folders(policy))
    opened = sorted(((open_case(folder), folder) for folder in folders), key=lambda found: found[0].id)
    cases = tuple((c.id, tuple(c.meta.tags)) for c, _ in opened)
    ordered = tuple(folder for _, folder in opened)
    return Suite(policy, profile, policy.reference or card.reference_rung, cases, card=card, folders=ordered)


def _case_folders(policy: Policy) -> list[Path]:
    found: list[Path] = []
    for pattern in policy.cases:
        paths = map(Path, glob.glob(pattern))  # noqa: PTH207  # Path.glob refuses absolute patterns
        matching = sorted(p for p in paths if p.is_dir())
        if not matching:
            raise PolicyError(
                f"cases: no folder matches {pattern}",
                where=str(policy.path),
                remedy="fix the pattern, or make the cases; trueline case import makes one",
            )
        found += matching
    return find_cases(found)
