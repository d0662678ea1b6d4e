"""What is wrong in a run, before anybody is blamed: events against the root, steps, and limits of a policy it breaks.

A step is wrong where a rung is over a threshold against its own parent: that shows a fault which a larger difference
higher up would hide, or which takes such a difference back. One line and band of a case that is over its threshold and
breaks a limit there is one observation. A limit that is broken where nothing passes a threshold is one of its own.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import polars as pl

from harness.errors import PolicyError
from harness.ladder.model import Breach
from harness.ladder.sizes import CaseTables, Place, exceeds
from harness.ladder.tree import Tree
from harness.run.catalogue import Measure, event_kinds, step_measures
from harness.run.facts import RunFacts, RunLike
from harness.run.question import Question
from harness.run.rows import of_candidate
from harness.run.statistic import answer
from harness.run.tables import BANDS
from harness.run.units import ROUNDING, base_unit, scale

__all__ = [
    "ALREADY_THERE",
    "Broken",
    "Numbers",
    "Observation",
    "broken_limits",
    "events_of_case",
    "steps_of_case",
    "with_limits",
]

ALREADY_THERE = 0.5  # share of its final size from which on a finding has appeared
_KEY = ("kind", "track", "band")


@dataclass(frozen=True)
class Broken:
    """One limit of a policy broken by one case on one rung, as verdict.json tells it.

    Attributes:
        question: what the rule asks.
        breach: what a finding says of it.
        number: the rule's number in base units; with a baseline how much worse it is.
        limit: in base units.
        worst: the worst row, as verdict.json names it.
        reference: the rung it was compared with; None where the measure compares with none.
        others: rung -> number of the same rule and case, where the rule compares with a baseline.
    """

    question: Question
    case: str
    breach: Breach
    number: float
    limit: float
    worst: Mapping[str, Any]
    reference: str | None
    others: Mapping[str, float] | None = None


@dataclass
class Observation:
    """One thing that is wrong on the rung furthest down that has it.

    Attributes:
        measure: what is over its threshold.
        statistic: of a number of the whole case; empty where one place is meant.
        event: a row like those of events.parquet: case, rung, track, band, frames, value, threshold, unit.
        sizes: its size on every rung; a rung that is not there was not measured.
        reference: the rung it was measured against.
        breaches: limits it breaks.
    """

    measure: Measure
    statistic: str
    event: Mapping[str, Any]
    sizes: Mapping[str, float]
    reference: str
    breaches: list[Breach] = field(default_factory=list)

    def has(self, rung: str) -> bool:
        """Whether a rung is over its threshold there."""
        value = float(self.event["value"]) if rung == self.event["rung"] else self.sizes.get(rung, float("nan"))
        return exceeds(self.measure, value, self.event["threshold"]) or self._whole(value)

    def _whole(self, value: float) -> bool:
        """Events that are counted, not measured against a threshold, are there from one on."""
        return self.measure.kind == "event" and self.measure.sizing != "frames" and value >= self.event["threshold"]


def events_of_case(tree: Tree, tables: CaseTables, reference: str) -> Iterator[Observation]:
    """The worst event of each rung, kind, line and band that no rung below still has, with its size on every rung."""
    events = tables.table("events").filter(pl.col("reference") == reference, of_candidate())
    own = _without_lines(events).with_columns(pl.len().over("rung", *_KEY).alias("stretches"))
    worst = own.sort("value", descending=True, maintain_order=True).unique(
        ["rung", *_KEY], keep="first", maintain_order=True
    )
    chain = {n.name for n in tree.chain()} | {tree.root.name}
    for event in worst.filter(pl.col("rung").is_in(chain)).iter_rows(named=True):
        sizes = tables.event_sizes(event, reference)
        seen = Observation(event_kinds()[event["kind"]], "", event, sizes, reference)
        enough = max(event["threshold"], ALREADY_THERE * event["value"])
        below = tree.below(event["rung"]) if event["rung"] != tree.root.name else []
        if not any(sizes.get(child.name, 0.0) >= enough for child in below):
            yield seen


def steps_of_case(facts: RunFacts, tree: Tree, tables: CaseTables) -> Iterator[Observation]:
    """The worst of each line and band of a rung that is over a threshold against its parent; the root is no such."""
    for node in tree.chain():
        if node.parent is None or node.parent == tree.root.name:
            continue
        for measure in step_measures():
            yield from _steps(facts, tables, measure, node.name, node.parent)


def _steps(facts: RunFacts, tables: CaseTables, measure: Measure, rung: str, parent: str) -> Iterator[Observation]:
    assert measure.threshold is not None  # step_measures chose it so
    thresholds = dict(zip(BANDS, measure.threshold.of(facts.grid), strict=True))
    value = pl.col(measure.column).abs() if measure.signed else pl.col(measure.column)
    rows = tables.table("line_metrics").filter(pl.col("rung") == rung, pl.col("reference") == parent)
    over = rows.with_columns(size=value, limit=pl.col("band").replace_strict(thresholds, return_dtype=pl.Float64))
    over = over.filter(pl.col("size") > pl.col("limit") * (1 + ROUNDING)).sort("size", descending=True)
    for row in over.unique(["track", "band"], keep="first", maintain_order=True).iter_rows(named=True):
        place = Place(row["track"], row["band"] if measure.has_band else None)
        first, last, count = tables.stretch(measure, place, rung, parent, row["frame"], row["limit"])
        event = {
            "case": row["case"], "rung": rung, "track": row["track"], "band": place.band, "frame": row["frame"],
            "frame_start": first, "frame_end": last, "stretches": count, "value": row["size"],
            "threshold": row["limit"], "unit": base_unit(measure.quantity, facts.length_unit),
        }  # fmt: skip
        sizes = tables.sizes(measure, Place(place.track, place.band, first=first, last=last), parent)
        yield Observation(measure, "", event, sizes, parent)


def _without_lines(events: pl.DataFrame) -> pl.DataFrame:
    """Where a rung drew no line at all, that says it: not one missing line for each of the reference's."""
    silent = events.filter(pl.col("kind") == "no_lines")["rung"].unique().implode()
    return events.filter(~((pl.col("kind") == "missing") & pl.col("rung").is_in(silent)))


