"""`trueline selftest`: known faults planted into the user's own model, to see whether the gate catches them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from harness.cli.options import (
    CacheOption,
    CardArgument,
    CasesOption,
    JsonOption,
    OnlyOption,
    PolicyOption,
    ProfileOption,
)
from harness.cli.options import names as split
from harness.cli.progress import progress_bar
from harness.terminal import print_json

__all__ = ["register"]


def selftest(
    card: CardArgument,
    cases: CasesOption,
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="runs and outcomes; a half-done one is resumed")],
    policy: PolicyOption = None,
    profile: ProfileOption = None,
    only: OnlyOption = None,
    faults: Annotated[str | None, typer.Option("--faults", metavar="A,B", help="these faults; default all")] = None,
    controls: Annotated[
        str | None, typer.Option("--controls", metavar="A,B", help="these clean controls; default all")
    ] = None,
    workers: Annotated[int | None, typer.Option("--workers", min=1, help="processes; default one a processor")] = None,
    cache: CacheOption = None,
    json: JsonOption = False,
) -> None:
    """Plant known faults into the model and see whether the gate catches them and explain blames the right stage.

    Exit code 0: all harmful faults are caught, 95 % blamed rightly, no control is flagged; 1 otherwise; 2 bad input.
    """
    from harness.faults.selftest import Job, self_test
    from harness.faults.view import render
    from harness.model.card import DEFAULT_CACHE

    job = Job(card, tuple(cases), out, policy, profile, tuple(only or ()), cache or DEFAULT_CACHE)
    with progress_bar("planting") as progress:
        report = self_test(job, faults=split(faults), controls=split(controls), workers=workers, progress=progress)
    if json:
        print_json(report.to_json())
    else:
        render(report)
    raise typer.Exit(0 if report.passes else 1)


def register(app: typer.Typer) -> None:
    """Add the command to the tree."""
    app.command()(selftest)
