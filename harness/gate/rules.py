"""Judging one rule: per case, per rung, over all rungs.

`each` sets every case's number against the limit and infers nothing. `population` decides by one-sided bounds over
cases (harness.gate.population). Whatever could not be compared is NOT_RUN, never a pass.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from harness.gate.baseline import Baseline, Before
from harness.gate.batch_rows import moved_by_rows, rows_change_lines
from harness.gate.noise import Floors, refuse_kink_within_noise
from harness.gate.policy import Policy, Profile, Rule
from harness.gate.population import Drive, decide_rate, decide_share
from harness.gate.select import select_rungs, unasked
from harness.gate.verdict import CaseOutcome, LeftOut, RuleOutcome, RungOutcome, Status, worst_of
from harness.gate.view import Looked, RuleView, RunView
from harness.run.facts import CaseFact
from harness.run.statistic import Measured, Worst
from harness.run.units import ROUNDING, base_unit, exceeds, scale
from trueline._text import counted

__all__ = ["Scene", "judge_rules"]

_RATE_TOLERANCE = 0.02  # frame rates that differ by less are one


@dataclass(frozen=True)
class Scene:
    """All that rules are judged on.

    Attributes:
        candidate: the run to judge.
        policy: the policy.
        profile: the chosen profile, None to judge every rung of the run.
        reference: rung compared with unless a rule says otherwise.
        floors: noise floors of the run.
        baseline: what rules with `compare = "baseline"` compare with.
    """

    candidate: RunView
    policy: Policy
    profile: Profile | None
    reference: str
    floors: Floors
    baseline: Baseline | None = None


@dataclass(frozen=True)
class _Look:
    """A rule in its scene: what it sees of both runs, and the size of its limit's unit in base units."""

    rule: Rule
    scene: Scene
    unit_size: float
    seen: RuleView
    before: Before | None

    def show(self, value: float) -> str:
        """A number with the limit's unit, in three digits; in more where three would read as the limit."""
        limit = self.rule.limit
        told = (replace(limit, value=float(f"{value:.{digits}g}")) for digits in range(3, 10))
        same = math.isclose(value, limit.value, rel_tol=ROUNDING)
        return str(next((t for t in told if same or t.value != limit.value), replace(limit, value=value)))


def judge_rules(scene: Scene) -> list[RuleOutcome | LeftOut]:
    """What each rule of the policy finds, in its order; the tables of both runs are read once for all rules.

    Raises:
        UnitMismatch: the limit's unit does not fit the run's lengths.
        PolicyError: a limit on kink is within the noise floor.
    """
    facts = scene.candidate.facts
    rungs = {r.id: select_rungs(r, scene.profile, facts.rungs, scene.reference) for r in scene.policy.rules}
    left = {r.id: reason for r in scene.policy.rules if (reason := _why_left_out(r, scene, rungs[r.id]))}
    judged = [r for r in scene.policy.rules if r.id not in left]
    looks = {look.rule.id: look for look in _looks(scene, [(r, _references_of(r, rungs[r.id], scene)) for r in judged])}
    return [
        LeftOut(r.id, left[r.id], r.required) if r.id in left else _judge_rule(looks[r.id]) for r in scene.policy.rules
    ]


def _why_left_out(rule: Rule, scene: Scene, rungs: tuple[str, ...]) -> str:
    """Why a rule is not judged; empty where it is."""
    if reason := unasked(rule, scene.candidate, scene.baseline is not None):
        return reason
    if rungs or scene.profile is None:
        return ""
    return f"the profile expects {', '.join(scene.profile.rungs)}, none matches {rule.rung!r}"


def _judge_rule(look: _Look) -> RuleOutcome:
    rule, scene, rungs = look.rule, look.scene, tuple(look.seen.references)
    for rung in rungs:
        limit_rad, lengths = rule.limit.value * look.unit_size, scene.candidate.facts.grid.thresholds.kink_length
        refuse_kink_within_noise(rule, limit_rad, scene.floors, rung, look.seen.references[rung], lengths)
    outcomes = tuple(_judge_rung(look, rung) for rung in rungs)
    status = worst_of(r.status for r in outcomes)
    reason = next((f"{r.rung}: {r.reason}" for r in outcomes if r.status is status), f"no rung matches {rule.rung!r}")
    return RuleOutcome(
        id=rule.id,
        metric=rule.metric,
        statistic=rule.statistic,
        pattern=rule.rung,
        band=rule.band,
        output=rule.output,
        scope=rule.scope,
        compare=rule.compare,
        required=rule.required,
        higher_is_worse=rule.higher_is_worse,
        limit=str(rule.limit),
        limit_value=rule.limit.value,
        unit=rule.limit.unit,
        note=rule.note,
        status=status,
        rungs=outcomes,
        reason=reason,
        hold_s=rule.hold_s,
    )


