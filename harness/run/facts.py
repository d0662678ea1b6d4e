"""What run.json says of a run, read once: model, rungs, cases. Gate, ladder and report ask here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol, cast, get_args

import polars as pl

from engines.registry import family
from harness.errors import RunError
from harness.model.grid import Grid, grid_from_json
from harness.run.rungs import engine_of

__all__ = ["CaseFact", "RunFacts", "RunLike", "RungFact", "RungStatus", "read_facts"]

RungStatus = Literal["ok", "not_run", "crashed"]


class RunLike(Protocol):
    """A run as it is asked; `harness.run.folder.Run` is one, tests make theirs in memory."""

    @property
    def meta(self) -> Mapping[str, Any]:
        """What run.json says."""
        ...

    def table(self, name: str) -> pl.LazyFrame:
        """One table of harness.run.tables.TABLES, lazily."""
        ...


@dataclass(frozen=True, slots=True)
class RungFact:
    """Where a rung hangs in the ladder and how its replay ended.

    Attributes:
        name: `PREPROCESS/ENGINE`.
        parent: the rung it hangs under; None for the reference.
        status: how its replay ended, and `reason` why.
        factors: in what it differs from its parent.
        provenance: of its engine.
    """

    name: str
    parent: str | None
    status: RungStatus
    reason: str = ""
    factors: tuple[str, ...] = ()
    provenance: Mapping[str, Any] | None = None

    @property
    def preprocess(self) -> str:
        """Its pipeline."""
        return self.name.partition("/")[0]

    @property
    def engine(self) -> str:
        """Its engine."""
        return engine_of(self.name)

    @property
    def car(self) -> bool:
        """Whether the car itself ran the model."""
        return "car" in self.factors or family(self.engine) == "recorded"


@dataclass(frozen=True, slots=True)
class CaseFact:
    """Length, rate and tags of a case.

    Attributes:
        drive: the drive it is a clip of; itself where case.toml names none.
        digest: tells whether two runs saw the same recording.
        path: the folder it was read from, which may be gone.
    """

    id: str
    frames: int
    fps: float
    tags: tuple[str, ...] = ()
    lossy: bool = False
    digest: str = ""
    path: str = ""
    drive: str = ""

    @property
    def seconds(self) -> float:
        """Length; 0 where the frame rate is not known."""
        return self.frames / self.fps if self.fps > 0 else 0.0


@dataclass(frozen=True)
class RunFacts:
    """run.json, read once; rungs stand with parents before children."""

    model: str
    length_unit: str
    reference: str
    rungs: Mapping[str, RungFact]
    cases: Mapping[str, CaseFact]
    grid: Grid
    meta: Mapping[str, Any]

    @property
    def ladder(self) -> list[str]:
        """Names of the rungs, parents before children."""
        return list(self.rungs)


def read_facts(meta: Mapping[str, Any]) -> RunFacts:
    """Read the facts out of run.json.

    Raises:
        RunError: a key that every run has is missing or has another type.
    """
    try:
        card = meta["card"]
        return RunFacts(
            model=str(card.get("name", "model")),
            length_unit=str(card["length_unit"]),
            reference=str(meta["reference"]),
            rungs={r.name: r for r in _parents_first([_rung(r) for r in meta["rungs"]])},
            cases={str(c["id"]): _case(c) for c in meta["cases"]},
            grid=grid_from_json(card["grid"]),
            meta=meta,
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise RunError(
            f"run.json lacks what every run has: {error!r}",
            where="run.json",
            remedy="replay again into a new folder",
        ) from error


def _rung(raw: Mapping[str, Any]) -> RungFact:
    status = str(raw.get("status", "ok"))
    if status not in get_args(RungStatus):
        raise ValueError(f"rung {raw['name']} has status {status!r}")
    return RungFact(
        str(raw["name"]),
        raw.get("parent"),
        cast(RungStatus, status),
        str(raw.get("reason") or ""),
        tuple(raw.get("factors", ())),
        raw.get("provenance") or {},
    )


def _case(raw: Mapping[str, Any]) -> CaseFact:
    return CaseFact(
        str(raw["id"]),
        int(raw.get("frames", 0)),
        float(raw.get("fps") or 0.0),
        tuple(str(t) for t in raw.get("tags", ())),
        bool(raw.get("lossy", False)),
        str(raw.get("digest", "")),
        str(raw.get("path", "")),
        str(raw.get("drive") or raw["id"]),
    )


def _parents_first(rungs: Sequence[RungFact]) -> list[RungFact]:
    """Depth first along the ladder; a rung whose parent is unknown begins a tree of its own."""
    names = {r.name for r in rungs}
    children: dict[str | None, list[RungFact]] = {}
    for rung in rungs:
        children.setdefault(rung.parent if rung.parent in names else None, []).append(rung)
    ordered: dict[str, RungFact] = {}
    waiting = children.get(None, [])[::-1]
    while waiting:
        rung = waiting.pop()
        if rung.name not in ordered:
            ordered[rung.name] = rung
            waiting += children.get(rung.name, [])[::-1]
    return [*ordered.values(), *(r for r in rungs if r.name not in ordered)]
