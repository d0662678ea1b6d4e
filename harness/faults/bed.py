"""The test bed: replay a model with a fault planted, explain the run, and compare with what was planted.

A fault is *caught* where the metric that it must move is over its limit in some case, *blamed* where the explanation
puts more findings on its true stage than on any other. A control is *flagged* where there is any finding at all.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from harness.errors import FaultError
from harness.faults.car import CAR, with_car
from harness.faults.protocol import Control, Fault, Plant
from harness.gate import judge
from harness.gate.default import policy_of
from harness.gate.policy import Rule
from harness.ladder import Explanation, Finding, explain
from harness.model.card import DEFAULT_CACHE, Card
from harness.replay.hooks import Hooks
from harness.replay.replay import DEFAULT_ENGINES, replay
from harness.run.catalogue import kin_of

__all__ = ["Outcome", "TestBed"]


@dataclass(frozen=True)
class Outcome:
    """What became of one fault or control.

    Attributes:
        name: of the fault or control.
        stage: the fault's true stage, None for a control.
        planted: false where the model has no place for it, `refused` says why.
        caught: the metric that it must move is over its limit (for a control: anything is).
        blamed: the stage with most findings, None where there is none alone.
        factor: the factor most of that stage's findings are blamed on.
        effect: the worst finding of that metric as a multiple of its limit; 0 where there is none.
        explanation: of the run, None where nothing was planted.
        refused: why it could not be planted.
    """

    name: str
    stage: str | None
    planted: bool
    caught: bool = False
    blamed: str | None = None
    factor: str | None = None
    effect: float = 0.0
    explanation: Explanation | None = None
    refused: str = ""

    @property
    def right(self) -> bool:
        """A fault caught and blamed on its stage; a control that nothing was found in."""
        return not self.caught if self.stage is None else self.caught and self.blamed == self.stage


@dataclass(frozen=True)
class TestBed:
    """Where faults are planted.

    Attributes:
        card: the model.
        cases: case folders.
        out: a folder for runs and files; one run each.
        limits: rules that a clean chain keeps, besides the finding thresholds.
        engines: engines under every pipeline; the virtual car comes on top.
        cache: of exports.
    """

    card: Card
    cases: Sequence[Path]
    out: Path
    limits: Sequence[Rule] = ()
    engines: Sequence[str] = DEFAULT_ENGINES
    cache: Path = field(default=DEFAULT_CACHE)

    __test__ = False  # not a test class, whatever its name looks like to a collector

    def try_fault(self, fault: Fault) -> Outcome:
        """Plant a fault, replay, explain."""
        try:
            explanation = self._run(fault.name, fault.plant)
        except FaultError as error:
            return Outcome(fault.name, fault.stage, False, refused=f"{error.what}; {error.remedy}")
        moved = [a for a in explanation.findings if kin_of(a.measure) == kin_of(fault.moves)]
        blamed, factor = _blamed(explanation.findings)
        effect = max((a.severity for a in moved), default=0.0)
        return Outcome(fault.name, fault.stage, True, bool(moved), blamed, factor, effect, explanation)

    def try_control(self, control: Control) -> Outcome:
        """Make a harmless change, replay, explain."""
        try:
            explanation = self._run(control.name, control.plant)
        except FaultError as error:
            return Outcome(control.name, None, False, refused=f"{error.what}; {error.remedy}")
        blamed, factor = _blamed(explanation.findings)
        effect = max((a.severity for a in explanation.findings), default=0.0)
        return Outcome(control.name, None, True, bool(explanation.findings), blamed, factor, effect, explanation)

    def _run(self, name: str, plant: Plant) -> Explanation:
        folder = self.out / name
        planted = plant(self.card, folder)
        run = replay(
            planted.card,
            self.cases,
            engines=(*self.engines, CAR),
            out=folder / "run",
            hooks=Hooks(with_car(planted.hooks.open_engine, planted.car)),
            cache=self.cache,
            settings={"planted": name},
        )
        verdict = judge(run, policy_of(self.limits, "bed")) if self.limits else None
        return explain(run, verdict)


def _blamed(findings: Sequence[Finding]) -> tuple[str | None, str | None]:
    """The stage and the factor with most findings."""
    if not findings:
        return None, None
    stage = Counter(a.stage for a in findings).most_common(1)[0][0]
    return stage, Counter(a.factor for a in findings if a.stage == stage).most_common(1)[0][0]