def _looks(scene: Scene, rules: list[Looked]) -> list[_Look]:
    """Rules in their scene, in their order."""
    share = scene.policy.min_frames_share
    sizes = [_unit_size(rule, scene) for rule, _ in rules]
    compared = [(rule, references) for rule, references in rules if rule.compare == "baseline"]
    found = scene.baseline.under(compared, share) if scene.baseline is not None else []
    before = {rule.id: one for (rule, _), one in zip(compared, found, strict=False)}
    return [
        _Look(rule, scene, size, seen, before.get(rule.id))
        for (rule, _), size, seen in zip(rules, sizes, scene.candidate.under(rules, share), strict=True)
    ]


def _unit_size(rule: Rule, scene: Scene) -> float:
    facts, where = scene.candidate.facts, f"rule {rule.id!r}, limit"
    return scale(rule.limit.unit, run_unit=facts.length_unit, image_px=facts.grid.size_px, where=where)


def _references_of(rule: Rule, rungs: tuple[str, ...], scene: Scene) -> dict[str, str]:
    """The rung that each rung is compared with."""
    return {rung: _reference_of(rule, rung, scene) for rung in rungs}


def _reference_of(rule: Rule, rung: str, scene: Scene) -> str:
    if rule.reference != "parent":
        return rule.reference or scene.reference
    fact = scene.candidate.facts.rungs.get(rung)
    return (fact.parent if fact is not None else None) or scene.reference


def _judge_rung(look: _Look, rung: str) -> RungOutcome:
    rule, stopped = look.rule, look.seen.stopped(rung)
    reference = look.seen.references[rung] if rule.spec.has_reference else None
    about = look.seen.cases()
    telling = [case for case in about if not look.seen.cannot_tell(rung, case.id)]
    cases = tuple(_judge_case(look, rung, case) for case in telling) + _dropped(look)
    if about and not cases:
        return RungOutcome(rung, reference, Status.NOT_RUN, f"no case can tell {rule.metric}: too little moves")
    if stopped is not None:
        return RungOutcome(rung, reference, *stopped, cases)
    if not cases:
        return RungOutcome(rung, reference, Status.NOT_RUN, "the run has no case that the rule is about")
    if rule.scope == "each":
        return _each(look, rung, reference, cases)
    return _population(look, rung, reference, cases)


def _judge_case(look: _Look, rung: str, case: CaseFact) -> CaseOutcome:
    """One case by itself: what kept it from being judged, else its number against the limit."""
    found = look.seen.number(rung, case.id)
    worst, unit = _shown_worst(look, found.worst)
    outcome = CaseOutcome(case.id, Status.PASS, found.value / look.unit_size, found.compared, "", worst, unit)
    trouble = look.seen.stopped(rung) or look.seen.trouble(rung, case)
    if trouble is not None:
        return replace(outcome, status=trouble[0], reason=trouble[1])
    if look.rule.compare == "baseline":
        return _answered(_against_baseline(look, rung, case, outcome), found)
    return _answered(_against_limit(look, rung, case, outcome), found)


def _answered(outcome: CaseOutcome, found: Measured) -> CaseOutcome:
    """A limit that is broken is broken; one that holds on a part of what it is about has not been held."""
    if outcome.status is not Status.PASS or not found.unanswered:
        return outcome
    return replace(outcome, status=Status.NOT_RUN, reason=found.unanswered)


def _against_limit(look: _Look, rung: str, case: CaseFact, outcome: CaseOutcome) -> CaseOutcome:
    rule, limit, value = look.rule, look.rule.limit.value, outcome.value
    if noisy := _too_noisy(look, rung, abs(limit - rule.spec.best / look.unit_size)):
        return replace(outcome, status=Status.INCONCLUSIVE, reason=noisy)
    violated = exceeds(value, limit) if rule.higher_is_worse else exceeds(limit, value)
    sign = {(True, True): ">", (True, False): "<=", (False, True): "<", (False, False): ">="}
    reason = f"{look.show(value)} {sign[rule.higher_is_worse, violated]} {look.show(limit)}"
    if violated and case.lossy and look.scene.candidate.facts.rungs[rung].car:
        reason += "; the case went through a video codec, so its input is not the car's"
        return replace(outcome, status=Status.INCONCLUSIVE, reason=reason)
    if not violated and (mixed := _rows_mixed(look, rung, abs(limit - rule.spec.best / look.unit_size))):
        return replace(outcome, status=Status.INCONCLUSIVE, reason=f"{reason}, but {mixed}")
    return replace(outcome, status=Status.FAIL if violated else Status.PASS, reason=reason)


