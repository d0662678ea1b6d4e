"""The noise floor as the gate uses it: how far an engine is from itself (harness/measures/floor.py), rung by rung.

A difference between two rungs holds the noise of both, so the floor of a rule on a rung is the larger of the floors of
its engine and of the engine it is compared with. The pipeline does not matter: probes run under one only.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import polars as pl

from harness.errors import PolicyError
from harness.gate.policy import Rule
from harness.run.facts import RunLike
from harness.run.rungs import engine_of
from harness.run.tables import BANDS

__all__ = ["Floor", "Floors", "refuse_kink_within_noise"]

KINK_SIGMAS = 4.0  # white noise turns a line by more than this at one station in 16,000


@dataclass(frozen=True, slots=True)
class Floor:
    """A noise floor in base units, the engine that has it, and the band it is of (None: of no band)."""

    value: float
    engine: str
    band: str | None = None


@dataclass(frozen=True)
class Floors:
    """Noise floors of a run; `rungs` maps rung -> (metric, band) -> the largest value of any case and probe."""

    rungs: Mapping[str, Mapping[tuple[str, str | None], float]] = field(default_factory=dict)

    @classmethod
    def of(cls, run: RunLike) -> Floors:
        """Those in the run's table; none where it was replayed without --floor."""
        largest = run.table("floors").group_by("rung", "metric", "band").agg(pl.col("value").max()).collect()
        found: dict[str, dict[tuple[str, str | None], float]] = {}
        for rung, metric, band, value in largest.sort("rung", "metric", "band").iter_rows():
            found.setdefault(rung, {})[metric, band] = value
        return cls(found)

    def of_engines(self, metric: str, bands: Sequence[str], *rungs: str) -> Floor | None:
        """The largest floor that the engines of these rungs have in a metric; None where none was measured.

        Args:
            metric: as the floors table names it.
            bands: only these bands; all where empty. A floor of no band always counts.
            rungs: names; an engine's floor is the same under every pipeline.
        """
        engines = {engine_of(rung) for rung in rungs}
        fitting = [
            Floor(value, engine_of(rung), band)
            for rung, floors in self.rungs.items()
            for (name, band), value in floors.items()
            if engine_of(rung) in engines and name == metric and (not bands or band is None or band in bands)
        ]
        return max(fitting, key=lambda f: f.value, default=None)

    def of_rule(self, rule: Rule, rung: str, reference: str) -> Floor | None:
        """What a rule on a rung is up against; None where nothing was measured or the rule counts."""
        if not rule.question.in_measure_unit or not rule.spec.noise:
            return None
        rungs = (rung, reference) if rule.spec.has_reference else (rung,)
        return self.of_engines(rule.spec.noise, rule.band, *rungs)

    def to_json(self) -> dict[str, dict[str, float]]:
        """rung -> metric -> largest floor of any band."""
        return {
            rung: {metric: max(v for (name, _), v in floors.items() if name == metric) for metric, _ in floors}
            for rung, floors in self.rungs.items()
        }


def refuse_kink_within_noise(
    rule: Rule, limit_rad: float, floors: Floors, rung: str, reference: str, lengths: Sequence[float]
) -> None:
    """Refuse a limit on kink that white noise along the line reaches by itself: below 4 sqrt(6) sigma / L.

    sigma is the floor of `bend_rms`, the noise along the line: like kink it is blind to a line that moves or turns as a
    whole. L is the length a kink is measured over, by band. Nothing is refused where no floor was measured.

    Raises:
        PolicyError: the limit is below it in a band that the rule looks at.
    """
    if rule.spec.kin != "kink" or not rule.question.in_measure_unit or rule.compare != "limit":
        return
    for band, length in zip(BANDS, lengths, strict=False):
        floor = floors.of_engines("bend_rms", (band,), rung, reference) if not rule.band or band in rule.band else None
        if floor is None or length <= 0:
            continue
        least = KINK_SIGMAS * math.sqrt(6) * floor.value / length
        if limit_rad < least * (1 - 1e-9):
            enough = f"{math.ceil(100 * math.degrees(least)) / 100:g} deg"
            raise PolicyError(
                f"a limit of {rule.limit} is within the noise of {floor.engine}: 4 sqrt(6) sigma / L is "
                f"{enough} in the {band} band (sigma {floor.value:.3g}, L {length:g})",
                where=f"rule {rule.id!r}, rung {rung}",
                remedy=f"allow {enough} or more, leave the band out, or quiet the engine",
            )
