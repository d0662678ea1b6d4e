"""What is simulated, in which order, and how it is kept: one file of numbers a version, so that a stopped run goes on.

Numbers are kept and not verdicts: another limit, or another policy that asks the same, is judged anew in minutes.
Several processes may work side by side.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from filelock import FileLock, Timeout

from benchmarks.calibration.drives import Version, draw
from benchmarks.calibration.faults import SIZES, Fault
from benchmarks.calibration.noise import CALIBRATION, FAMILIES, HELD_OUT
from benchmarks.calibration.numbers import Numbers, key_of, numbers_of
from harness.run.question import Question
from trueline._drafts import replacing

__all__ = ["CASES", "SECONDS", "SUITES", "Unit", "compute", "kept", "units"]

SECONDS = (4.0, 15.0, 60.0)
SUITES = (8, 30, 100)
CASES = 100  # of a version: every size of suite is cut from them
GOOD = 236  # versions of held-out families for each length: 20,000 cases of each that are nowhere wider than measured
CHOOSING = 60  # versions of the families that limits may be chosen by
CLUSTERED = 30  # versions with ten clips a drive, 15 s
UNBOUNDED = 30  # versions whose lines may be wider than any that was measured, 4 and 15 s
FAULT_CASES = 40
FAULTS_A_TIME = 4
SEED = 20_261  # none of its drives had been simulated when lines were held to what was measured


@dataclass(frozen=True)
class Unit:
    """One version, and why it is simulated: `good`, `choosing`, `clustered`, `unbounded` or `fault`."""

    part: str
    place: int
    version: Version

    @property
    def name(self) -> str:
        """Of its file."""
        fault = self.version.fault
        told = f"-{fault.kind.replace(' ', '_')}-{fault.size:g}" if fault is not None else ""
        return f"{self.part}-{self.version.seconds:g}s{told}-{self.place:03d}"


def units() -> list[Unit]:
    """All of them; what is in front of the list tells something of every cell.

    The verdict's versions come first, a few of each length at a time, with the faults of 15 s among them; then most of
    those of 60 s, which cost as much as the rest, and the other faults; last what no verdict rests on: the families
    that limits may be chosen by, and lines wider than measured. A run that is stopped anywhere has met the lengths
    alike, and stopped for no result.
    """
    faults = list(_faults())
    found: list[Unit] = []
    for k in range(GOOD):
        found += _round(k)
        if k % 2:
            found += faults[:FAULTS_A_TIME]
            del faults[:FAULTS_A_TIME]
    chosen_by = [u for u in found if u.part in ("choosing", "unbounded")]
    late = [u for u in found if u.part == "good" and u.version.seconds == SECONDS[-1] and u.place // 3 % 3]
    return [u for u in found if u not in late and u not in chosen_by] + late + faults + chosen_by


def _round(k: int) -> Iterator[Unit]:
    for seconds in SECONDS:
        yield _unit("good", k, seconds, tuple(HELD_OUT))
    if k % 3 == 0 and k // 3 < CHOOSING:
        for seconds in SECONDS:
            yield _unit("choosing", k // 3, seconds, tuple(CALIBRATION))
    if k % 6 == 0 and k // 6 < CLUSTERED:
        yield _unit("clustered", k // 6, 15.0, tuple(HELD_OUT), clips=10)
    if k % 6 == 3 and k // 6 < UNBOUNDED:
        for seconds in SECONDS[:2]:
            yield _unit("unbounded", k // 6, seconds, tuple(HELD_OUT))


def _faults() -> Iterator[Unit]:
    """Those of 15 s first."""
    for seconds in (15.0, 4.0, 60.0):
        for place, (kind, sizes) in enumerate(SIZES.items()):
            for size in sizes:
                if kind == "swing 0.2 Hz" and seconds < 15:
                    continue  # not one period
                yield _unit("fault", place, seconds, tuple(HELD_OUT), fault=Fault(kind, size), cases=FAULT_CASES)


def _unit(
    part: str, place: int, seconds: float, families: Sequence[str], fault: Fault | None = None, clips: int = 1,
    cases: int = CASES,
) -> Unit:  # fmt: skip
    family = families[place % len(families)]
    salt = (0, 0) if fault is None else (1 + tuple(SIZES).index(fault.kind), round(1000 * fault.size))
    parts = ("good", "choosing", "clustered", "fault", "unbounded")
    seed = (SEED, parts.index(part), round(seconds), place, list(FAMILIES).index(family), *salt)
    return Unit(
        part, place, Version(family, seed, seconds, cases, clips=clips, fault=fault, unbounded=part == "unbounded")
    )


def compute(unit: Unit, work: Path, questions: Sequence[Question]) -> bool:
    """Simulate a unit unless its numbers are there; whether it was done now."""
    path = work / f"{unit.name}.npz"
    wanted = [key_of(q) for q in questions]
    work.mkdir(parents=True, exist_ok=True)
    if _has(path, wanted):
        return False
    try:
        with FileLock(work / f"{unit.name}.lock", timeout=0):
            found = numbers_of(unit.version, draw(unit.version), questions)
            with replacing(path) as draft:
                np.savez_compressed(
                    draft, keys=np.array(found.keys), value=found.value.astype(np.float32),
                    compared=found.compared.astype(np.int32), open=found.open,
                )  # fmt: skip
    except Timeout:
        return False
    return True


def _has(path: Path, wanted: Sequence[str]) -> bool:
    if not path.exists():
        return False
    with np.load(path, allow_pickle=False) as found:
        return set(wanted) <= set(found["keys"].tolist())


def kept(unit: Unit, work: Path, wanted: Sequence[str]) -> Numbers | None:
    """The numbers of a unit; None where it was not simulated, or was not asked all of this."""
    path = work / f"{unit.name}.npz"
    if not _has(path, wanted):
        return None
    with np.load(path, allow_pickle=False) as found:
        return Numbers(tuple(found["keys"].tolist()), found["value"].astype(float), found["compared"], found["open"])