def _rows_mixed(look: _Look, rung: str, slack: float) -> str:
    """Why rows of a batch drown the limit; empty if they do not. `slack` is in the rule's unit."""
    facts, rungs = look.scene.candidate.facts, (rung, look.seen.references[rung])
    advice = "replay without --batch"
    if look.rule.spec.name in ("missing", "extra") and (engine := rows_change_lines(facts, rungs)):
        return f"frames have other lines in a batch of {engine} than alone; {advice}"
    if look.rule.question.quantity != look.rule.spec.quantity:
        return ""  # it counts something
    size, engine = moved_by_rows(facts, look.rule, rungs)
    if not exceeds(size / look.unit_size, slack):
        return ""
    return f"rows of a batch of {engine} are {look.show(size / look.unit_size)} off the frames alone; {advice}"


def _too_noisy(look: _Look, rung: str, slack: float) -> str:
    """Why the noise floor drowns the limit; empty if it does not, or is not known. `slack` is in the rule's unit."""
    factor = look.scene.policy.noise_factor
    floor = look.scene.floors.of_rule(look.rule, rung, look.seen.references[rung])
    noise = factor * floor.value / look.unit_size if floor is not None else 0.0
    if floor is None or not exceeds(noise, slack):
        return ""
    whose = "its noise floor" if rung.endswith(f"/{floor.engine}") else f"the noise floor of {floor.engine}"
    return f"engine too noisy: {factor:g} x {whose} is {look.show(noise)}, the limit leaves {look.show(slack)}"


def _against_baseline(look: _Look, rung: str, case: CaseFact, outcome: CaseOutcome) -> CaseOutcome:
    """Pair a case with the baseline's; the status says whether it alone worsened by more than the margin."""
    rule = look.rule
    if noisy := _too_noisy(look, rung, abs(rule.limit.value)):
        return replace(outcome, status=Status.INCONCLUSIVE, reason=noisy)
    if problem := _unpaired(look.before, rung, case):
        return replace(outcome, status=Status.NOT_RUN, reason=problem)
    assert look.before is not None  # _unpaired saw to it
    before = look.before.number(rung, case.id).value / look.unit_size
    worsening = (outcome.value - before) * (1 if rule.higher_is_worse else -1)
    status = Status.FAIL if exceeds(worsening, rule.limit.value) else Status.PASS
    reason = f"{look.show(before)} -> {look.show(outcome.value)}, worse by {look.show(worsening)}"
    if status is Status.PASS and (mixed := _rows_mixed(look, rung, abs(rule.limit.value))):
        status, reason = Status.INCONCLUSIVE, f"{reason}, but {mixed}"
    return replace(outcome, status=status, reason=reason, baseline=before)


def _unpaired(before: Before | None, rung: str, case: CaseFact) -> str:
    """Why a case cannot be paired with the baseline; empty if it can."""
    if before is None:
        return "no baseline was given"
    twin = before.twin(case.id)
    if twin is None:
        return "the baseline does not have this case"
    if (twin.digest, twin.fps) != (case.digest, case.fps):
        return "the baseline saw another recording under this id"
    why = before.absent(rung, twin)
    return f"in the baseline, {why}" if why else ""


def _dropped(look: _Look) -> tuple[CaseOutcome, ...]:
    """Cases of the baseline that the candidate's run lacks: leaving out a hard case is no improvement."""
    if look.before is None:
        return ()
    present = look.scene.candidate.facts.cases
    reason = "the baseline has this case, the run does not"
    return tuple(CaseOutcome(c, Status.NOT_RUN, reason=reason) for c in look.before.ids() if c not in present)


def _each(look: _Look, rung: str, reference: str | None, cases: tuple[CaseOutcome, ...]) -> RungOutcome:
    status = worst_of(c.status for c in cases)
    chosen = [c for c in cases if c.status is status]
    worst = max(chosen, key=lambda c: _badness(look.rule, c))
    place = f" at {worst.worst}" if status is Status.FAIL and worst.worst is not None else ""
    every = counted(len(cases), "case")
    if len(cases) == 1:
        count = "the only case"
    else:
        count = f"worst of {every}" if status is Status.PASS else f"{len(chosen)} of {every}"
    return RungOutcome(rung, reference, status, f"case {worst.case}: {worst.reason}{place} ({count})", cases)


