"""The job step by step: `trueline replay`, `explain` and `report`; and `engines`. `gate` has a module of its own."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from harness.cli.options import (
    BatchOption,
    CacheOption,
    CardArgument,
    CasesOption,
    EnginesOption,
    FloorOption,
    GpusOption,
    IsolateOption,
    JsonOption,
    KeepTensorsOption,
    OnlyOption,
    PreprocessOption,
    RayOption,
    ReuseOption,
    RunArgument,
    RunOutOption,
    StepsOption,
    TimeoutOption,
    names,
)
from harness.cli.progress import progress_bar
from harness.terminal import listing, print_json, say, show
from trueline._text import counted

if TYPE_CHECKING:
    from harness.run.folder import Run

__all__ = ["register", "say_reused"]


def engines(json: JsonOption = False) -> None:
    """Which engines can run here, and why the others cannot."""
    from dataclasses import asdict

    from engines import availability

    found = availability()
    if json:
        print_json([asdict(a) for a in found])
        return
    rows = [(a.name, "yes" if a.available else "no", a.detail, a.remedy) for a in found]
    show(*listing(("engine", "runs here", "detail", "remedy"), rows, head=2))


def replay(
    card: CardArgument,
    cases: CasesOption,
    out: RunOutOption,
    engines: EnginesOption = None,
    preprocess: PreprocessOption = "train,deploy",
    only: OnlyOption = None,
    steps: StepsOption = True,
    floor: FloorOption = False,
    batch: BatchOption = 1,
    isolate: IsolateOption = False,
    timeout: TimeoutOption = 60.0,
    reuse: ReuseOption = True,
    keep_tensors: KeepTensorsOption = False,
    cache: CacheOption = None,
    ray: RayOption = None,
    gpus_per_engine: GpusOption = 0.0,
    json: JsonOption = False,
) -> None:
    """Replay cases through the ladder of a model and write the run folder."""
    from harness.model.card import DEFAULT_CACHE, load_card
    from harness.replay.cluster import RayCluster
    from harness.replay.replay import DEFAULT_ENGINES
    from harness.replay.replay import replay as replay_cases

    chosen = names(engines) or DEFAULT_ENGINES
    with progress_bar("replaying") as progress:
        run = replay_cases(
            load_card(card),
            cases,
            engines=chosen,
            preprocess=names(preprocess),
            out=out,
            only=only or (),
            steps=steps,
            floor=floor,
            batch=batch,
            isolate=isolate,
            timeout_s=timeout,
            reuse=reuse,
            keep_tensors=keep_tensors,
            cache=cache or DEFAULT_CACHE,
            cluster=RayCluster(ray, gpus_per_engine) if ray is not None else None,
            progress=progress,
        )
    if json:
        print_json(run.meta)
        return
    rows = [(r["name"], r["parent"] or "", ", ".join(r["factors"]), r["status"], r["reason"]) for r in run.rungs]
    show(*listing(("rung", "parent", "differs in", "status", "reason"), rows))
    _say_growth(run)
    say_reused(run)
    for warning in run.meta["warnings"]:
        say(f"warning: {warning['text']}")
    say(f"run: {run.path}   next: trueline gate {out}, trueline explain {out}, trueline report {out}")


def explain(run: RunArgument, json: JsonOption = False) -> None:
    """Say which step of the chain moved the lines, and what differs in the input tensors."""
    from harness.cli.diagnose import say_diagnosis
    from harness.diagnosis.run import told_diagnoses
    from harness.ladder import explain as explain_run
    from harness.ladder import render
    from harness.run.folder import Run

    opened = Run.open(run)
    explanation = explain_run(opened)
    diagnoses, why_none = told_diagnoses(opened, explanation.findings)
    if json:
        print_json({**explanation.to_json(), "diagnoses": [d.to_json() for d in diagnoses]})
        return
    render(explanation)
    for found in diagnoses:
        say_diagnosis(found)
    show(*([f"note: {why_none}"] if why_none else []))
    _say_growth(opened)


def report(
    run: RunArgument,
    out: Annotated[Path | None, typer.Option("--out", metavar="FILE", help="default RUN/report.html")] = None,
    cases: Annotated[
        list[Path] | None,
        typer.Option("--cases", metavar="DIR", help="where the cases lie now, if not where they were; may be repeated"),
    ] = None,
    layers: Annotated[
        Path | None,
        typer.Option("--layers", metavar="FILE", help="of `trueline model layers`; default RUN/layers.json, if any"),
    ] = None,
    plan: Annotated[
        Path | None,
        typer.Option("--plan", metavar="FILE", help="of `trueline model plan --json`; default RUN/plan.json, if any"),
    ] = None,
) -> None:
    """Write the report of a run as one HTML file."""
    from harness.ladder import explain as explain_run
    from harness.report import write_report
    from harness.run.folder import Run

    opened = Run.open(run)
    verdict = opened.verdict()
    path = write_report(
        opened, out, verdict, explain_run(opened, verdict), cases or (), tell=say, layers=layers, plan=plan
    )
    say(f"report: {path}")


def register(app: typer.Typer) -> None:
    """Add the commands of this module to the tree."""
    for command in (replay, explain, report, engines):
        app.command()(command)


def say_reused(run: Run) -> None:
    """How much of a run was taken from earlier ones."""
    taken, rungs = run.meta["reused"]["cases"], sum(map(len, run.meta["reused"]["tensors"].values()))
    if taken or rungs:
        told = [f"{len(taken)} of {counted(len(run.meta['cases']), 'case')}"] * bool(taken)
        told += [f"tensors of {rungs} rungs in other cases"] * bool(rungs)
        say(f"reused: {' and '.join(told)}, from the cache; --no-reuse replays them")


def _say_growth(run: Run) -> None:
    """How far the states of a recurrent model run away, rung by rung."""
    from harness.measures.state import growth_in_words

    for line in growth_in_words(run.read("state_metrics")):
        say(line)
