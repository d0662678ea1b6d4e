"""One fault on the bench: planted, replayed, judged, explained, and held against the clean run.

caught   a required rule fails on a rung and case where the clean chain does not fail it, or an engine crashes or gives
         what is not finite where the clean one does not
blamed   the stage that most of these limits are put down to by `explain`
harm     of the lines themselves, by harm.py: it decides whether the fault had to be caught
"""

from __future__ import annotations

import shutil
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import polars as pl

from harness.errors import FaultError
from harness.faults.bench import Bench, Ran
from harness.faults.diagnosing import diagnosed
from harness.faults.harm import GREW_M, MOVED, grown_error_m, harm_of, moved
from harness.faults.protocol import Control, Fault, Planted
from harness.faults.table import FAULTS
from harness.gate import Status, Verdict
from harness.ladder.tree import Tree
from harness.run.facts import read_facts

__all__ = ["Outcome", "try_control", "try_fault", "try_until_caught"]

BAD = (Status.CRASHED, Status.NONFINITE, Status.FAIL)
HALVINGS = 2
Cell = tuple[str, str, str]


@dataclass(frozen=True)
class Outcome:
    """What became of one fault or control at one severity.

    Attributes:
        name: of the fault or control.
        stage: the fault's true stage, empty for a control.
        severity: at which it was planted.
        planted: false where the model has no place for it; `refused` says why.
        status: the verdict.
        caught: whether the gate fails it where the clean chain passes (of a control: whether it is flagged).
        rules: required rules that it breaks anew.
        blamed: the stage that `explain` blames for most of them; empty where there is none alone.
        factor: the factor of that stage with most of them.
        stages: stage -> newly broken limits.
        harm: `harmful`, `grey` or `harmless`, by harm.py.
        effect: how far lines go wrong: growth of the error against truth, or distance from the clean lines.
        unit: of effect.
        where: case and rung of the effect.
        seconds: it took.
        diagnosis: classes that `trueline diagnose` names, of a preprocessing fault that has one.
        diagnosis_right: whether it is the fault's; None for a fault without.
        sentence: what it says.
        caught_from: for a harmful or grey survivor the least severity tried at which it is caught; None for none.
    """

    name: str
    stage: str
    severity: float = 1.0
    planted: bool = True
    refused: str = ""
    status: str = ""
    caught: bool = False
    rules: tuple[str, ...] = ()
    blamed: str = ""
    factor: str = ""
    stages: Mapping[str, int] = field(default_factory=dict)
    harm: str = ""
    effect: float = 0.0
    unit: str = ""
    where: str = ""
    seconds: float = 0.0
    diagnosis: tuple[str, ...] = ()
    diagnosis_right: bool | None = None
    sentence: str = ""
    caught_from: float | None = None

    @property
    def right(self) -> bool:
        """Caught and blamed on its stage; of a control: not flagged."""
        return not self.caught if not self.stage else self.caught and self.blamed == self.stage

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


def try_fault(bench: Bench, clean: Ran, fault: Fault, severity: float = 1.0) -> Outcome:
    """Plant a fault and see what becomes of it."""
    name = f"{fault.name}@{severity:.4g}"
    start = time.monotonic()
    try:
        planted = fault.plant(bench.site(name), severity)
    except FaultError as error:
        return Outcome(fault.name, fault.stage, severity, False, f"{error.what}; {error.remedy}")
    own = FAULTS.get(fault.name) is fault  # of others nobody here knows what else they change
    ran = _run(bench, name, planted, fault.stage, {"severity": severity}, "take" if own else "leave")
    outcome = _outcome(bench, clean, ran, fault.name, fault.stage, severity, start)
    told = diagnosed(bench.site(name), fault, planted)
    if told is None:
        return outcome
    return replace(outcome, diagnosis=told.names, diagnosis_right=told.right, sentence=told.sentence)


def try_until_caught(bench: Bench, clean: Ran, fault: Fault) -> Outcome:
    """Plant a fault; one that does harm and survives is planted again, stronger, until it is caught.

    Severities are doubled up to the largest that the fault has, then halved in between, so that the answer is within a
    quarter of the least one that is caught.
    """
    outcome = try_fault(bench, clean, fault)
    if not outcome.planted or outcome.caught or outcome.harm == "harmless":
        return outcome

    def caught(severity: float) -> bool:
        return try_fault(bench, clean, fault, severity).caught

    below, above = 1.0, min(2.0, fault.most)
    while not caught(above):
        if above >= fault.most:
            return outcome
        below, above = above, min(2 * above, fault.most)
    for _ in range(HALVINGS):
        middle = (below + above) / 2
        below, above = (below, middle) if caught(middle) else (middle, above)
    return replace(outcome, caught_from=above)


def try_control(bench: Bench, clean: Ran, control: Control) -> Outcome:
    """Make a harmless change and see whether it is flagged."""
    start = time.monotonic()
    try:
        planted = control.plant(bench.site(control.name))
    except FaultError as error:
        return Outcome(control.name, "", 0.0, False, f"{error.what}; {error.remedy}")
    ran = _run(bench, control.name, planted, "numerics", {}, "take")
    return _outcome(bench, clean, ran, control.name, "", 0.0, start)


