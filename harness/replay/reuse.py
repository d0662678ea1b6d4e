"""What a replay takes from earlier ones, and what it leaves for later ones (results.py).

A case whose key is known is not replayed: its parts are copied. In another, rungs whose tensors are kept are not run.
run.json says what was taken, under `reused`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from cases.case import Case
from engines.protocol import Engine
from engines.registry import family
from harness.feed.inputs import context_of
from harness.model.card import Card
from harness.replay.case_loop import Ladder
from harness.replay.case_measuring import Outcome
from harness.replay.identity import Plan
from harness.replay.kept_tensors import KeptTensors
from harness.replay.result_keys import case_key, is_determined
from harness.replay.results import CASES, Results
from trueline import TruelineError

__all__ = ["Reuse", "recall_recordings"]


class Reuse:
    """Kept results as one replay uses them.

    Args:
        results: where they are; None: nothing is taken and nothing kept.
        card: the model.
        plan: of the replay.
        opened: engines by name, before any case.
        cases: all of the replay, the first of which tries rows of batches.
        tensors: take and keep tensors of rungs as well.
        only_take: keep nothing that is not there yet.
    """

    def __init__(
        self,
        results: Results | None,
        card: Card,
        plan: Plan,
        opened: Mapping[str, Engine],
        cases: Sequence[Case],
        *,
        tensors: bool,
        only_take: bool = False,
    ) -> None:
        self._results, self._card, self._only_take = results, card, only_take
        self._tensors = tensors and plan.meta["settings"].get("batch", 1) == 1
        self._keys: dict[str, str] = {}
        self.cases: list[str] = []
        self.rungs: dict[str, list[str]] = {}
        if results is not None and all(is_determined(name) for name in opened):
            told = {entry["id"]: entry for entry in plan.meta["cases"]}
            self._keys = {c.id: case_key(plan.meta, told[c.id], opened, c is cases[0]) for c in cases}

    def take(self, case: Case, out: Path) -> bool:
        """Whether the parts of a case were kept; they are in the run folder then."""
        if self._results is None or case.id not in self._keys:
            return False
        (out / "parts").mkdir(exist_ok=True)
        if not self._results.copy(CASES, self._keys[case.id], out / "parts" / case.id):
            return False
        self.cases.append(case.id)
        return True

    @contextmanager
    def ladder(self, ladder: Ladder, case: Case) -> Iterator[Ladder]:
        """The ladder with kept tensors in the place of engines; what is new is kept where the block ends well."""
        if self._results is None or not self._tensors:
            yield ladder
            return
        kept = KeptTensors(self._results, self._card, case, ladder.rungs, ladder.opened, only_take=self._only_take)
        if kept.reused:
            self.rungs[case.id] = kept.reused
        done = False
        try:
            yield replace(ladder, opened=kept.opened)
            done = True
        finally:
            kept.close(keep=done)

    def keep(self, outcomes: Sequence[Outcome], out: Path) -> None:
        """Keep the parts of cases that were replayed here and in which no rung failed."""
        for outcome in outcomes:
            known = outcome.case in self._keys and not self._only_take
            if self._results is not None and known and not outcome.failed:
                self._results.keep(CASES, self._keys[outcome.case], out / "parts" / outcome.case)

    def told(self) -> dict[str, Any]:
        """What was taken, for run.json."""
        return {"cases": self.cases, "tensors": self.rungs}


def recall_recordings(opened: Mapping[str, Engine], cases: Sequence[Case]) -> None:
    """Let recordings align cases that are not replayed: what they say of them belongs to the run all the same."""
    for name, engine in opened.items():
        for case in cases if family(name) == "recorded" else ():
            with suppress(TruelineError):  # a recording that does not fit is the outcome of the case
                engine.start_case(context_of(case))