def _badness(rule: Rule, case: CaseOutcome) -> float:
    """Grows with how bad a case is: with its number, or with how much worse than the baseline it is."""
    value = case.value - (case.baseline or 0.0) if rule.compare == "baseline" else case.value
    if math.isnan(value):
        return -math.inf
    return value if rule.higher_is_worse else -value


def _population(look: _Look, rung: str, reference: str | None, cases: tuple[CaseOutcome, ...]) -> RungOutcome:
    """Bounds over the cases that have a number; the others keep the rung from passing."""
    rule = look.rule
    judged = [c for c in cases if c.status in (Status.PASS, Status.FAIL)]
    others = [c for c in cases if c.status not in (Status.PASS, Status.FAIL)]
    if rule.spec.per_rate and not _equal(rates := _frame_rates(look, judged)):
        told = " to ".join(f"{rate:g}" for rate in (rates[0], rates[-1]))
        reason = f"{rule.metric} is comparable only at equal frame rates, the cases have {told} frames/s"
        return RungOutcome(rung, reference, Status.NOT_RUN, reason, cases)
    if others and not judged:
        first = _first(others)
        return RungOutcome(rung, reference, first.status, f"no case has a number, {first.case}: {first.reason}", cases)
    if rule.statistic == "episodes_per_h":
        decided = decide_rate(rule, _drives(look, rung, judged), 60 * rule.limit.value * look.unit_size)
    else:
        violated = _violated(look, judged)
        noun = "cases" if len(violated) == len(judged) else "drives"
        decided = decide_share(rule, sum(violated.values()), len(violated), noun, _mean_worsening(look, judged))
    status = worst_of([decided.status, *(c.status for c in others)])
    reason = decided.reason
    if others:
        first = _first(others)
        reason = (
            f"{len(others)} of {counted(len(cases), 'case')} without a number, {first.case}: {first.reason}; {reason}"
        )
    return RungOutcome(rung, reference, status, reason, cases, decided.statistics)


def _violated(look: _Look, cases: list[CaseOutcome]) -> dict[str, bool]:
    """Drive -> whether any of its cases violates the rule: clips of one drive resemble each other and count as one."""
    found: dict[str, bool] = {}
    for outcome in cases:
        drive = look.scene.candidate.facts.cases[outcome.case].drive
        found[drive] = found.get(drive, False) or outcome.status is Status.FAIL
    return found


def _mean_worsening(look: _Look, cases: list[CaseOutcome]) -> str:
    """How much worse than the baseline cases are in the mean; empty where nothing is compared with one."""
    if look.rule.compare != "baseline" or not cases:
        return ""
    sign = 1 if look.rule.higher_is_worse else -1
    return look.show(sign * sum(c.value - (c.baseline or 0.0) for c in cases) / len(cases))


def _drives(look: _Look, rung: str, cases: list[CaseOutcome]) -> list[Drive]:
    """Episodes and hours of every drive."""
    drives: dict[str, Drive] = {}
    for outcome in cases:
        case = look.scene.candidate.facts.cases[outcome.case]
        drive = drives.setdefault(case.drive, Drive())
        hours = look.seen.frames(rung, case) / case.fps / 3600
        drive.episodes += round(60 * outcome.value * look.unit_size * hours)
        drive.hours += hours
    return list(drives.values())


def _first(cases: list[CaseOutcome]) -> CaseOutcome:
    """The first of those with the worst status."""
    return min(cases, key=lambda c: list(Status).index(c.status))


def _frame_rates(look: _Look, cases: list[CaseOutcome]) -> list[float]:
    return sorted({look.scene.candidate.facts.cases[c.case].fps for c in cases})


def _equal(rates: list[float]) -> bool:
    return not rates or rates[-1] <= rates[0] * (1 + _RATE_TOLERANCE)


def _shown_worst(look: _Look, worst: Worst | None) -> tuple[Worst | None, str]:
    """The worst row in the limit's unit, or in the metric's own where the limit counts something."""
    if worst is None:
        return None, ""
    spec = look.rule.spec
    if look.rule.question.quantity == spec.quantity:
        return replace(worst, value=worst.value / look.unit_size), look.rule.limit.unit
    return worst, base_unit(spec.quantity, look.scene.candidate.facts.length_unit)