def broken_limits(verdict: Mapping[str, Any] | None, facts: RunFacts) -> Iterator[Broken]:
    """Every limit that some case broke on some rung, whatever the verdict on its rule or on other rungs.

    One that met values that are not finite has no number: it is broken by whatever gave these.

    Raises:
        PolicyError: a rule of the verdict names a measure that there is not.
    """
    for rule in (verdict or {}).get("rules", ()):
        try:
            question = Question.of_rule(rule)
        except ValueError as error:
            raise PolicyError(str(error), where="verdict.json", remedy="judge the run again") from error
        size = scale(rule["unit"], run_unit=facts.length_unit, image_px=facts.grid.size_px, where=f"rule {rule['id']}")
        for rung in rule.get("rungs", ()):
            if rule["scope"] == "population" and rung["verdict"] != "FAIL":
                continue
            for case in rung.get("cases", ()):
                if case["verdict"] == "NONFINITE" or (case["verdict"] == "FAIL" and case["value"] is not None):
                    yield _broken(rule, rung, case, question, size)


def _broken(
    rule: Mapping[str, Any], rung: Mapping[str, Any], case: Mapping[str, Any], question: Question, size: float
) -> Broken:
    finite = case["verdict"] != "NONFINITE"
    against = rule["compare"] == "baseline" and finite
    number = _number(case, question, against)
    others = None
    if against:
        others = {
            str(other["rung"]): _number(own, question, against) * size
            for other in rule["rungs"]
            for own in other["cases"]
            if own["case"] == case["case"] and own["value"] is not None and own.get("baseline") is not None
        }
    limit = f"{rule['limit']} worse than the baseline" if against else str(rule["limit"])
    breach = Breach(
        str(rule["id"]), question.measure.measured or question.measure.name, str(rung["rung"]), number, limit,
        str(rule["unit"]), str(rule["statistic"]), bool(rule["required"]),
    )  # fmt: skip
    return Broken(
        question, str(case["case"]), breach, number * size, float(rule["limit_value"]) * size, case.get("worst") or {},
        rung.get("reference"), others,
    )  # fmt: skip


def _number(case: Mapping[str, Any], question: Question, against_baseline: bool) -> float:
    if case["verdict"] == "NONFINITE":
        return math.nan
    value = float(case["value"])
    if not against_baseline:
        return value
    sign = 1 if question.measure.higher_is_worse else -1
    return sign * (value - float(case["baseline"]))


class Numbers:
    """A question's number on every rung, asked of the run once for all cases."""

    def __init__(self, run: RunLike, facts: RunFacts) -> None:
        self._run = run
        self._facts = facts
        self._known: dict[tuple[Question, str], dict[tuple[str, str], float]] = {}

    def of(self, question: Question, reference: str, case: str) -> dict[str, float]:
        """Rung -> number of a case, against one reference; rungs without one are left out."""
        key = (question, reference)
        if key not in self._known:
            rungs = [r for r in self._facts.rungs if not question.measure.has_reference or r != reference]
            found = answer(self._run, self._facts, question, dict.fromkeys(rungs, reference))
            self._known[key] = {k: n.value for k, n in found.items() if n.compared and n.value == n.value}
        return {rung: value for (rung, of), value in self._known[key].items() if of == case}


