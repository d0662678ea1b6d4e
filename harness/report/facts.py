"""What the report reads of run.json, with every key optional that a report can do without."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, cast

from harness.errors import ReportError
from harness.model.grid import Grid, grid_from_json
from harness.run.tables import BANDS

__all__ = ["CaseFacts", "RunFacts", "RungFacts", "band_of_station", "limit_of", "read_facts"]

Status = Literal["ok", "not_run", "crashed"]


@dataclass(frozen=True, slots=True)
class RungFacts:
    """One rung: where it hangs in the ladder and how its replay ended."""

    name: str
    parent: str | None
    factors: tuple[str, ...]
    status: Status
    reason: str
    provenance: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class CaseFacts:
    """One case; `path` is the folder it was read from, which may be gone."""

    id: str
    path: str
    frames: int
    fps: float
    lossy: bool
    tags: tuple[str, ...]

    @property
    def seconds(self) -> float:
        """Length of the case."""
        return self.frames / self.fps if self.fps > 0 else 0.0


@dataclass(frozen=True)
class RunFacts:
    """run.json as the report reads it; rungs stand with parents before children."""

    model: str
    unit: str
    reference: str
    rungs: tuple[RungFacts, ...]
    cases: tuple[CaseFacts, ...]
    grid: Grid
    meta: Mapping[str, Any]

    @property
    def ladder(self) -> list[str]:
        """Names of the rungs."""
        return [r.name for r in self.rungs]


def read_facts(meta: Mapping[str, Any]) -> RunFacts:
    """Read run.json.

    Raises:
        ReportError: card, rungs, cases or reference are missing.
    """
    try:
        card = meta["card"]
        rungs = tuple(_rung(r) for r in meta["rungs"])
        return RunFacts(
            model=str(card.get("name", "model")),
            unit=str(card["length_unit"]),
            reference=str(meta["reference"]),
            rungs=_parents_first(rungs),
            cases=tuple(_case(c) for c in meta["cases"]),
            grid=grid_from_json(card["grid"]),
            meta=meta,
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ReportError(
            f"run.json lacks what a report needs: {error!r}", where="run.json", remedy="replay again into a new folder"
        ) from error


def _rung(raw: Mapping[str, Any]) -> RungFacts:
    return RungFacts(
        str(raw["name"]),
        raw.get("parent"),
        tuple(raw.get("factors", ())),
        cast(Status, str(raw.get("status", "ok"))),
        str(raw.get("reason") or ""),
        raw.get("provenance", {}),
    )


def _case(raw: Mapping[str, Any]) -> CaseFacts:
    return CaseFacts(
        str(raw["id"]),
        str(raw.get("path", "")),
        int(raw.get("frames", 0)),
        float(raw.get("fps") or 0.0),
        bool(raw.get("lossy", False)),
        tuple(str(t) for t in raw.get("tags", ())),
    )


def limit_of(grid: Grid, name: str, band: str = BANDS[0]) -> float | None:
    """Threshold `name` of a grid (`bend`, `kink_rad`, `swing`) in a band; None where there is none of that name."""
    value = getattr(grid.thresholds, name, None)
    if isinstance(value, tuple):
        value = value[BANDS.index(band)] if band in BANDS else None
    return None if value is None else float(value)


def band_of_station(grid: Grid, station: float) -> str:
    """The band whose look-ahead station this is."""
    return BANDS[min(range(3), key=lambda i: abs(grid.look_ahead[i] - station))]


def _parents_first(rungs: tuple[RungFacts, ...]) -> tuple[RungFacts, ...]:
    """Depth first along the ladder; a rung whose parent is unknown stands where it was."""
    names = {r.name for r in rungs}
    children: dict[str | None, list[RungFacts]] = {}
    for rung in rungs:
        children.setdefault(rung.parent if rung.parent in names else None, []).append(rung)
    ordered: list[RungFacts] = []

    def visit(rung: RungFacts) -> None:
        if rung not in ordered:
            ordered.append(rung)
            for child in children.get(rung.name, ()):
                visit(child)

    for root in children.get(None, ()):
        visit(root)
    return tuple(ordered) + tuple(r for r in rungs if r not in ordered)