def _run(
    bench: Bench,
    name: str,
    planted: Planted,
    stage: str,
    settings: Mapping[str, Any],
    results: Literal["leave", "take"],
) -> Ran:
    """A run of its own, whatever was there; what was made for it goes again."""
    shutil.rmtree(bench.runs / name, ignore_errors=True)
    try:
        return bench.run(name, planted, stage, settings, results=results)
    finally:
        shutil.rmtree(bench.site(name).folder, ignore_errors=True)


def _outcome(bench: Bench, clean: Ran, ran: Ran, name: str, stage: str, severity: float, start: float) -> Outcome:
    known = set(_failed(clean.verdict))
    broken = [cell for cell in _failed(ran.verdict) if cell not in known]
    stages, factors = _blamed(ran, set(broken))
    blamed = stages.most_common(1)[0][0] if stages else ""
    effect, unit, where = _effect(bench, clean, ran)
    limit = GREW_M if unit == "m of error" else MOVED[unit.partition(" ")[0]]
    return Outcome(
        name, stage, severity,
        status=str(ran.verdict.status),
        caught=bool(broken),
        rules=tuple(sorted({rule for rule, _, _ in broken})),
        blamed=blamed,
        factor=next((f for (s, f), _ in factors.most_common() if s == blamed), ""),
        stages=dict(stages),
        harm=harm_of(effect, limit),
        effect=effect, unit=unit, where=where,
        seconds=time.monotonic() - start,
    )  # fmt: skip


def _failed(verdict: Verdict) -> Iterator[Cell]:
    """(rule, rung, case) of everything that is bad about required rules; the case is empty where a rung is bad alone.

    A rung that did not run counts too: nothing compared is nothing passed.
    """
    for rule in verdict.rules:
        for rung in rule.rungs if rule.required else ():
            bad = [case.case for case in rung.cases if case.status in BAD and rule.scope == "each"]
            yield from ((rule.id, rung.rung, case) for case in bad)
            if not bad and rung.status in (*BAD, Status.NOT_RUN):
                yield (rule.id, rung.rung, "")


def _blamed(ran: Ran, broken: set[Cell]) -> tuple[Counter[str], Counter[tuple[str, str]]]:
    """Newly broken limits by stage, and by stage and factor; of rungs that failed as a whole, by their own stage."""
    stages: Counter[str] = Counter()
    factors: Counter[tuple[str, str]] = Counter()
    for finding in ran.explanation.findings:
        own = sum(bool({(b.rule, b.rung, finding.case), (b.rule, b.rung, "")} & broken) for b in finding.breaches)
        if own:
            stages[finding.stage or ""] += own
            factors[finding.stage or "", finding.factor or ""] += own
    tree = Tree(read_facts(ran.run.meta).rungs.values(), ran.run.reference)
    for _, rung, _ in broken:
        first = tree.stopped_at(rung)
        if first.status != "ok":  # no finding tells of a rung that crashed: it began at the first that did
            stages[first.stage or ""] += 1
            factors[first.stage or "", " + ".join(first.factors)] += 1
    return stages, factors


def _effect(bench: Bench, clean: Ran, ran: Ran) -> tuple[float, str, str]:
    """The largest harm on any rung below the reference: size, unit, place."""
    before, after = (_lines(r) for r in (clean, ran))
    unit = clean.run.unit
    found: list[tuple[float, str, str]] = [(0.0, _unit(bench, unit), "")]
    for key, lines in before.items():
        case, rung = key
        if rung == clean.run.reference or not _ran(ran, rung):
            continue
        truth = _truth(bench, case) if unit == "m" else None
        other = after.get(key, lines.clear())
        if truth is not None:
            seen = truth.filter(pl.col("frame").is_in(_frames(clean, case).implode()))
            size = grown_error_m(lines, other, seen)
        else:
            size = moved(lines, other, unit)
        found.append((size, "m of error" if truth is not None else f"{unit} from the clean line", f"{case}, {rung}"))
    return max(found, key=lambda f: f[0])


def _unit(bench: Bench, unit: str) -> str:
    truth = unit == "m" and any((case / "lines.parquet").is_file() for case in bench.recorded)
    return "m of error" if truth else f"{unit} from the clean line"


def _lines(ran: Ran) -> dict[tuple[str, str], pl.DataFrame]:
    table = ran.run.read("lines").select("case", "rung", "frame", "slot", "line", "x", "y")
    return {(str(case), str(rung)): part for (case, rung), part in table.group_by("case", "rung")}


def _frames(ran: Ran, case: str) -> pl.Series:
    table = ran.run.read("frame_metrics").filter(pl.col("case") == case)
    return table["frame"].unique()


def _ran(ran: Ran, rung: str) -> bool:
    return any(r["name"] == rung and r["status"] != "not_run" for r in ran.run.meta["rungs"])


def _truth(bench: Bench, case: str) -> pl.DataFrame | None:
    folder = next((c for c in bench.recorded if c.name == case), None)
    file = folder / "lines.parquet" if folder else Path()
    if not file.is_file():
        return None
    truth = pl.read_parquet(file, glob=False)
    return truth if "slot" in truth.columns else truth.with_columns(slot=pl.lit(None, pl.Int16))
