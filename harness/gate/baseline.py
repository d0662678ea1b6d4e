"""What a rule compares with under `compare = "baseline"`: another run, or numbers that a person accepted."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

from harness.gate.accepted import Accepted, question_key, read_accepted
from harness.gate.policy import Rule
from harness.gate.provenance import Provenance, provenance_of
from harness.gate.view import Looked, RuleView, RunView, Trouble
from harness.run.facts import CaseFact, RunLike
from harness.run.folder import Run
from harness.run.statistic import Measured

__all__ = ["AcceptedBaseline", "Baseline", "Before", "RunBaseline", "as_baseline", "open_baseline"]


class Before(Protocol):
    """A baseline under one rule."""

    def twin(self, case: str) -> CaseFact | None:
        """The baseline's case of that id."""
        ...

    def ids(self) -> list[str]:
        """Cases of the baseline that the rule is about."""
        ...

    def number(self, rung: str, case: str) -> Measured:
        """The rule's number there, base units."""
        ...

    def absent(self, rung: str, case: CaseFact) -> str:
        """Why there is no number; empty where there is one."""
        ...


class Baseline(Protocol):
    """What candidates are compared with."""

    @property
    def length_unit(self) -> str:
        """Of its numbers."""
        ...

    @property
    def provenance(self) -> Provenance:
        """What it was made with."""
        ...

    def identity(self) -> dict[str, Any]:
        """What it takes to find it again."""
        ...

    def under(self, rules: Sequence[Looked], min_frames_share: float) -> Sequence[Before]:
        """What rules see of it, in their order."""
        ...


@dataclass(frozen=True)
class RunBaseline:
    """Another run."""

    run: RunLike

    @cached_property
    def view(self) -> RunView:
        """It, as the gate sees a run."""
        return RunView.of(self.run)

    @property
    def length_unit(self) -> str:
        """Of its lengths."""
        return self.view.facts.length_unit

    @property
    def provenance(self) -> Provenance:
        """What it was made with."""
        return provenance_of(self.run.meta)

    def identity(self) -> dict[str, Any]:
        """Path and run.json."""
        return {"kind": "run", "path": str(getattr(self.run, "path", "")), "meta": dict(self.run.meta)}

    def under(self, rules: Sequence[Looked], min_frames_share: float) -> Sequence[Before]:
        """What rules see of it, in their order; its tables are read once for all of them."""
        return [_OfRun(seen) for seen in self.view.under(rules, min_frames_share)]


@dataclass(frozen=True)
class _OfRun:
    seen: RuleView

    def twin(self, case: str) -> CaseFact | None:
        return self.seen.view.facts.cases.get(case)

    def ids(self) -> list[str]:
        return [c.id for c in self.seen.cases()]

    def number(self, rung: str, case: str) -> Measured:
        return self.seen.number(rung, case)

    def absent(self, rung: str, case: CaseFact) -> str:
        trouble: Trouble | None = self.seen.stopped(rung) or self.seen.trouble(rung, case)
        return "" if trouble is None else trouble[1]


@dataclass(frozen=True)
class AcceptedBaseline:
    """Numbers of an accepted file."""

    path: Path
    accepted: Accepted

    @property
    def length_unit(self) -> str:
        """Of its lengths."""
        return self.accepted.length_unit

    @property
    def provenance(self) -> Provenance:
        """What the accepted run was made with."""
        return self.accepted.provenance

    def identity(self) -> dict[str, Any]:
        """Path, and what the file says of itself."""
        told = self.accepted.model_dump(
            mode="json", include={"reason", "accepted", "model", "policy", "verdict", "run"}
        )
        return {"kind": "accepted", "path": str(self.path), **told}

    def under(self, rules: Sequence[Looked], min_frames_share: float) -> Sequence[Before]:
        """What rules see of it, in their order."""
        return [_OfFile(self.accepted, rule, references) for rule, references in rules]


@dataclass(frozen=True)
class _OfFile:
    accepted: Accepted
    rule: Rule
    references: Mapping[str, str]

    def twin(self, case: str) -> CaseFact | None:
        known = self.accepted.cases.get(case)
        return None if known is None else CaseFact(case, known.frames, known.fps, digest=known.digest)

    def ids(self) -> list[str]:
        named = [c for rungs in self._of_question() for c in rungs]
        return sorted({c for c in named if self.rule.judges_case(c, self.rule.tags)})

    def number(self, rung: str, case: str) -> Measured:
        value = self._numbers(rung).get(case, math.nan)
        return Measured(value, 0 if math.isnan(value) else 1)

    def absent(self, rung: str, case: CaseFact) -> str:
        if case.id in self._numbers(rung):
            return ""
        asked = question_key(self.rule, self._reference(rung))
        return f"it has no {asked} of {rung} in this case: accept again under this policy"

    def _numbers(self, rung: str) -> Mapping[str, float]:
        return self.accepted.numbers.get(question_key(self.rule, self._reference(rung)), {}).get(rung, {})

    def _of_question(self) -> list[Mapping[str, float]]:
        return [self._numbers(rung) for rung in self.references]

    def _reference(self, rung: str) -> str | None:
        return self.references.get(rung) if self.rule.spec.has_reference else None


def as_baseline(given: RunLike | Baseline | None) -> Baseline | None:
    """A run as a baseline; a baseline as it is."""
    if given is None or isinstance(given, RunBaseline | AcceptedBaseline):
        return given
    return RunBaseline(given)  # type: ignore[arg-type]  # what is left is a run


def open_baseline(path: Path) -> Baseline:
    """A run folder, or a file that `trueline accept` wrote.

    Raises:
        RunError: it is neither, or cannot be read.
    """
    return RunBaseline(Run.open(path)) if path.is_dir() else AcceptedBaseline(path, read_accepted(path))
