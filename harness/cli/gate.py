"""`trueline gate`: judge a run by a policy; ask whether the policy is calibrated; plan how many drives it takes."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from harness.cli.options import (
    BaselineOption,
    GithubOption,
    HistoryOption,
    JsonOption,
    JunitOption,
    MarkdownOption,
    PolicyOption,
    ProfileOption,
)
from harness.errors import UsageError
from harness.terminal import print_json, show

__all__ = ["register"]

_POWERS = (0.8, 0.9, 0.95)


def gate(
    runs: Annotated[
        list[Path] | None,
        typer.Argument(metavar="RUN...", help="run folder made by `trueline replay`; several with --calibrate"),
    ] = None,
    policy: PolicyOption = None,
    profile: ProfileOption = None,
    baseline: BaselineOption = None,
    junit: JunitOption = None,
    markdown: MarkdownOption = None,
    github: GithubOption = False,
    history: HistoryOption = None,
    calibrate: Annotated[
        bool, typer.Option("--calibrate", help="say how often a good version fails: RUN... are good versions' replays")
    ] = False,
    plan: Annotated[
        float | None,
        typer.Option("--plan", min=0.0001, max=1, metavar="SHARE", help="drives needed to meet a defect of this share"),
    ] = None,
    json: JsonOption = False,
) -> None:
    """Judge a run by a policy. Exit code 0 PASS; 1 FAIL, NONFINITE, CRASHED; 3 INCONCLUSIVE, NOT_RUN; 2 bad input.

    With --calibrate: 0 CALIBRATED, 3 UNCALIBRATED.
    """
    if plan is not None:
        _tell_plan(plan, json)
        return
    if calibrate:
        raise typer.Exit(_calibrate(runs or [], policy, profile, json))
    _judge(_one(runs or []), policy, profile, baseline, junit, markdown, github, history, json)


def _one(runs: list[Path]) -> Path:
    if len(runs) != 1:
        raise UsageError(
            f"{len(runs) or 'no'} runs to judge",
            where="RUN",
            remedy="give one, or --calibrate with several good versions",
        )
    return runs[0]


def _judge(
    run: Path,
    policy: Path | None,
    profile: str | None,
    baseline: Path | None,
    junit: Path | None,
    markdown: Path | None,
    github: bool,
    history: Path | None,
    json: bool,
) -> None:
    from harness.cli.verdict import tell_verdict
    from harness.gate import Status, judge, load_policy, open_baseline, write_verdict
    from harness.ladder import explain as explain_run
    from harness.run.folder import Run

    opened = Run.open(run)
    verdict = judge(
        opened,
        load_policy(policy) if policy is not None else None,
        profile=profile,
        baseline=open_baseline(baseline) if baseline else None,
    )
    write_verdict(verdict, run / "verdict.json")
    passed = all(rule.status is Status.PASS for rule in verdict.rules)
    explanation = None if passed else explain_run(opened, verdict)
    tell_verdict(verdict, explanation, junit=junit, markdown=markdown, github=github, history=history, quiet=json)
    if json:
        print_json(verdict.to_json())
    raise typer.Exit(verdict.exit_code)


def _calibrate(runs: list[Path], policy: Path | None, profile: str | None, json: bool) -> int:
    from harness.calibrate import calibrate, render
    from harness.gate import default_policy, load_policy
    from harness.run.folder import Run

    opened = [Run.open(run) for run in runs]
    if policy is None and not opened:
        raise UsageError("no runs", where="RUN", remedy="give the replays of two or more good versions")
    found = calibrate(opened, load_policy(policy) if policy is not None else default_policy(opened[0]), profile)
    if json:
        print_json(found.to_json())
    else:
        render(found)
    return 0 if found.calibrated else 3


def _tell_plan(share: float, json: bool) -> None:
    from harness.calibrate import drives_needed

    needed = {power: drives_needed(share, power) for power in _POWERS}
    if json:
        print_json({"share": share, "drives": {f"{p:g}": n for p, n in needed.items()}})
        return
    told = ", ".join(f"{n} for {p:.0%}" for p, n in needed.items())
    show(f"drives of which one at least shows a defect that {share:.1%} of all drives have: {told}")


def register(app: typer.Typer) -> None:
    """Add the command to the tree."""
    app.command()(gate)
