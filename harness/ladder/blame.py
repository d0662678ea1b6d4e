"""`explain`: for every finding the first step at which it appears, each step's share, each factor alone, the rest.

Findings are what harness.ladder.observe sees: events against the root of the ladder, steps that are over a threshold
by themselves, and limits of a policy that are broken. One that is still there further down belongs to the rung furthest
down, and is told once however many branches of the ladder it reaches. Sizes are not additive, so shares and factors
alone are reported as they are and never scaled to sum up.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from harness.ladder.model import Alone, Explanation, Finding, Step, Stop, Suspect
from harness.ladder.observe import (
    ALREADY_THERE,
    Numbers,
    Observation,
    broken_limits,
    events_of_case,
    steps_of_case,
    with_limits,
)
from harness.ladder.sizes import CaseTables, severity, worse_by
from harness.ladder.tree import Node, Tree
from harness.ladder.words import Pipelines, cause_of, differences_of, listed, size_of
from harness.run.catalogue import kin_of
from harness.run.facts import CaseFact, RunFacts, read_facts
from harness.run.folder import Run
from harness.run.rows import of_candidate

__all__ = ["explain"]

_LOSSY = "the case's frames went through a video codec, so the car saw other pixels: the car is not blamed"
_DIGITS = 3  # severities that agree in so many digits are equal: the earlier rung is named, not float noise


def explain(run: Run, verdict: Any = None) -> Explanation:
    """Say which step of the ladder moved the lines.

    Args:
        run: a finished run.
        verdict: what the gate found (a Verdict, or verdict.json): the limits it broke are explained too. None takes
            the run's own verdict.json where there is one.

    Raises:
        RunError: run.json describes no ladder.
        PolicyError: the verdict names a measure that there is not.
    """
    told = _as_json(verdict) if verdict is not None else run.verdict()
    stale = told is not None and (told.get("run") or {}).get("meta", {}).get("digest") != run.meta.get("digest")
    told = None if stale else told
    facts = read_facts(run.meta)
    tree = Tree(facts.rungs.values(), run.reference)
    scene = _Scene(run, facts, tree, differences_of(run.meta))
    numbers = Numbers(run, facts)
    broken = sorted(broken_limits(told, facts), key=lambda b: -scene.depth(b.breach.rung))
    findings: list[Finding] = []
    excused = 0
    for case in facts.cases.values():
        tables = CaseTables(run, facts, case.id)
        seen = [*events_of_case(tree, tables, run.reference), *steps_of_case(facts, tree, tables)]
        excused += tables.table("events").filter(~of_candidate()).height
        own = [b for b in broken if b.case == case.id]
        seen = with_limits(facts, tables, numbers, run.reference, seen, own)
        findings += _once(scene, [scene.explained(o, case) for o in seen])
    findings.sort(key=scene.order)
    return Explanation(
        run.reference,
        run.unit,
        tuple(findings),
        _suspects(tree, findings),
        tuple(n.name for n in tree.nodes.values() if n.status != "not_run"),
        tuple(words for step in scene.pipelines.values() for words in step),
        tuple(_notes(run, tree, excused, stale)),
        tree.unfinished(),
        {n.name: _stop(tree.stopped_at(n.name)) for n in tree.nodes.values() if n.status == "crashed"},
    )


def _stop(first: Node) -> Stop:
    happened = "crashed" if first.status == "crashed" else "was not run"
    return Stop(first.name, first.stage, f"{first.name} {happened}: {first.reason}")


def _as_json(verdict: Any) -> Mapping[str, Any]:
    found: Mapping[str, Any] = verdict.to_json() if hasattr(verdict, "to_json") else verdict
    return found


@dataclass(frozen=True)
class _Scene:
    """A run and its ladder."""

    run: Run
    facts: RunFacts
    tree: Tree
    pipelines: Pipelines

    def depth(self, rung: str) -> int:
        """Steps from the root."""
        return len(self.tree.path(rung)) if rung in self.tree.nodes else 0

    def order(self, finding: Finding) -> tuple[Any, ...]:
        """Worst first, required limits before others; then by place."""
        required = any(b.required for b in finding.breaches)
        place = (finding.case, finding.measure, finding.track or 0, finding.band or "")
        return (not required, -_rounded(finding.severity), self.depth(finding.rung), *place)

    def path(self, rung: str, reference: str) -> list[Node]:
        """From the rung that was compared with to this one; straight there where it is no ancestor."""
        whole = self.tree.path(rung)
        names = [n.name for n in whole]
        if reference in names:
            return whole[names.index(reference) :]
        return [self.tree.nodes[reference], self.tree.nodes[rung]] if reference in self.tree.nodes else whole

    def explained(self, seen: Observation, case: CaseFact) -> Finding:
        """A finding with its path; what is compared with a reference has size 0 there."""
        event, measure = seen.event, seen.measure
        rung, value, limit = str(event["rung"]), float(event["value"]), float(event["threshold"])
        path = self.path(rung, seen.reference)
        own = {rung: value}
        if measure.has_reference and path[0].name != rung:
            own[path[0].name] = measure.best if math.isfinite(measure.best) else math.nan

        def of(name: str) -> float:
            return own[name] if name in own else seen.sizes.get(name, math.nan)

        size = worse_by(measure, value, of(path[0].name)) if len(path) > 1 else value
        steps, before = [], of(path[0].name)
        for node in path[1:]:
            added = worse_by(measure, of(node.name), before)
            steps.append(
                Step(node.name, node.factors, node.stage, of(node.name), added, added / size if size else math.nan)
            )
            before = of(node.name)
        first = self._first(seen, path, of, value)
        alone = self._alone(seen, rung, of) if path[0] is self.tree.root else ()
        blame = self._blame(first, alone, seen, steps, of, case.lossy)
        return Finding(
            case=case.id,
            rung=rung,
            rungs=tuple(n for n in self.tree.nodes if n == rung or seen.has(n)),
            measure=measure.measured or measure.name,
            statistic=seen.statistic,
            track=event["track"],
            band=event["band"],
            frame=event["frame"],
            frame_start=event["frame_start"],
            frame_end=event["frame_end"],
            stretches=int(event["stretches"]),
            value=value,
            threshold=limit,
            unit=str(event["unit"]),
            reference=seen.reference,
            first=first.name,
            stage=blame.stage,
            factor=blame.factor,
            cause=cause_of(blame.factor, self.pipelines),
            steps=tuple(steps),
            alone=alone,
            interaction=self._interaction(rung, size, alone),
            severity=severity(measure, value, limit),
            breaches=tuple(seen.breaches),
            note=blame.note,
        )

    def _first(self, seen: Observation, path: Sequence[Node], of: Any, value: float) -> Node:
        """The first rung of the path at half its final size or more, whether or not it passes the limit there."""
        start = of(path[0].name)
        half = ALREADY_THERE * worse_by(seen.measure, value, start) if math.isfinite(start) else -math.inf
        for node in path if seen.has(path[0].name) else path[1:]:
            there = of(node.name)
            grown = worse_by(seen.measure, there, start) >= half if math.isfinite(start) else seen.has(node.name)
            if node.name == seen.event["rung"] or grown:
                return node
        return path[-1]

    def _alone(self, seen: Observation, rung: str, of: Any) -> tuple[Alone, ...]:
        found = [Alone(f, on, base, worse_by(seen.measure, of(on), of(base))) for f, on, base in self.tree.alone(rung)]
        out = [
            Alone(f, on, base, worse_by(seen.measure, of(on), of(base)), taken_out=True)
            for f, on, base in self.tree.without(rung)
        ]
        return (*found, *out)

    def _interaction(self, rung: str, size: float, alone: Sequence[Alone]) -> float:
        added = [a.value for a in alone if not a.taken_out]
        return size - math.fsum(added) if added and self.tree.shows_every_factor(rung) else math.nan

    def _blame(
        self, first: Node, alone: Sequence[Alone], seen: Observation, steps: Sequence[Step], of: Any, lossy: bool
    ) -> _Blame:
        if first.name == seen.reference or first is self.tree.root:
            return _Blame(None, None, "the reference has it itself")
        if len(first.factors) != 1:
            return _Blame(None, None, f"the step changes {' and '.join(first.factors) or 'no named factor'} at once")
        (factor,), stage = first.factors, first.stage
        if stage == "car" and lossy:
            return _Blame(None, None, _LOSSY)
        if factor == "preprocess":
            return self._which_step(alone, seen)
        return _Blame(stage, factor, self._together(factor, alone, seen, steps, first))

    def _which_step(self, alone: Sequence[Alone], seen: Observation) -> _Blame:
        """The single step that gives half of it alone; else the one without which it is gone."""
        half = ALREADY_THERE * abs(float(seen.event["value"]) - seen.measure.best)
        single = [a for a in alone if a.factor.startswith("preprocess:")]
        shown = _largest([a for a in single if not a.taken_out])
        if shown is not None and shown.value >= half:
            return _Blame("preprocess", shown.factor, "")
        gone = [a.factor for a in single if a.taken_out and a.value >= half]
        if len(gone) == 1:
            return _Blame("preprocess", gone[0], "gone where this step is as in train; alone it does not show")
        if gone:
            together = " and ".join(f.removeprefix("preprocess:") for f in gone)
            return _Blame("preprocess", "preprocess", f"only together: {together}; gone where any one is as in train")
        if not single:
            return _Blame("preprocess", "preprocess", "")
        return _Blame("preprocess", "preprocess", "no single preprocessing step shows it alone")

    def _together(
        self, factor: str, alone: Sequence[Alone], seen: Observation, steps: Sequence[Step], first: Node
    ) -> str:
        """What a factor that does little alone does it together with; empty where it does most of it alone."""
        own = next((a for a in alone if a.factor == factor and not a.taken_out), None)
        step = next((s for s in steps if s.rung == first.name), None)
        if own is None or step is None or not math.isfinite(own.value) or not math.isfinite(step.added):
            return ""
        if abs(own.value) >= ALREADY_THERE * abs(step.added):
            return ""
        before = [f for s in steps[: steps.index(step)] for f in s.factors]
        alone_text = size_of(abs(own.value), str(seen.event["unit"]))
        return f"alone it gives {alone_text}, the rest needs {listed(before)} too" if before else ""


@dataclass(frozen=True, slots=True)
class _Blame:
    stage: str | None
    factor: str | None
    note: str


def _largest(alone: Sequence[Alone]) -> Alone | None:
    return max((a for a in alone if a.value == a.value), key=lambda a: a.value, default=None)


def _rounded(value: float) -> float:
    return float(f"{value:.{_DIGITS}g}")


def _once(scene: _Scene, findings: Sequence[Finding]) -> list[Finding]:
    """Of those of one family that begin at one step in one place, the worst, with the rungs and limits of all.

    One against the root comes before one against the step's parent: it is what reaches the car.
    """
    root = scene.tree.root.name
    told: dict[tuple[object, ...], Finding] = {}
    for f in sorted(findings, key=lambda f: (f.reference != root, scene.order(f))):
        key = (f.case, kin_of(f.measure), f.track, f.band, f.first, f.statistic)
        if key not in told:
            told[key] = f
            continue
        kept = told[key]
        rungs = tuple(n for n in scene.tree.nodes if n in kept.rungs or n in f.rungs)
        told[key] = replace(kept, rungs=rungs, breaches=(*kept.breaches, *f.breaches))
    return list(told.values())


def _suspects(tree: Tree, findings: Sequence[Finding]) -> tuple[Suspect, ...]:
    """One for each step and factor blamed: a step may fail by different factors in different cases."""
    found = []
    for rung, stage, factor in dict.fromkeys((f.first, f.stage, f.factor) for f in findings):
        own = [f for f in findings if (f.first, f.stage, f.factor) == (rung, stage, factor)]
        found.append(
            Suspect(
                rung=rung,
                stage=stage,
                factors=tree.nodes[rung].factors,
                factor=factor,
                cause=own[0].cause,
                count=len(own),
                share=len(own) / len(findings),
                kinds=dict(Counter(f.measure for f in own).most_common()),
                cases=tuple(sorted({f.case for f in own})),
                worst=max(f.severity for f in own),
            )
        )
    return tuple(sorted(found, key=lambda s: (-s.count, -_rounded(s.worst), s.rung, s.factor or "")))


def _notes(run: Run, tree: Tree, excused: int, stale: bool) -> Iterator[str]:
    for node in tree.nodes.values():
        if node.status != "ok":
            yield f"{node.name}: {node.status.replace('_', ' ')}, {node.reason}"
    for warning in run.meta.get("warnings") or ():
        yield str(warning["text"] if isinstance(warning, Mapping) else warning)
    if stale:
        yield "verdict.json is of another run and was left out: judge this one by `trueline gate`"
    if excused:
        yield f"{excused} events over time are the reference's own or of both engines; nothing is blamed for them"
