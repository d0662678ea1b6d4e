"""Replay: cases through every rung of the ladder, into a run folder.

    plan -> open engines -> for each case not finished yet: harness.replay.case_loop -> tables

The case is the unit of resume. An engine that cannot run here becomes NOT_RUN, one that fails becomes CRASHED; the
other rungs go on either way.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from cases.case import Case, find_cases, open_case
from engines.isolate import DEFAULT_TIMEOUT_S, isolated
from harness.errors import RunError, UsageError
from harness.feed.inputs import steps_of_card
from harness.feed.pipelines import told_pipelines
from harness.feed.probes import StepProbes, step_probes
from harness.feed.swaps import other_pipeline
from harness.lines.decode import build_decoder
from harness.model.card import DEFAULT_CACHE, Card
from harness.replay.batches import batched, check_rows
from harness.replay.case_loop import replay_case
from harness.replay.hooks import Hooks, Progress
from harness.replay.identity import Plan, make_plan
from harness.replay.open import Opened, open_engines, open_probes, reopen
from harness.run.folder import Run, finished_cases, write_tables
from harness.run.json import read_json, write_json
from harness.run.rungs import Rung, build_tree, swap_rung

# Runtimes with thread pools of their own take turns in a replay. OpenMP threads that spin while another pool works made
# a 0.2 ms PyTorch call take 35 to 55 ms on two busy cores; waiting passively costs microseconds. It takes effect where
# PyTorch has not been loaded yet, and a choice already made is kept.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
# Part files are read one at a time when the tables are written: polars reads several ahead, and memory grew with cases.
os.environ.setdefault("POLARS_MAX_CONCURRENT_SCANS", "1")
os.environ.setdefault("POLARS_ROW_GROUP_PREFETCH_SIZE", "1")

__all__ = ["DEFAULT_ENGINES", "DEFAULT_PREPROCESS", "replay"]

DEFAULT_ENGINES = ("torch-fp32", "ort-fp32-none", "ort-fp32")
DEFAULT_PREPROCESS = ("train", "deploy")


def replay(
    card: Card,
    cases: Iterable[Path],
    *,
    engines: Sequence[str] = DEFAULT_ENGINES,
    preprocess: Sequence[str] = DEFAULT_PREPROCESS,
    out: Path,
    steps: bool = True,
    floor: bool = False,
    batch: int = 1,
    isolate: bool = False,
    timeout_s: float | None = DEFAULT_TIMEOUT_S,
    progress: Progress | None = None,
    hooks: Hooks | None = None,
    cache: Path = DEFAULT_CACHE,
    settings: Mapping[str, Any] | None = None,
) -> Run:
    """Replay cases through the ladder and write the run folder; a half-done run of the same plan is resumed.

    Args:
        card: the model.
        cases: case folders, or folders of case folders.
        engines: engine names; the reference's engine is always run.
        preprocess: pipelines, of `train` and `deploy`.
        out: run folder.
        steps: where several preprocessing steps differ, add one rung that puts each into the reference's pipeline and
            one that takes it out of the other (harness/feed/probes.py).
        floor: measure the noise floor of every engine (harness/measures/floor.py).
        batch: frames an engine takes at once, for throughput (harness/replay/batches.py).
        isolate: run every engine in a process of its own (engines/isolate.py); takes the place of hooks.open_engine.
        timeout_s: seconds an isolated engine may take for one frame; None: as long as it likes.
        progress: told of every chunk.
        hooks: replaceable parts; only fault planting uses them.
        cache: folder of prepared artefacts (exports, plans).
        settings: further facts to keep in run.json; part of what a resume must match.

    Raises:
        TruelineError: bad input; finished cases stay in `out`.
    """
    hooks = hooks or Hooks()
    if isolate:
        hooks = replace(hooks, open_engine=partial(isolated, timeout_s=timeout_s and timeout_s * batch))
    opened_cases = _open_cases(cases)
    _known(preprocess)
    fed = batched(card, batch)
    with ExitStack() as stack:
        names = dict.fromkeys([card.reference_rung.partition("/")[2], *_torchless(card, engines)])
        opened = open_engines(names, fed, opened_cases, hooks, cache, stack)
        differing = steps_of_card(card)
        lab = card.reference_rung.partition("/")[0]
        both = steps and other_pipeline(lab) in preprocess
        swapped = step_probes(card, opened_cases[0], lab, differing) if both else StepProbes(differing)
        rungs = build_tree(card.reference_rung, list(opened.engines), preprocess, swapped.steps, swapped.swaps)
        rungs = tuple(r for r in rungs if r.engine in opened.engines)
        chosen = {"steps": list(differing), "floor": floor, "batch": batch, **(settings or {})}
        plan = make_plan(card, opened_cases, rungs, chosen)
        out.mkdir(parents=True, exist_ok=True)
        stack.enter_context(_locked(out))
        if (done := _already(out, plan)) is not None:
            return done
        meta = plan.meta | told_pipelines(card, opened_cases) | {"finished": False, "started": _now()}
        write_json(out / "run.json", meta)
        decoder = build_decoder(card)
        stack.enter_context(_single_threaded_blas())
        again = partial(reopen, fed, opened_cases, hooks, cache / "rebuild")
        probes, meta["probes"] = open_probes(rungs, fed, opened, again, cache, stack) if floor else ((), [])
        checks = check_rows(card, opened_cases[0], rungs, opened.engines, batch) if batch > 1 else []
        meta["batch"] = {"size": batch, "rows": [asdict(check) for check in checks]}
        for case in opened_cases:
            if case.id not in finished_cases(out):
                replay_case(card, case, rungs, opened.engines, decoder, hooks, out, progress or _quiet, probes, batch)
    meta["rungs"] = _rung_reports(meta, rungs, opened, out, preprocess) + _refused(swapped, meta["reference"])
    write_tables(out, [c.id for c in opened_cases], {"length_unit": card.length_unit, "digest": plan.digest})
    write_json(out / "run.json", meta | {"finished": True, "ended": _now()})
    return Run.open(out)


def _open_cases(cases: Iterable[Path]) -> list[Case]:
    opened = sorted((open_case(p) for p in find_cases(cases)), key=lambda c: c.id)
    ids = [c.id for c in opened]
    twice = sorted({i for i in ids if ids.count(i) > 1})
    if twice:
        raise UsageError(
            f"two cases have the id {twice[0]!r}", where="--cases", remedy="give each case an id of its own"
        )
    return opened


def _known(preprocess: Sequence[str]) -> None:
    for name in preprocess:
        if name not in DEFAULT_PREPROCESS:
            raise UsageError(f"no pipeline {name!r}", where="--preprocess", remedy="use train, deploy or both")


def _torchless(card: Card, engines: Sequence[str]) -> list[str]:
    """The default matrix of an ONNX-only card has no torch engines; asking for one by name is an error there."""
    if card.torch is not None or tuple(engines) != DEFAULT_ENGINES:
        return list(engines)
    return [e for e in engines if not e.startswith("torch")]


def _locked(out: Path) -> Any:
    from filelock import FileLock, Timeout

    try:
        return FileLock(out / ".lock", timeout=0).acquire()
    except Timeout as error:
        raise RunError(
            "another replay is writing it", where=str(out), remedy="wait for it, or choose another --out"
        ) from error


def _single_threaded_blas() -> Any:
    """Metrics are many small matrix products: threads only make them wait for each other."""
    from threadpoolctl import threadpool_limits

    return threadpool_limits(limits=1, user_api="blas")


def _already(out: Path, plan: Plan) -> Run | None:
    """The finished run of the same plan, None where there is still work to do.

    Raises:
        RunError: the folder holds a run of another plan.
    """
    if not (out / "run.json").exists():
        if (out / "parts").exists():
            raise RunError("it has parts but no run.json", where=str(out), remedy="choose a new --out")
        return None
    meta = read_json(out / "run.json")
    if meta.get("digest") != plan.digest:
        raise RunError(
            f"it holds another run ({_difference(meta, plan.meta)})",
            where=str(out),
            remedy="choose a new --out, or delete that folder",
        )
    return Run.open(out) if meta.get("finished") else None


def _difference(old: Mapping[str, Any], new: Mapping[str, Any]) -> str:
    """The first parts of two plans that differ, in words."""
    parts = [
        k for k in ("card", "cases", "rungs", "settings", "provenance") if k != "rungs" and old.get(k) != new.get(k)
    ]
    if [r["name"] for r in old.get("rungs", []) if r.get("status") != "not_run"] != [r["name"] for r in new["rungs"]]:
        parts.append("rungs")
    return "different " + ", ".join(parts) if parts else "made by another version"


def _rung_reports(
    meta: Mapping[str, Any], rungs: Sequence[Rung], opened: Opened, out: Path, preprocess: Sequence[str]
) -> list[dict[str, Any]]:
    """Rungs of run.json with status, reason and provenance; those whose engine is missing come last."""
    lost: dict[str, dict[str, str]] = {}
    for case in sorted(finished_cases(out)):
        for rung, how in read_json(out / "parts" / case / "status.json").items():
            if rung not in lost or (how["status"], lost[rung]["status"]) == ("crashed", "not_run"):
                lost[rung] = how
    reports = [
        rung
        | lost.get(rung["name"], {"status": "ok", "reason": ""})
        | {
            "provenance": dict(opened.engines[rung["engine"]].provenance),
        }
        for rung in meta["rungs"]
    ]
    present = [r.engine for r in rungs]
    for engine, error in opened.missing.items():
        for rung in build_tree(meta["reference"], [*dict.fromkeys(present), engine], preprocess):
            if rung.engine == engine:
                reports.append(
                    {
                        "preprocess": rung.preprocess, "engine": engine, "parent": rung.parent,
                        "factors": list(rung.factors), "name": rung.name, "status": "not_run",
                        "reason": f"{error.what}; {error.remedy}", "provenance": {},
                    }
                )  # fmt: skip
    return reports


def _refused(swapped: StepProbes, reference: str) -> list[dict[str, Any]]:
    """Rungs of run.json for swaps of steps that cannot run."""
    return [
        asdict(rung) | {"name": rung.name, "status": "not_run", "reason": why, "provenance": {}}
        for rung, why in ((swap_rung(swap, reference), why) for swap, why in swapped.refused.items())
    ]


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _quiet(case: str, done: int, total: int) -> None:
    return None
