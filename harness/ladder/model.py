"""What an explanation is made of. Plain data: `to_json` gives what `trueline explain --json` prints."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

__all__ = ["Alone", "Anomaly", "Explanation", "Step", "Suspect"]


@dataclass(frozen=True, slots=True)
class Step:
    """One rung on the way from the reference to the rung of an anomaly, and what its step added.

    Attributes:
        rung: the rung the step leads to.
        factors: in what it differs from the rung before.
        stage: stage of its factor; None where it changes several.
        value: size of the anomaly there, NaN where it could not be measured.
        added: its value minus that of the rung before, NaN where either is unknown.
        share: `added` divided by the anomaly's final size; negative where the step makes it smaller. The shares of a
            path add up to one only where every rung on it could be measured.
    """

    rung: str
    factors: tuple[str, ...]
    stage: str | None
    value: float
    added: float
    share: float


@dataclass(frozen=True, slots=True)
class Alone:
    """One factor by itself on the reference: size of the anomaly on `rung` minus that on `base`."""

    factor: str
    rung: str
    base: str
    value: float


@dataclass(frozen=True, slots=True)
class Anomaly:
    """The worst event of one kind on one line and band of a case, or a limit breached, and how it came about.

    Attributes:
        case: id of the case.
        rung: the last rung of the path that has it; of several branches of the ladder the one where it is worst.
        kind: kind of event, or `METRIC STATISTIC` of a limit.
        track: line, None where it is not of one line.
        band: near, mid, far; None where it is not of one band.
        frame_start, frame_end: frames of the worst event, both included; None for a limit.
        events: how many events of this kind, line and band the rung has.
        value: size of the worst, in `unit`.
        threshold: from where on it is one.
        unit: of value and threshold.
        first: the first rung of the path that has it: at the threshold, and at half its final size at least.
        stage: the stage to blame; None where there is none to blame alone, `note` says why.
        factor: the factor to blame, one preprocessing step where a single one shows it.
        steps: the path.
        alone: the path's factors by themselves on the reference, as far as the run has the rungs.
        interaction: final size minus the sum of `alone`; NaN where a factor was not measured alone.
        note: what qualifies the blame, in words.
    """

    case: str
    rung: str
    kind: str
    track: int | None
    band: str | None
    frame_start: int | None
    frame_end: int | None
    events: int
    value: float
    threshold: float
    unit: str
    first: str | None
    stage: str | None
    factor: str | None
    steps: tuple[Step, ...]
    alone: tuple[Alone, ...]
    interaction: float
    note: str = ""

    @property
    def severity(self) -> float:
        """How many times its threshold it is; by this anomalies are sorted."""
        return self.value / self.threshold if self.threshold > 0 else math.inf


@dataclass(frozen=True, slots=True)
class Suspect:
    """One step of the ladder and one factor of it, with all they are blamed for.

    Attributes:
        rung: the rung where the anomalies first appear.
        stage: as `Anomaly.stage`.
        factors: in what the rung differs from its parent.
        factor: as `Anomaly.factor`.
        count: anomalies that begin there.
        share: count divided by all anomalies.
        kinds: kind -> number of anomalies.
        cases: cases they are in.
        worst: severity of the worst.
    """

    rung: str
    stage: str | None
    factors: tuple[str, ...]
    factor: str | None
    count: int
    share: float
    kinds: dict[str, int]
    cases: tuple[str, ...]
    worst: float


@dataclass(frozen=True)
class Explanation:
    """What `explain` says of a run: anomalies, worst first, and the steps they are blamed on, most blamed first.

    Attributes:
        reference: the root of the ladder.
        unit: of lengths.
        anomalies: worst first.
        suspects: steps that anomalies begin at.
        rungs: rungs that were looked at, root first.
        notes: what could not be looked at and why; and what was left out.
    """

    reference: str
    unit: str
    anomalies: tuple[Anomaly, ...]
    suspects: tuple[Suspect, ...]
    rungs: tuple[str, ...]
    notes: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Plain values; NaN becomes None. `steps` sums the suspects by rung: count and share."""
        document = asdict(self)
        document["steps"] = {
            rung: {
                "count": sum(s.count for s in self.suspects if s.rung == rung),
                "share": sum(s.share for s in self.suspects if s.rung == rung),
            }
            for rung in dict.fromkeys(s.rung for s in self.suspects)
        }
        found: dict[str, Any] = _plain(document)
        return found


def _plain(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, dict):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    return value
