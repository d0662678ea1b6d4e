"""The policy of a run that nobody wrote one for: its limits are the finding thresholds of the catalogue.

So `trueline gate RUN` fails where `trueline explain RUN` has a finding: against the reference, and for the shape of
lines also against each rung's own parent, so that a larger difference above hides no fault of a step. It is a first
look, no release policy: the limits know neither the model nor its noise. Bend and kink are judged by what a line holds
for longer than 0.2 s; a shorter one is a finding that fails nothing. A rule is required for the bands in which every
case has a value for it, advisory for the others.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import cast

import polars as pl

from harness.gate.policy import Band, Policy, Rule, Source
from harness.run.catalogue import Measure, event_kinds, find_measure, measures, step_measures
from harness.run.facts import RunFacts, RunLike, read_facts
from harness.run.question import Question
from harness.run.rows import rows_about
from harness.run.tables import BANDS, TABLES
from harness.run.units import Limit, base_unit

__all__ = ["DEFAULT_NAME", "default_policy", "policy_of"]

DEFAULT_NAME = "default"
_HELD = ("bend", "kink")  # families that are judged by how long they last


def default_policy(run: RunLike) -> Policy:
    """The finding thresholds as rules, for the frame and the rungs of a run.

    Raises:
        RunError: the run lacks what every run has.
    """
    facts = read_facts(run.meta)
    values = _Values(run, facts)
    rungs = "deploy/*" if any(r.preprocess == "deploy" for r in facts.rungs.values()) else "*"
    return policy_of(
        [r for m in event_kinds().values() if _has_reason(m, values) for r in _rules(m, values, facts, rungs)]
        + _guards(values, facts, rungs)
        + list(_of_steps(values, facts, rungs))
    )


def policy_of(rules: Sequence[Rule], name: str = DEFAULT_NAME) -> Policy:
    """A policy of rules that no file holds."""
    text = "\n".join(r.model_dump_json() for r in rules)
    source = Source(path=Path(f"{name}.trueline.toml"), sha256=hashlib.sha256(text.encode()).hexdigest())
    return Policy(rules=tuple(rules), sources=(source,))


def _has_reason(event: Measure, values: _Values) -> bool:
    """Whether the run has what the event is about: a model that feeds no state back has none that could be lost."""
    return event.evidence is None or event.evidence[0] != "state_metrics" or values.any("state_metrics")


def _rules(event: Measure, values: _Values, facts: RunFacts, rungs: str) -> Iterator[Rule]:
    """What keeps one kind of finding out."""
    assert event.evidence is not None  # every event has some
    behind = measures().get(event.measured)
    if behind is None or behind.optional or behind.threshold is None:
        yield Rule(
            id=event.measured, metric=event.name, rung=rungs, statistic="count", limit=Limit(0, "events"),
            required=values.everywhere(*event.evidence), note=event.definition,
        )  # fmt: skip
        return
    yield from _at_thresholds(behind, values, facts, rungs)


def _of_steps(values: _Values, facts: RunFacts, rungs: str) -> Iterator[Rule]:
    """What keeps a single step within the thresholds; none where no rung hangs under another than the reference."""
    if all(r.parent in (None, facts.reference) or not fnmatchcase(r.name, rungs) for r in facts.rungs.values()):
        return
    for measure in step_measures():
        yield from _at_thresholds(measure, values, facts, rungs, "parent")
    yield from _guards(values, facts, rungs, "parent")


def _at_thresholds(
    measure: Measure, values: _Values, facts: RunFacts, rungs: str, reference: str | None = None
) -> Iterator[Rule]:
    """One rule for the bands that have one limit and are required alike."""
    assert measure.threshold is not None  # who calls saw to it
    parts: dict[tuple[float, bool], list[str]] = {}
    for band, value in zip(BANDS, measure.threshold.of(facts.grid), strict=True):
        place = (band,) if measure.has_band else ()
        about = rows_about(Question(measure, "max", place), facts, measure.table)
        parts.setdefault((value, values.everywhere(measure.table, measure.column, about)), []).append(band)
        if not measure.has_band:
            break
    for (value, required), bands in parts.items():
        whole = not measure.has_band or len(bands) == len(BANDS)
        name = _named(measure.name, reference)
        chosen = () if whole else cast(tuple[Band, ...], tuple(bands))
        yield Rule(
            id=name if whole else f"{name}-{'-'.join(bands)}", reference=reference,
            metric=measure.name, rung=rungs, statistic="sustained" if measure.kin in _HELD else "max",
            limit=_limit(measure, value, facts.length_unit), band=chosen, required=required,
            note=measure.definition,
        )  # fmt: skip


def _named(name: str, reference: str | None) -> str:
    return name if reference is None else f"step-{name}"


def _guards(values: _Values, facts: RunFacts, rungs: str, reference: str | None = None) -> list[Rule]:
    """A line that is not drawn cannot bend: what must be there so that the other rules mean something."""
    coverage = find_measure("coverage")
    counted = [
        Rule(
            id=_named(f"{m}-lines", reference), metric=m, rung=rungs, statistic="max", limit=Limit(0, "lines"),
            reference=reference,
        )
        for m in ("missing", "extra")
    ]  # fmt: skip
    required = values.everywhere(coverage.table, coverage.column)
    return [
        *counted,
        Rule(
            id=_named("coverage", reference), metric="coverage", rung=rungs, statistic="p1",
            limit=Limit(80, "%", ">="), required=required, note=coverage.definition, reference=reference,
        ),
    ]  # fmt: skip


def _limit(measure: Measure, value: float, length_unit: str) -> Limit:
    if measure.quantity == "angle":
        return Limit(float(f"{math.degrees(value):.6g}"), "deg")
    return Limit(value, base_unit(measure.quantity, length_unit))


class _Values:
    """Where a run has values: each table is read once."""

    def __init__(self, run: RunLike, facts: RunFacts) -> None:
        self._run = run
        self._rungs = [r.name for r in facts.rungs.values() if r.status == "ok" and r.name != facts.reference]
        self._cases = list(facts.cases)
        self._tables: dict[str, pl.DataFrame] = {}

    def everywhere(self, table: str, column: str, about: pl.Expr | None = None) -> bool:
        """Whether every case has a value in this column (of rows of these bands), on every rung that ran."""
        rows = self._counted(table).filter(pl.col(column) > 0, pl.lit(True) if about is None else about)
        found = set(rows.select("of_rung", "case").iter_rows())
        return all((rung, case) in found for rung in self._rungs for case in self._cases)

    def any(self, table: str) -> bool:
        """Whether the table has a row."""
        return bool(self._counted(table).height)

    def _counted(self, table: str) -> pl.DataFrame:
        """Values of every column in each rung, case and band."""
        if table not in self._tables:
            rows = self._run.table(table).with_columns(of_rung="rung")
            keys = ("of_rung", "case", *(c for c in ("band", "station") if c in TABLES[table]))
            self._tables[table] = rows.group_by(keys).agg(pl.exclude(keys).count()).collect(engine="streaming")
        return self._tables[table]
