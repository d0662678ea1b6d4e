"""`explain`: for every anomaly the first step at which it appears, each step's share, each factor alone, the rest.

Anomalies are events against the root of the ladder, the worst of each kind, line and band of a case, and breached
limits. One that is still there further down belongs to the rung furthest down, and is told once however many branches
of the ladder it reaches. Sizes are not additive, so shares and factors alone are reported as they are and never scaled
to sum up.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import polars as pl

from harness.ladder.limits import Limit, limit_sizes, limits_of_verdict, unit_of
from harness.ladder.measures import CaseTables
from harness.ladder.model import Alone, Anomaly, Explanation, Step, Suspect
from harness.ladder.tree import Node, Tree
from harness.run.folder import Run

__all__ = ["explain"]

ALREADY_THERE = 0.5  # share of its final size from which on an anomaly has appeared
_KEY = ("kind", "track", "band")
_LOSSY = "the case's frames went through a video codec, so the car saw other pixels: the car is not blamed"


def explain(run: Run, limits: Sequence[Limit] | None = None) -> Explanation:
    """Say which step of the ladder moved the lines.

    Args:
        run: a finished run.
        limits: limits to explain besides events; None takes those that the run's verdict.json found breached.

    Raises:
        RunError: run.json describes no ladder.
        PolicyError: a limit that cannot be followed.
    """
    tree = Tree(run.rungs, run.reference)
    if limits is None:
        limits = limits_of_verdict(run.verdict(), run)
    lossy = {c["id"]: bool(c.get("lossy")) for c in run.meta["cases"]}
    anomalies: list[Anomaly] = []
    excused = ill = 0
    for case in lossy:
        tables = CaseTables(run, case, run.reference)
        excused += tables.events.filter(pl.col("owner") != "candidate").height
        ill += tables.events.filter(pl.col("rung") == run.reference).height
        anomalies += (_explained(tree, e, sizes, lossy[case]) for e, sizes in _worst_events(tree, tables))
    for limit in limits:
        anomalies += _breaches(tree, run, limit, lossy)
    anomalies = _once(anomalies)
    return Explanation(
        run.reference,
        run.unit,
        tuple(anomalies),
        _suspects(tree, anomalies),
        tuple(n.name for n in tree.nodes.values() if n.status != "not_run"),
        tuple(_notes(tree, excused, ill)),
    )


def _once(anomalies: Sequence[Anomaly]) -> list[Anomaly]:
    """Worst first; of those that begin at one step and reach several branches of the ladder, the worst."""
    told: dict[tuple[object, ...], Anomaly] = {}
    for a in sorted(anomalies, key=lambda a: (-a.severity, a.case, a.rung, a.kind, a.track or 0, a.band or "")):
        told.setdefault((a.case, a.kind, a.track, a.band, a.first), a)
    return list(told.values())


def _worst_events(tree: Tree, tables: CaseTables) -> Iterator[tuple[dict[str, Any], dict[str, float]]]:
    """The worst event of each rung, kind, line and band that no rung below still has, and its size on every rung."""
    own = tables.events.filter(pl.col("owner") == "candidate").with_columns(
        pl.len().over("rung", *_KEY).alias("events")
    )
    worst = own.sort("value", descending=True, maintain_order=True).unique(
        ["rung", *_KEY], keep="first", maintain_order=True
    )
    chain = {n.name for n in tree.chain()}
    for event in worst.filter(pl.col("rung").is_in(chain)).iter_rows(named=True):
        sizes = tables.sizes(event)
        enough = max(event["threshold"], ALREADY_THERE * event["value"])
        if not any(sizes.get(child.name, 0.0) >= enough for child in tree.below(event["rung"])):
            yield event, sizes


def _breaches(tree: Tree, run: Run, limit: Limit, lossy: Mapping[str, bool]) -> Iterator[Anomaly]:
    """Cases in which a statistic is over its limit, at the rung furthest down."""
    by_case: dict[str, dict[str, float]] = {}
    for (case, rung), size in limit_sizes(run, limit, run.reference).items():
        by_case.setdefault(case, {})[rung] = size
    for case, sizes in by_case.items():
        over = {n.name for n in tree.chain() if sizes.get(n.name, 0.0) > limit.limit}
        for rung in over:
            if not any(child.name in over for child in tree.below(rung)):
                row = {
                    "case": case, "rung": rung, "kind": limit.kind, "track": None, "band": limit.band,
                    "frame_start": None, "frame_end": None, "events": 1, "value": sizes[rung],
                    "threshold": limit.limit, "unit": unit_of(limit, run),
                }  # fmt: skip
                yield _explained(tree, row, sizes, lossy.get(case, False))


def _explained(tree: Tree, event: Mapping[str, Any], sizes: Mapping[str, float], lossy: bool) -> Anomaly:
    """An anomaly with its path; the reference itself has size 0."""
    own = {tree.root.name: 0.0, event["rung"]: float(event["value"])}

    def of(rung: str) -> float:
        return own[rung] if rung in own else sizes.get(rung, math.nan)

    steps, before = [], 0.0
    for node in tree.path(event["rung"])[1:]:
        added = of(node.name) - before
        steps.append(Step(node.name, node.factors, node.stage, of(node.name), added, added / event["value"]))
        before = of(node.name)
    alone = tuple(Alone(f, rung, base, of(rung) - of(base)) for f, rung, base in tree.alone(event["rung"]))
    every = tree.shows_every_factor(event["rung"])
    interaction = event["value"] - math.fsum(a.value for a in alone) if every else math.nan
    enough = max(event["threshold"], ALREADY_THERE * event["value"])
    first = next(s for s in steps if s.value >= enough)
    stage, factor, note = _blame(tree.nodes[first.rung], alone, enough, lossy)
    return Anomaly(
        case=event["case"],
        rung=event["rung"],
        kind=event["kind"],
        track=event["track"],
        band=event["band"],
        frame_start=event["frame_start"],
        frame_end=event["frame_end"],
        events=event["events"],
        value=event["value"],
        threshold=event["threshold"],
        unit=event["unit"],
        first=first.rung,
        stage=stage,
        factor=factor,
        steps=tuple(steps),
        alone=alone,
        interaction=interaction,
        note=note,
    )


def _blame(first: Node, alone: Sequence[Alone], enough: float, lossy: bool) -> tuple[str | None, str | None, str]:
    """(stage, factor, note) of an anomaly that first appears on a rung."""
    if len(first.factors) != 1:
        return None, None, f"the step changes {' and '.join(first.factors) or 'no named factor'} at once"
    (factor,), stage = first.factors, first.stage
    if stage == "car" and lossy:
        return None, None, _LOSSY
    if factor != "preprocess":
        return stage, factor, ""
    single = [a for a in alone if a.factor.startswith("preprocess:")]
    if not single:
        return stage, factor, ""
    largest = max(single, key=lambda a: a.value if a.value == a.value else -math.inf)
    if largest.value >= enough:
        return stage, largest.factor, ""
    return stage, factor, "no single preprocessing step shows it alone"


def _suspects(tree: Tree, anomalies: Sequence[Anomaly]) -> tuple[Suspect, ...]:
    """One for each step and factor blamed: a step may fail by different factors in different cases."""
    found = []
    for rung, stage, factor in dict.fromkeys((str(a.first), a.stage, a.factor) for a in anomalies):
        own = [a for a in anomalies if (a.first, a.stage, a.factor) == (rung, stage, factor)]
        found.append(
            Suspect(
                rung=rung,
                stage=stage,
                factors=tree.nodes[rung].factors,
                factor=factor,
                count=len(own),
                share=len(own) / len(anomalies),
                kinds=dict(Counter(a.kind for a in own).most_common()),
                cases=tuple(sorted({a.case for a in own})),
                worst=max(a.severity for a in own),
            )
        )
    return tuple(sorted(found, key=lambda s: (-s.count, s.rung, s.factor or "")))


def _notes(tree: Tree, excused: int, ill: int) -> Iterator[str]:
    for node in tree.nodes.values():
        if node.status != "ok":
            yield f"{node.name}: {node.status.replace('_', ' ')}, {node.reason}"
    if ill:
        yield f"the reference {tree.root.name} itself is not finite in {ill} stretches; nothing can be measured there"
    if excused:
        yield f"{excused} swing events are the reference's own or of both engines; nothing is blamed for them"
