"""What a comparison is made of. Plain data: `to_json` gives what `trueline compare --json` prints."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from harness.compare.network import NetworkChange
from harness.run.json import plain

__all__ = ["KINDS", "Answer", "Change", "Comparison", "MeasureRow", "Pairing"]

Kind = Literal["new", "worse", "better", "gone", "same"]
KINDS: tuple[Kind, ...] = ("new", "worse", "better", "gone", "same")

Answer = Literal["first", "second", "neither", "same", "unknown"]
"""Which of two runs is better. `neither`: each is in some measure; `unknown`: nothing is shown."""


@dataclass(frozen=True, slots=True)
class MeasureRow:
    """One measure over the common drives; positive differences are worse on the second run.

    Attributes:
        measure, label, unit: of the catalogue.
        first, second: median over drives of each drive's worst, in base units.
        pairs, better, worse, median, low, high, chance: of harness.gate.pairs.
        answer: which run is better by it; `unknown` where that is not shown.
    """

    measure: str
    label: str
    unit: str
    first: float
    second: float
    pairs: int
    better: int
    worse: int
    median: float
    low: float
    high: float
    chance: float
    answer: Answer = "unknown"


@dataclass(frozen=True, slots=True)
class Change:
    """A finding of either run: what became of it.

    Attributes:
        kind: in the second run: `new`, `worse`, `better`, `gone` or `same`.
        case, measure, label, band: where and what; findings of one measure and band of a case are one here.
        rung, frame: of the worst, in the run that has it worst.
        first, second: its size, empty where there is none.
        severity: of the worse side.
        cause: what it is blamed on, in the second run where that has it.
    """

    kind: Kind
    case: str
    measure: str
    label: str
    band: str | None
    rung: str
    frame: int | None
    first: str
    second: str
    severity: float
    cause: str


@dataclass(frozen=True)
class Pairing:
    """One run held against the first.

    Attributes:
        name: of the second run.
        answer: which is better, `first` or `second`, by all measures together.
        sentence: the same in words.
        cases: common cases; `only_first`, `only_second`, `changed` (another recording under the same id) are left out.
        drives: of the common cases.
        rungs: that both ran.
        measures: rows, those that say something first.
        changes: of findings, new ones first.
        differences: what the runs were made with that differs, as `GROUP: NAME OLD -> NEW`.
        verdicts: of the first and the second run by the policy; empty without one.
        network: layers and compiled plans beside one another, where both runs were looked at.
    """

    name: str
    answer: Answer
    sentence: str
    cases: tuple[str, ...]
    only_first: tuple[str, ...]
    only_second: tuple[str, ...]
    changed: tuple[str, ...]
    drives: int
    rungs: tuple[str, ...]
    measures: tuple[MeasureRow, ...]
    changes: tuple[Change, ...]
    differences: tuple[str, ...]
    verdicts: tuple[str, ...] = ()
    network: NetworkChange = field(default_factory=NetworkChange)

    @property
    def counts(self) -> dict[str, int]:
        """How many findings are new, worse, better, gone, same."""
        found = Counter[str](c.kind for c in self.changes)
        return {kind: found[kind] for kind in KINDS}


@dataclass(frozen=True)
class Comparison:
    """Runs held against the first of them.

    Attributes:
        names: of the runs, told apart.
        length_unit: of lengths.
        pairings: one for each further run.
        policy: name of the policy that judged them; empty without one.
        exit_code: of the last run's verdict; 0 without a policy.
    """

    names: tuple[str, ...]
    length_unit: str
    pairings: tuple[Pairing, ...]
    policy: str = ""
    exit_code: int = 0
    paths: tuple[str, ...] = field(default=())

    def to_json(self) -> dict[str, Any]:
        """Plain values; what is not a number becomes None."""
        document = asdict(self)
        for told, pairing in zip(document["pairings"], self.pairings, strict=True):
            told["counts"] = pairing.counts
        found: dict[str, Any] = plain(document)
        return found
