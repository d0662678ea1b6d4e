"""All cells of a sweep: every perturbation at every severity on every case, and how a stopped sweep goes on.

    OUT/cells/PERTURBATION/SEVERITY/CASE.json    written whole as soon as it is measured
    OUT/sweep.json                               the plan at first, with all cells and what they say at the end

A sweep that was stopped goes on where it stopped, if it is the same: model, cases, engine, amounts, seed and versions
(harness/replay/identity.py).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from cases.case import Case, find_cases, open_case
from engines.registry import family
from harness.errors import RunError, UsageError
from harness.model.card import DEFAULT_CACHE, Card
from harness.replay.environment import replay_environment
from harness.replay.hooks import Hooks, Progress, quiet
from harness.replay.identity import differences, make_plan
from harness.replay.only import only_these
from harness.replay.open import open_engine
from harness.run.json import plain, read_json, write_json
from harness.run.rungs import Rung
from harness.sweep.cell import OneCase, measure_cell
from harness.sweep.disturbance import Amount
from harness.sweep.perturbation import SEVERITIES, Perturbation
from harness.sweep.running import Model
from harness.sweep.search import find_worst
from harness.sweep.summary import Ratio, constant, curves, gain, ratio
from harness.sweep.table import PERTURBATIONS, chosen

__all__ = ["Sweep", "sweep"]

SCHEMA = 1
FILE = "sweep.json"


@dataclass(frozen=True)
class Sweep:
    """A finished sweep; `meta` is what sweep.json says."""

    path: Path
    meta: Mapping[str, Any]

    @classmethod
    def open(cls, path: Path) -> Sweep:
        """Read one.

        Raises:
            RunError: the folder holds none, or one that has not finished.
        """
        meta = read_json(Path(path) / FILE)
        if not isinstance(meta, dict) or meta.get("schema") != SCHEMA or "cells" not in meta:
            done = isinstance(meta, dict) and meta.get("finished") is False
            raise RunError(
                "the sweep has not finished" if done else "this is no sweep of this version of Trueline",
                where=str(path),
                remedy="run the same `trueline sweep` again with --resume" if done else "sweep again",
            )
        return cls(Path(path), meta)

    @property
    def cells(self) -> list[dict[str, Any]]:
        """Every cell: perturbation, severity, amount, case, status, reason, and its numbers."""
        return list(self.meta["cells"])

    @property
    def unit(self) -> str:
        """Of lengths."""
        return str(self.meta["card"]["length_unit"])

    @property
    def constant(self) -> bool:
        """Whether the lines do not follow the picture."""
        return bool(self.meta["constant"])


def sweep(
    card: Card,
    cases: Iterable[Path],
    *,
    out: Path,
    engine: str = "ort-fp32",
    pipeline: str = "deploy",
    only: Sequence[str] = (),
    perturbations: Sequence[str] = (),
    severities: Sequence[int] = SEVERITIES,
    seed: int = 0,
    search: int = 0,
    baseline: Sweep | None = None,
    resume: bool = False,
    cache: Path = DEFAULT_CACHE,
    progress: Progress | None = None,
) -> Sweep:
    """Measure every cell.

    Args:
        card: the model.
        cases: case folders, or folders of them.
        out: folder of the sweep.
        engine: that runs the model.
        pipeline: `train` or `deploy`.
        only: `CASE` or `CASE:FIRST-LAST`: these cases, or these of their frames; none: all.
        perturbations: names or kinds; all where empty.
        severities: of 1 to 5.
        seed: of all chance.
        search: points to try for the disturbance that bends a line most (harness/sweep/search.py); 0: no search.
        baseline: sweep of another model, to hold this one against.
        resume: go on with a sweep that was stopped in `out`.
        cache: of prepared models.
        progress: told (perturbation, frames done, frames in all).

    Raises:
        TruelineError: bad input, or the model fails on an undisturbed picture.
    """
    _check(engine, severities)
    wanted = chosen(tuple(perturbations))
    opened = sorted((open_case(path) for path in find_cases(cases)), key=lambda case: case.id)
    opened = only_these(opened, only, stateful=bool(card.state))
    plan = _plan(card, opened, Rung(pipeline, engine), wanted, severities, seed, search)
    _begin(out, plan, resume)
    with ExitStack() as stack:
        stack.enter_context(replay_environment())
        model = Model(card, open_engine(engine, card, opened, Hooks(), cache, stack), engine, pipeline)
        pending = _Pending(out, opened, wanted, severities)
        for case, cells in pending.by_case():
            _run(model, case, cells, out, seed, pending.counter(progress or quiet))
        worst = _worst(model, opened, wanted, out, search, seed, progress or quiet)
    done = [read_json(cell.file(out)) for cell in pending.every]
    meta = plan | _concluded(done, baseline) | {"worst": worst, "cells": done, "finished": True}
    write_json(out / FILE, plain(meta))
    return Sweep.open(out)


@dataclass(frozen=True)
class _Cell:
    what: Perturbation
    severity: int
    case: Case

    def file(self, out: Path) -> Path:
        return out / "cells" / self.what.name / str(self.severity) / f"{self.case.id}.json"


class _Pending:
    """What is still to do."""

    def __init__(
        self, out: Path, cases: Sequence[Case], wanted: Sequence[Perturbation], severities: Sequence[int]
    ) -> None:
        self.every = [_Cell(what, s, case) for what in wanted for s in severities for case in cases]
        self._cases = cases
        self._left = [cell for cell in self.every if not cell.file(out).exists()]
        self._total = sum(cell.case.length for cell in self._left)
        self._total += sum(case.length for case in cases if any(c.case is case for c in self._left))
        self._done = 0

    def by_case(self) -> Iterator[tuple[Case, list[_Cell]]]:
        """Cases that have cells left, with these."""
        for case in self._cases:
            if cells := [cell for cell in self._left if cell.case is case]:
                yield case, cells

    def counter(self, progress: Progress) -> Any:
        """Counts the frames of what is going on; `counter(what)` gives what to call after a frame."""

        def of(what: str) -> Any:
            def ran() -> None:
                self._done += 1
                progress(what, min(self._done, self._total), self._total)

            return ran

        return of


def _run(model: Model, case: Case, cells: Sequence[_Cell], out: Path, seed: int, counter: Any) -> None:
    one = OneCase.of(model, case, counter(f"{case.id} as it is"))
    for cell in cells:
        amount = cell.what.amount(cell.severity)
        found = measure_cell(model, one, [Amount(cell.what, amount)], seed, counter(f"{case.id} {cell.what.name}"))
        told = {"perturbation": cell.what.name, "severity": cell.severity, "amount": amount, "case": case.id}
        file = cell.file(out)
        file.parent.mkdir(parents=True, exist_ok=True)
        write_json(file, plain(told | found))
    case.forget()


def _worst(
    model: Model,
    cases: Sequence[Case],
    wanted: Sequence[Perturbation],
    out: Path,
    tries: int,
    seed: int,
    progress: Progress,
) -> dict[str, Any] | None:
    """What the search found, now or before the sweep was stopped; None without one."""
    file = out / "worst.json"
    if tries and not file.exists():
        ready = [OneCase.of(model, case) for case in cases]
        found = find_worst(model, ready, wanted, tries=tries, seed=seed, progress=progress)
        write_json(file, plain(asdict(found) if found is not None else None))
    return read_json(file) if tries else None


def _check(engine: str, severities: Sequence[int]) -> None:
    if family(engine) == "recorded":
        raise UsageError(
            "a recording has no answer to a picture that was disturbed", where="--engine", remedy="name an engine"
        )
    if not severities or not set(severities) <= set(SEVERITIES):
        raise UsageError(
            f"no severities {list(severities)}", where="--severities", remedy=f"use some of {list(SEVERITIES)}"
        )


def _plan(
    card: Card,
    cases: Sequence[Case],
    rung: Rung,
    wanted: Sequence[Perturbation],
    severities: Sequence[int],
    seed: int,
    search: int,
) -> dict[str, Any]:
    """The beginning of sweep.json; its digest is that of all that can change a number."""
    amounts = {what.name: list(what.severities) for what in wanted}
    settings = {"perturbations": amounts, "severities": list(severities), "seed": seed, "search": search}
    plan: dict[str, Any] = plain(make_plan(card, cases, [rung], settings).meta)
    return plan | {"schema": SCHEMA, "engine": rung.engine, "pipeline": rung.preprocess, "finished": False}


def _begin(out: Path, plan: Mapping[str, Any], resume: bool) -> None:
    """Make the folder the sweep's, or find that it is.

    Raises:
        RunError: it holds another sweep, or this one and nobody asked to go on with it.
    """
    if (out / FILE).exists():
        held = read_json(out / FILE)
        if held.get("digest") != plan["digest"]:
            different = ", ".join(differences(held, plan)[:6]) or "Trueline's own"
            raise RunError(
                f"it holds another sweep (different: {different})", where=str(out), remedy="choose a new --out"
            )
        if not resume:
            raise RunError(
                "it holds this sweep already", where=str(out), remedy="go on with --resume, or choose a new --out"
            )
    elif (out / "cells").exists():
        raise RunError("it has cells but no sweep.json", where=str(out), remedy="choose a new --out")
    out.mkdir(parents=True, exist_ok=True)
    write_json(out / FILE, dict(plan))


def _concluded(cells: Sequence[Mapping[str, Any]], baseline: Sweep | None) -> dict[str, Any]:
    """What the cells say together."""
    found = curves(cells)
    told: dict[str, Any] = {
        "constant": constant(cells),
        "curves": [asdict(curve) for curve in found],
        "gain": {curve.perturbation: gain(curve) for curve in found},
        "units": {curve.perturbation: PERTURBATIONS[curve.perturbation].unit for curve in found},
    }
    if baseline is not None:
        against: Ratio = ratio(cells, baseline.cells)
        told["baseline"] = {"path": str(baseline.path), "card": baseline.meta["card"]["name"], **asdict(against)}
    return told
