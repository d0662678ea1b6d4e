"""`trueline run`: the whole job in one command, replay -> judge -> explain -> report."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from harness.cli.options import (
    BaselineOption,
    BatchOption,
    CacheOption,
    CardArgument,
    CasesOption,
    EnginesOption,
    FloorOption,
    GithubOption,
    HistoryOption,
    IsolateOption,
    JsonOption,
    JunitOption,
    KeepTensorsOption,
    MarkdownOption,
    OnlyOption,
    PolicyOption,
    ProfileOption,
    ReuseOption,
    RunOutOption,
    StepsOption,
    TimeoutOption,
    names,
)
from harness.cli.progress import progress_bar
from harness.cli.steps import say_reused
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
    only: OnlyOption = None,
    steps: StepsOption = True,
    floor: FloorOption = False,
    batch: BatchOption = 1,
    isolate: IsolateOption = False,
    timeout: TimeoutOption = 60.0,
    reuse: ReuseOption = True,
    keep_tensors: KeepTensorsOption = False,
    cache: CacheOption = None,
    junit: JunitOption = None,
    markdown: MarkdownOption = None,
    github: GithubOption = False,
    history: HistoryOption = None,
    json: JsonOption = False,
) -> None:
    """Replay cases from lab to car, judge them, say what moved the lines, write the report; exit code as of `gate`."""
    from harness.cli.verdict import tell_verdict
    from harness.job import run_job
    from harness.model.card import DEFAULT_CACHE, load_card

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
            only=only or (),
            steps=steps,
            floor=floor,
            batch=batch,
            isolate=isolate,
            timeout_s=timeout,
            reuse=reuse,
            keep_tensors=keep_tensors,
            cache=cache or DEFAULT_CACHE,
            progress=progress,
        )
    tell_verdict(
        result.verdict, result.explanation, junit=junit, markdown=markdown, github=github, history=history, quiet=True
    )
    if json:
        print_json(told(result))
    else:
        say_reused(result.run)
        tell(result)
    raise typer.Exit(result.verdict.exit_code)


def told(result: JobResult) -> dict[str, Any]:
    """Verdict, explanation and the place of the report as plain values."""
    found = {"verdict": result.verdict.to_json(), "explanation": result.explanation.to_json()}
    return found | {"report": result.report and str(result.report)}


def tell(result: JobResult) -> None:
    """Print which steps moved the lines, the verdict below, and where the report is."""
    from harness.ladder import render as render_explanation
    from harness.summary import render

    render_explanation(result.explanation)
    render(result.verdict, result.explanation)
    for remark in result.remarks:
        say(remark)
    if result.report is not None:
        say(f"report: {result.report}")


def register(app: typer.Typer) -> None:
    """Add the command to the tree."""
    app.command()(run)
