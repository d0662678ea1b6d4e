"""Replay: cases through every rung of the ladder, into a run folder.

    open engines -> plan -> for each case not finished yet: harness.replay.case_loop -> tables

The case is the unit of resume. Only the reference can end a replay: an engine that cannot be opened is NOT_RUN, a rung
that fails at a frame is CRASHED, and the others go on either way.
"""

from __future__ import annotations

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
from harness.model.card import DEFAULT_CACHE, Card
from harness.replay.batches import batched, row_warnings
from harness.replay.case_loop import Ladder, replay_case
from harness.replay.case_measuring import outcome_of
from harness.replay.cluster import Cluster, Job
from harness.replay.environment import give_back, replay_environment
from harness.replay.hooks import Hooks, Progress, over_all, quiet
from harness.replay.identity import Plan, differences, make_plan
from harness.replay.only import only_these
from harness.replay.open import open_engines
from harness.replay.open_ladder import open_ladder
from harness.replay.recording_warnings import guessed_parts, recording_warnings, unasked_dumps
from harness.replay.results import Results
from harness.replay.reuse import Reuse, recall_recordings
from harness.replay.rung_decoders import read_by_decoders
from harness.replay.rung_reports import probe_reports, rung_reports, warnings_of_rungs
from harness.replay.stages import behind
from harness.run.folder import Run, drop_damaged, finished_cases, sweep, write_tables
from harness.run.json import read_json, write_json
from harness.run.manifest import damaged_tables, with_manifest
from harness.run.rungs import build_tree
from harness.run.warning import RunWarning

__all__ = ["DEFAULT_ENGINES", "DEFAULT_PREPROCESS", "replay"]

DEFAULT_ENGINES = ("torch-fp32", "ort-fp32-none", "ort-fp32")
DEFAULT_PREPROCESS = ("train", "deploy")
DIFFERENCES = 6  # named where a folder holds another run


def replay(
    card: Card,
    cases: Iterable[Path],
    *,
    engines: Sequence[str] = DEFAULT_ENGINES,
    preprocess: Sequence[str] = DEFAULT_PREPROCESS,
    out: Path,
    only: Sequence[str] = (),
    steps: bool = True,
    floor: bool = False,
    batch: int = 1,
    isolate: bool = False,
    timeout_s: float | None = DEFAULT_TIMEOUT_S,
    cluster: Cluster | None = None,
    progress: Progress | None = None,
    hooks: Hooks | None = None,
    cache: Path = DEFAULT_CACHE,
    reuse: bool = False,
    keep_tensors: bool = False,
    settings: Mapping[str, Any] | None = None,
) -> Run:
    """Replay cases through the ladder and write the run folder; a half-done run of the same plan is resumed.

    Args:
        card: the model.
        cases: case folders, or folders of case folders.
        engines: engine names; the reference's engine is always run.
        preprocess: pipelines, of `train` and `deploy`.
        out: run folder.
        only: `CASE` or `CASE:FIRST-LAST`: these cases, or these of their frames; none: all. A model with a state is
            replayed from a case's first frame on.
        steps: where several preprocessing steps differ, add one rung that puts each into the reference's pipeline and
            one that takes it out of the other (harness/feed/probes.py).
        floor: measure the noise floor of every engine (harness/measures/floor.py).
        batch: frames an engine takes at once, for throughput (harness/replay/batches.py).
        isolate: run every engine in a process of its own (engines/isolate.py); takes the place of hooks.open_engine.
        timeout_s: seconds an isolated engine may take for one frame; None: as long as it likes.
        cluster: replays the cases on other machines (harness/replay/cluster.py); None: here.
        progress: told of every frame: (case, frames done in all cases still to do, their frames).
        hooks: replaceable parts; only fault planting uses them.
        cache: folder of prepared artefacts (exports, plans), and of kept results.
        reuse: take cases that were replayed before from the cache, and keep those that are not there yet; never where a
            program or a third party's engine runs (harness/replay/result_keys.py), or hooks do not allow it.
        keep_tensors: with `reuse`, the tensors of every rung too: another decoder needs no engine to run again.
        settings: further facts to keep in run.json; part of what a resume must match.

    Raises:
        TruelineError: bad input; finished cases stay in `out`.
    """
    planted, hooks = hooks is not None, hooks or Hooks()
    if isolate:
        hooks = replace(hooks, open_engine=partial(isolated, timeout_s=timeout_s and timeout_s * batch))
    opened_cases, fed = only_these(_open_cases(cases), only, stateful=bool(card.state)), batched(card, batch)
    _known(preprocess)
    with ExitStack() as stack:
        stack.enter_context(replay_environment())
        names = dict.fromkeys([card.reference_rung.partition("/")[2], *_torchless(card, engines)])
        opened = open_engines(names, fed, opened_cases, hooks, cache, stack)
        differing = steps_of_card(card)
        lab = card.reference_rung.partition("/")[0]
        both = steps and other_pipeline(lab) in preprocess
        swapped = step_probes(card, opened_cases[0], lab, differing) if both else StepProbes(differing)
        rungs = build_tree(card.reference_rung, list(opened.engines), preprocess, swapped.steps, swapped.swaps)
        rungs = tuple(r for r in rungs if r.engine in opened.engines)
        rungs = read_by_decoders(card, rungs, opened_cases)
        chosen = {"steps": list(differing), "floor": floor, "batch": batch, **(settings or {})}
        plan = make_plan(card, opened_cases, rungs, chosen)
        allowed = hooks.results if planted else "keep"
        results = Results(cache) if reuse and allowed != "leave" else None
        kept = Reuse(
            results, card, plan, opened.engines, opened_cases, tensors=keep_tensors, only_take=allowed == "take"
        )
        out.mkdir(parents=True, exist_ok=True)
        stack.enter_context(_locked(out))
        sweep(out)
        done, healed = _already(out, plan)
        if done is not None:
            return done
        healed += [
            RunWarning("damaged", f"case {case} is replayed again: of its parts, {wrong}", case=case)
            for case, wrong in drop_damaged(out).items()
        ]
        told = told_pipelines(card, opened_cases)
        meta = plan.meta | told | {"finished": False, "started": _now()}
        write_json(out / "run.json", meta)
        stack.enter_context(_single_threaded_blas())
        for case in opened_cases:
            case.forget()
        ladder, meta["probes"] = open_ladder(
            card, opened_cases, rungs, opened, hooks, cache, stack, floor=floor, batch=batch
        )
        meta["batch"] = {"size": batch, "rows": [asdict(check) for check in ladder.checks]}
        done_before = finished_cases(out)
        waiting = [c for c in opened_cases if c.id not in done_before and not kept.take(c, out)]
        recall_recordings(opened.engines, [c for c in opened_cases if c not in waiting])
        if cluster is None:
            _replay_here(ladder, kept, waiting, opened_cases[0], out, progress or quiet)
        else:
            job = Job.of(ladder, opened_cases, only, cache, floor=floor, isolate=isolate, timeout_s=timeout_s)
            cluster.replay(job, waiting, out, progress or quiet)
        kept.keep([outcome_of(out, case.id) for case in waiting], out)
        meta["reused"] = kept.told()
        outcomes = [outcome_of(out, case.id) for case in opened_cases]
        meta["rungs"] = rung_reports(rungs, opened, outcomes, preprocess, swapped)
        meta["probes"] = probe_reports(meta["probes"], ladder.probes, outcomes)
        warnings = [*healed, *(RunWarning("pipeline", text) for text in told["warnings"]), *guessed_parts(card)]
        warnings += [
            *row_warnings(ladder.checks),
            *warnings_of_rungs(rungs, outcomes),
            *recording_warnings(rungs, opened),
            *unasked_dumps(opened_cases, rungs),
        ]
        meta["warnings"] = [asdict(w) for w in warnings]
        give_back()
        tables = write_tables(
            out, [c.id for c in opened_cases], {"length_unit": card.length_unit, "digest": plan.digest}
        )
        write_json(out / "run.json", with_manifest(meta | {"ended": _now()}, tables))
    return Run.open(out)


