"""What the gate needs to know of a run besides its tables; the only module here that reads run.json."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol, cast

import polars as pl

from harness.errors import RunError

__all__ = ["CaseFact", "RunFacts", "RunLike", "RungFact", "read_facts"]


class RunLike(Protocol):
    """A run as the gate sees it; `harness.run.folder.Run` is one, tests make theirs in memory."""

    @property
    def meta(self) -> Mapping[str, Any]:
        """What run.json says."""
        ...

    def table(self, name: str) -> pl.LazyFrame:
        """One table of harness.run.tables.TABLES, lazily."""
        ...


@dataclass(frozen=True, slots=True)
class RungFact:
    """Where a rung hangs in the ladder and how its replay ended; `car` where the car itself ran the model."""

    name: str
    parent: str | None
    status: Literal["ok", "not_run", "crashed"]
    reason: str = ""
    car: bool = False


@dataclass(frozen=True, slots=True)
class CaseFact:
    """Length, rate and tags of a case; `digest` tells whether two runs saw the same recording."""

    id: str
    frames: int
    fps: float
    tags: tuple[str, ...] = ()
    lossy: bool = False
    digest: str = ""


@dataclass(frozen=True)
class RunFacts:
    """run.json, read once.

    look_ahead are the stations of the time series and kink_length the lengths a kink is measured over, near to far;
    image_height_px is 0 in the vehicle frame.
    """

    length_unit: str
    reference: str
    rungs: Mapping[str, RungFact]
    cases: Mapping[str, CaseFact]
    look_ahead: tuple[float, ...]
    image_height_px: float = 0.0
    kink_length: tuple[float, ...] = ()

    @property
    def minutes(self) -> dict[str, float]:
        """Recorded length of each case in minutes."""
        return {c.id: c.frames / c.fps / 60 for c in self.cases.values() if c.fps > 0}


def read_facts(meta: Mapping[str, Any]) -> RunFacts:
    """Read the facts out of run.json.

    Raises:
        RunError: a key that every run has is missing or has another type.
    """
    try:
        grid = meta["card"].get("grid", {})
        return RunFacts(
            length_unit=str(meta["card"]["length_unit"]),
            reference=str(meta["reference"]),
            rungs={str(r["name"]): _rung(r) for r in meta["rungs"]},
            cases={str(c["id"]): _case(c) for c in meta["cases"]},
            look_ahead=tuple(float(s) for s in grid.get("look_ahead", ())),
            image_height_px=float(grid.get("height", 0.0)),
            kink_length=tuple(float(v) for v in grid.get("thresholds", {}).get("kink_length", ())),
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise RunError(
            f"run.json lacks what a gate needs: {error!r}", where="run.json", remedy="replay again into a new folder"
        ) from error


def _rung(raw: Mapping[str, Any]) -> RungFact:
    status = str(raw.get("status", "ok"))
    if status not in ("ok", "not_run", "crashed"):
        raise ValueError(f"rung {raw['name']} has status {status!r}")
    car = "car" in raw.get("factors", ()) or str(raw["name"]).endswith("/recorded")
    known = cast(Literal["ok", "not_run", "crashed"], status)
    return RungFact(str(raw["name"]), raw.get("parent"), known, str(raw.get("reason") or ""), car)


def _case(raw: Mapping[str, Any]) -> CaseFact:
    return CaseFact(
        str(raw["id"]),
        int(raw["frames"]),
        float(raw["fps"]),
        tuple(raw.get("tags", ())),
        bool(raw.get("lossy", False)),
        str(raw.get("digest", "")),
    )
