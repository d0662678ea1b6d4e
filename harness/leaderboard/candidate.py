"""What is known of one candidate: its verdict, and its three columns.

clean          the reference rung against ground truth: `lateral_cost`, lost and invented lines included
robust         of a sweep, the mean deviation over perturbations and severities; else the gap of the ladder: how far the
               deploy pipeline moves the lines on the reference's engine (mean offset of the worst line)
deployability  what numbers and engines do: the largest p99 of `offset_max` of any such rung against its own parent
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from harness.errors import UsageError
from harness.gate import Policy, Status, Verdict, judge
from harness.leaderboard.column import Column, of_drives
from harness.run.catalogue import Statistic, find_measure
from harness.run.facts import RunFacts, RungFact, read_facts
from harness.run.folder import Run
from harness.run.paths import told_apart
from harness.run.question import Question
from harness.run.rungs import stage_of
from harness.run.statistic import answer
from harness.sweep import Sweep

__all__ = ["COLUMNS", "Candidate", "read_candidates"]

COLUMNS = ("clean", "robust", "deployability")
NUMERIC = ("numerics", "engine")  # stages of factors that leave the model as it is

CellKey = tuple[str, int, float, str]


@dataclass(frozen=True)
class Candidate:
    """One candidate.

    Attributes:
        name: as the table shows it.
        run: its run.
        verdict: what the policy says of it.
        columns: by name, see COLUMNS; lower is better.
        sweep: its sweep, None without one.
    """

    name: str
    run: Run
    verdict: Verdict
    columns: Mapping[str, Column]
    sweep: Sweep | None = None

    @property
    def barred(self) -> str:
        """Why it must not be chosen; empty where it may."""
        if self.verdict.status is not Status.PASS:
            broken = [r.id for r in self.verdict.rules if r.required and r.status is not Status.PASS]
            return f"{self.verdict.status.value}: {', '.join(broken) or 'no required rule was judged'}"
        if self.sweep is not None and self.sweep.constant:
            return "CONSTANT: its lines do not follow the picture"
        if self.sweep is not None and (crashed := sum(c["status"] == "crashed" for c in self.sweep.cells)):
            return f"CRASHED in {crashed} cells of its sweep"
        return ""

    @property
    def eyes(self) -> bool:
        """Whether anything here would have told a network that draws the same lines on every road."""
        return not self.verdict.blind or (self.sweep is not None and _moved(self.sweep))


def read_candidates(runs: Sequence[Run], sweeps: Sequence[Sweep], policy: Policy | None) -> list[Candidate]:
    """Read and judge every run; all must be of the same recordings, and every sweep of one of them.

    Raises:
        UsageError: they are not.
        PolicyError, RunError, UnitMismatch: a run cannot be judged.
    """
    _same_recordings(runs)
    of_run = [_sweep_of(run, sweeps) for run in runs]
    if strange := [s for s in sweeps if s not in of_run]:
        raise UsageError(
            f"sweep {strange[0].path} is of {strange[0].meta['card']['name']}, with other weights or another card "
            "than every run",
            where="--sweep",
            remedy="sweep the cards that the runs replayed",
        )
    common = _common(sweeps)
    names = _names(runs)
    return [
        Candidate(name, run, judge(run, policy), _columns(run, sweep, common, bool(sweeps)), sweep)
        for name, run, sweep in zip(names, runs, of_run, strict=True)
    ]


def _columns(run: Run, sweep: Sweep | None, common: Collection[CellKey], swept: bool) -> dict[str, Column]:
    facts = read_facts(run.meta)
    robust = _of_sweep(sweep, facts, common) if swept else _gap(run, facts)
    return {"clean": _clean(run, facts), "robust": robust, "deployability": _deployability(run, facts)}


def _clean(run: Run, facts: RunFacts) -> Column:
    by_case = _by_case(run, facts, "lateral_cost", "mean", [(facts.reference, facts.reference)])
    return of_drives(by_case, _drives(facts), "" if by_case else "the cases have no ground truth")


def _gap(run: Run, facts: RunFacts) -> Column:
    """How far the other pipeline moves the lines on the reference's engine."""
    root = facts.rungs[facts.reference]
    other = [r for r in facts.rungs.values() if r.parent == root.name and r.engine == root.engine and _plain(r)]
    if not other:
        return Column({}, "no rung changes the preprocessing alone")
    pairs = [(rung.name, root.name) for rung in other]
    return of_drives(_by_case(run, facts, "offset_mean", "mean", pairs), _drives(facts))


def _plain(rung: RungFact) -> bool:
    return rung.preprocess in ("train", "deploy")


