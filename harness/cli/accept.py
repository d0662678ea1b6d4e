"""`trueline accept`: keep a run's numbers as what later candidates are compared with."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from harness.cli.options import PolicyOption, ProfileOption, RunArgument
from harness.terminal import say
from trueline._text import counted

__all__ = ["register"]


def accept(
    run: RunArgument,
    reason: Annotated[str, typer.Option("--reason", help="why these numbers are right; stands in the file")],
    policy: PolicyOption = None,
    profile: ProfileOption = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", metavar="FILE", help="default POLICY.accepted.toml beside the policy, else in this folder"
        ),
    ] = None,
) -> None:
    """Write what the policy's rules measured in every case of a run: a small file, to be reviewed and committed.

    `trueline gate NEW_RUN --baseline FILE` compares with it, as does a policy that names it by `baseline = "FILE"`.
    """
    from harness.gate import accept as accepted_of
    from harness.gate import default_policy, judge, load_policy, write_accepted
    from harness.gate.accepted import SUFFIX, to_accept
    from harness.run.folder import Run

    opened = Run.open(run)
    chosen = load_policy(policy) if policy is not None else default_policy(opened)
    verdict = judge(opened, to_accept(chosen), profile)
    accepted = accepted_of(verdict, {r.id: r for r in chosen.rules}, reason)
    folder = policy.parent if policy is not None else Path()
    path = out or folder / f"{chosen.name}{SUFFIX}"
    write_accepted(accepted, path)
    count = sum(len(cases) for rungs in accepted.numbers.values() for cases in rungs.values())
    told = f"{counted(count, 'number')} of {counted(len(accepted.cases), 'case')}"
    say(f"accepted {told} ({verdict.status.value}): {path}")


def register(app: typer.Typer) -> None:
    """Add the command to the tree."""
    app.command()(accept)
