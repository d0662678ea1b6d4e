"""What run.json says of every rung at the end of a replay: how it ended, why, and on what it ran."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from harness.feed.probes import StepProbes
from harness.replay.case_measuring import Outcome
from harness.replay.failure import Failure
from harness.replay.identity import rung_json
from harness.replay.open import Opened
from harness.run.json import plain
from harness.run.rungs import Probe, Rung, build_tree, swap_rung
from harness.run.warning import RunWarning
from trueline._text import counted

__all__ = ["probe_reports", "rung_reports", "warnings_of_rungs"]

Json = dict[str, Any]
_NOTHING: Json = {"lines": {}, "provenance": {}}


def rung_reports(
    rungs: Sequence[Rung], opened: Opened, outcomes: Sequence[Outcome], preprocess: Sequence[str], swapped: StepProbes
) -> list[Json]:
    """Rungs with status, reason, lines (how many, by case) and provenance; those that could not begin come last.

    Args:
        rungs: the ladder, the root first.
        opened: its engines, and those that are missing.
        outcomes: of every case.
        preprocess: pipelines that were asked for.
        swapped: steps of the pipelines that were swapped, and swaps that cannot run.
    """
    reports = [
        rung_json(rung)
        | _ended(rung.name, outcomes)
        | {"lines": {o.case: o.lines[rung.name] for o in outcomes if o.frames[rung.name]}}
        | {"provenance": plain(dict(opened.of(rung).provenance))}
        for rung in rungs
    ]
    present = dict.fromkeys(r.engine for r in rungs)
    for engine, failure in opened.missing.items():
        for rung in build_tree(rungs[0].name, [*present, engine], preprocess, swapped.steps):
            if rung.engine == engine:
                reports.append(rung_json(rung) | asdict(failure) | _NOTHING)
    for swap, why in swapped.refused.items():
        reports.append(rung_json(swap_rung(swap, rungs[0].name)) | asdict(Failure("not_run", why)) | _NOTHING)
    return reports


def probe_reports(
    said: Sequence[Mapping[str, str]], probes: Sequence[Probe], outcomes: Sequence[Outcome]
) -> list[dict[str, str]]:
    """What run.json says of probes, with how those that ran ended."""
    ended = {(p.base.name, p.kind): _ended(p.rung.name, outcomes) for p in probes}
    return [{**probe, **ended.get((probe["rung"], probe["probe"]), {})} for probe in said]


def warnings_of_rungs(rungs: Sequence[Rung], outcomes: Sequence[Outcome]) -> list[RunWarning]:
    """Cases that a rung could not begin while it ran others, and rungs without any line."""
    found = []
    for rung in rungs:
        failed = [o.failed[rung.name] for o in outcomes if rung.name in o.failed]
        if failed and _ended(rung.name, outcomes)["status"] == "ok":
            found.append(RunWarning("case-not-run", f"{rung.name}: {_partly(failed, outcomes)}", rung.name))
        found += _without_lines(rung.name, outcomes)
    return found


def _without_lines(rung: str, outcomes: Sequence[Outcome]) -> list[RunWarning]:
    """One warning for all cases that ran, or one for each case without a line."""
    ran = [o for o in outcomes if o.frames[rung]]
    empty = [o for o in ran if not o.lines[rung]]
    text = f"no lines at all: rung {rung} drew no line in any frame"
    if ran and len(empty) == len(ran):
        return [RunWarning("no-lines", text, rung)]
    return [RunWarning("no-lines", f"{text} of case {o.case}", rung, o.case) for o in empty]


def _ended(rung: str, outcomes: Sequence[Outcome]) -> dict[str, str]:
    """Crashed where it did in any case, not run where it could begin none; told where it began only some."""
    failed = [o.failed[rung] for o in outcomes if rung in o.failed]
    crashed = [failure for failure in failed if failure.status == "crashed"]
    if crashed:
        return asdict(crashed[0])
    if failed and len(failed) == len(outcomes):
        return asdict(failed[0])
    return {"status": "ok", "reason": _partly(failed, outcomes) if failed else ""}


def _partly(failed: Sequence[Failure], outcomes: Sequence[Outcome]) -> str:
    return f"not run in {len(failed)} of {counted(len(outcomes), 'case')}: {failed[0].reason}"