def _deployability(run: Run, facts: RunFacts) -> Column:
    numeric = [r for r in facts.rungs.values() if r.parent and r.factors and {*map(stage_of, r.factors)} <= {*NUMERIC}]
    if not numeric:
        return Column({}, "no rung changes numbers or engines alone: replay with --engines, such as emulated-fp16")
    if failed := [r.name for r in numeric if r.status != "ok"]:
        return Column({}, f"{failed[0]} did not run to its end")
    pairs = [(r.name, str(r.parent)) for r in numeric]
    return of_drives(_by_case(run, facts, "offset_max", "p99", pairs), _drives(facts))


def _by_case(
    run: Run, facts: RunFacts, measure: str, statistic: Statistic, pairs: Iterable[tuple[str, str]]
) -> dict[str, float]:
    """The worst of some rungs, case by case."""
    found: dict[str, float] = {}
    question = Question(find_measure(measure), statistic)
    for (_, case), measured in answer(run, facts, question, dict(pairs)).items():
        if math.isfinite(measured.value):
            found[case] = max(found.get(case, -math.inf), measured.value)
    return found


def _of_sweep(sweep: Sweep | None, facts: RunFacts, common: Collection[CellKey]) -> Column:
    """Mean over severities, then over perturbations, of each case."""
    if sweep is None:
        return Column({}, "it was not swept")
    of: dict[str, dict[str, list[float]]] = {}
    for cell in sweep.cells:
        if _key(cell) in common:
            of.setdefault(cell["case"], {}).setdefault(cell["perturbation"], []).append(cell["deviation"])
    by_case = {case: _mean(map(_mean, by.values())) for case, by in of.items()}
    told = facts.cases
    drives = {case: told[case].drive if case in told else case for case in by_case}
    why = "" if by_case else "its sweep has no cell that all sweeps have measured"
    return of_drives(by_case, drives, why)


def _common(sweeps: Sequence[Sweep]) -> set[CellKey]:
    """Cells that every sweep has measured; those of time are left out, whose numbers are the road's."""
    measured = [
        {_key(c) for c in s.cells if c["status"] == "ok" and c["deviation"] is not None and not _of_time(s, c)}
        for s in sweeps
    ]
    return set.intersection(*measured) if measured else set()


def _of_time(sweep: Sweep, cell: Mapping[str, Any]) -> bool:
    from harness.sweep import PERTURBATIONS

    return cell["perturbation"] in PERTURBATIONS and PERTURBATIONS[cell["perturbation"]].kind == "time"


def _key(cell: Mapping[str, Any]) -> CellKey:
    return cell["perturbation"], cell["severity"], cell["amount"], cell["case"]


def _moved(sweep: Sweep) -> bool:
    """Whether any cell tells if the lines follow the picture."""
    return any(c["status"] == "ok" and c["input_rms"] for c in sweep.cells)


def _sweep_of(run: Run, sweeps: Sequence[Sweep]) -> Sweep | None:
    """The sweep of the very model that a run replayed."""

    def model(meta: Mapping[str, Any]) -> tuple[Any, ...]:
        card = meta["card"]
        return card.get("sha256"), card.get("files"), card.get("code")

    return next((s for s in sweeps if model(s.meta) == model(run.meta)), None)


def _same_recordings(runs: Sequence[Run]) -> None:
    seen = [{c["id"]: c.get("digest") for c in run.meta["cases"]} for run in runs]
    units = {run.unit for run in runs}
    for run, cases in zip(runs, seen, strict=True):
        if cases != seen[0]:
            differ = sorted(c for c in {*cases, *seen[0]} if cases.get(c) != seen[0].get(c))
            raise UsageError(
                f"{run.path} and {runs[0].path} are not of the same recordings: {', '.join(differ[:3])}",
                where="RUN...",
                remedy="replay all candidates on the same cases",
            )
    if len(units) > 1:
        raise UsageError(
            f"lengths are in {' and '.join(sorted(units))}", where="RUN...", remedy="compare models of one unit"
        )


def _names(runs: Sequence[Run]) -> list[str]:
    """Names of the models; where some have the same, of their folders."""
    found = [str(run.meta["card"]["name"]) for run in runs]
    for name in {n for n in found if found.count(n) > 1}:
        alike = [i for i, n in enumerate(found) if n == name]
        for i, told in zip(alike, told_apart([runs[i].path for i in alike]), strict=True):
            found[i] = told
    return found


def _drives(facts: RunFacts) -> dict[str, str]:
    return {case.id: case.drive for case in facts.cases.values()}


def _mean(values: Iterable[float]) -> float:
    known = list(values)
    return math.fsum(known) / len(known)
