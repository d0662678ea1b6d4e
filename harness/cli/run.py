"""`trueline run`: the whole job in one command, replay -> judge -> explain -> report."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from harness.cli.options import (
    BaselineOption,
    BatchOption,
    CardArgument,
    CasesOption,
    EnginesOption,
    FloorOption,
    IsolateOption,
    JsonOption,
    JunitOption,
    PolicyOption,
    ProfileOption,
    RunOutOption,
    names,
)
from harness.cli.progress import progress_bar
from harness.terminal import print_json, say

if TYPE_CHECKING:
    from harness.job import JobResult

__all__ = ["register", "tell"]


def run(
    card: CardArgument,
    cases: CasesOption,
    out: RunOutOption,
    policy: PolicyOption = None,
    profile: ProfileOption = None,
    engines: EnginesOption = None,
    preprocess: Annotated[
        str | None, typer.Option("--preprocess", metavar="train,deploy", help="default those of the profile, or both")
    ] = None,
    baseline: BaselineOption = None,
    floor: FloorOption = False,
    batch: BatchOption = 1,
    isolate: IsolateOption = False,
    junit: JunitOption = None,
    json: JsonOption = False,
) -> None:
    """Replay cases from lab to car, judge them, say what moved the lines, write the report; exit code as of `gate`."""
    from harness.gate import write_junit
    from harness.job import run_job
    from harness.model.card import load_card

    with progress_bar("replaying") as progress:
        result = run_job(
            load_card(card),
            cases,
            out=out,
            policy=policy,
            profile=profile,
            engines=names(engines) or None,
            preprocess=names(preprocess) or None,
            baseline=baseline,
            floor=floor,
            batch=batch,
            isolate=isolate,
            progress=progress,
        )
    if junit is not None:
        write_junit(result.verdict, junit)
    if json:
        found = {"verdict": result.verdict.to_json(), "explanation": result.explanation.to_json()}
        print_json(found | {"report": result.report and str(result.report)})
    else:
        tell(result)
    raise typer.Exit(result.verdict.exit_code)


def tell(result: JobResult) -> None:
    """Print which steps moved the lines, the verdict below, and where the report is."""
    from harness.gate import render
    from harness.ladder import render as render_explanation

    render_explanation(result.explanation)
    render(result.verdict)
    for remark in result.remarks:
        say(remark)
    if result.report is not None:
        say(f"report: {result.report}")


def register(app: typer.Typer) -> None:
    """Add the command to the tree."""
    app.command()(run)