def _replay_here(
    ladder: Ladder, kept: Reuse, waiting: Sequence[Case], first: Case, out: Path, progress: Progress
) -> None:
    tell = over_all(progress, {case.id: case.length for case in waiting})
    with behind() as later:
        for case in waiting:
            with kept.ladder(ladder, case) as its:
                replay_case(its, case, out, tell, later, rows_tried=case is first)
            give_back()


def _open_cases(cases: Iterable[Path]) -> list[Case]:
    opened = sorted((_opened(p) for p in find_cases(cases)), key=lambda c: c.id)
    ids = [c.id for c in opened]
    twice = sorted({i for i in ids if ids.count(i) > 1})
    if twice:
        raise UsageError(
            f"two cases have the id {twice[0]!r}", where="--cases", remedy="give each case an id of its own"
        )
    return opened


def _opened(folder: Path) -> Case:
    """A case that is checked and takes no memory until it is replayed."""
    case = open_case(folder)
    case.forget()
    return case


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


def _already(out: Path, plan: Plan) -> tuple[Run | None, list[RunWarning]]:
    """The finished run of the same plan, None where there is still work to do; and what of it is damaged.

    Raises:
        RunError: the folder holds a run of another plan.
    """
    if not (out / "run.json").exists():
        if (out / "parts").exists():
            raise RunError("it has parts but no run.json", where=str(out), remedy="choose a new --out")
        return None, []
    meta = read_json(out / "run.json")
    if meta.get("digest") != plan.digest:
        raise RunError(
            f"it holds another run (different: {_told(differences(meta, plan.meta))})",
            where=str(out),
            remedy="choose a new --out, or delete that folder",
        )
    if not meta.get("finished"):
        return None, []
    damaged = damaged_tables(out, meta)
    again = [RunWarning("damaged", f"tables are written again from the run's parts: {wrong}") for wrong in damaged]
    return (None, again) if damaged else (Run.open(out), [])


def _told(names: Sequence[str]) -> str:
    """The first names of what differs."""
    shown = ", ".join(names[:DIFFERENCES])
    return (f"{shown} and {len(names) - DIFFERENCES} more" if len(names) > DIFFERENCES else shown) or "Trueline's own"


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