def with_limits(
    facts: RunFacts,
    tables: CaseTables,
    numbers: Numbers,
    root: str,
    seen: Sequence[Observation],
    broken: Sequence[Broken],
) -> list[Observation]:
    """The observations of one case, each limit it breaks with the observation that breaks it.

    Every broken limit is told by exactly one: an event of its family on a rung that has it, in the place of the rule's
    worst row if there is one there, else the worst of the family; where there is none, an observation of its own. A
    limit against the parent is told by an event against the root, too, where the parent has not got it yet.
    """
    found = list(seen)
    for limit in broken:
        own = _told_by(limit, found, facts)
        if own is None and math.isnan(limit.number):
            continue  # nothing says which output it was
        if own is None:
            own = _observed(facts, tables, numbers, root, limit)
            found.append(own)
        own.breaches.append(limit.breach)
    return found


def _told_by(limit: Broken, found: Sequence[Observation], facts: RunFacts) -> Observation | None:
    if limit.others is not None:
        own = [o for o in found if any(b.rule == limit.breach.rule for b in o.breaches)]
        return next((o for o in own if o.has(limit.breach.rung)), None)
    question, reference = limit.question, limit.reference
    if math.isnan(limit.number):
        return next((o for o in found if o.measure.kin == "nonfinite" and o.has(limit.breach.rung)), None)
    fitting = [
        o
        for o in found
        if o.measure.kin == question.measure.kin
        and (reference is None or o.reference == reference or not o.has(reference))
        and (not question.band or o.event["band"] is None or o.event["band"] in question.band)
        and o.has(limit.breach.rung)
    ]
    track, band = limit.worst.get("track"), _band(limit.worst, facts)
    if question.extreme and question.measure.kind == "value" and question.measure.table != "tensor_metrics":
        here = [o for o in fitting if (track, band) == (o.event["track"], o.event["band"])]
        fitting = here or [o for o in fitting if track is None or o.event["track"] is None]
    return max(fitting, key=lambda o: float(o.event["value"]) / (o.event["threshold"] or 1.0), default=None)


def _band(worst: Mapping[str, Any], facts: RunFacts) -> str | None:
    if worst.get("band") is not None:
        return str(worst["band"])
    if worst.get("station") is None:
        return None
    away = [abs(float(worst["station"]) - s) for s in facts.grid.series_stations]
    return BANDS[min(away.index(min(away)), 2)]


def _observed(facts: RunFacts, tables: CaseTables, numbers: Numbers, root: str, limit: Broken) -> Observation:
    """A broken limit where nothing passed a threshold."""
    question, reference = limit.question, limit.reference or root
    measure = question.measure
    event: dict[str, Any] = {
        "case": limit.case, "rung": limit.breach.rung, "track": limit.worst.get("track"), "frame": None,
        "band": _band(limit.worst, facts), "frame_start": None, "frame_end": None, "stretches": 1,
        "value": limit.number, "threshold": limit.limit, "unit": base_unit(question.quantity, facts.length_unit),
    }  # fmt: skip
    if limit.others is not None:
        return Observation(measure, f"{question.statistic}, worse than the baseline by", event, limit.others, reference)
    if question.extreme and question.in_measure_unit and measure.kind in ("value", "counter") and limit.worst:
        return _at_its_worst(tables, limit, event, reference)
    band = question.band[0] if len(question.band) == 1 else None
    sizes = numbers.of(question, reference, limit.case)
    return Observation(measure, question.statistic, event | {"track": None, "band": band}, sizes, reference)


def _at_its_worst(tables: CaseTables, limit: Broken, event: dict[str, Any], reference: str) -> Observation:
    """The place of the rule's worst row, on every rung."""
    worst, measure = limit.worst, limit.question.measure
    place = Place(worst.get("track"), worst.get("band"), worst.get("station"), worst.get("output"), worst.get("signal"))
    if worst.get("frame") is not None:
        frame = int(worst["frame"])
        first, last, count = tables.stretch(measure, place, limit.breach.rung, reference, frame, limit.limit)
        event |= {"frame": frame, "frame_start": first, "frame_end": last, "stretches": count}
        place = Place(place.track, place.band, place.station, place.output, place.signal, first, last)
    sizes = tables.sizes(measure, place, reference)
    value = sizes.get(limit.breach.rung, limit.number)
    return Observation(measure, "", event | {"value": value}, sizes, reference)
