"""`trueline model ...`: check, export and compile what a card describes."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from harness.cli.options import CardArgument, CasesOption, JsonOption, PolicyOption
from harness.cli.progress import progress_bar
from harness.terminal import listing, print_json, say, show, table
from trueline._text import counted

__all__ = ["app"]

SubjectArgument = Annotated[
    Path, typer.Argument(metavar="CARD|RUN", help="model card; or run folder: what is found goes into its report")
]
OwnCasesOption = Annotated[
    list[Path] | None,
    typer.Option("--cases", metavar="DIR", help="case folder, or a folder of them; may be repeated; of a run its own"),
]
EngineOption = Annotated[str | None, typer.Option("--engine", metavar="NAME", help="trtrtx-fp16, ...: its plan")]
CalibrationOption = Annotated[
    list[Path] | None,
    typer.Option("--cases", metavar="DIR", help="frames for AutoCast, where the card gives no calibration"),
]

app = typer.Typer(help="Check and export the model of a card.", no_args_is_help=True, rich_markup_mode=None)


@app.command()
def check(
    card: CardArgument,
    cases: Annotated[
        list[Path] | None,
        typer.Option("--cases", metavar="DIR", help="measure activations on frames of these cases; may be repeated"),
    ] = None,
    frames: Annotated[int, typer.Option("--frames", min=1, help="how many frames of them")] = 8,
    json: JsonOption = False,
) -> None:
    """Check that card, weights and ONNX file fit together, and what fp16 and TensorRT would do to the graph."""
    from harness.checks.check import check_model
    from harness.model.card import load_card

    findings = check_model(load_card(card), cases=cases or (), frames=frames)
    if json:
        print_json([{"level": f.level, "what": f.what, "where": f.where, "remedy": f.remedy} for f in findings])
    else:
        rows = [(f.level, f.what, f.where, f.remedy) for f in findings]
        show(*listing(("level", "finding", "where", "remedy"), rows, head=2))
    if any(f.level == "error" for f in findings):
        raise typer.Exit(2)


@app.command()
def export(
    card: CardArgument,
    out: Annotated[Path, typer.Option("--out", metavar="FILE", help="ONNX file to write, or plan")],
    target: Annotated[
        str | None,
        typer.Option("--target", help="export target of the card; with --engine, the plan's GPU: sm86, portable, ..."),
    ] = None,
    engine: EngineOption = None,
    cases: CalibrationOption = None,
) -> None:
    """Export the card's PyTorch model to ONNX and verify the opset; with --engine, build the plan of a trtrtx-*."""
    from engines.export import export_model
    from engines.inspect.graph import read_graph
    from harness.model.card import load_card

    if engine is None:
        written = export_model(load_card(card).source(), out, target or "default")
        say(f"{written}: opset {read_graph(written).opset}")
        return
    from harness.checks.compiled import compiled, write_plan

    made = compiled(load_card(card), engine, target=target, cases=cases or ())
    written = write_plan(made, out)
    say(f"{written}: plan of {engine} for {made.facts['target']}, SHA-256 {made.plan.sha256}")


@app.command()
def plan(
    place: SubjectArgument,
    engine: Annotated[str, typer.Option("--engine", metavar="NAME", help="trtrtx-fp32, -tf32, -fp16 or -bf16")] = (
        "trtrtx-fp16"
    ),
    target: Annotated[str | None, typer.Option("--target", help="sm86, sm89, sm120, portable, ...")] = None,
    cases: CalibrationOption = None,
    against: Annotated[
        Path | None, typer.Option("--against", metavar="CARD", help="compare with another card, or a file of --json")
    ] = None,
    against_engine: Annotated[
        str | None, typer.Option("--against-engine", metavar="NAME", help="compare with this engine's plan")
    ] = None,
    against_target: Annotated[
        str | None, typer.Option("--against-target", help="compare with the plan for this target")
    ] = None,
    json: JsonOption = False,
) -> None:
    """The plan that TensorRT for RTX compiles, kernel by kernel, without a GPU."""
    from engines.plan.view import COLUMNS, change_lines, kernel_rows, summary_lines
    from harness.checks.plan import other_plan, plan_of_card
    from harness.cli.subject import subject_of
    from harness.report.network import PLAN

    subject = subject_of(place, cases or (), needs_cases=False)
    found = plan_of_card(subject.card, engine, target=target, cases=subject.cases) | subject.about
    changes = None
    if against or against_engine or against_target:
        from engines.plan.changes import plan_changes

        how = {"target": against_target or target, "cases": subject.cases}
        changes = plan_changes(found, other_plan(against or subject.card.path, against_engine or engine, **how))
    told = found | ({"changes": changes} if changes is not None else {})
    report = subject.keep(PLAN, told)
    if json:
        print_json(told)
        return
    show(*summary_lines(found))
    title = f"{found['compiler']}, {engine} for {found['target']}"
    show(table(COLUMNS, kernel_rows(found), title))
    if changes is not None:
        show("", *change_lines(changes))
    if report is not None:
        say(f"report: {report}")


@app.command()
def sensitivity(
    card: CardArgument,
    cases: CasesOption,
    frames: Annotated[int, typer.Option("--frames", min=1, help="how many frames of them")] = 8,
    method: Annotated[str, typer.Option("--method", help="fp16, fp16-fused or bf16")] = "fp16",
    json: JsonOption = False,
) -> None:
    """Round the network block by block, and say how far that moves the lines."""
    from dataclasses import asdict

    from harness.checks.sensitivity import sensitivity as measure
    from harness.measures.movement import Movement
    from harness.model.card import load_card

    with progress_bar("sensitivity:") as progress:
        found = measure(load_card(card), cases, frames=frames, method=method, progress=progress)
    if json:
        print_json(asdict(found))
        return
    outputs, unit = list(found.whole.outputs), found.unit
    columns = ("rounded", "members", *(f"{o}, rel. RMS" for o in outputs), f"lines RMS, {unit}", f"max, {unit}")
    everything = sum(len(group.members) for group in found.groups)
    rows: list[tuple[str, int, Movement, Movement | None]] = [("everything", everything, found.whole, None)]
    rows += [(g.group, len(g.members), g.alone, g.without) for g in found.groups]
    cells = [
        (name, count, *(f"{moved.outputs[o]:.3g}" for o in outputs), f"{moved.line_rms:.3g}",
         f"{moved.line_max:.3g}", moved.lines_changed, "" if rest is None else f"{rest.line_max:.3g}")
        for name, count, moved, rest in rows
    ]  # fmt: skip
    title = f"{found.method} on {counted(found.frames, 'frame')}, against fp32"
    show(table((*columns, "lines changed", f"all but it: max, {unit}"), cells, title))


@app.command()
def layers(
    place: SubjectArgument,
    cases: OwnCasesOption = None,
    a: Annotated[str, typer.Option("--a", metavar="NAME", help="engine that is taken to be right")] = "ort-fp32",
    b: Annotated[
        str | None,
        typer.Option("--b", metavar="NAME", help="engine whose nodes are looked at; emulated-fp16, of a run its worst"),
    ] = None,
    frames: Annotated[int, typer.Option("--frames", min=1, help="how many frames of them")] = 10,
    most: Annotated[int, typer.Option("--most", min=1, help="rows that are printed; --json and --out have all")] = 20,
    out: Annotated[Path | None, typer.Option("--out", metavar="FILE", help="write all of it as JSON")] = None,
    json: JsonOption = False,
) -> None:
    """Switch the network's nodes one by one to another engine's arithmetic, and say which of them move the lines."""
    from dataclasses import replace

    from harness.cli.subject import subject_of
    from harness.layers.measure import layers as measure
    from harness.layers.table import layers_json
    from harness.layers.view import COLUMNS, layer_cells, layer_lines, layer_title
    from harness.report.network import LAYERS
    from harness.run.json import write_json

    subject = subject_of(place, cases or ())
    with progress_bar("layers:") as progress:
        found = measure(subject.card, subject.cases, a=a, b=b or subject.engine, frames=frames, progress=progress)
    told = layers_json(replace(found, facts={**found.facts, **subject.about}))
    if out is not None:
        write_json(out, told)
    report = subject.keep(LAYERS, told)
    if json:
        print_json(told)
        return
    show(*layer_lines(found))
    show(table(COLUMNS, layer_cells(found, most), layer_title(found)))
    if report is not None:
        say(f"report: {report}")


@app.command()
def precision(
    card: CardArgument,
    cases: CasesOption,
    policy: PolicyOption = None,
    engine: Annotated[str, typer.Option("--engine", metavar="NAME", help="that runs mixed graphs")] = "emulated-fp16",
    out: Annotated[
        Path | None, typer.Option("--out", metavar="DIR", help="write the mixed graph, the lists and the proof")
    ] = None,
    json: JsonOption = False,
) -> None:
    """Find a smallest set of nodes to keep in fp32 with which the rules hold again."""
    from harness.gate import load_policy
    from harness.model.card import load_card
    from harness.precision.measure import precision as search
    from harness.precision.result import found_json, found_lines, kept_cells, write_found

    rules = load_policy(policy) if policy is not None else None
    with progress_bar("precision:") as progress:
        found = search(load_card(card), cases, policy=rules, engine=engine, out=out, progress=progress)
    if out is not None:
        write_found(found, out)
    if json:
        print_json(found_json(found))
    else:
        show(*found_lines(found))
        if found.kept:
            show(table(("node in fp32", "nodes of the file", "share of multiplications"), kept_cells(found)))
    raise typer.Exit(0 if not found.unproved else 1)
